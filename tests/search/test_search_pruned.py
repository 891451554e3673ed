"""The pruned study: it parses, lies within the old space, and holds what the best trials had."""

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from invented_studies import SPACE, invent, peaked
from scipy import stats

from pipeline.config.schema import parse, parse_overrides, read_yaml
from pipeline.config.study import Study
from pipeline.search.importance import Ranked
from pipeline.search.judged import judged
from pipeline.search.pruned import _luck, pruned_space, pruned_study, write_pruned
from pipeline.search.space import Space

LONG = SPACE["optimizer.name"]["choices"][2]


def known(found) -> Ranked:
    """Return what the pruned space needs to know, without importances, which take their time."""
    return Ranked(judged(found), (), (), "")


def read(text: str) -> Study:
    return parse(Study, yaml.safe_load(text), "pruned.yaml")


@settings(max_examples=25)
@given(
    trials=st.integers(0, 19),
    seed=st.integers(0, 99),
    sign=st.sampled_from([1, -1]),
    budget=st.sampled_from([1, 9, 60]),
    levels=st.sampled_from([1, 3]),
)
def test_it_is_a_study_within_the_old_space(trials, seed, sign, budget, levels):
    """Check that whatever the trials, the text parses as a study with a grid, that the budget pays
    for it, and that each point of it, with what is set, lies within the old space."""
    found = invent(trials, sign=sign, seed=seed, budget=budget, levels=levels, noise=0.02)
    study = read(pruned_study(found))
    grid = Space.of(study.space).grid()
    assert study.sampler == "grid" and len(grid) == study.budget <= max(budget, 4)
    old = {param.key: param for param in found.space.params}
    for config in grid:
        for key, value in config.items():
            assert 0 <= old[key].unit(value) <= 1, (key, value)
    for key, said in study.space.items():
        assert said.kind == old[key].kind


def test_it_holds_the_best_quarter():
    """Check that every value of the best quarter lies in the pruned ranges and choices, and that a
    range is narrower where only its middle is good."""
    found = invent(19, noise=0.001)
    pruned = pruned_space(found, known(found))
    best = sorted(found.trials, key=lambda trial: trial.losses[0])[:5]
    for trial in best:
        for key, value in trial.config.items():
            (said,) = (v for k, v in pruned[key].items() if k != "step")
            assert value in said or ("choices" not in pruned[key] and said[0] <= value <= said[1])
    low, high = pruned["optimizer.lr"]["log"]
    assert 1e-5 < low < 1e-3 < high < 1e-1


def test_a_choice_goes_only_if_luck_does_not_explain_it():
    """Check that a choice that never comes among the best is taken out after many trials and stays
    after few, by the hypergeometric chance."""
    many = invent(60)
    of_few = {seed: invent(12, seed=seed) for seed in range(9)}
    kept = pruned_space(many, known(many))["optimizer.name"]["choices"]
    assert "adamw" in kept and LONG not in kept
    for few in of_few.values():
        tried = [trial.config["optimizer.name"] for trial in few.trials].count(LONG)
        stays = stats.hypergeom(12, tried, 3).pmf(0) >= 0.1
        assert (LONG in pruned_space(few, known(few))["optimizer.name"]["choices"]) == stays
    for best, missed, odd in ((3, 9, 4), (5, 14, 6), (5, 30, 1)):
        others = ["odd"] * odd + ["usual"] * (missed - odd)
        expected = stats.hypergeom(best + missed, odd, best).pmf(0)
        assert abs(_luck("odd", ["usual"] * best, others) - expected) < 1e-12


def test_what_failed_counts_against_its_choice():
    """Check that a choice under which all failed is not searched again."""
    found = invent(40, space={"a.kind": {"choices": ["good", "bad"]}, "b": {"uniform": [0, 1]}})
    bad = [t.number for t in found.trials if t.config["a.kind"] == "bad"]
    found = invent(40, space=found.study.model_dump(exclude_defaults=True)["space"], failed=bad)
    assert pruned_space(found, known(found))["a.kind"]["choices"] == ["good"]


def test_one_value_left_is_set_and_its_conditions_go():
    """Check that a parameter with one choice left is set, that what depends on this choice is
    searched without a condition, and what depends on another is not searched."""

    def score(config, units):
        return (config["optimizer.name"] == "sgd") + config.get("optimizer.momentum", 0.0)

    space = {
        "optimizer.name": {"choices": ["sgd", "adam w"]},
        "optimizer.momentum": {"uniform": [0.5, 0.99], "when": {"optimizer.name": "sgd"}},
        "optimizer.beta": {"uniform": [0.5, 0.99], "when": {"optimizer.name": ["adam w"]}},
    }
    study = read(pruned_study(invent(19, score, space=space, set="training.epochs=3")))
    assert (
        list(study.space) == ["optimizer.momentum"] and not study.space["optimizer.momentum"].when
    )
    said = parse_overrides(study.set)
    assert said == {"training": {"epochs": 3}, "optimizer": {"name": "sgd"}}


def test_set_says_values_as_they_are():
    """Check that texts with spaces, lists, numbers in powers of ten and none survive SET, and that
    the architecture goes to its own key."""

    def score(config, units):
        return units["a.lr"]

    space = {
        "a.lr": {"uniform": [0, 1]},
        "a.text": {"choices": ["one word", "two words"]},
        "a.list": {"choices": [[0.5, 1e-05], [1, 2]]},
        "a.none": {"choices": [None, True]},
        "a.small": {"log": [1e-9, 1e-8]},
        "model.arch": {"choices": ["resnet18", "resnet50"]},
    }
    found = invent(19, score, space=space, budget=4)
    study, best = read(pruned_study(found)), found.best.config
    said = parse_overrides(study.set)["a"]
    fixed = {key for key in space if key not in study.space}
    assert {"a.text", "a.list", "a.none"} & fixed
    for key in fixed - {"model.arch", "a.small"}:
        assert said[key.removeprefix("a.")] == best[key], key
    if "a.small" in fixed:
        assert abs(said["small"] / best["a.small"] - 1) < 1e-3
    if "model.arch" in fixed:
        assert study.arch == best["model.arch"] and "arch" not in study.set


def test_an_element_of_a_list_is_not_set():
    """Check that what SET cannot say stays as the recipe has it, and that a comment says so."""
    text = pruned_study(invent(12, budget=3))
    assert "augment.scale.0" not in read(text).set
    if "augment.scale.0" not in read(text).space:
        assert "augment.scale.0: {uniform" in text and "(as in the recipe)" in text


def test_few_trials_prune_nothing():
    """Check that eleven trials leave the whole space, and say so."""
    found = invent(11)
    pruned = pruned_space(found, known(found))
    for param in found.space.params:
        said = param.said.model_dump(exclude_defaults=True, exclude={"when"})
        assert {k: list(v) if isinstance(v, tuple) else v for k, v in said.items()} == pruned[
            param.key
        ]
    assert "11 trials are too few to prune it" in pruned_study(found)


def test_many_parameters_make_a_grid_that_can_be_paid():
    """Check that thirty parameters do not make a grid of 3^30 points."""
    space = {f"section.p{n}": {"uniform": [0, 1]} for n in range(30)}
    study = read(pruned_study(invent(15, peaked, space=space, budget=30)))
    assert len(study.space) == 3 and study.budget == 27


def test_nothing_left_to_search_writes_nothing(tmp_path):
    """Check that a space of which one choice is left makes no study, and another one a file."""
    score = lambda config, units: config["a.kind"] == "good"  # noqa: E731
    space = {"a.kind": {"choices": ["good", "bad"]}}
    assert not write_pruned(tmp_path / "pruned.yaml", invent(19, score, space=space))
    assert not list(tmp_path.iterdir())
    assert write_pruned(tmp_path / "pruned.yaml", invent(19))
    assert parse(Study, read_yaml(tmp_path / "pruned.yaml", ""), "pruned.yaml").sampler == "grid"
