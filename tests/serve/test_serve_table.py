"""The table to download, and which addresses are this machine's alone."""

import csv
import io
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("onnxruntime", reason="make serve needs it; make setup EXTRAS=serve")

from pipeline.deploy.answers import Answers
from pipeline.serve.engine import Answered
from pipeline.serve.serve import is_local
from pipeline.serve.table import safe_table
from pipeline.serve.words import table_html

CLASSES = ("a", "\u202egnp")


def answers(names: list[str], broken: int) -> Answered:
    """Return answers of class 1, but for one picture that cannot be used."""
    count = len(names)
    given, notes = np.ones(count, bool), {broken: "not a picture"}
    probs = np.tile([0.25, 0.75], (count, 1))
    found = Answers(np.ones(count, int), probs.max(axis=1), given, probs, notes)
    return Answered(names, found, {})


def test_no_name_is_a_formula_and_no_broken_picture_has_an_answer():
    """Check that names which a spreadsheet would compute get a ' and others stay as they are, and
    that a picture which cannot be used has a note and an empty answer."""
    names = ["=cmd|' /C calc'!A0.png", "+1", "-1", "@a", "\tb", "\r=c", "a=b.png", "x.svg"]
    model = SimpleNamespace(classes=CLASSES, separator=" ")
    text = safe_table(model, answers(names, 7))
    _, *rows = csv.reader(io.StringIO(text, newline=""))
    assert [row[0] for row in rows] == [
        *(f"'{name}" for name in names[:5]), "\ufffd=c", *names[6:],
    ]  # fmt: skip
    assert [row[1] for row in rows] == [CLASSES[1]] * 7 + [""]
    assert rows[7][3] == "not a picture"


def test_no_character_turns_the_text_around():
    """Check that the page shows a class whose name would be read backwards as what it is, and that
    one picture is not called pictures."""
    told = table_html(answers(["a.png"], 9), CLASSES, " ")
    assert "\u202e" not in told and "\ufffdgnp" in told
    assert "1 picture:" in told


@pytest.mark.parametrize(
    ("bound", "local"),
    [("127.0.0.1", True), ("127.0.0.2", True), ("::1", True), ("0.0.0.0", False), ("::", False)],
)
def test_local_addresses(bound, local):
    """Check that all of this machine's own addresses, and no others, are local."""
    assert is_local(bound) is local
