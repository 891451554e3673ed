"""Rows of the ledger as points: what counts, what counts once, what is left out."""

from ledger_rows import noise_of, row

from pipeline.leaderboard.analysis import Size, analyse
from pipeline.leaderboard.points import points_of


def test_the_same_file_counts_once():
    """Check that the first row stands for a file, with whichever score any of its rows has."""
    same = {"sha256": "x"}
    rows = [row(1, "", "", **same), row(2, 0.9, "", **same), row(3, 0.8, 0.7, private=0.6, **same)]
    found = points_of([*rows, row(4, 0.5, 0.4)])
    assert [(p.number, p.cv, p.public, p.private) for p in found.found] == [
        (2, 0.9, 0.7, 0.6),
        (4, 0.5, 0.4, None),
    ]
    assert found.repeated == {1: 2, 3: 2} and not found.without


def test_what_lacks_a_score_is_named():
    """Check that no honest score leaves a row out, and no error or one of 0 out of the analysis."""
    found = points_of(
        [row(1, "", 0.5), row(2, 0.5, 0.5, ""), row(3, 0.5, 0.5, 0.0), row(4, 0.5, "")]
    )
    assert [(point.number, point.se) for point in found.found] == [(2, 0.0), (3, 0.0), (4, 0.01)]
    assert analyse(found.found, noise_of(found.found, 0.5), Size(100, 50, True, "")) is None
    assert found.without == {
        1: "has no honest score",
        2: "has no standard error above 0",
        3: "has no standard error above 0",
    }


def test_what_came_into_a_note_later_is_no_part_of_the_decision():
    """Check that the kind of a row is its source and decision."""
    later = "mean of 2; argmax; by hand; kaggle 12; against a: lr 1->2: +0.1 ± 0.1 keep"
    before, after = points_of(
        [row(1, 1, 1, note="mean of 2; argmax"), row(2, 1, 1, note=later)]
    ).found
    assert before.kind == ("run1", "mean of 2; argmax")
    assert after.kind[1] == before.kind[1]
