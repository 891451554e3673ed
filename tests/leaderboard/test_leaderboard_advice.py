"""The final two picks: what is picked, and that it is never the same thing twice."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ledger_rows import noise_of, row

from pipeline.leaderboard.advice import advise, differing
from pipeline.leaderboard.analysis import Size, analyse
from pipeline.leaderboard.points import points_of


def picks(entries, *, sign=1, distance=lambda a, b: None, rho=0.5, known=True):
    points = points_of(entries).found
    noise = noise_of(points, rho)
    return advise(points, noise, analyse(points, noise, Size(1000, 300, known, "")), sign, distance)


def numbers(entries, **options) -> list[int]:
    return [pick.point.number for pick in picks(entries, **options)]


def test_the_first_pick_is_the_best_honest_score():
    """Check it in both directions, whatever the leaderboard says."""
    rows = [row(1, 0.90, 0.99), row(2, 0.95, 0.90), row(3, 0.80, 0.95)]
    assert numbers(rows)[0] == 2 and numbers(rows, sign=-1)[0] == 3


def test_the_hedge_is_the_most_different_of_those_as_good():
    """Check that distance decides among those within a standard error, and among these alone."""
    rows = [row(n, cv, "") for n, cv in ((1, 0.950), (2, 0.948), (3, 0.945), (4, 0.80))]
    apart = {2: 0.01, 3: 0.07, 4: 0.9}
    made = picks(rows, distance=lambda a, b: apart[b.number])
    assert [pick.point.number for pick in made] == [1, 3]
    assert "7.0 % of its answers differ from 001's, the most of 2" in made[1].reason


def test_shared_noise_decides_who_is_as_good():
    """Check that a shortfall that is small against one error is large against the paired one."""
    rows = [row(1, 0.950, ""), row(2, 0.945, "")]
    loose, tight = (picks(rows, rho=rho, distance=lambda a, b: 0.1)[1] for rho in (0.0, 0.99))
    assert "as good within a standard error" in loose.reason
    assert tight.reason.startswith("the next best honest score") and tight.point.number == 2


def test_where_both_disagree_the_leaderboard_picks_the_second():
    """Check that a public score far above its band is picked though others are as good by CV."""
    rows = [row(n, 0.9 + n / 1000, 0.9 + n / 1000) for n in range(1, 7)]
    odd = [*rows, row(7, 0.85, 0.99)]
    made = picks(odd, distance=lambda a, b: 0.5)
    assert [pick.point.number for pick in made] == [6, 7]
    assert (
        made[1].reason.startswith("the best public score, 0.9900, since")
        and "p 0.0" in made[1].reason
    )
    assert numbers(odd, distance=lambda a, b: 0.5, known=False)[1] != 7


def test_the_words_are_those_of_the_table():
    """Check that the chance is that of the outlier, and that a better public score of the first
    pick's own kind is not passed over in silence."""
    rows = [row(n, 0.9 + n / 1000, 0.9 + n / 1000) for n in range(1, 7)]
    rows += [row(7, 0.85, 0.94), row(8, 0.905, 0.99, source="run6")]
    points = points_of(rows).found
    found = analyse(points, noise_of(points, 0.5), Size(1000, 300, True, ""))
    second = picks(rows)[1]
    assert second.point.number == 7
    assert "the best public score of another source or decision than 006's" in second.reason
    assert f"(p {found.band.p.min():.4f})" in second.reason


def test_a_tie_is_broken_by_the_public_score():
    """Check it where lower is better, too, and that a score that is not known is not the best."""
    assert numbers([row(1, 0.3, ""), row(2, 0.3, 0.5), row(3, 0.3, 0.4)], sign=-1)[0] == 3
    assert numbers([row(1, 0.9, ""), row(2, 0.9, 0.5), row(3, 0.9, 0.4)])[0] == 2


def test_the_error_of_a_difference():
    """Check that one of 0 counts as 0, and one that is not known as that of independent scores."""
    rows = [row(1, 0.950, ""), row(2, 0.9495, "")]
    assert picks(rows, rho=1.0)[1].reason.startswith("the next best honest score")
    apart = [row(1, 0.950, ""), row(2, 0.937, "")]  # 0.01 < 0.013 < 0.01 * sqrt(2)
    assert "as good within a standard error" in picks(apart, rho=np.nan)[1].reason


def test_scores_by_other_labels_are_not_compared_in_silence():
    """Check that a pick says whose score is by other labels."""
    points = points_of([row(1, 0.95, ""), row(2, 0.94, ""), row(3, 0.93, "")]).found
    noise = replace(noise_of(points, 0.5), labels={1: "old", 2: "new", 3: "old"})
    first, second = advise(points, noise, None, 1, lambda a, b: None)
    assert "by other labels than those of 002, so that they cannot be compared" in first.reason
    assert "by other labels than those of 001, 003" in second.reason


def test_never_the_same_source_and_decision_twice_where_there_is_another():
    """Check that another file of the first pick's kind yields to a worse one of another kind."""
    same = {"source": "a", "note": "mean of 2; argmax"}
    rows = [row(1, 0.95, "", **same), row(2, 0.949, "", **same), row(3, 0.7, "")]
    assert numbers(rows) == [1, 3] and numbers(rows[:2]) == [1, 2]


def test_a_score_without_an_error_can_be_picked():
    """Check that answers that are all right out of fold are not passed over."""
    assert numbers([row(1, 0.9, 0.8), row(2, 1.0, 0.9, 0.0), row(3, 0.8, 0.7)]) == [2, 1]


def test_few_files():
    """Check that of one file there is one pick, and of none there is none."""
    assert numbers([row(1, 0.9, 0.9), row(2, 0.95, 0.9, sha256="sha1")]) == [1]
    assert numbers([]) == [] and numbers([row(1, "", 0.9)]) == []


@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.integers(0, 2), st.floats(0.5, 1), st.floats(0.5, 1)),
        min_size=2,
        max_size=9,
    )
)
def test_picks_are_two_different_files(drawn):
    """Check that of any ledger both picks are different files, of different kinds if there are."""
    rows = [row(n, cv, public, sha256=f"f{file}", source=f"s{source}")
            for n, (file, source, cv, public) in enumerate(drawn, 1)]  # fmt: skip
    made = picks(rows, distance=lambda a, b: 0.1)
    points = points_of(rows).found
    assert len(made) == min(2, len({point.entry.sha256 for point in points}))
    if len(made) == 2:
        one, other = (pick.point for pick in made)
        assert one.entry.sha256 != other.entry.sha256
        others = {point.kind for point in points} - {one.kind}
        assert one.kind != other.kind or not others


def test_how_much_answers_differ():
    """Check labels, probabilities and ranks against counts by hand."""
    labels = np.array([0, 1, 2, 1]), np.array([0, 1, 1, 1])
    assert differing(*labels, "multiclass") == 0.25
    sets = np.array([[1, 0], [0, 1]]), np.array([[1, 1], [0, 1]])
    assert differing(*sets, "multilabel") == 0.25
    probs = np.array([[0.9, 0.1], [0.5, 0.5]]), np.array([[0.7, 0.3], [0.5, 0.5]])
    assert differing(*probs, "multiclass") == pytest.approx(0.1)
    assert differing(*probs, "multilabel") == pytest.approx(0.1)
    assert differing(probs[0], probs[0] ** 3, "multilabel", ranks=True) == 0
    assert differing(probs[0], 1 - probs[0], "multilabel", ranks=True) > 0.2
    with pytest.raises(ValueError, match="shapes"):
        differing(np.zeros(2), np.zeros(3), "multiclass")
