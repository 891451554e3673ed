"""What an answer takes: views, networks, folds and members multiply and add up."""

from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from pipeline.bench.entries import Entry, Part, of_standing
from pipeline.bench.network import Network, macs
from pipeline.config.recipe import Recipe
from pipeline.config.schema import merged, parse
from pipeline.ensemble.build import build_ensemble
from pipeline.ensemble.choice import Menu
from pipeline.submission.standings import standings

VIEWS = {"flips": "horizontal", "crops": 5, "sizes": [16, 24]}


def network(**sections) -> Network:
    whole = merged(
        {"model": {"arch": "lenet", "pretrained": False}, "image": {"size": 16}}, sections
    )
    return Network(parse(Recipe, whole, "recipe"), 3, "multiclass")


def entry_of(tiny, name: str) -> Entry:
    found, left = standings(tiny.data, tiny.folds())
    assert not left
    (standing,) = (s for s in found if s.name == name)
    return of_standing(tiny.data, standing)


def unit(*entries: Entry) -> dict:
    """Return times of 1 s for a pass of any batch."""
    keys = {key for entry in entries for part in entry.parts for key in part.passes}
    return {key: {1: 1.0, 32: 32.0} for key in keys}


def test_networks_times_views():
    """Check that seconds are the sum over sizes of views times passes, times the networks."""
    one, big = network(), network(model={"hidden": [8]})
    part = Part("a", one, ((16, 4), (24, 2)), answering=2, submitted=10)
    other = Part("b", big, ((16, 1),), answering=1, submitted=5)
    timed = {(one.key, 16): {1: 0.5, 32: 3.2}, (one.key, 24): {1: 1.0, 32: 6.4}}
    timed[big.key, 16] = {1: 0.25, 32: 1.6}
    entry = Entry("e", "ensemble", (part, other))
    assert entry.seconds(timed, 1) == pytest.approx(2 * (4 * 0.5 + 2 * 1.0) + 0.25)
    assert entry.seconds(timed, 32) == pytest.approx(2 * (4 * 0.1 + 2 * 0.2) + 0.05)
    submitted = entry.seconds(timed, 32, submitted=True)
    assert submitted == pytest.approx(10 * (4 * 0.1 + 2 * 0.2) + 5 * 0.05)


def test_a_run_has_a_network_per_fold_and_a_pass_per_view(tiny, make_run):
    """Check that views of two sizes, six looks each, in two turns, are 24 passes, by one network
    for the score and five for a submission; files of weights are added up."""
    make_run("a", {"views": VIEWS})
    run = entry_of(tiny, "a")
    timed = unit(run)
    assert run.sizes == [16, 24] and run.kind == "from scratch"
    assert run.seconds(timed, 1) == run.seconds(timed, 32) == 24
    assert run.seconds(timed, 32, submitted=True) == 5 * 24
    files = tiny.run("a").glob("fold-*/model.safetensors")
    assert run.parts[0].size_on_disk == sum(file.stat().st_size for file in files) > 0


def test_repeats_answer_out_of_fold_together_and_a_refit_alone(tiny, make_run):
    """Check that two networks make the score of two repeats, and one that of a refit."""
    twice = {"training": {"repeats": 2}}
    ten = {str(k): {"fold": k} for k in range(10)}
    make_run("twice", twice, folds=ten)
    make_run("twice-refit", twice, folds=ten, refit_of="twice")
    run, refit = entry_of(tiny, "twice"), entry_of(tiny, "twice-refit")
    timed = unit(run, refit)
    assert run.seconds(timed, 1) == 2 and run.seconds(timed, 1, submitted=True) == 10
    assert refit.seconds(timed, 1) == refit.seconds(timed, 1, submitted=True) == 1


def test_ensembles_are_the_sum_of_their_members(tiny, make_run):
    """Check that members, their seeds and members of members are counted, each run once."""
    seeds = [{"training": {"seed": seed}} for seed in (0, 1)]
    make_run("a", seeds[0])
    make_run("a-s1", seeds[1])
    make_run("b", {"views": {"flips": "horizontal"}}, skill=2.0)
    mean = Menu(("mean",))
    build_ensemble(tiny.data, tiny.folds(), ["a", "a-s1"], "seeds", menu=mean)
    build_ensemble(tiny.data, tiny.folds(), ["ensemble-seeds", "b", "a"], "all", menu=mean)
    single = [entry_of(tiny, name) for name in ("a", "a-s1", "b")]
    timed = unit(*single)
    for name, members in (("ensemble-seeds", single[:2]), ("ensemble-all", single)):
        whole = entry_of(tiny, name)
        assert whole.kind == "ensemble"
        for options in ({}, {"submitted": True}):
            summed = sum(entry.seconds(timed, 32, **options) for entry in members)
            assert whole.seconds(timed, 32, **options) == summed


@pytest.mark.parametrize(
    ("sections", "kind"),
    [
        ({"model": {"pretrained": True}}, "fine-tuned"),
        ({"features": {"views": 1}}, "frozen"),
        ({"model": {"freeze": "backbone"}}, "frozen"),
        ({"model": {"freeze": "backbone", "unfreeze_after": 1}}, "from scratch"),
    ],
)
def test_how_a_run_was_trained(tiny, make_run, sections, kind):
    """Check that frozen and fine-tuned runs are told apart, by what stays frozen to the end."""
    make_run("a", sections)
    assert entry_of(tiny, "a").kind == kind


def test_what_does_not_change_the_time_shares_it():
    """Check that weights, seed and learning rate are not part of a network's key, and that all
    that changes its arithmetic is."""
    key = network().key
    assert key == network(optimizer={"lr": 0.5}, training={"seed": 7}, augment={"scale": None}).key
    assert key == replace(network(), weights=__file__).key
    changes = [
        {"model": {"arch": "simple-cnn"}},
        {"model": {"hidden": [8]}},
        {"model": {"head": "ordinal"}},
        {"image": {"size": 24}},
        {"image": {"channels": 1}},
        {"loss": {"logit_adjustment": 1.0}},
        {"runtime": {"threads": 1}},
        {"runtime": {"precision": "bfloat16"}},
    ]
    keys = {network(**change).key for change in changes}
    assert len(keys) == len(changes) and key not in keys


def test_macs_are_those_of_the_formulas():
    """Check the count of a convolution and a matrix product against their formulas."""
    layers = nn.Conv2d(3, 5, 3, padding=1), nn.Flatten(), nn.Linear(5 * 16 * 16, 7)
    found = macs(nn.Sequential(*layers), network().recipe, 16)
    assert found == 16 * 16 * 5 * 3 * 3 * 3 + 5 * 16 * 16 * 7


def test_trained_weights_are_loaded(tiny, make_run):
    """Check that a network of a run holds what its first file of weights says."""
    make_run("a")
    drawn = network().build().state_dict()
    trained = {name: value + 1 for name, value in drawn.items()}
    save_file(trained, tiny.run("a") / "fold-0" / "model.safetensors")
    model = entry_of(tiny, "a").parts[0].network.build()
    assert not model.training
    for name, value in model.state_dict().items():
        assert torch.equal(value, trained[name])
