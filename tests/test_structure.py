"""The shape of the code: who imports whom, who opens the answers, sizes, and calls kept out."""

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import pipeline

ROOT = Path(pipeline.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))
WAY = ("competition", "images", "folds", "training", "ensemble", "submission")
FOUNDATIONS = {
    "errors": set(),
    "artifacts": {"errors"},
    "config": {"errors", "artifacts"},
    "metrics": {"errors"},
    "decisions": {"errors", "artifacts", "metrics"},
    "charts": {"artifacts"},
}
MAX_FUNCTION, MAX_MODULE = 60, 300  # lines


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def room_of(path: Path) -> str:
    """Return the package or module right below pipeline/."""
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imported(tree: ast.AST) -> Iterator[str]:
    """Yield the dotted names that a module imports, inside functions too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "imports are absolute, so that this test can read them"
            module = node.module or ""
            yield from (f"{module}.{alias.name}" for alias in node.names)


def rooms_imported(path: Path) -> set[str]:
    names = (name.split(".") for name in imported(tree_of(path)))
    return {parts[1] for parts in names if parts[0] == "pipeline" and len(parts) > 1}


def loaded_by(statement: str, *packages: str) -> list[str]:
    """Return which of `packages` a fresh interpreter has loaded after `statement`."""
    code = f"{statement}\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT.parent)
    return [name for name in packages if name in json.loads(done.stdout.splitlines()[-1])]


def test_the_rooms_are_there():
    """Check that every package of the way and of the foundations exists, so that rules bind."""
    assert {*WAY, *FOUNDATIONS} <= {room_of(path) for path in FILES}


@pytest.mark.parametrize("room", WAY)
def test_a_room_imports_what_lies_to_its_left(room):
    """Check that a package of the way imports only those before it and the foundations."""
    allowed = {*WAY[: WAY.index(room) + 1], *FOUNDATIONS}
    found = {
        str(path.relative_to(ROOT)): rooms_imported(path) - allowed
        for path in FILES
        if room_of(path) == room
    }
    assert not {path: rooms for path, rooms in found.items() if rooms}


@pytest.mark.parametrize("room", FOUNDATIONS)
def test_foundations_rest_on_each_other_only(room):
    """Check that a foundation imports nothing of the way, in an order without circles."""
    for path in FILES:
        if room_of(path) == room:
            assert rooms_imported(path) <= FOUNDATIONS[room] | {room}, path


def test_foundations_need_no_torch():
    """Check that importing every foundation loads neither torch nor timm."""
    modules = [
        ".".join(("pipeline", *path.relative_to(ROOT).with_suffix("").parts))
        for path in FILES
        if room_of(path) in FOUNDATIONS and path.name != "__init__.py"
    ]
    assert len(modules) > len(FOUNDATIONS)
    assert not loaded_by(f"import {', '.join(modules)}", "torch", "timm", "torchvision")


def test_help_loads_nothing_heavy():
    """Check that the command line answers --help without the packages that take seconds."""
    heavy = ("torch", "timm", "torchvision", "pandas", "sklearn", "scipy", "albumentations", "cv2")
    assert not loaded_by("import pipeline.cli", *heavy)
    command = [sys.executable, "-m", "pipeline", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT.parent)
    assert "leaderboard" in done.stdout


# Rooms beside the way that show what others of them find.
MAY_USE = {"report": {"mislabelled", "leaderboard", "compare", "audit"}, "serve": {"deploy"}}


def test_nothing_of_the_package_imports_the_command_line():
    """Check that cli, show, demo and the rooms beside the way are imported by cli alone."""
    beside = {"cli", "show", "demo", "init", "deploy", "audit", "preview", "curve", "lr_find"}
    beside |= {
        "compare",
        "bench",
        "search",
        "cluster",
        "mislabelled",
        "leaderboard",
        "report",
        "serve",
    }
    for path in FILES:
        room = room_of(path)
        if room not in ("cli", "__main__"):
            assert not rooms_imported(path) & (beside - {room} - MAY_USE.get(room, set())), path


def test_only_grading_opens_the_answers():
    """Check that no module but grading reads `tables.answers` or names the file of answers."""

    def mentions(node: ast.AST) -> bool:
        if isinstance(node, ast.Attribute) and node.attr == "answers":
            base = node.value
            return getattr(base, "attr", getattr(base, "id", "")) == "tables"
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "getattr":
            return any(isinstance(a, ast.Constant) and a.value == "answers" for a in node.args)
        return isinstance(node, ast.Constant) and node.value == "answers.csv"

    found = {
        str(path.relative_to(ROOT))
        for path in FILES
        if any(mentions(node) for node in ast.walk(tree_of(path)))
    }
    assert found == {"submission/grading.py"}


def test_functions_and_modules_stay_short():
    """Check that no function is longer than 60 lines and no module longer than 300."""
    long = {}
    for path in FILES:
        lines = len(path.read_text().splitlines())
        if lines > MAX_MODULE:
            long[path.name] = lines
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = node.end_lineno - node.lineno + 1
                if lines > MAX_FUNCTION:
                    long[f"{path.name}: {node.name}"] = lines
    assert not long


def unsafe(node: ast.AST) -> str:
    """Return what is unsafe about a node, or ''."""
    if isinstance(node, ast.Import | ast.ImportFrom):
        bad = {name.split(".")[0] for name in imported(node)} & {"pickle", "joblib", "marshal"}
        return f"imports {bad}" if bad else ""
    if not isinstance(node, ast.Call):
        return ""
    name = ast.unparse(node.func)
    options = {k.arg: k.value.value for k in node.keywords if isinstance(k.value, ast.Constant)}
    if name in ("eval", "exec", "yaml.load", "yaml.unsafe_load", "os.system", "pd.read_pickle"):
        return f"calls {name}"
    if name == "torch.load" and options.get("weights_only") is not True:
        return "torch.load without weights_only=True"
    for option, value in {"allow_pickle": True, "weights_only": False, "shell": True}.items():
        if options.get(option) is value:
            return f"{option}={value}"
    return ""


@pytest.mark.parametrize(
    "code",
    [
        "np.load(p, allow_pickle=True)",
        "torch.load(p)",
        "torch.load(p, weights_only=False)",
        "yaml.load(text)",
        "eval(text)",
        "subprocess.run(c, shell=True)",
        "import pickle",
    ],
)
def test_unsafe_code_would_be_seen(code):
    """Check that the search below finds what it is made for."""
    assert any(unsafe(node) for node in ast.walk(ast.parse(code)))


def test_nothing_runs_what_a_file_says():
    """Check that no module unpickles, evaluates or passes text to a shell."""
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno}: {unsafe(node)}"
        for path in FILES
        for node in ast.walk(tree_of(path))
        if unsafe(node)
    ]
    assert not found
