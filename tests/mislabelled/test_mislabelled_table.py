"""`label-errors.csv`: written again it keeps what was filled in."""

import csv

import numpy as np
import pytest

from pipeline.errors import PodiumError
from pipeline.mislabelled import candidates, table_path, write_table


def lines_of(path):
    with open(path, newline="") as handle:
        return list(csv.DictReader(handle))


def rewrite(path, lines):
    with open(path, "w", newline="") as handle:
        table = csv.DictWriter(handle, lines[0])
        table.writeheader()
        table.writerows(lines)


def judged(tiny, run):
    return write_table(tiny.data, candidates(tiny.data, tiny.folds(), run))


@pytest.mark.parametrize("task", ["multiclass", "multilabel"])
def test_corrections_are_kept(make_tiny, task):
    """Check that filled cells stay by id and class where another run lists other candidates, and
    that those of no candidate come last with all that is known of them."""
    tiny = make_tiny(task=task, rows=60)
    tiny.folds()
    tiny.fake_run("a", skill=1)
    tiny.fake_run("b", skill=1)
    path = judged(tiny, "a").path
    assert path == table_path(tiny.data)
    lines = lines_of(path)
    for line in lines:
        line["corrected"] = line["suggested"]
    rewrite(path, lines)
    wanted = {(line["id"], line.get("class", "")): line["corrected"] for line in lines}
    written = judged(tiny, "b")
    after = lines_of(path)
    listed = {(one.id, one.name) for one in candidates(tiny.data, tiny.folds(), "b").rows}
    kept = {(line["id"], line.get("class", "")): line["corrected"] for line in after}
    assert {key: said for key, said in kept.items() if said} == wanted
    assert kept.keys() == wanted.keys() | listed and len(after) == len(kept)
    assert written.answered == len(wanted) and written.beside == len(wanted.keys() - listed) > 0
    labels = {(line["id"], line.get("class", "")): line["label"] for line in lines}
    for line in after[-written.beside :]:
        key = line["id"], line.get("class", "")
        assert key not in listed and line["label"] == labels[key] and line["image"]
        assert line["suggested"] == line["score"] == ""


@pytest.mark.parametrize("task", ["multiclass", "multilabel"])
def test_columns_of_ones_own_are_carried_along(make_tiny, task):
    """Check that a remark stays by id and class, with a correction or without, also where its line
    is no candidate any more."""
    tiny = make_tiny(task=task, rows=60)
    tiny.folds()
    tiny.fake_run("a", skill=1)
    tiny.fake_run("b", skill=1)
    path = judged(tiny, "a").path
    lines = [line | {"my note": f"seen {n}" if n % 2 else ""} for n, line in
             enumerate(lines_of(path))]  # fmt: skip
    lines[1]["corrected"] = lines[1]["suggested"]
    rewrite(path, lines)

    def notes(lines):
        return {(one["id"], one.get("class")): one["my note"] for one in lines if one["my note"]}

    judged(tiny, "b")
    after = lines_of(path)
    assert notes(after) == notes(lines) and len(notes(after)) == len(lines) // 2
    listed = {(one.id, one.name or None) for one in candidates(tiny.data, tiny.folds(), "b").rows}
    assert notes(lines).keys() - listed  # some are no candidates any more
    content = path.read_bytes()
    judged(tiny, "b")
    assert path.read_bytes() == content


def test_a_doubted_correction_is_told(make_tiny):
    """Check that where a run contradicts a correction, the reason names it."""
    tiny = make_tiny(rows=60)
    tiny.folds()
    tiny.fake_run("a", skill=5)
    row = int(np.flatnonzero(tiny.folds().fold >= 0)[0])
    name, now = tiny.data.train.ids[row], tiny.data.labels[row]
    wrong = tiny.data.classes[(now + 1) % 3]
    (tiny.root / "mine.csv").write_text(f"id,corrected\n{name},{wrong}\n")
    right = tiny.data.labels
    tiny.configure(corrections="mine.csv")
    hot = np.full((len(right), 3), 0.05)
    hot[np.arange(len(right)), right] = 0.9
    tiny.fake_run("c", probs={"oof": hot[tiny.folds().fold >= 0]})
    line = {one["id"]: one for one in lines_of(judged(tiny, "c").path)}[name]
    assert line["suggested"] == line["label"] == tiny.data.classes[now]
    assert line["reason"].startswith(f"against your correction to {wrong}; ")


def test_written_twice_it_is_the_same(make_tiny):
    """Check that nothing changes where nothing has, with corrections or without."""
    tiny = make_tiny(rows=60)
    tiny.folds()
    tiny.fake_run("a", skill=1)
    path = judged(tiny, "a").path
    first = path.read_bytes()
    assert judged(tiny, "a").path.read_bytes() == first
    lines = lines_of(path)
    lines[1]["corrected"] = "drop"
    lines.append({"id": "nobody", "corrected": "cat"})  # what a person writes is never thrown away
    rewrite(path, lines)
    judged(tiny, "a")
    again = path.read_bytes()
    judged(tiny, "a")
    assert path.read_bytes() == again
    kept = {line["id"]: line["corrected"] for line in lines_of(path) if line["corrected"]}
    assert kept == {lines[1]["id"]: "drop", "nobody": "cat"}


def test_what_is_applied_is_listed_by_the_labels_of_the_table(make_tiny):
    """Check that a file in use, judged by a run on the corrected labels, is still taken."""
    tiny = make_tiny(rows=60)
    tiny.folds()
    tiny.fake_run("a", skill=1)
    path = judged(tiny, "a").path
    lines = lines_of(path)
    lines[0]["corrected"] = lines[0]["suggested"]
    rewrite(path, lines)
    tiny.configure(corrections=str(path.relative_to(tiny.root)))
    tiny.fake_run("c", skill=0)
    judged(tiny, "c")
    after = {line["id"]: line for line in lines_of(path)}[lines[0]["id"]]
    assert (after["label"], after["corrected"]) == (lines[0]["label"], lines[0]["corrected"])
    assert len(tiny.data.corrections.after) == 1


def test_a_file_that_cannot_be_merged_is_left_alone(make_tiny):
    """Check that two answers to one row, or a broken file, are refused and nothing is written."""
    tiny = make_tiny(rows=60)
    tiny.folds()
    tiny.fake_run("a", skill=1)
    path = judged(tiny, "a").path
    for content, words in (
        ("id,corrected\n001,cat\n001,dog\n", "row 3: '001' is corrected to 'dog' here"),
        ("id,fixed\n001,cat\n", "no column 'corrected'"),
    ):
        path.write_text(content)
        with pytest.raises(PodiumError, match=words):
            judged(tiny, "a")
        assert path.read_text() == content


def test_scores_are_written_as_ranked(make_tiny):
    """Check that the file has the candidates worst first."""
    tiny = make_tiny(rows=60)
    tiny.folds()
    tiny.fake_run("a", skill=1)
    scores = [float(line["score"]) for line in lines_of(judged(tiny, "a").path)]
    assert scores == sorted(scores) and np.ptp(scores) > 0
