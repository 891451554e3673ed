"""What the terminal shows: aligned tables, dashes for what is not known."""

import json

import pytest

from pipeline.artifacts.columns import shortened
from pipeline.config.project import checked_name
from pipeline.errors import PodiumError
from pipeline.show import number, standings_table, table
from pipeline.submission.ledger import Entry
from pipeline.submission.standings import Standing


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
    ("value", "shown"),
    [(None, "-"), ("", "-"), (0, "0.0000"), ("0.12345", "0.1235"), (-1e-9, "0.0000")],
)
def test_numbers(value, shown):
    """Check four decimals, and that 0 is a number while nothing is a dash."""
    assert number(value) == shown


def test_long_cells_are_cut_in_the_middle():
    """Check both ends, both sides of an arrow, and that a table can leave cells whole."""
    assert shortened("a" * 48) == "a" * 48
    assert shortened("a" * 40 + "b" * 40) == "a" * 23 + "..." + "b" * 22
    long = "x" * 60 + " -> " + "y" * 60
    left, right = shortened(long).split(" -> ")
    assert len(left) == len(right) == 22 and set(left) == {"x", "."} and right.endswith("y")
    assert long not in table(["a"], [[long]]) and long in table(["a"], [[long]], None)


def test_the_leaderboard_keeps_within_a_terminal(make_tiny):
    """Check the width with names of 25 characters, that decisions are told, dashes where seconds
    or an honest score are not known, and ranks where there are any."""
    entry = Entry(1, "t", "f", "ff", "x", public="0.5", private="0.6")

    def row(name, honest, seconds, rule="multipliers", place=""):
        return Standing(name, 0.9, honest, honest and 0.01, seconds, "mean", rule, entry, place)

    rows = [row("b" * 25, 0.8, 20), row("a" * 25, 0.7, 10), row("c" * 25, None, None)]
    data = make_tiny().data
    lines = standings_table(data, rows).splitlines()
    assert max(map(len, lines)) <= 120 and "rank" not in lines[0]
    assert lines[2].split()[-4:] == ["20", "1.0", "mean,", "multipliers"]
    assert "n/a (mixed folds)" in lines[4] and lines[4].split()[-4:-2] == ["-", "-"]
    rows.append(row("d" * 25, 0.6, 1e5, "a rule of a very long name", "117/1500 bronze"))
    lines = standings_table(data, rows).splitlines()
    assert "rank" in lines[0] and "117/1500 bronze" in lines[5] and max(map(len, lines)) <= 120
    assert "..." in lines[5] and lines[5].endswith("name")


@pytest.mark.parametrize("what", ["NAME", "run"])
def test_no_run_is_called_compare(what):
    """Check that the folder of make compare is no run's, while a competition may be called so."""
    for name in ("compare", "Compare"):
        with pytest.raises(PodiumError, match=f"^{what}: '{name}' is taken"):
            checked_name(name, what)
    assert checked_name("compare", "COMP") == "compare"
    assert checked_name("compare-2", what) == "compare-2"


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
    """Check that members with weights, the best candidates, both scores and warnings are shown."""
    tiny = make_tiny(rows=90, test=60)
    one_class = [[0.8, 0.1, 0.1]] * 60
    tiny.fake_run("a", skill=5, probs={"test": one_class})
    tiny.fake_run("smoke", limited=True)
    shown = podium(tiny.root, "ensemble", "--comp", "tiny").out
    record = json.loads((tiny.run("ensemble-all") / "ensemble.json").read_text())
    best = sorted(record["candidates"], key=lambda line: -line["gain"])[:12]
    for line in best:
        calibration = "" if line["calibration"] == "none" else f" + {line['calibration']}"
        assert f"{line['blend']}{calibration} + {line['rule']}" in shown
    assert f"in-sample {record['in_sample']:.4f}, honest {record['honest']:.4f}" in shown
    assert "warning: class cat" in shown and "left out: smoke" in shown
    assert "next: make submit COMP=tiny" in shown
