"""What the terminal shows: aligned tables, dashes for what is not known."""

import json

import pytest

from pipeline.show import number, table


def test_columns_are_aligned():
    """Check that the first column stands to the left, numbers to the right, no line ends blank."""
    text = table(["run", "score"], [["a", "0.5"], ["longer", "10.25"]])
    assert text.splitlines() == [
        "run     score",
        "------  -----",
        "a         0.5",
        "longer  10.25",
    ]


@pytest.mark.parametrize(
    ("value", "shown"), [(None, "-"), ("", "-"), (0, "0.0000"), ("0.12345", "0.1235")]
)
def test_numbers(value, shown):
    """Check four decimals, and that 0 is a number while nothing is a dash."""
    assert number(value) == shown


def test_the_leaderboard_is_sorted_by_honest_score(make_tiny, podium):
    """Check that the best honest score comes first, and that runs left out are said with why."""
    tiny = make_tiny(rows=120)
    for name, skill in {"weak": 0.2, "strong": 4.0, "middle": 1.5}.items():
        tiny.fake_run(name, skill=skill)
    tiny.fake_run("smoke", limited=True)
    shown = podium(tiny.root, "leaderboard", "--comp", "tiny").out
    lines = [line.split()[0] for line in shown.splitlines()[2:5]]
    assert lines == ["strong", "middle", "weak"]
    assert "left out: smoke: a smoke run" in shown
    for name in lines:
        record = json.loads((tiny.run(name) / "chain.json").read_text())
        assert f"{record['honest']:.4f} ± {record['honest_se']:.4f}" in shown


def test_a_loss_is_sorted_upwards(make_tiny, podium):
    """Check that for log loss the lowest honest score comes first."""
    tiny = make_tiny(rows=120, metric="log_loss")
    for name, skill in {"weak": 0.2, "strong": 4.0}.items():
        tiny.fake_run(name, skill=skill)
    shown = podium(tiny.root, "leaderboard", "--comp", "tiny").out
    assert [line.split()[0] for line in shown.splitlines()[2:4]] == ["strong", "weak"]


def test_an_empty_leaderboard_says_what_to_type(make_tiny, podium):
    """Check that without a run there is a next command and no table."""
    tiny = make_tiny()
    tiny.folds()
    result = podium(tiny.root, "leaderboard", "--comp", "tiny")
    assert result.status == 0 and "make train" in result.out and "---" not in result.out


def test_the_ensemble_report(make_tiny, podium):
    """Check that members with weights, every candidate, both scores and warnings are shown."""
    tiny = make_tiny(rows=90, test=60)
    one_class = [[0.8, 0.1, 0.1]] * 60
    tiny.fake_run("a", skill=5, probs={"test": one_class})
    tiny.fake_run("smoke", limited=True)
    shown = podium(tiny.root, "ensemble", "--comp", "tiny").out
    record = json.loads((tiny.run("ensemble-all") / "ensemble.json").read_text())
    for candidate in record["candidates"]:
        assert f"{candidate['blend']} + {candidate['rule']}" in shown
    assert f"in-sample {record['in_sample']:.4f}, honest {record['honest']:.4f}" in shown
    assert "warning: class cat" in shown and "left out: smoke" in shown
    assert "next: make submit COMP=tiny" in shown
