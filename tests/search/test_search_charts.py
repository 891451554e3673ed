"""Pictures and tables of a study: written for whatever trials there are; times, limits, names."""

import csv
from dataclasses import replace
from datetime import timedelta

import cv2
import pytest
from invented_studies import SPACE, START, flat, invent

from pipeline.search.charts import draw_all
from pipeline.search.charts.canvas import limits
from pipeline.search.charts.fidelity import placed
from pipeline.search.labels import short_names, ticks, value_text
from pipeline.search.spending import paid

PICTURES = ("parallel", "slices", "importances", "history", "fidelity")
MANY = {f"section{n}.parameter": {"uniform": [0, 1]} for n in range(30)}
STUDIES = {
    "none": lambda: invent(0),
    "one": lambda: invent(1, levels=3, reach=lambda n: 0),
    "failed": lambda: invent(3, failed=[0, 1, 2]),
    "in work": lambda: invent(2, in_work=[0, 1]),
    "none at the top": lambda: invent(9, levels=3, reach=lambda n: n % 2, failed=[3], in_work=[8]),
    "constant": lambda: invent(21, flat),
    "many parameters": lambda: invent(5, space=MANY),
    "three levels": lambda: invent(24, levels=3, reach=lambda n: n % 3, noise=0.02, sign=-1),
}


def lines_of(path):
    with open(path, newline="") as handle:
        return list(csv.DictReader(handle))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", STUDIES)
def test_every_study_can_be_drawn(tmp_path, name):
    """Check that all pictures are written, with ink on them, and no warning, and that the tables
    have a line per trial and per parameter."""
    found = STUDIES[name]()
    paths = draw_all(tmp_path, found)
    assert sorted(paths) == sorted(tmp_path.iterdir())
    assert [path.stem for path in paths if path.suffix == ".png"] == list(PICTURES)
    for path in paths[: len(PICTURES)]:
        assert cv2.imread(str(path)).std() > 2, path
    assert len(lines_of(tmp_path / "trials.csv")) == len(found.trials)
    assert len(lines_of(tmp_path / "correlations.csv")) == len(found.space.params)


def test_the_table_of_trials_says_what_they_came_to(tmp_path):
    """Check level, score, loss, seconds, state and error of a trial, and that a parameter that is
    not active is blank."""
    found = invent(6, levels=2, reach=lambda n: n % 2, failed=[2], in_work=[4], sign=-1)
    draw_all(tmp_path, found)
    lines = lines_of(tmp_path / "trials.csv")
    assert [line["state"] for line in lines] == [
        *("done", "done", "failed", "done", "in work", "done")
    ]
    assert [line["level"] for line in lines] == ["level-0", "full", "", "full", "", "full"]
    one = found.trials[1]
    assert float(lines[1]["loss"]) == pytest.approx(one.losses[1], rel=1e-5)
    assert float(lines[1]["score"]) == pytest.approx(one.losses[1], rel=1e-5)
    assert float(lines[1]["seconds"]) == 60
    assert lines[2]["error"] == 'the loss is no number, "nan"'
    for trial, line in zip(found.trials, lines, strict=True):
        for key in SPACE:
            assert line[key] == str(trial.config.get(key, ""))


def test_pauses_are_left_out_and_levels_follow_each_other():
    """Check the times of bars: a night between two trials does not count, two levels that ended
    together were trained one after the other, and workers may work at once."""
    found = invent(3, levels=2)
    night = timedelta(hours=14)
    second, third = found.trials[1:]
    together = dict.fromkeys((0, 1), START + night)
    at_once = {0: START + night - timedelta(seconds=15), 1: START + night + timedelta(seconds=15)}
    moved = replace(second, ended=together), replace(third, ended=at_once)
    bars = placed(paid(replace(found, trials=(found.trials[0], *moved))))
    spans = {(b.paid.trial.number, b.paid.level): (b.start, b.end) for b in bars}
    assert spans == {
        (0, 0): (0, 30),
        (0, 1): (30, 60),
        (1, 0): (60, 90),
        (1, 1): (90, 120),
        (2, 0): (75, 105),
        (2, 1): (105, 135),
    }


def test_an_axis_holds_the_best_and_leaves_out_what_came_to_nothing():
    """Check that a diverged training, and no very good one, is kept from stretching the axis."""
    scores = [0.9, 0.91, 0.92, 0.93, 0.94]
    low, high = limits(invent(0), [*scores, 0.01])
    assert 0.85 < low < 0.9 and high > 0.94
    assert limits(invent(0), [*scores, 1.4])[1] > 1.4
    low, high = limits(invent(0, sign=-1), [*scores, 9.0, 0.2])
    assert low < 0.2 and high < 2
    low, high = limits(invent(0), [0.5, 0.5])
    assert low < 0.5 < high


def test_short_names_tell_parameters_apart():
    """Check that a name is the shortest end that is unique and says something."""
    keys = ["optimizer.lr", "optimizer.name", "model.drop", "head.drop", "augment.scale.0", "lr_x"]
    assert list(short_names(keys).values()) == [
        *("lr", "optimizer.name", "model.drop", "head.drop", "scale.0", "lr_x")
    ]
    assert short_names(["a.b", "b"]) == {"a.b": "a.b", "b": "b"}


def test_ticks_lie_on_the_axis_at_their_values():
    """Check that ticks are few, in [0, 1], where the parameter has the value they are called by."""
    spaces = {
        "log": {"log": [2e-5, 0.3]},
        "short": {"log": [0.2, 0.3]},
        "even": {"uniform": [-0.13, 7.7]},
        "steps": {"uniform": [0.0, 1.0], "step": 0.05},
        "whole": {"integer": [3, 90]},
        "powers": {"powers_of_two": [1, 4096]},
        "choices": {"choices": [[1, 2], None, "x"]},
    }
    for param in invent(0, space=spaces).space.params:
        places, texts = ticks(param)
        assert 2 <= len(places) <= 6 and len(set(texts)) == len(texts), param.key
        assert all(0 <= place <= 1 for place in places) and places == sorted(places)
        for place, text in zip(places, texts, strict=True):
            assert value_text(param.value(place)) == text, param.key
