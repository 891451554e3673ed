"""The submission file: its form, and every check before it is written."""

import csv
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from pipeline.errors import PodiumError
from pipeline.submission import frame_for, sample_of, validate, write_submission

FORMS = ["name", "onehot", "probability", "names", "binary", "multilabel probability"]


def write(contest, source="run", **change):
    given = {"ids": contest.ids, "answer": contest.answer, "probs": contest.probs, **change}
    return write_submission(contest.data, **given, source=source)


def frame_of(contest, **change):
    given = {"ids": contest.ids, "answer": contest.answer, "probs": contest.probs, **change}
    return frame_for(contest.data, **given)


@pytest.mark.parametrize("form", FORMS)
def test_frame_follows_the_sample(contest_of, form):
    """Check that columns, ids and their order are the sample's, and each value its id's."""
    contest = contest_of(form)
    frame = frame_of(contest)
    sample = sample_of(contest.data)
    assert tuple(frame.columns) == sample.columns
    assert frame["id"].tolist() == sample.ids.tolist() != contest.ids.tolist()
    classes = contest.data.classes
    for row in frame.to_dict("records"):
        place = contest.ids.tolist().index(row["id"])
        answer, probs = contest.answer[place], contest.probs[place]
        if form == "name":
            assert row["label"] == classes[answer]
        elif form == "names":
            assert row["tags"] == ";".join(n for n, on in zip(classes, answer, strict=True) if on)
        elif form == "onehot":
            assert [row[name] for name in classes] == [int(i == answer) for i in range(3)]
        else:
            wanted = answer if form == "binary" else probs
            assert [row[name] for name in classes] == pytest.approx(wanted.tolist(), abs=1e-6)


@pytest.mark.parametrize("form", FORMS)
def test_order_of_the_answers_does_not_count(contest_of, form):
    """Check that the same answers in another order make the same bytes, hence no new file."""
    contest = contest_of(form)
    first = write(contest)
    order = np.random.default_rng(0).permutation(len(contest.ids))
    again = write(
        contest,
        ids=contest.ids[order],
        answer=contest.answer[order],
        probs=contest.probs[order],
    )
    assert (first.made, again.made, again.number) == (True, False, first.number)


def test_ids_and_names_survive_as_text(contest_of):
    """Check that leading zeros, NA, commas and quotes reach the file as they are."""
    contest = contest_of("name")
    with open(write(contest).path, newline="", encoding="utf-8") as handle:
        written = dict(list(csv.reader(handle))[1:])
    names = [contest.data.classes[i] for i in contest.answer]
    assert written == dict(zip(contest.ids.tolist(), names, strict=True))


def test_probabilities_are_normalised(contest_of):
    """Check that multi-class rows are scaled to 1, and multi-label rows are left alone."""
    contest = contest_of("probability")
    frame = frame_of(contest, probs=contest.probs / 3)
    assert np.allclose(frame[list(contest.data.classes)].sum(axis=1), 1, atol=1e-12)


def test_multilabel_probabilities_stay(contest_of):
    """Check that multi-label probabilities are written digit for digit."""
    contest = contest_of("multilabel probability")
    read = pd.read_csv(write(contest).path, dtype=str, keep_default_na=False).set_index("id")
    values = read.loc[contest.ids.tolist(), list(contest.data.classes)].to_numpy().astype("f4")
    assert np.array_equal(values, contest.probs)


@pytest.mark.parametrize(
    ("form", "key", "value", "message"),
    [
        ("probability", "probs", np.nan, "has nan, not a probability"),
        ("probability", "probs", 1.5, "id '0', class 'dog' has 1.5"),
        ("multilabel probability", "probs", -0.1, "has -0.1"),
        ("multilabel probability", "probs", np.inf, "has inf"),
        ("binary", "answer", 2, "id '0', class 'dog' has 2, not 0 or 1"),
        ("names", "answer", -1, "not 0 or 1"),
        ("name", "answer", -1, "id '0' has -1, not a class index from 0 to 2"),
        ("onehot", "answer", 3, "has 3, not a class index"),
    ],
)
def test_impossible_answers_are_named(contest_of, form, key, value, message):
    """Check that a value out of range is refused with its id, and nothing is written."""
    contest = contest_of(form)
    values = getattr(contest, key).copy()
    values[(2, 2) if values.ndim == 2 else 2] = value
    with pytest.raises(PodiumError, match=message):
        write(contest, **{key: values})
    assert not contest.data.project.submissions("tiny").exists()


def test_row_of_zeros_is_named(contest_of):
    """Check that a row that cannot be scaled to 1 is refused."""
    contest = contest_of("probability")
    probs = contest.probs.copy()
    probs[4] = 0
    with pytest.raises(PodiumError, match="probability 0 for every class"):
        frame_of(contest, probs=probs)


def test_missing_and_repeated_ids_are_named(contest_of):
    """Check that a test id without an answer, or with two, is named."""
    contest = contest_of("name")
    with pytest.raises(PodiumError, match="no answer for 2 of 12 test ids, first '7'"):
        frame_of(
            contest, ids=np.delete(contest.ids, [1, 9]), answer=np.delete(contest.answer, [1, 9])
        )
    with pytest.raises(PodiumError, match="'007' is answered twice"):
        frame_of(contest, ids=np.where(contest.ids == "7", "007", contest.ids))


def test_sample_of_another_test_table_is_refused(contest_of):
    """Check that foreign, missing and repeated ids of the sample are named with the file."""
    contest = contest_of("name")
    contest.edit("sample_submission.csv", lambda f: f.assign(id=f["id"].replace("7", "8")))
    with pytest.raises(PodiumError, match=r"sample_submission.csv: row \d+: id '8' is unknown"):
        contest.reload()
    contest.edit("sample_submission.csv", lambda f: f[f["id"] != "8"])
    with pytest.raises(PodiumError, match="1 of 12 ids are missing, first '7'"):
        contest.reload()
    contest.edit("sample_submission.csv", lambda f: pd.concat([f, f.iloc[:1]]))
    with pytest.raises(PodiumError, match="stands twice"):
        contest.reload()


def test_class_columns_of_the_sample_are_checked(contest_of):
    """Check that an unknown, a missing and a repeated class column are named."""
    contest = contest_of("binary")
    path = contest.folder / "sample_submission.csv"
    text = path.read_text()
    path.write_text(text.replace("dog", "dgo", 1))
    with pytest.raises(PodiumError, match=r"column 'dgo' is not a class \(did you mean dog"):
        contest.reload()
    path.write_text(text.replace("dog", "NA", 1))
    with pytest.raises(PodiumError, match="column 'NA' stands twice"):
        contest.reload()
    path.write_text(text)
    contest.edit("sample_submission.csv", lambda f: f.drop(columns="dog"))
    with pytest.raises(PodiumError, match="no column for class 'dog'"):
        contest.reload()
    contest.edit("sample_submission.csv", lambda f: f[["id"]])
    with pytest.raises(PodiumError, match="no column beside the id"):
        contest.reload()


def test_one_column_cannot_hold_probabilities(contest_of):
    """Check that a metric of probabilities with a sample of one column is not guessed at."""
    contest = contest_of("name")
    with pytest.raises(PodiumError, match="'log_loss' needs a probability per class"):
        contest.configure(metric="log_loss")


def test_class_that_holds_the_separator_is_refused(contest_of):
    """Check that names which would not come apart again are not joined."""
    contest = contest_of("binary")
    contest.edit("sample_submission.csv", lambda f: f[["id"]].assign(tags=""))
    with pytest.raises(PodiumError, match="cannot be joined by the separator ' '"):
        contest.reload()
    contest.configure(columns={"separator": ";"})
    assert frame_of(contest)["tags"].str.contains('big, "red"', regex=False).any()


def test_validate_refuses_what_a_site_would(contest_of):
    """Check that columns, ids, blanks, labels and sums of a table are each refused."""
    contest = contest_of("probability")
    sample, frame = sample_of(contest.data), frame_of(contest)
    validate(frame, sample, contest.data)
    worse = {
        "keep the sample's columns": frame[["id", *contest.data.classes]],
        "keep the sample's ids": frame.iloc[::-1],
        "first in row 13": frame.iloc[:-1],
        "'dog' is '', not a probability": frame.assign(dog=np.nan),
        "'dog' is 'inf', not a probability": frame.assign(dog=np.inf),
        "sum to ": frame.assign(dog=frame["dog"] / 2),
    }
    for message, bad in worse.items():
        with pytest.raises(PodiumError, match=message):
            validate(bad, sample, contest.data)


@pytest.mark.parametrize(
    ("form", "value", "message"),
    [
        ("name", "", "'' is not one of the 3 classes"),
        ("name", "dgo", r"did you mean dog"),
        ("names", "dog;cat", "'cat' is not one of the 3 classes"),
        ("onehot", 1, "sum to 3, but must sum to 1"),
        ("binary", 0.5, "is '0.5', not 0 or 1"),
    ],
)
def test_validate_knows_each_form(contest_of, form, value, message):
    """Check that every form refuses what it cannot hold."""
    contest = contest_of(form)
    frame = frame_of(contest)
    bad = frame.assign(**dict.fromkeys(frame.columns[1:], value))
    with pytest.raises(PodiumError, match=message):
        validate(bad, sample_of(contest.data), contest.data)


def test_name_that_csv_cannot_hold_is_refused(contest_of):
    """Check that the text is read back before it is written: a bare carriage return ends a row."""
    contest = contest_of("name")
    contest.data = replace(contest.data, classes=("NA", "b", "do\rg"))
    with pytest.raises(PodiumError, match="submission for sample_submission"):
        write(contest)
    assert not contest.data.project.submissions("tiny").exists()
