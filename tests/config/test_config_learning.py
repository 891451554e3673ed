"""The sections of a recipe that say what learns: what is refused, and hashes that stay."""

import pytest

from pipeline.config.learning import Model
from pipeline.config.recipe import LATER, LATER_SECTIONS, Recipe, science_of
from pipeline.config.schema import parse, parse_overrides
from pipeline.errors import PodiumError

# Of the recipe without any key, before the first key of LATER was added.
FIRST_HASH = "cec13ec8bf1b7f4c"


def recipe_of(text: str) -> Recipe:
    return parse(Recipe, parse_overrides(text), "SET")


def test_hashes_of_old_recipes_stay():
    """Check that recipes which do without the later keys hash as they did before these existed."""
    assert Recipe().hash == FIRST_HASH
    assert (
        recipe_of("model.hidden=[] mix.mixup=0 teacher.run='' views.flips=none").hash == FIRST_HASH
    )
    dump = Recipe().model_dump(mode="json")
    for section, keys in LATER.items():
        if section in LATER_SECTIONS:
            dump.pop(section)
        else:
            for key in keys:
                dump[section].pop(key)
    assert science_of(dump) == Recipe().science()


@pytest.mark.parametrize(
    "text",
    [
        "model.hidden=[64]",
        "model.drop_rate=[0.5]",
        "model.freeze=2",
        "image.channels=1",
        "augment.erasing=0.1",
        "mix.cutmix=1",
        "features.fit=logistic",
        "loss.gamma=1",
        "optimizer.layer_decay=0.9",
        "schedule.cycles=2",
        "training.swa=0.2 training.ema=0",
        "views.flips=both",
        "teacher.run=a",
    ],
)
def test_each_later_key_is_science(text):
    """Check that a change of any later section changes the hash."""
    assert recipe_of(text).hash != FIRST_HASH


def test_the_machine_is_no_science():
    """Check that micro-batches and processes leave the hash alone."""
    assert recipe_of("runtime.micro_batch=4 runtime.processes=2").hash == FIRST_HASH


def test_rates_of_the_head():
    """Check one rate for all layers, and one per layer."""
    assert Model(hidden=(64, 32), drop_rate=0.5).drop_rates == (0.5, 0.5, 0.5)
    assert Model(hidden=(64,), drop_rate=(0.25, 0.5)).drop_rates == (0.25, 0.5)
    assert Model().drop_rates == (0.0,)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("model.drop_rate=[0.2,0.5]", "must be one rate, or 1, one for each layer"),
        ("model.hidden=[64] model.drop_rate=[0.2]", r"or 2, one for each layer .* hidden \[64\]"),
        ("model.unfreeze_after=2", "unfreeze_after needs freeze: backbone, or a number"),
        ("schedule.name=exponential", "needs final above 0, 0.01 for example"),
        ("schedule.momentum=[0.9,0.8]", r"momentum is \[lowest, highest\]"),
        ("training.swa=0.2", "swa and ema are two averages of the weights"),
        ("views.sizes=[32,32]", "a size that stands twice would count twice"),
        ("teacher.weight=0.5", "are of a teacher; name its run, too"),
        ("model.freeze=0", "model.freeze is 0"),
        ("image.channels=2", "image.channels is 2"),
    ],
)
def test_what_does_not_go_together(text, said):
    """Check that each is one line with the key and the remedy."""
    with pytest.raises(PodiumError, match=said) as caught:
        recipe_of(text)
    assert "\n" not in str(caught.value)
