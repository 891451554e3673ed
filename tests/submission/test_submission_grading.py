"""Local grading as a site does it, against metric.score on the arrays themselves."""

import numpy as np
import pandas as pd
import pytest

from pipeline.errors import PodiumError
from pipeline.metrics import standard_error
from pipeline.submission import grade, grade_all, private_se, rows, set_score, write_submission

FORMS = ["name", "onehot", "probability", "names", "binary", "multilabel probability"]


def submitted(contest, source="run"):
    args = (contest.data, contest.ids, contest.answer, contest.probs)
    return write_submission(*args, source=source, cv={}, note="").path


def edited(path, change):
    """Return a copy of a submission with `change` made to its table of text."""
    frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    other = path.with_name("edited.csv")
    change(frame).to_csv(other, index=False)
    return other


@pytest.mark.parametrize("form", FORMS)
def test_grade_equals_the_metric(contest_of, form):
    """Check that what is written and graded scores what metric.score gives for the arrays."""
    contest = contest_of(form)
    scores = grade(contest.data, submitted(contest))
    parts = {"public": contest.public, "private": ~contest.public, "all": contest.public >= 0}
    for part, mask in parts.items():
        wanted = contest.metric.score(contest.truth[mask], contest.guess[mask])
        assert getattr(scores, part) == pytest.approx(wanted, abs=1e-7), part
    assert scores.public != scores.private
    assert (scores.metric, scores.rows_public, scores.rows_private) == (
        contest.metric.name,
        5,
        7,
    )


@pytest.mark.parametrize("form", FORMS)
def test_perfect_answer(contest_of, form):
    """Check that the truth gets the best score there is, so that no row or class is mixed up."""
    contest = contest_of(form)
    truth = contest.truth if contest.truth.ndim == 2 else np.eye(3)[contest.truth]
    write = (contest.data, contest.ids, contest.truth, truth)
    scores = grade(contest.data, write_submission(*write, source="truth").path)
    best = 0 if form == "probability" else 1
    rows_with_labels = 11 / 12 if form == "names" else best  # samples: an empty set scores 0
    assert scores.all == pytest.approx(rows_with_labels, abs=1e-9)


@pytest.mark.parametrize("form", FORMS)
def test_order_of_rows_and_columns_does_not_count(contest_of, form):
    """Check that a shuffled submission and shuffled answers get the same scores."""
    contest = contest_of(form)
    path = submitted(contest)
    wanted = grade(contest.data, path)
    other = edited(path, lambda f: f.sample(frac=1, random_state=4)[f.columns[::-1]])
    contest.edit("answers.csv", lambda f: f.sample(frac=1, random_state=5))
    assert grade(contest.data, other) == wanted


def test_without_usage_everything_is_private(contest_of):
    """Check that answers without a column of usage give no public score."""
    contest = contest_of("name")
    contest.edit("answers.csv", lambda f: f.drop(columns="Usage"))
    scores = grade(contest.data, submitted(contest))
    assert (scores.public, scores.rows_public, scores.rows_private) == (None, 0, 12)
    assert scores.private == scores.all
    grade_all(contest.data)
    assert grade_all(contest.data) == []


def test_hand_made_probabilities_are_scaled(contest_of):
    """Check that a row that does not sum to 1 is scaled, and a row of zeros refused."""
    contest = contest_of("probability")
    path = submitted(contest)
    names = list(contest.data.classes)
    halved = edited(path, lambda f: f.assign(**{n: f[n].astype(float) / 2 for n in names}))
    assert grade(contest.data, halved).all == pytest.approx(grade(contest.data, path).all, abs=1e-9)
    with pytest.raises(PodiumError, match=r"row 2: .* sum to 0"):
        grade(contest.data, edited(path, lambda f: f.assign(**dict.fromkeys(names, "0"))))


def cell(column, value, row=3):
    def change(frame):
        frame.loc[row, column] = value
        return frame

    return change


@pytest.mark.parametrize(
    ("form", "change", "message"),
    [
        ("name", cell("label", "dgo"), "row 5, column 'label': 'dgo' is not one of"),
        ("name", cell("label", ""), "row 5, column 'label': '' is not one of"),
        ("name", cell("id", "zz"), "row 5: id 'zz' is unknown"),
        ("name", cell("id", ""), "row 5, column 'id' is blank"),
        ("name", lambda f: f.iloc[1:], "1 of 12 ids are missing"),
        ("name", lambda f: pd.concat([f, f.iloc[:1]]), "row 14, .* stands twice"),
        ("name", lambda f: f.rename(columns={"label": "tag"}), "its columns are id,tag"),
        ("name", lambda f: f.assign(more="1"), "its columns are id,label,more"),
        ("names", cell("tags", "dog;cat"), "'cat' is not one of"),
        ("binary", cell("dog", "0.3"), "row 5, column 'dog' is '0.3', not 0 or 1"),
        ("onehot", cell("dog", "x"), "row 5, column 'dog' is 'x', not 0 or 1"),
        ("onehot", lambda f: f.assign(dog="1", NA="1"), "must sum to 1: one class per row"),
        ("probability", cell("dog", "nan"), "is 'nan', not a probability"),
        ("probability", cell("dog", "inf"), "is 'inf', not a probability"),
        ("probability", cell("dog", "1.01"), "row 5, column 'dog' is '1.01'"),
        ("multilabel probability", cell("dog", ""), "is '', not a probability"),
    ],
)
def test_bad_submission_is_refused(contest_of, form, change, message):
    """Check that a site's refusals name file, row, column and value."""
    contest = contest_of(form)
    path = edited(submitted(contest), change)
    with pytest.raises(PodiumError, match=message) as raised:
        grade(contest.data, path)
    assert str(path) in str(raised.value)


@pytest.mark.parametrize("line", ["12", "12,dog,dog"])
def test_odd_number_of_fields_is_refused(contest_of, line):
    """Check that a short or long row is refused, where pandas fills in or shifts."""
    contest = contest_of("names")
    path = submitted(contest)
    lines = [line if text.startswith("12,") else text for text in path.read_text().splitlines()]
    path.write_text("\n".join(lines))
    with pytest.raises(PodiumError, match=r"fields"):
        grade(contest.data, path)


def test_all_rows_too_long_are_refused(contest_of):
    """Check that a surplus field in every row does not become an index."""
    contest = contest_of("names")
    path = submitted(contest)
    head, *lines = path.read_text().splitlines()
    path.write_text("\n".join([head, *("0," + line for line in lines)]))
    with pytest.raises(PodiumError, match="row 2 has 3 fields, the header has 2"):
        grade(contest.data, path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (cell("Usage", "public"), "row 5, column 'Usage' is 'public'"),
        (lambda f: f.assign(Usage="Public"), "every row of 'Usage' is Public"),
        (cell("label", "cat"), "'cat' is not one of"),
        (lambda f: f.iloc[1:], "1 of 12 ids are missing"),
        (lambda f: f.drop(columns="label"), "no column 'label'"),
    ],
)
def test_bad_answers_are_refused(contest_of, change, message):
    """Check that a fault of the answers is told as such, naming their file."""
    contest = contest_of("name")
    path = submitted(contest)
    contest.edit("answers.csv", change)
    with pytest.raises(PodiumError, match=f"answers.csv: .*{message}"):
        grade(contest.data, path)


def test_without_answers_the_score_is_entered_by_hand(contest_of):
    """Check that a competition without answers says what to type."""
    contest = contest_of("name")
    contest.configure(tables={"answers": None})
    with pytest.raises(PodiumError, match=r"make score COMP=tiny SCORE=0\.74"):
        grade_all(contest.data)


def test_grade_all_fills_the_ledger_once(contest_of):
    """Check that all rows get scores, that a second run does nothing, and hand scores stay."""
    contest = contest_of("name")
    first, project = submitted(contest, "a"), contest.data.project
    submitted(contest, "b")
    set_score(project, "tiny", "b", public=0.125)
    graded = grade_all(contest.data)
    wanted = grade(contest.data, first)
    a, b = rows(project, "tiny")
    assert [row.number for row, _ in graded] == [1, 2]
    assert [scores for _, scores in graded] == [wanted, wanted]
    assert (a.value("public"), a.value("private")) == (wanted.public, wanted.private)
    assert (b.public, b.value("private"), b.note) == ("0.125", wanted.private, "by hand")
    before = project.ledger("tiny").read_bytes()
    assert grade_all(contest.data) == []
    assert project.ledger("tiny").read_bytes() == before


def test_one_bad_file_does_not_stop_the_others(contest_of):
    """Check that a removed or changed file is named after the rest has been graded."""
    contest = contest_of("name")
    first, second, _ = (submitted(contest, name) for name in "abc")
    first.unlink()
    second.write_text(second.read_text() + "\n")
    with pytest.raises(PodiumError, match=r"001-a\.csv: no such file; make it again"):
        grade_all(contest.data)
    assert [bool(row.private) for row in rows(contest.data.project, "tiny")] == [False, False, True]
    submitted(contest, "a")
    with pytest.raises(PodiumError, match=r"002-b\.csv: was changed"):
        grade_all(contest.data)


def test_private_se_resamples_private_rows(contest_of):
    """Check that the error is the bootstrap's of the private rows alone, in groups if named."""
    contest = contest_of("name")
    path, mask = submitted(contest), ~contest.public
    args = (contest.metric, contest.truth[mask], contest.answer[mask])
    assert private_se(contest.data, path) == standard_error(*args)

    groups = {one: f"g{i // 2}" for i, one in enumerate(contest.ids.tolist())}
    wanted = standard_error(*args, groups=np.array(list(groups.values()))[mask])
    assert wanted != standard_error(*args)
    contest.edit("train.csv", lambda f: f.assign(patient="p"))
    contest.configure(columns={"group": "patient"})
    assert private_se(contest.data, path) == standard_error(*args)  # neither table has groups
    contest.edit("test.csv", lambda f: f.assign(patient=f["id"].map(groups)))
    assert private_se(contest.data, path) == wanted
    contest.edit("test.csv", lambda f: f.drop(columns="patient"))
    contest.edit("answers.csv", lambda f: f.assign(patient=f["id"].map(groups)))
    assert private_se(contest.data, path) == wanted
