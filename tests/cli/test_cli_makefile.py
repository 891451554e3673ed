"""The Makefile: every verb is a target, every target is in `make help`, every option arrives."""

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

import pipeline
from pipeline.cli import app

ROOT = Path(pipeline.__file__).parent.parent
VERBS = [command.name or command.callback.__name__ for command in app.registered_commands]

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="there is no make here")


def make(*arguments: str, status: int = 0, **exported: str) -> str:
    """Return what make prints, untouched by the variables of a make that runs these tests;
    `exported` are those of the environment."""
    targets = ("MAKE", "MFLAGS", "GNUMAKEFLAGS")
    given = {argument.split("=")[0] for argument in arguments}
    names = {"COMP", "ARCH", "RECIPE", "NAME", "SEED", "SET", "ONLY", "LIMIT", "FOLDS", "HOLDOUT"}
    names |= {"BUDGET", "TEST", "RUNS", "FROM", "SCORE", "FRESH", "EXECUTOR", "ARGS"}
    names |= {"UPLOAD", "PRIVATE", "HOST", "PORT"} | given
    environment = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(targets) and key not in names
    } | exported
    command = ["make", "--no-print-directory", *arguments]
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=30
    )
    assert done.returncode == status, done.stderr
    return done.stdout if status == 0 else done.stderr


def dry(*arguments: str, **more: Any) -> str:
    """Return the commands of a target; the environment counts as made."""
    return make("-n", "-o", ".venv/done", *arguments, **more)


def targets() -> list[str]:
    phony = re.search(r"^\.PHONY:(.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    return phony[1].split()


def test_train_passes_its_options_on():
    """Check that values with spaces and equals signs arrive as one argument each."""
    command = dry("train", "ARCH=a b", "SET=x.y=1 z=[1,2]", "ONLY=0", "FRESH=1", "LIMIT=50")
    assert "-m pipeline train" in command and "--comp 'digits'" in command
    for option in ("--arch 'a b'", "--set 'x.y=1 z=[1,2]'", "--only '0'", "--limit '50'"):
        assert option in command
    assert command.split().count("--fresh") == 1
    plain = dry("train", "ARCH=a")
    assert "--arch 'a'" in plain
    for option in ("--set", "--only", "--fresh", "--limit", "--seed", "--name"):
        assert option not in plain


@pytest.mark.parametrize(
    ("target", "variables", "options"),
    [
        ("folds", ["FOLDS=1", "HOLDOUT=0.3", "TEST=0.1", "SEED=4", "FRESH=1"], 5),
        ("ensemble", ["RUNS=a b", "NAME=x"], 2),
        ("submit", ["FROM=a"], 1),
        ("score", ["SCORE=0.74", "FROM=3"], 2),
        ("train", ["RECIPE=r", "SEED=0 1", "NAME=n", "EXECUTOR=local"], 4),
        ("demo", [], 0),
        ("leaderboard", [], 0),
    ],
)
def test_variables_become_options_of_the_verb(target, variables, options):
    """Check that each variable becomes the option of its name, and that the verb knows it."""
    command = dry(target, "COMP=tiny", *variables)
    assert f"-m pipeline {target}" in command and "--comp 'tiny'" in command
    given = re.findall(r"--([a-z]+)", command)
    assert len(given) == options + 1
    for variable in variables:
        name, value = variable.split("=")
        assert (f"--{name.lower()} '{value}'" if name != "FRESH" else "--fresh") in command
    (verb,) = [c for c in app.registered_commands if c.callback.__name__ == target]
    known = {"from" if name == "source" else name for name in verb.callback.__annotations__}
    assert set(given) <= known


@pytest.mark.parametrize(
    ("target", "name", "option"),
    [
        ("submit", "UPLOAD", "--upload"),
        ("folds", "FRESH", "--fresh"),
        ("train", "REFIT", "--refit"),
        ("ensemble", "MIXED_FOLDS", "--mixed-folds"),
        ("report", "MISTAKES", "--mistakes"),
        ("export", "ALL", "--all"),
    ],
)
def test_switches_are_on_or_off_or_refused(target, name, option):
    """Check that 1 sets a switch, 0 does not, and that no other word is taken for a yes."""
    for value, there in (("1", True), ("yes", True), ("0", False), ("no", False), ("", False)):
        assert (option in dry(target, f"{name}={value}").split()) == there
    for value in ("False", "off", "nein"):
        assert f"{name}={value}: is 1 or 0" in dry(target, f"{name}={value}", status=2)


def test_what_cannot_be_taken_back_must_be_typed():
    """Check that an UPLOAD or a score that a shell exports sends and enters nothing."""
    assert "--upload" not in dry("submit", UPLOAD="1")
    entered = dry("score", SCORE="0.5", PRIVATE="0.4")
    assert "--score" not in entered and "--private" not in entered


def test_every_verb_has_a_target():
    """Check that whatever the command line can do, make can."""
    assert len(VERBS) >= 7
    for verb in VERBS:
        assert f"-m pipeline {verb}" in dry(verb)


def test_help_lists_every_target():
    """Check that `make`, like `make help`, says of each target in one line what it does."""
    text = make("help")
    assert text == make()
    lines = dict(re.findall(r"^  make (\S+) +(\S.*)$", text, re.MULTILINE))
    assert sorted(lines) == sorted(targets())
    assert all(len(line) > 10 for line in lines.values())
    assert "COMP=" in text and "ARCH=" in text


def test_targets_need_the_environment():
    """Check that every target that runs Python depends on the environment's stamp."""
    rules = re.findall(r"^([a-z-]+):(.*?)##", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for target, needs in rules:
        assert (".venv/done" in needs) == (target != "help"), target
