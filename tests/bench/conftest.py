"""Finished runs with weights of their own, made without training."""

from collections.abc import Callable

import pytest
from safetensors.torch import save_file

from pipeline.artifacts.files import write_json
from pipeline.bench.network import Network
from pipeline.config.recipe import Recipe
from pipeline.config.schema import merged, parse

RECIPE = {
    "model": {"arch": "lenet", "pretrained": False},
    "image": {"size": 16},
    "runtime": {"device": "cpu", "threads": 1, "workers": 0, "precision": "float32"},
}


@pytest.fixture
def make_run(tiny) -> Callable[..., None]:
    """Return a function that makes a finished run of the tiny competition, with a network a fold;
    `sections` change its recipe, `options` its record."""

    def make(name: str, sections: dict | None = None, **options) -> None:
        recipe = parse(Recipe, merged(RECIPE, sections or {}), "recipe")
        options |= {"recipe": recipe.model_dump(mode="json"), "seedless_hash": recipe.seedless_hash}
        folder = tiny.fake_run(name, **options)
        model = Network(recipe, 3, "multiclass").build()
        repeats = recipe.training.repeats
        numbers = range(5 * repeats)
        names = ["refit"] if options.get("refit_of") else [f"fold-{k}" for k in numbers]
        for part in names:
            (folder / part).mkdir()
            save_file(model.state_dict(), folder / part / "model.safetensors")
            write_json(folder / part / "fold.json", {"fold": 0})

    return make
