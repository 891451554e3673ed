"""Exports of a hold-out, of a competition without test pictures, of folders that users added to."""

import json
import os
import shutil

import numpy as np
import pytest
import yaml

pytest.importorskip("onnxruntime", reason="make export needs its packages: EXTRAS=export")
pytest.importorskip("onnxscript", reason="make export needs its packages: EXTRAS=export")

from pipeline.competition import load_data
from pipeline.config.project import Project
from pipeline.decisions import Rule
from pipeline.deploy import exported as reader
from pipeline.deploy import folder as program
from pipeline.deploy.export import export as module
from pipeline.deploy.export.bundle import readme
from pipeline.deploy.export.check import PICTURES
from pipeline.deploy.export.choose import NO_TEST, Tried, none_passes, options_for
from pipeline.deploy.export.export import export
from pipeline.deploy.export.gate import Figures, Judge, Limits
from pipeline.deploy.export.options import AS_IT_IS, Option
from pipeline.deploy.export.place import WORK, put, recover
from pipeline.deploy.export.rows import Shown, drawn, fitting_positions
from pipeline.deploy.export.workshop import Workshop
from pipeline.deploy.exported import open_exported
from pipeline.deploy.format import MODEL, signed
from pipeline.ensemble.build import build_ensemble
from pipeline.errors import PodiumError
from pipeline.folds import load_shared, make_shared
from pipeline.training.request import TrainRequest
from pipeline.training.train import train


def held_out(project: Project, comp: str, holdout: float, refit: bool = False) -> None:
    """Train run h of a competition on a hold-out."""
    project.folds(comp).unlink()
    shutil.rmtree(project.runs(comp))
    make_shared(load_data(project, comp), n_folds=1, holdout=holdout)
    request = TrainRequest(comp, ["lenet"], name="h", recipe="tiny", refit=refit)
    train(project, request, str)


def fitted_to(monkeypatch) -> set[str]:
    """Return a set that gets the ids of all rows that networks are fitted to."""
    found: set[str] = set()
    asked = Workshop.images

    def images(self: Workshop, part, most: int) -> np.ndarray:
        found.update(self.data.train.ids[self.rows(part)].tolist())
        return asked(self, part, most)

    monkeypatch.setattr(Workshop, "images", images)
    return found


def test_a_hold_out_judges_nothing_that_was_fitted_to_it(project, monkeypatch):
    """Check that int8 is fitted to training pictures alone, where the hold-out alone is judged."""
    held_out(project, "kinds", 0.3)
    fitted = fitted_to(monkeypatch)
    monkeypatch.setattr(module, "options_for", lambda runs: options_for(runs)[:3])
    made = export(project, "kinds", "h", everything=True, say=str)
    assert made.record["tried"][2]["option"] == "all networks, int8"
    data = load_data(project, "kinds")
    folds = load_shared(data)
    held = {*data.train.ids[folds.fold == 0].tolist()}
    assert len(fitted) >= 30 and not fitted & held and made.record["gate"]["rows"] == len(held)


def test_too_few_training_pictures_fit_nothing(project):
    """Check that int8 is refused with the reason where a network has less than 8 of them."""
    held_out(project, "kinds", 0.85)
    said: list[str] = []
    with pytest.raises(PodiumError, match="none of"):
        export(project, "kinds", "h", max_mb=0.2, say=said.append)
    assert any("int8" in line and "fewer than 8 training pictures" in line for line in said)


def test_the_local_test_split_fits_nothing(project):
    """Check that its rows, which no network is trained on, are not among the rows to fit to."""
    data = load_data(project, "kinds")
    project.folds("kinds").unlink()
    make_shared(data, n_folds=1, holdout=0.3, test=0.2)
    folds = load_shared(data)
    assert {*folds.fold[fitting_positions(data, folds)].tolist()} == {0, -1}


def test_without_test_pictures(project, answers):
    """Check ensemble, prediction and export of a competition without a test table, and that its
    refit, which nothing can judge, is refused with the reason."""
    path = project.competition("kinds")
    content = yaml.safe_load(path.read_text())
    content["tables"]["test"] = None
    path.write_text(yaml.safe_dump(content))
    held_out(project, "kinds", 0.3, refit=True)
    data = load_data(project, "kinds")
    assert not len(data.test)
    build_ensemble(data, load_shared(data), ["h"], "e")
    pictures = project.data("kinds") / "images"
    for source in ("h", "ensemble-e"):
        folder = export(project, "kinds", source, say=str).folder
        expected = answers(project, "kinds", source, pictures)
        paths = [pictures / name for name in expected.column("image")]
        np.testing.assert_allclose(
            open_exported(folder).answer(paths).probs, expected.probs, 0, 1e-4
        )
    assert len(answers(project, "kinds", "h-refit", pictures).table) == 60
    with pytest.raises(PodiumError, match=NO_TEST):
        export(project, "kinds", "h-refit", say=str)


def test_what_users_put_there_stays(project, snapshot):
    """Check that exporting anew keeps what others put there, and nothing of the old export."""
    folder = export(project, "kinds", "a", say=str).folder
    count = len([*(folder / "networks").iterdir()])
    (folder / "wheels").mkdir()
    (folder / "wheels" / "x.whl").write_text("wheel")
    (folder / "answers.csv").write_text("mine")
    (folder / "networks" / "notes.txt").write_text("mine too")
    (folder / "env").symlink_to("wheels")
    made = export(project, "kinds", "a", max_mb=0.45, confidence=0.7, say=str)
    assert made.made and open_exported(folder).confidence == 0.7
    assert (folder / "env" / "x.whl").read_text() == "wheel" and (folder / "env").is_symlink()
    assert (folder / "answers.csv").read_text() == "mine"
    assert (folder / "networks" / "notes.txt").read_text() == "mine too"
    assert len([*(folder / "networks").iterdir()]) == count + 1
    assert not (folder.parent / WORK).exists()
    (folder.parent / WORK / "parts").mkdir(parents=True)  # a kill's leftovers
    assert not export(project, "kinds", "a", max_mb=0.45, confidence=0.7, say=str).made
    assert not (folder.parent / WORK).exists()


def test_each_moment_of_the_swap_can_be_mended(tmp_path, monkeypatch):
    """Check that a stop after any rename loses neither an export nor what users put there."""
    real, stop = os.replace, [0]

    def replace(source, target):
        if stop[0] == 0:
            raise KeyboardInterrupt
        stop[0] -= 1
        real(source, target)

    for steps in range(5):
        folder, new = tmp_path / str(steps) / "export", tmp_path / str(steps) / WORK / "new"
        for place, text in ((folder, "old"), (new, "new")):
            place.mkdir(parents=True)
            (place / MODEL).write_text(json.dumps({"files": {}, "is": text}))
        (folder / "answers.csv").write_text("mine")
        (folder / "more.csv").write_text("mine")
        stop[0] = steps
        with monkeypatch.context() as patch:
            patch.setattr("pipeline.deploy.export.place.os.replace", replace)
            if steps < 4:
                with pytest.raises(KeyboardInterrupt):
                    put(new, folder)
            else:
                put(new, folder)
        recover(folder)
        names = sorted(path.name for path in folder.iterdir())
        assert names == ["answers.csv", MODEL, "more.csv"]
        kept = json.loads((folder / MODEL).read_text())["is"]
        assert kept == ("old" if steps < 2 else "new") and not (folder.parent / WORK).exists()


@pytest.mark.parametrize(
    "keys",
    [
        {"files": []},
        {"files": {"x": 1}},
        {"networks": []},
        {"networks": [{"view": 7}]},
        {"confidence": "a"},
        {"classes": 3},
    ],
)
def test_other_types_are_refused(tmp_path, trained, keys):
    """Check that a signed model.json of wrong types, or with what cannot be read, is one line."""
    content = dict.fromkeys(("task", "separator", "source", "plan", "rule", "constant"), "")
    content |= dict.fromkeys(("coverage", "provenance", "gate"), "")
    content |= {"format": 1, "files": {}, "views": [1], "networks": [{"view": 0}]}
    content |= {"confidence": None, "classes": ["a"], **keys}
    path = tmp_path / MODEL
    path.write_text(json.dumps(signed(content)))
    with pytest.raises(PodiumError, match=f"{next(iter(keys))!r} is not what"):
        open_exported(tmp_path)


@pytest.mark.parametrize("value", ['"\\ud800"', "1" * 5000])
def test_unreadable_values_are_refused(tmp_path, value):
    """Check half a character, which has no hash, and a number that Python refuses to read."""
    (tmp_path / MODEL).write_text(f'{{"format": 1, "x": {value}}}')
    with pytest.raises(PodiumError, match=MODEL):
        open_exported(tmp_path)


def test_threads_are_at_most_the_cores(project, monkeypatch):
    """Check that a folder is never opened with more threads than cores."""
    folder = export(project, "kinds", "a", say=str).folder
    asked: list[int] = []
    monkeypatch.setattr(reader, "session_of", lambda path, threads: asked.append(threads))
    open_exported(folder, 100_000)
    assert {*asked} == {reader.cores()}


def test_a_full_disk_is_told_by_the_file(tmp_path, monkeypatch, capsys):
    """Check that an error of writing, which names no file, is told with the one asked for."""

    def full(*_) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(program, "answer", full)
    assert program.main(tmp_path, ["pictures", "out.csv"]) == 2
    assert capsys.readouterr().err == "error: out.csv: No space left on device; mend it\n"


def test_an_endless_size_is_refused(trained):
    """Check that no size is endless."""
    with pytest.raises(PodiumError, match="MAX_MB: inf is no size"):
        export(trained, "kinds", "a", max_mb=float("inf"), say=str)


def test_many_classes_keep_to_the_total():
    """Check that no more rows than asked for are drawn of 5,000 classes, or of 1,500 and one."""
    ids = np.array([f"r{i}" for i in range(5000)])
    assert len(drawn(ids, np.arange(5000), 2000)) == 2000
    strata = np.minimum(np.arange(5000), 1500)
    found = drawn(ids, strata, 2000)
    assert len(found) == 2000 and len({*strata[found].tolist()}) == 1501


def test_dont_know_is_an_answer_of_the_gate(trained):
    """Check that with a level, an answer that falls below it is no longer the same."""
    data, none = load_data(trained, "kinds"), np.empty((0, 3))
    shown = Shown(np.arange(0), np.arange(0), [])
    before = np.array([[0.8, 0.1, 0.1], [0.5, 0.3, 0.2], [0.2, 0.7, 0.1]])
    after = np.array([[0.6, 0.3, 0.1], [0.3, 0.4, 0.3], [0.1, 0.8, 0.1]])
    rule = Rule.from_json(
        json.loads((trained.run("kinds", "ensemble-rank") / "ensemble.json").read_text())["rule"]
    )
    said = []
    for level in (None, 0.65):
        judge = Judge(data, None, rule, (), None, shown, shown, {}, none, level)
        said.append(judge._agreement(before, after))
    assert said == [pytest.approx(2 / 3), pytest.approx(2 / 3)]
    judge = Judge(data, None, rule, (), None, shown, shown, {}, none, 0.65)
    assert judge._agreement(before[:1], after[:1]) == 0 and judge._agreement(
        before[1:2], after[1:2]
    )


def figures(**changes) -> Figures:
    usual = {"rows": 9, "test_rows": 0, "oof_agreement": 1.0, "test_agreement": None}
    usual |= {"metric": 0.9, "original_metric": 0.9, "difference": 0.0, "se": 0.0}
    return Figures(**{**usual, "largest_difference": 0.0, **changes})


def test_advice_is_by_the_fault():
    """Check that a lower AGREEMENT is advised only where agreement is what is missing."""
    option = Option(AS_IT_IS, False, "float32")
    metric = [Tried(option, 5.0, figures(difference=-0.1), ("the metric loses 0.1",))]
    assert "AGREEMENT" not in str(none_passes(metric, Limits(10, 0.98)))
    apart = [Tried(option, 5.0, figures(oof_agreement=0.9), ("agreement 0.9",))]
    assert "a lower AGREEMENT (now 0.98)" in str(none_passes(apart, Limits(10, 0.98)))


def test_weights_of_another_run_are_told_at_once(project, monkeypatch):
    """Check that networks which do not say what oof.npz holds end the export after one option."""
    monkeypatch.setattr(Judge, "figures", lambda *_: figures(oof_agreement=0.4))
    said: list[str] = []
    with pytest.raises(PodiumError, match=r"0\.4000 of the answers .* do not belong to it"):
        export(project, "kinds", "a", say=said.append)
    assert not said


def test_the_size_is_that_of_the_folder_and_the_readme_tells_all(project):
    """Check the size that is told, the pictures compared, and the README of other networks."""
    made = export(project, "kinds", "a", say=str)
    size = sum(path.stat().st_size for path in made.folder.rglob("*") if path.is_file()) / 1e6
    assert made.record["mb"] == pytest.approx(size, abs=0.001)
    assert made.record["pixels"]["pictures"] == min(PICTURES, 45)
    model = json.loads((made.folder / MODEL).read_text())
    model["gate"] |= {"test_agreement": 0.9876, "test_rows": 15}
    text = readme(model, made.record)
    assert "On 15 test pictures, 98.76%" in text and "do not say where they looked" in text
