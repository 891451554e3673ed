"""Networks made smaller: factored, pruned, in half precision and in whole numbers."""

import numpy as np
import pytest
import torch
from torch import nn

pytest.importorskip("onnxruntime", reason="make export needs its packages: EXTRAS=export")
pytest.importorskip("onnxscript", reason="make export needs its packages: EXTRAS=export")

import onnx
import timm

from pipeline.deploy.export.maps import Mapped, with_maps
from pipeline.deploy.export.onnx_file import write_float16, write_float32
from pipeline.deploy.export.prune import pairs, prune
from pipeline.deploy.export.quantise import write_int8
from pipeline.deploy.export.shrink import shrink
from pipeline.deploy.exported import session_of
from pipeline.errors import PodiumError


class Chain(nn.Module):
    """Convolutions with and without norm, a flattened map of 2 x 2, and fully connected layers."""

    def __init__(self, hidden: int = 64) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 32, 3, padding=1)
        self.second = nn.Conv2d(32, 48, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(48)
        self.third = nn.Linear(48 * 4, hidden)
        self.last = nn.Linear(hidden, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:  # (b, 3, 8, 8) -> (b, 5)
        x = torch.max_pool2d(torch.relu(self.first(x)), 2)
        x = torch.max_pool2d(torch.relu(self.norm(self.second(x))), 2)
        return self.last(torch.relu(self.third(x.flatten(1))))


class Branched(nn.Module):
    """A sum that sees a layer twice: nothing can be cut before it, but within the block."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 32, 1)
        self.inner = nn.Conv2d(32, 40, 1)
        self.outer = nn.Conv2d(40, 32, 1)
        self.last = nn.Linear(32, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        x = x + self.outer(torch.relu(self.inner(x)))
        return self.last(x.mean((2, 3)))


@pytest.fixture
def pictures() -> torch.Tensor:
    return torch.randn(64, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def seeded(network: type[nn.Module], *options) -> nn.Module:
    torch.manual_seed(0)
    return network(*options).eval()


def answers(path, pixels: torch.Tensor) -> list[np.ndarray]:
    return session_of(path, 1).run(None, {"pixels": pixels.numpy()})


@torch.no_grad()
def test_pairs_are_what_nothing_else_sees(pictures):
    """Check which layers follow each other alone: through norms, pooling and a flattened map, and
    none around a sum."""
    found = {(p.first, p.last, p.norms, p.places) for p in pairs(seeded(Chain), pictures[:2])}
    chain = {
        ("first", "second", (), 1),
        ("second", "third", ("norm",), 4),
        ("third", "last", (), 1),
    }
    assert found == chain
    inside = pairs(seeded(Branched), pictures[:2])
    assert [(p.first, p.last) for p in inside] == [("inner", "outer")]


@torch.no_grad()
def test_units_that_say_nothing_are_cut_exactly(pictures):
    """Check that a network whose next layers do not look at half of the units answers the same
    without them, and that shapes shrink as asked."""
    model = seeded(Chain)
    nn.init.uniform_(model.norm.running_mean)
    model.second.weight[:, 10:26] = 0
    model.third.weight[:, 4 * 20 : 4 * 44] = 0
    model.last.weight[:, 30:62] = 0
    before = model(pictures)
    assert prune(model, pictures, 0.5, 0.5) == 16 + 24 + 32
    assert model.first.weight.shape[0] == 16 and model.second.weight.shape[:2] == (24, 16)
    assert model.third.weight.shape == (32, 96) and model.norm.num_features == 24
    torch.testing.assert_close(model(pictures), before)


@torch.no_grad()
def test_what_is_cut_leaves_its_mean(pictures):
    """Check that a unit that says the same of every picture goes without a trace."""
    model = seeded(Chain)
    model.third.weight[:32] = 0  # constant: relu(bias)
    nn.init.uniform_(model.third.bias, 0.5, 1.0)
    before = model(pictures)
    assert prune(model, pictures, 0.5, 1.0) == 32
    torch.testing.assert_close(model(pictures), before)
    assert model.last.weight.shape == (5, 32) and model.first.weight.shape[0] == 32


@torch.no_grad()
def test_what_others_tell_goes_without_loss(pictures):
    """Check that units which repeat others are made up for by those, and not merely by their
    mean."""
    model = seeded(Chain)
    model.third.weight[32:], model.third.bias[32:] = model.third.weight[:32], model.third.bias[:32]
    model.last.weight[:, 32:] *= 0.3
    before = model(pictures)
    assert prune(model, pictures, 0.5, 1.0) == 32
    off = (model(pictures) - before).abs().max()
    assert off < 0.1 * (before - before.mean(0)).abs().max()


@torch.no_grad()
def test_few_units_are_left_alone(pictures):
    """Check that no layer gets narrower than the least."""
    model = seeded(Chain, 20)
    prune(model, pictures, 0.1, 1.0)
    assert model.last.in_features == 16


class Wide(nn.Module):
    """A convolution over a whole picture, as of VGG's head, and a large linear layer."""

    def __init__(self, rank: int) -> None:
        super().__init__()
        self.over = nn.Conv2d(3, 1400, 8)
        self.full = nn.Linear(1400, 256)
        if rank:
            for layer in (self.over, self.full):
                thin = torch.randn(len(layer.weight), rank) @ torch.randn(
                    rank, layer.weight[0].numel()
                )
                layer.weight.data = thin.view_as(layer.weight) / thin.std() / 50

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.full(torch.relu(self.over(x)).flatten(1))


@torch.no_grad()
def test_layers_of_low_rank_are_shrunk_without_loss(pictures):
    """Check that layers that answer in few directions become thin ones that answer the same, of
    convolutions over all of a picture as of linear layers."""
    model = seeded(Wide, 6)
    before, size = model(pictures), sum(p.numel() for p in model.parameters())
    assert shrink(model, pictures, 0.999999) == ["over", "full"]
    assert sum(p.numel() for p in model.parameters()) < 0.1 * size
    torch.testing.assert_close(model(pictures), before, atol=1e-2, rtol=1e-2)


@torch.no_grad()
def test_no_layer_of_the_rank_is_closer(pictures):
    """Check the error on the answers against the optimum by Eckart and Young: the singular values
    of the centred answers that are left out."""
    model = seeded(Wide, 0)
    inputs = torch.relu(model.over(pictures)).flatten(1)
    wanted = model.full(inputs)
    shrink(model, pictures, 0.9)
    rank = model.full[0].out_features
    off = (model.full(inputs) - wanted).square().sum().item()
    values = torch.linalg.svdvals(wanted - wanted.mean(0))
    best = values[rank:].square().sum().item()
    assert 1 < rank < 64 and off == pytest.approx(best, rel=0.02)
    share = 1 - best / values.square().sum().item()
    assert share > 0.89 and off >= best * 0.999


def test_networks_without_large_layers_stay(pictures):
    """Check that nothing is done to a network of small layers."""
    model = seeded(Chain)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    assert shrink(model, pictures, 0.9) == []
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


@torch.no_grad()
def test_files_answer_as_the_network(tmp_path, pictures):
    """Check single and half precision against torch for several numbers of pictures, sizes of the
    files, and that 8 bits stay close and leave the first and the last layer in floating point."""
    model = seeded(Wide, 0)
    single, half, whole = (tmp_path / f"{name}.onnx" for name in ("single", "half", "whole"))
    write_float32(model, 3, [8], single)
    write_float16(single, half)
    for count in (1, 5):
        wanted = model(pictures[:count]).numpy()
        np.testing.assert_allclose(answers(single, pictures[:count])[0], wanted, atol=1e-5)
        np.testing.assert_allclose(answers(half, pictures[:count])[0], wanted, atol=2e-3)
    assert half.stat().st_size < 0.51 * single.stat().st_size
    chain = seeded(Chain)
    write_float32(chain, 3, [8], single)
    write_int8(single, whole, pictures.numpy())
    wanted, got = chain(pictures).numpy(), answers(whole, pictures)[0]
    assert np.abs(got - wanted).mean() < 0.1 * np.abs(wanted - wanted.mean(0)).mean()
    kinds = {t.name: t.data_type for t in onnx.load(whole).graph.initializer}
    stored = [name for name, kind in kinds.items() if kind == onnx.TensorProto.INT8]
    assert any("second" in name for name in stored) and any("third" in name for name in stored)
    assert not any("first" in name or "last" in name for name in stored)
    assert {path.name for path in tmp_path.iterdir()} == {"single.onnx", "half.onnx", "whole.onnx"}


def test_numbers_that_half_precision_cannot_hold_stay(tmp_path, pictures):
    """Check that a matrix with a value beyond its range keeps single precision."""
    model = seeded(Chain)
    model.third.weight.data[0, 0] = 1e5
    write_float32(model, 3, [8], tmp_path / "single.onnx")
    write_float16(tmp_path / "single.onnx", tmp_path / "half.onnx")
    stored = onnx.load(tmp_path / "half.onnx").graph.initializer
    halves = [tensor.name for tensor in stored if tensor.data_type == onnx.TensorProto.FLOAT16]
    assert any("second" in name for name in halves) and not any("third" in name for name in halves)
    assert np.isfinite(answers(tmp_path / "half.onnx", pictures)[0]).all()


def test_networks_beyond_one_file_are_refused(tmp_path, monkeypatch):
    """Check that a network which would not fit into one message is refused before any work."""
    from pipeline.deploy.export import onnx_file

    monkeypatch.setattr(onnx_file, "MOST_BYTES", 1000)
    with pytest.raises(PodiumError, match="does not fit into one file"):
        write_float32(seeded(Chain), 3, [8], tmp_path / "x.onnx")
    assert not (tmp_path / "x.onnx").exists()


@torch.no_grad()
@pytest.mark.parametrize(
    ("arch", "exact"), [("resnet10t", True), ("test_vit", False), ("test_convnext", False)]
)
def test_maps_are_exact_or_not_there(tmp_path, arch, exact):
    """Check that the mean of the class maps and the bias are the logits, in torch and in the file,
    and that networks which are not linear in their last map have none."""
    torch.manual_seed(0)
    options = {"img_size": 64} if "vit" in arch else {}
    model = timm.create_model(arch, num_classes=5, **options).eval()
    pixels = torch.randn(3, 3, 64, 64)
    mapped = with_maps(model, pixels[:2])
    assert isinstance(mapped, Mapped) == exact
    write_float32(mapped, 3, [64], tmp_path / "x.onnx")
    found = answers(tmp_path / "x.onnx", pixels)
    np.testing.assert_allclose(found[0], model(pixels).numpy(), atol=1e-4)
    assert len(found) == 1 + exact
    if exact:
        logits = found[1].mean((2, 3)) + model.fc.bias.numpy()
        np.testing.assert_allclose(logits, found[0], atol=1e-4)
        write_int8(tmp_path / "x.onnx", tmp_path / "whole.onnx", torch.randn(16, 3, 64, 64).numpy())
        assert len(answers(tmp_path / "whole.onnx", pixels)) == 2
