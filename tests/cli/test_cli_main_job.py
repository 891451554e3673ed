"""The whole main job through the command line, twice; and what answers may and may not change."""

import csv
import json
import shutil

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score

from pipeline.artifacts.predictions import Predictions

JOB = {
    "folds": ("folds", "--comp", "tiny", "--folds", "2"),
    "train": ("train", "--comp", "tiny", "--arch", "lenet simple-cnn"),
    "ensemble": ("ensemble", "--comp", "tiny"),
    "submit": ("submit", "--comp", "tiny"),
    "score": ("score", "--comp", "tiny"),
    "leaderboard": ("leaderboard", "--comp", "tiny"),
}
AGAIN = {
    "folds": "there already, unchanged",
    "train": "nothing to train",
    "ensemble": "there already, unchanged",
    "submit": "there already, unchanged",
    "score": "nothing new to grade",
}
CLOCK = ("seconds", "images_per_second", "created", "time")  # what differs from run to run


def run_job(podium, root, verbs=tuple(JOB)) -> dict[str, str]:
    """Run verbs of the main job; return what each printed."""
    printed = {}
    for verb in verbs:
        result = podium(root, *JOB[verb])
        assert (result.status, result.err) == (0, ""), verb
        printed[verb] = result.out
    return printed


def ledger(root) -> list[dict[str, str]]:
    with open(root / "submissions" / "tiny" / "ledger.csv", newline="") as handle:
        return list(csv.DictReader(handle))


def timeless(content):
    """Return JSON without the keys that hold a time."""
    if isinstance(content, dict):
        return {key: timeless(value) for key, value in content.items() if key not in CLOCK}
    return [timeless(one) for one in content] if isinstance(content, list) else content


PICTURES = ("leaderboard.png",)  # of scores


def artefacts(root) -> dict[str, object]:
    """Return every artefact below runs, folds and submissions, its times and scores taken out."""
    found: dict[str, object] = {}
    for folder in ("experiments/runs", "folds", "submissions"):
        for path in sorted((root / folder).rglob("*")):
            name = str(path.relative_to(root))
            if path.name == "ledger.csv":
                scores = (*CLOCK, "public", "private")
                rows = [{k: v for k, v in row.items() if k not in scores} for row in ledger(root)]
                found[name] = rows
            elif path.suffix == ".json":
                found[name] = timeless(json.loads(path.read_text()))
            elif path.name == "history.csv":
                found[name] = pd.read_csv(path).drop(columns=list(CLOCK[:2])).to_dict("list")
            elif path.is_file() and path.suffix != ".lock" and path.name not in PICTURES:
                found[name] = path.read_bytes()
    return found


def test_the_main_job_twice(tiny, podium, snapshot):
    """Check scores against scikit-learn, and that a second run changes nothing and says so."""
    first = run_job(podium, tiny.root)
    runs = tiny.root / "experiments" / "runs" / "tiny"
    made = {"lenet-baseline", "simple-cnn-baseline", "ensemble-all"}
    there = {path.name for path in runs.iterdir() if path.name[0] != "."}
    assert there == made | {"leaderboard.png"}
    data = tiny.data
    for name in made - {"ensemble-all"}:
        oof = Predictions.load(runs / name / "oof.npz")
        record = json.loads((runs / name / "run.json").read_text())
        assert oof.ids.tolist() == data.train.ids.tolist()
        assert record["oof_score"] == accuracy_score(data.labels, oof.probs.argmax(axis=1))
        assert name in first["leaderboard"] and name in first["train"]
        assert f"{record['oof_score']:.4f}" in first["train"]

    (row,) = ledger(tiny.root)
    assert row["source"] == "ensemble-all" and "make score" in first["submit"]
    answers = pd.read_csv(tiny.root / "data/tiny/answers.csv", dtype=str)
    submission = pd.read_csv(tiny.root / row["file"], dtype=str)
    assert submission["id"].tolist() == answers["id"].tolist()
    right = submission["label"] == answers["label"]
    for column in ("public", "private"):
        rows = answers["Usage"] == column.title()
        assert float(row[column]) == right[rows].mean()
        assert f"{right[rows].mean():.4f}" in first["leaderboard"]

    before = snapshot(tiny.root)
    second = run_job(podium, tiny.root)
    assert snapshot(tiny.root) == before
    for verb, words in AGAIN.items():
        assert words in second[verb], verb
    assert second["train"].count("nothing to train") == 2
    assert second["leaderboard"] == first["leaderboard"]


def test_answers_change_nothing_but_the_scores(tiny, podium, tmp_path):
    """Check that after the answers were replaced by other labels, and even without any, the job
    from nothing makes every artefact as before: only the ledger's scores differ.
    """
    copies = {name: tmp_path / name for name in ("other", "none")}
    for root in copies.values():
        shutil.copytree(tiny.root, root)
    table = pd.read_csv(tiny.root / "data/tiny/answers.csv", dtype=str)
    other = table.assign(label=table["label"].map({"cat": "dog", "dog": "owl", "owl": "cat"}))
    other.to_csv(copies["other"] / "data/tiny/answers.csv", index=False)
    (copies["none"] / "data/tiny/answers.csv").unlink()

    roots = {"as it was": tiny.root, **copies}
    for name, root in roots.items():
        run_job(podium, root, [v for v in JOB if name != "none" or v != "score"])
    expected = artefacts(tiny.root)
    assert any(name.endswith("model.safetensors") for name in expected)
    for root in copies.values():
        found = artefacts(root)
        assert list(found) == list(expected)
        assert [name for name in expected if found[name] != expected[name]] == []
    scores = {name: [ledger(r)[0][c] for c in ("public", "private")] for name, r in roots.items()}
    assert scores["none"] == ["", ""] and scores["other"] != scores["as it was"]
    assert all(scores["as it was"])


def test_one_fold_first_then_the_rest(tiny, podium):
    """Check ONLY=0, and that the same command without it trains what is missing, no more."""
    run_job(podium, tiny.root, ["folds"])
    one = podium(tiny.root, *JOB["train"][:3], "--arch", "lenet", "--only", "0")
    assert one.status == 0 and "1 of 2 folds to train" in one.out and "without ONLY" in one.out
    refused = podium(tiny.root, *JOB["ensemble"])
    assert refused.status == 2 and "missing folds: 1" in refused.err
    first = tiny.run("lenet-baseline") / "fold-0" / "model.safetensors"
    before = first.read_bytes(), first.stat().st_mtime_ns
    rest = podium(tiny.root, *JOB["train"][:3], "--arch", "lenet")
    assert rest.status == 0 and "1 of 2 folds to train" in rest.out
    assert (first.read_bytes(), first.stat().st_mtime_ns) == before
    assert podium(tiny.root, *JOB["ensemble"]).status == 0


def test_fresh_and_other_recipes(tiny, podium):
    """Check that FRESH=1 trains anew to the same bits, and SET and SEED are runs of their own."""
    arguments = ("train", "--comp", "tiny", "--arch", "lenet")
    run_job(podium, tiny.root, ["folds"])
    assert podium(tiny.root, *arguments).status == 0
    path = tiny.run("lenet-baseline") / "oof.npz"
    before = path.read_bytes()
    fresh = podium(tiny.root, *arguments, "--fresh")
    assert "2 of 2 folds to train" in fresh.out and path.read_bytes() == before
    seeds = podium(tiny.root, *arguments, "--seed", "0 1", "--set", "optimizer.lr=0.001")
    assert seeds.status == 0
    names = sorted(p.name for p in path.parents[1].iterdir() if p.name.startswith("lenet"))
    assert len(names) == 3 and names[0].startswith("lenet-baseline")
    assert sum("-s1-" in name for name in names) == 1
    probs = [Predictions.load(path.parents[1] / name / "oof.npz").probs for name in names]
    assert not np.array_equal(probs[0], probs[1]) and not np.array_equal(probs[1], probs[2])
    made = podium(tiny.root, *JOB["ensemble"])
    assert made.status == 0 and made.out.count("+lenet-baseline") + made.out.count("-s1-") >= 1


def test_a_score_by_hand(tiny, podium):
    """Check that SCORE enters the newest submission's public score, or that of FROM's."""
    tiny.fake_run("a")
    tiny.fake_run("b", skill=3)
    for name in ("a", "b"):
        assert podium(tiny.root, "submit", "--comp", "tiny", "--from", name).status == 0
    assert podium(tiny.root, "score", "--comp", "tiny", "--score", "0.7405").status == 0
    entered = podium(tiny.root, "score", "--comp", "tiny", "--score", "0.5", "--from", "a")
    assert "number 1, a: public 0.5" in entered.out
    assert [row["public"] for row in ledger(tiny.root)] == ["0.5", "0.7405"]


@pytest.mark.parametrize("metric", ["log_loss", "f1_macro"])
def test_other_metrics_through_the_command_line(make_tiny, podium, metric):
    """Check that metrics of probabilities and of labels are ensembled, submitted and scored."""
    tiny = make_tiny(metric=metric)
    for name in ("a", "b"):
        tiny.fake_run(name)
    run_job(podium, tiny.root, ["ensemble", "submit", "score", "leaderboard"])
    (row,) = ledger(tiny.root)
    assert np.isfinite(float(row["private"]))
