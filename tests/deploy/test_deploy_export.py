"""An exported folder answers as the original does, without torch, and is whole or not there."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score

pytest.importorskip("onnxruntime", reason="make export needs its packages: EXTRAS=export")
pytest.importorskip("onnxscript", reason="make export needs its packages: EXTRAS=export")

from pipeline.artifacts.locks import lock
from pipeline.artifacts.predictions import Predictions
from pipeline.competition import load_data
from pipeline.config.project import Project
from pipeline.deploy.answers import DONT_KNOW
from pipeline.deploy.export import export as module
from pipeline.deploy.export.choose import options_for
from pipeline.deploy.export.export import export
from pipeline.deploy.export.place import WORK
from pipeline.deploy.export.report import report_parts
from pipeline.deploy.exported import open_exported
from pipeline.ensemble.build import open_decided
from pipeline.errors import Busy, PodiumError
from pipeline.folds import load_shared
from pipeline.training.request import TrainRequest
from pipeline.training.train import train

SOURCES = [
    *(("kinds", name) for name in ("a", "a-refit", "ensemble-seeds", "ensemble-stacking")),
    ("sets", "ensemble-rank"),
]
FORBIDDEN = ("torch", "timm", "torchvision", "albumentations", "sklearn", "pandas", "pipeline")
HOOK = """
import sys
class Forbidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {names!r}:
            raise ImportError(f"{{name}} is forbidden here")
sys.meta_path.insert(0, Forbidden())
"""


def quiet(_: str) -> None:
    """Say nothing."""


@pytest.fixture(scope="module")
def exports(trained, tmp_path_factory) -> Project:
    """A copy of the trained project in which all of `SOURCES` are exported; not to be changed."""
    root = tmp_path_factory.mktemp("exports") / "project"
    project = Project(shutil.copytree(trained.root, root))
    for comp, source in SOURCES:
        export(project, comp, source, say=quiet)
    return project


@pytest.fixture
def one(exports, tmp_path) -> Path:
    """A copy of one exported folder, to be changed."""
    return shutil.copytree(exports.run("kinds", "a") / "export", tmp_path / "export")


def run_program(folder: Path, tmp_path: Path, *arguments: str, forbidden=FORBIDDEN):
    """Run an exported folder's predict.py where some packages cannot be imported."""
    hook = tmp_path / "hook" / "sitecustomize.py"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(HOOK.format(names=tuple(forbidden)))
    environment = {**os.environ, "PYTHONPATH": str(hook.parent)}
    command = [sys.executable, str(folder / "predict.py"), *arguments]
    run = {"capture_output": True, "text": True, "cwd": tmp_path, "env": environment}
    return subprocess.run(command, check=False, **run)


@pytest.mark.parametrize(("comp", "source"), SOURCES)
def test_the_program_answers_as_make_predict_does(exports, answers, tmp_path, comp, source):
    """Check every column of the table of predict.py, moved elsewhere and without torch and this
    package, against that of make predict, for runs, a refit, and every kind of blend."""
    pictures = exports.data(comp) / "images"
    expected = answers(exports, comp, source, pictures)
    folder = shutil.copytree(exports.run(comp, source) / "export", tmp_path / "moved" / "far")
    done = run_program(folder, tmp_path, str(pictures), "out.csv")
    assert (done.returncode, done.stderr) == (0, "")
    table = pd.read_csv(tmp_path / "out.csv", dtype=str, keep_default_na=False)
    assert list(table.columns) == list(expected.table.columns)
    for column in ("image", "answer", "note"):
        assert table[column].tolist() == expected.column(column)
    probs = table[[name for name in table.columns if name.startswith("p_")]].astype(float)
    np.testing.assert_allclose(probs.to_numpy(), expected.probs, atol=1e-4)
    np.testing.assert_allclose(
        table["confidence"].astype(float), pd.to_numeric(expected.table["confidence"]), atol=1e-4
    )
    assert len(table) == 60 and len(np.unique(probs.round(4), axis=0)) > 30


def test_several_views_of_several_sizes(project, answers, tmp_path):
    """Check a run with turns, crops and two sizes, of grey pictures, averaged as logits."""
    many = "views.flips=horizontal views.crops=5 views.sizes=[16,24] views.average=logits "
    many += "image.channels=1 image.fit=pad image.cache=jpeg training.epochs=1"
    request = TrainRequest("kinds", ["test_resnet"], name="v", recipe="tiny", overrides=many)
    train(project, request, quiet)
    made = export(project, "kinds", "v", say=quiet)
    assert made.record["pixels"]["equal"] == 45 and made.record["option"].endswith("float32")
    assert made.record["pixels"]["largest_difference"] < 1e-5
    expected = answers(project, "kinds", "v", project.data("kinds") / "images")
    paths = [project.data("kinds") / "images" / name for name in expected.column("image")]
    got = open_exported(made.folder).answer(paths)
    np.testing.assert_allclose(got.probs, expected.probs, atol=1e-4)


def test_what_cannot_be_seen_is_told(exports, one, answers, tmp_path):
    """Check broken pictures, given as files or as bytes, against make predict, and that don't know
    is said below a confidence."""
    pictures = tmp_path / "new"
    shutil.copytree(exports.data("kinds") / "images", pictures)
    (pictures / "05.jpg").write_bytes(b"")
    (pictures / "06.png").write_text("<html>")
    (pictures / "07.jpg").write_bytes((pictures / "07.jpg").read_bytes()[:300])
    expected = answers(exports, "kinds", "a", pictures, confidence=0.5)
    done = run_program(one, tmp_path, str(pictures), "out.csv", "--confidence", "0.5")
    table = pd.read_csv(tmp_path / "out.csv", dtype=str, keep_default_na=False)
    assert "3 could not be used" in done.stdout and DONT_KNOW in table["answer"].tolist()
    for column in ("image", "answer", "note"):
        assert table[column].tolist() == expected.column(column)
    opened = open_exported(one)
    paths = sorted(pictures.iterdir())
    by_path = opened.answer(paths, confidence=0.5)
    by_bytes = opened.answer([path.read_bytes() for path in paths], confidence=0.5)
    np.testing.assert_array_equal(by_bytes.probs, by_path.probs)
    np.testing.assert_array_equal(by_bytes.labels, by_path.labels)
    assert by_bytes.notes == by_path.notes and {*by_path.notes} == {5, 6, 7}
    assert (by_path.confidence[5:8] == 0).all() and not by_path.given[5:8].any()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("nowhere", "out.csv"), "PICTURES: nowhere: no such folder or picture"),
        (("empty", "out.csv"), "no picture at any depth"),
        (("pictures", "absent/out.csv"), "OUT: absent: no such folder"),
        (("pictures", "out.png"), "a picture's name"),
        (("pictures", "notes.csv"), "not a table of answers"),
        (("pictures", "out.csv", "--confidence", "1.5"), "--confidence: 1.5 is not from 0 to 1"),
        (("pictures", "out.csv", "--threads", "-1"), "--threads: -1 is below 0"),
        (("rubbish", "out.csv"), "none of 1 pictures can be used"),
    ],
)
def test_the_program_refuses_rubbish_in_one_line(exports, one, tmp_path, arguments, said):
    """Check the status and the one line of every refusal, and that no table is written."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "pictures").symlink_to(exports.data("kinds") / "images")
    (tmp_path / "notes.csv").write_text("mine")
    (tmp_path / "rubbish").mkdir()
    (tmp_path / "rubbish" / "x.png").write_text("no picture")
    done = run_program(one, tmp_path, *arguments)
    assert done.returncode == 2 and said in done.stderr and done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1 and not (tmp_path / "out.csv").exists()
    assert (tmp_path / "notes.csv").read_text() == "mine"


def test_a_missing_package_is_named(one, tmp_path):
    """Check that predict.py says in one line which package is missing."""
    broken = one / "podium" / "errors.py"
    broken.write_text("import surely_absent\n" + broken.read_text())
    done = run_program(one, tmp_path, "x", "out.csv")
    assert done.returncode == 1 and "the package surely_absent is missing" in done.stderr
    assert done.stderr.count("\n") == 1


def test_the_lists_of_packages(one):
    """Check that what the code imports is pinned as it is installed, without the heavy ones, and
    that the list of wheels holds all of it and what that needs."""
    direct, wheels = (
        dict(line.split("==") for line in (one / name).read_text().split())
        for name in ("requirements.txt", "wheels.txt")
    )
    named = {"numpy", "onnxruntime", "opencv-python-headless", "pillow", "pydantic", "tqdm"}
    assert named <= {*direct} <= {*named, "scipy"}
    assert direct.items() <= wheels.items() and "pydantic-core" in wheels and "torch" not in wheels


def test_the_reader_loads_neither_torch_nor_what_trains(one, exports, tmp_path):
    """Check that this package's own reader opens a folder and answers where torch cannot load."""
    picture = next((exports.data("kinds") / "images").iterdir())
    forbidden = ("torch", "timm", "torchvision", "albumentations")
    code = HOOK.format(names=forbidden) + (
        "from pathlib import Path\n"
        "from pipeline.deploy.exported import open_exported\n"
        f"print(open_exported(Path({str(one)!r})).answer([Path({str(picture)!r})]).labels.shape)\n"
    )
    command = [sys.executable, "-c", code]
    root = Path(module.__file__).parents[3]
    done = subprocess.run(command, capture_output=True, text=True, cwd=root, check=False)
    assert (done.stdout, done.stderr) == ("(1,)\n", "")


def change_model(folder: Path, **keys) -> None:
    path = folder / "model.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **keys}))


DAMAGE = {
    "no model.json": lambda f: (f / "model.json").unlink(),
    "broken model.json": lambda f: (f / "model.json").write_text("{"),
    "another version": lambda f: change_model(f, format=99),
    "changed rule": lambda f: change_model(f, confidence=0.123),
    "no network": lambda f: next((f / "networks").iterdir()).unlink(),
    "short network": lambda f: os.truncate(next((f / "networks").iterdir()), 1000),
    "other network": lambda f: flip_byte(next((f / "networks").iterdir())),
}


def flip_byte(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_folder_is_refused(one, kind):
    """Check that whatever is missing, cut short or changed by one bit is an error that names it."""
    open_exported(one)
    DAMAGE[kind](one)
    with pytest.raises(PodiumError, match=f"^{one}") as error:
        open_exported(one)
    assert "\n" not in str(error.value)


def test_the_gate_against_scikit_learn(exports):
    """Check the figures of an export against scores of the out-of-fold file by scikit-learn."""
    data = load_data(exports, "kinds")
    oof = Predictions.load(exports.run("kinds", "a") / "oof.npz")
    answer = open_decided(data, load_shared(data), "a").rule.apply(oof.probs)
    y = data.labels[np.searchsorted(data.train.ids, oof.ids)]
    record = json.loads((exports.run("kinds", "a") / "export" / "export.json").read_text())
    gate = record["gate"]
    assert gate["original_metric"] == gate["metric"] == accuracy_score(y, answer)
    assert (gate["rows"], gate["agreement"], gate["difference"], gate["se"]) == (45, 1, 0, 0)
    assert record["tried"][0]["passes"] and len(record["tried"]) == 1


def test_twice_the_same_and_anew(exports, tmp_path, snapshot):
    """Check that the same command finds the same folder, that FRESH makes the same bytes of
    networks anew, and that other limits replace it."""
    project = Project(shutil.copytree(exports.root, tmp_path / "project"))
    folder = project.run("kinds", "a") / "export"
    before = snapshot(folder)
    again = export(project, "kinds", "a", say=quiet)
    assert not again.made and snapshot(folder) == before
    assert any("there already" in part for part in report_parts(again))
    fresh = export(project, "kinds", "a", fresh=True, say=quiet)
    after = snapshot(folder)
    assert fresh.made and after.keys() == before.keys()
    assert all(after[name] == before[name] for name in after if name.startswith("podium"))
    tight = export(project, "kinds", "a", max_mb=0.45, confidence=0.7, say=quiet)
    assert tight.made and tight.record["option"] == "all networks, float16"
    assert open_exported(folder).confidence == 0.7
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) < 450_000
    os.truncate(folder / "README.md", 3)  # a damaged folder is not the same
    assert export(project, "kinds", "a", max_mb=0.45, confidence=0.7, say=quiet).made


def test_all_options_choose_the_same(exports, tmp_path, monkeypatch):
    """Check that the table of all options takes what the first that passes takes, and that an
    option which is too large by its weights alone is not built without being asked."""
    project = Project(shutil.copytree(exports.root, tmp_path / "project"))
    monkeypatch.setattr(module, "options_for", lambda runs: options_for(runs)[:6])
    first = export(project, "kinds", "a", max_mb=0.42, say=quiet).record
    every = export(project, "kinds", "a", max_mb=0.42, everything=True, say=quiet).record
    assert first["option"] == every["option"] and len(every["tried"]) > len(first["tried"])
    assert first["tried"][0]["figures"] is None and every["tried"][0]["figures"] is not None
    few = [one for one in every["tried"] if one["option"].startswith("one per run")]
    assert few and all(one["figures"]["test_agreement"] is not None for one in few)
    assert {one["figures"]["test_rows"] for one in few} == {15}


def test_nothing_is_left_where_nothing_passes(project, snapshot):
    """Check the one line that names the nearest option, and that no file is left or lost."""
    open_decided(data := load_data(project, "kinds"), load_shared(data), "a")
    before, said = snapshot(project.root), []
    with pytest.raises(PodiumError, match=r"MAX_MB: 0\.01, and none of \d+ options.*nearest is"):
        export(project, "kinds", "a", max_mb=0.01, say=said.append)
    assert snapshot(project.root) == before
    assert any("agreement" in line and "original" in line for line in said)


@pytest.mark.parametrize("moment", ["choose", "_compared", "put"])
def test_a_stopped_export_leaves_what_was_there(exports, tmp_path, snapshot, monkeypatch, moment):
    """Check that an interrupt at any moment leaves the old folder and nothing else."""
    project = Project(shutil.copytree(exports.root, tmp_path / "project"))
    before = snapshot(project.root)

    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(module, moment, stop)
    with pytest.raises(KeyboardInterrupt):
        export(project, "kinds", "a", fresh=True, say=quiet)
    assert snapshot(project.root) == before


def test_a_kill_while_folders_are_swapped_loses_nothing(exports, tmp_path, snapshot):
    """Check that a folder moved away by a killed export comes back, and leftovers go."""
    project = Project(shutil.copytree(exports.root, tmp_path / "project"))
    folder = project.run("kinds", "a") / "export"
    before = snapshot(folder)
    work = folder.parent / WORK
    (work / "new").mkdir(parents=True)
    folder.rename(work / "old")
    assert not export(project, "kinds", "a", say=quiet).made
    assert snapshot(folder) == before
    (work / "new").mkdir(parents=True, exist_ok=True)
    assert export(project, "kinds", "a", fresh=True, say=quiet).made
    assert snapshot(folder).keys() == before.keys() and not work.exists()


def test_two_terminals(project):
    """Check that an export which is being made is not made beside it."""
    path = project.runs("kinds") / ".locks" / "a.export.lock"
    with lock(path, "the export"), pytest.raises(Busy, match="being worked on"):
        export(project, "kinds", "a", say=quiet)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"max_mb": 0}, "MAX_MB: 0 is no size"),
        ({"max_mb": float("nan")}, "MAX_MB: nan is no size"),
        ({"agreement": 98}, "AGREEMENT: 98 is not"),
        ({"confidence": 2}, "CONFIDENCE: 2 is not"),
    ],
)
def test_senseless_limits_are_refused(trained, options, said):
    """Check that a limit outside its range is named."""
    with pytest.raises(PodiumError, match=said):
        export(trained, "kinds", "a", say=quiet, **options)


def test_where_it_looked(project):
    """Check that a map of a network with pooling is as large as what it sees, lies in 0..1 and
    weighs the class that is asked for, and that a network without one gives none."""
    large = {"recipe": "tiny", "overrides": "image.size=64 training.epochs=1"}
    train(project, TrainRequest("kinds", ["resnet10t"], name="r", **large), quiet)
    opened = open_exported(export(project, "kinds", "r", say=quiet).folder)
    picture = next((project.data("kinds") / "images").iterdir())
    heat = opened.look_at(picture)
    assert opened.seen(picture).shape == (64, 64, 3) and heat.shape == (64, 64)
    assert heat.min() >= 0 and (heat.max() == pytest.approx(1) or heat.max() == 0)
    maps = [opened.look_at(picture.read_bytes(), k) for k in range(3)]
    assert any(np.array_equal(one, heat) for one in maps)
    assert not np.array_equal(maps[0], maps[1]) or not np.array_equal(maps[1], maps[2])
    with pytest.raises(PodiumError, match="label: 3"):
        opened.look_at(picture, 3)
    with pytest.raises(PodiumError, match="give another picture"):
        opened.seen(b"rubbish")
    plain = open_exported(export(project, "kinds", "a", say=quiet).folder)
    assert plain.look_at(picture) is None
