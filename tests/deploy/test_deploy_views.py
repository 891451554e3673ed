"""Test-time augmentation of new pictures: every view of a run, averaged as its record says."""

import json
import shutil

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import load_file
from scipy.special import expit, softmax
from tqdm import tqdm

from pipeline.artifacts.files import write_json
from pipeline.competition import load_data
from pipeline.config import pictures
from pipeline.config.pictures import Image
from pipeline.deploy import predict as module
from pipeline.deploy.networks import RunNetworks
from pipeline.deploy.pictures import View, views
from pipeline.deploy.predict import predict
from pipeline.ensemble.build import open_decided
from pipeline.errors import PodiumError
from pipeline.folds import load_shared
from pipeline.images.decode import canonical, scaled
from pipeline.training.request import TrainRequest
from pipeline.training.train import train

PLAIN = "image.mean=[0.5,0.5,0.5] image.std=[0.5,0.5,0.5]"
DIHEDRAL = "views.flips=dihedral"
LOGITS = "views.flips=dihedral views.average=logits"
MANY = "views.flips=horizontal views.crops=5 views.sizes=[16,24] views.average=logits"
OTHER_OUTPUTS = f"{LOGITS} loss.name=bce loss.logit_adjustment=2 image.channels=1"
ONE_SIZE = "views.sizes=[24]"


def train_run(project, comp, name, overrides, arch="lenet", **options):
    request = TrainRequest(comp, [arch], name=name, recipe="tiny", overrides=overrides, **options)
    return train(project, request, str)


def copies(data, folder):
    """Copy the competition's test pictures into `folder`."""
    folder.mkdir()
    for path in data.test.images:
        shutil.copy(path, folder / path.name)
    return folder


@pytest.mark.parametrize(
    ("comp", "arch", "overrides", "refit"),
    [
        ("kinds", "lenet", DIHEDRAL, False),
        ("sets", "lenet", LOGITS, True),
        ("kinds", "test_resnet", MANY + " image.fit=pad image.cache=jpeg training.epochs=1", True),
        ("kinds", "test_resnet", ONE_SIZE, False),
        ("kinds", "lenet", OTHER_OUTPUTS, False),
    ],
)
def test_copies_of_the_test_pictures_get_the_test_answers(
    project, answers, tmp_path, monkeypatch, comp, arch, overrides, refit
):
    """Check that a run with several views, or one of another size, answers copies of its test
    pictures as its submission does, at once and in parts, and so does its refit; also where it
    keeps other logits than its loss saw, of grey pictures."""
    train_run(project, comp, "v", overrides, arch, refit=refit)
    data = load_data(project, comp)
    folder = copies(data, tmp_path / "copies")
    for source in ("v", "v-refit")[: 1 + refit]:
        folds = load_shared(data)
        submitted = open_decided(data, folds, source).test_probs(data, folds)
        for part_bytes in (2**28, 1):
            monkeypatch.setattr(module, "PART_BYTES", part_bytes)
            got = answers(project, comp, source, folder)
            assert got.column("image") == data.test.ids.tolist()
            np.testing.assert_allclose(got.probs, submitted, atol=1e-5)
        assert len(np.unique(submitted.round(4), axis=0)) > 10


def by_hand(run, network, turns, task, space):
    """Return probabilities of pictures (n, 16, 16, 3), the mean over a run's networks, of which
    each is shown every turn in turn."""
    of_files = []
    for file in sorted(run.glob("fold-*/model.safetensors")):
        network.load_state_dict(load_file(file))
        network.eval()
        logits = []
        with torch.no_grad():
            for images in turns:
                pixels = torch.tensor(images.copy()).permute(0, 3, 1, 2) / 255
                logits.append(network((pixels - 0.5) / 0.5).numpy().astype(float))
        link = expit if task == "multilabel" else lambda z: softmax(z, axis=-1)
        of_views = np.array(logits)
        of_files.append(link(of_views).mean(0) if space == "probs" else link(of_views.mean(0)))
    return np.mean(of_files, axis=0)


@pytest.mark.parametrize("comp", ["kinds", "sets"])
@pytest.mark.parametrize("space", ["probs", "logits"])
def test_networks_against_views_by_hand(project, comp, space):
    """Check the probabilities of both averages against torch on pictures that numpy turned."""
    overrides = f"{PLAIN} views.flips=dihedral views.average={space} optimizer.lr=0.03"
    train_run(project, comp, "v", overrides, "test_resnet")
    data = load_data(project, comp)
    networks = RunNetworks(data, "v", str)
    looks, wrong = views(data.test.images, networks.view)
    whole = [canonical(path, pictures.Crop(), 19) for path in data.test.images]
    images = np.stack([scaled(pixels, 16) for pixels in whole])
    assert not wrong
    np.testing.assert_array_equal(looks, [images])
    bases = images, images[:, :, ::-1]
    turns = [np.rot90(base, k, axes=(1, 2)) for k in range(4) for base in bases]
    network = timm.create_model("test_resnet", num_classes=3)
    task = data.competition.task
    got = networks.probs(looks, tqdm(disable=True)).mean(axis=0)
    expected, other, alone = (
        by_hand(project.run(comp, "v"), network, some, task, how)
        for some, how in (
            (turns, space),
            (turns, "logits" if space == "probs" else "probs"),
            (turns[:1], space),
        )
    )
    np.testing.assert_allclose(got, expected, atol=1e-5)
    assert np.abs(other - expected).max() > 1e-4, "the two averages differ"
    assert np.abs(alone - expected).max() > 1e-3, "one view says something else"


def test_a_record_that_names_no_average_is_refused(project, new_pictures):
    """Check that nothing is guessed where run.json does not say what was averaged."""
    train_run(project, "kinds", "v", DIHEDRAL)
    path = project.run("kinds", "v") / "run.json"
    record = json.loads(path.read_text())
    for odd in ({}, {"average": "auto"}, None):
        write_json(path, record | {"views": odd})
        with pytest.raises(PodiumError, match=r"run.json: views.average must be .*again") as caught:
            predict(project, "kinds", "v", new_pictures, say=str)
        assert "\n" not in str(caught.value)
    write_json(path, record)
    assert predict(project, "kinds", "v", new_pictures, say=str).images == 6


def test_runs_that_differ_by_turns_share_what_is_decoded(project, monkeypatch, new_pictures):
    """Check that flips and the average ask for no decoding of their own, while crops and sizes
    do; and that each picture is decoded once whatever the number of views."""
    from pipeline.images import cache

    train_run(project, "kinds", "v", DIHEDRAL)
    data, path = load_data(project, "kinds"), project.run("kinds", "v") / "run.json"
    record, keys = json.loads(path.read_text()), {}
    for name, changed in {
        "flips": {"flips": "both"},
        "average": {"average": "logits"},
        "crops": {"crops": 5},
        "share": {"crops": 5, "crop_share": 0.5},
        "sizes": {"sizes": [16, 24]},
    }.items():
        recipe = record["recipe"] | {"views": record["recipe"]["views"] | changed}
        write_json(path, record | {"recipe": recipe})
        keys[name] = RunNetworks(data, "v", str).view
    write_json(path, record)
    assert keys["flips"] == keys["average"] == RunNetworks(data, "v", str).view
    assert keys["flips"] == RunNetworks(data, "a", str).view
    assert len(set(keys.values())) == 4
    decoded, original = [], cache.canonical

    def counted(file, *rest):
        decoded.append(file)
        return original(file, *rest)

    monkeypatch.setattr(cache, "canonical", counted)
    seen, _ = views(data.test.images[:4], keys["crops"])
    assert len(seen) == 6 and sorted(decoded) == sorted(data.test.images[:4])


def test_memory_of_a_part_is_bounded_whatever_the_views(trained, monkeypatch):
    """Check that parts hold at most PART_BYTES of images, or a batch of one look's, and all rows
    once."""
    networks = RunNetworks(load_data(trained, "kinds"), "a", str)
    rows = np.arange(1000)
    for section in (
        pictures.TestViews(),
        pictures.TestViews(crops=5, sizes=(64, 32)),
        pictures.TestViews(crops=5, sizes=tuple(range(200, 230))),
    ):
        view = View(**Image(size=64).model_dump(), max_megapixels=4, views=section)
        monkeypatch.setattr(RunNetworks, "view", view)
        looks = view.looks
        each = sum(3 * look.size**2 for look in looks)
        batch = networks.batch_size * 3 * max(look.size for look in looks) ** 2
        for part_bytes in (1, 10**6, 10**9):
            monkeypatch.setattr(module, "PART_BYTES", part_bytes)
            parts = list(module._in_parts(rows, [networks]))
            np.testing.assert_array_equal(np.concatenate(parts), rows)
            assert len(parts[0]) * each <= max(part_bytes, batch, each)
        assert len(next(module._in_parts(rows, [networks]))) == min(1000, 10**9 // each)
