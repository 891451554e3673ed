"""Tests of training.learning.mixing: mixup and cutmix by brute force, by torchvision, by seed."""

import numpy as np
import pytest
import torch
from scipy.stats import kstest
from torch.nn import functional as F
from torchvision.transforms import v2

from pipeline.config.learning import Mix
from pipeline.training.learning.mixing import Mixed, Mixer

B, C, SIDE = 7, 5, 12
EPOCHS = 10


def mixer(mix: Mix, task: str = "multiclass", seed: int = 3, fold: int = 1) -> Mixer:
    return Mixer(mix, task, C, seed, fold, EPOCHS)


def batch(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Images (b, 3, h, w), classes (b,) and weights (b,)."""
    draw = torch.Generator().manual_seed(seed)
    images = torch.randn(B, 3, SIDE, SIDE, generator=draw)
    return images, torch.arange(B) % C, torch.rand(B, generator=draw)


def marked(side: int = SIDE) -> tuple[torch.Tensor, torch.Tensor]:
    """Images whose every pixel is their row's number, and probabilities that tell rows apart."""
    images = torch.arange(float(B)).view(B, 1, 1, 1).expand(B, 3, side, side).contiguous()
    return images, torch.eye(B)


def partners_and_lambda(targets: torch.Tensor) -> tuple[np.ndarray, float]:
    """Read partner and lambda off mixed rows of `torch.eye`; lambda where a partner is another."""
    own = targets.diagonal()
    rest = targets - torch.diag(own)
    partners = torch.where(rest.sum(1) > 0, rest.argmax(1), torch.arange(B))
    others = own[partners != torch.arange(B)]
    return partners.numpy(), float(others[0]) if len(others) else float("nan")


def test_mixup_is_the_convex_combination_of_pairs():
    """Check images, targets and weights against the formula of Zhang and others, row by row."""
    mix = mixer(Mix(mixup=0.8))
    for number in range(30):
        images, _, weights = batch(number)
        mixed = mix(images, torch.eye(B), 0, number)
        weighed = mix(images, torch.eye(B), 0, number, weights).weights
        partners, lam = partners_and_lambda(mixed.targets)
        if np.isnan(lam):
            continue
        assert sorted(partners) == list(range(B))  # a permutation
        for row, other in enumerate(partners):
            both = ((images, mixed.images), (torch.eye(B), mixed.targets), (weights, weighed))
            for before, after in both:
                wanted = lam * before[row] + (1 - lam) * before[other]
                torch.testing.assert_close(after[row], wanted, rtol=1e-5, atol=1e-6)


def test_mixup_equals_that_of_torchvision(monkeypatch):
    """Check against v2.MixUp, which is given the same lambda and the same partners."""
    images, classes, _ = batch()
    ours = mixer(Mix(mixup=1.0))(images, classes, 0, 0)
    partners, lam = partners_and_lambda(mixer(Mix(mixup=1.0))(images, torch.eye(B), 0, 0).targets)
    peer = v2.MixUp(num_classes=C)
    order = torch.from_numpy(partners)
    monkeypatch.setattr(torch.Tensor, "roll", lambda x, *_: x[order])
    monkeypatch.setattr(torch.distributions.Beta, "sample", lambda *_: torch.tensor([lam]))
    theirs = peer(images, classes)
    torch.testing.assert_close(ours.images, theirs[0], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(ours.targets, theirs[1], rtol=1e-5, atol=1e-6)


def test_cutmix_pastes_a_box_whose_true_area_is_in_the_targets():
    """Check, on images that say which row they are, box, partners, lambda and weights."""
    images, eye = marked()
    mix, weights, clipped = mixer(Mix(cutmix=1.0)), torch.rand(B), 0
    for number in range(200):
        mixed = mix(images, eye, 0, number)
        weighed = mix(images, eye, 0, number, weights).weights
        partners, lam = partners_and_lambda(mixed.targets)
        if np.isnan(lam):
            continue
        moved = [row for row in range(B) if partners[row] != row]
        boxes = mixed.images[moved, 0] != images[moved, 0]
        assert (boxes == boxes[0]).all()
        rows, columns = boxes[0].any(1).nonzero(), boxes[0].any(0).nonzero()
        height, width = (int(line.max() - line.min()) + 1 for line in (rows, columns))
        assert boxes[0].sum() == height * width  # a rectangle
        assert lam == pytest.approx(1 - height * width / SIDE**2, abs=1e-6)
        clipped += height != width
        expected = torch.where(boxes[0], torch.from_numpy(partners).view(B, 1, 1), images[:, 0])
        for channel in range(3):
            torch.testing.assert_close(mixed.images[:, channel], expected.float())
        wanted = lam * weights + (1 - lam) * weights[torch.from_numpy(partners)]
        torch.testing.assert_close(weighed, wanted)
    assert clipped > 20  # boxes at the edge, whose lambda has to be corrected


def test_cutmix_areas_and_places_are_those_of_torchvision():
    """Check over 2,000 boxes the distributions of lambda and of the box's ends."""
    images, eye = marked(32)
    ours, theirs, peer = [], [], v2.CutMix(num_classes=B, alpha=0.7)
    mix = mixer(Mix(cutmix=0.7))
    torch.manual_seed(0)
    for number in range(2000):
        for mixed, into in (
            (mix(images, eye, 0, number)[:2], ours),
            (peer(images, torch.arange(B)), theirs),
        ):
            changed = (mixed[0][:, 0] != images[:, 0]).any(0)
            if changed.any():
                rows, columns = changed.any(1).nonzero(), changed.any(0).nonzero()
                ends = rows.min(), rows.max(), columns.min(), columns.max()
                into.append([changed.float().mean().item(), *map(int, ends)])
    assert abs(len(ours) - len(theirs)) < 5 * np.sqrt(2 * 0.06 * 2000)  # those without a box
    for one, other in zip(np.array(ours).T, np.array(theirs).T, strict=True):
        jitter = np.random.default_rng(0).random((2, 2000)) - 0.5  # breaks ties of whole pixels
        scale = np.ptp(one) / 32
        pair = one + scale * jitter[0, : len(one)], other + scale * jitter[1, : len(other)]
        assert kstest(*pair).pvalue > 1e-4


@pytest.mark.parametrize("alpha", [0.2, 1.0, 4.0])
def test_lambda_of_mixup_has_its_beta_distribution(alpha):
    """Check 1,000 lambdas, one a batch, against Beta(alpha, alpha)."""
    mix, (images, eye) = mixer(Mix(mixup=alpha)), marked()
    drawn = [partners_and_lambda(mix(images, eye, 0, n).targets)[1] for n in range(1000)]
    drawn = np.array([lam for lam in drawn if not np.isnan(lam)])
    assert len(drawn) > 950
    assert kstest(drawn, "beta", (alpha, alpha)).pvalue > 1e-4


def kinds(mix: Mix, batches: int = 2000, **who) -> np.ndarray:
    """Say of each batch whether it was left alone (0), mixed up (1) or cut (2)."""
    images, _ = marked()
    found, mixing = [], mixer(mix, **who)
    classes = torch.arange(B) % C
    for number in range(batches):
        mixed = mixing(images, classes, 0, number)
        if mixed.targets is classes:
            found.append(0)
        else:
            whole = (mixed.images == mixed.images.round()).all()
            found.append(2 if whole else 1)
    return np.array(found)


def test_both_take_half_of_the_mixed_share_each():
    """Check counts where both are on and six of ten batches are mixed."""
    counts = np.bincount(kinds(Mix(mixup=1.0, cutmix=1.0, share=0.6)), minlength=3) / 2000
    assert np.abs(counts - [0.4, 0.3, 0.3]).max() < 5 * np.sqrt(0.25 / 2000)


def test_one_alone_and_none():
    """Check that what is off is never drawn, and that share 0 and alphas of 0 mix nothing."""
    assert set(kinds(Mix(mixup=1.0), 200)) == {1}
    assert set(kinds(Mix(cutmix=1.0), 200)) == {2}
    assert set(kinds(Mix(), 50)) == set(kinds(Mix(mixup=1.0, share=0.0), 50)) == {0}


@pytest.mark.parametrize(("until", "last"), [(1.0, 10), (0.7, 7), (0.3, 3), (0.75, 8), (0.0, 0)])
def test_nothing_is_mixed_after_its_share_of_the_epochs(until, last):
    """Check each epoch of ten; those that begin before the share has passed are mixed."""
    images, classes, weights = batch()
    mix = mixer(Mix(mixup=1.0, until=until))
    for epoch in range(EPOCHS):
        mixed = mix(images, classes, epoch, 0, weights)
        assert isinstance(mixed, Mixed)
        same = mixed.images is images, mixed.targets is classes, mixed.weights is weights
        assert set(same) == {epoch >= last}


def test_depends_on_seed_fold_epoch_and_number_alone():
    """Check that repetition, order and torch's generator change nothing, and each key does."""
    images, classes, _ = batch()
    both = Mix(mixup=1.0, cutmix=1.0)
    first = mixer(both)
    base = [first(images, classes, 2, n) for n in range(10)]
    torch.manual_seed(99)
    state = torch.get_rng_state()
    again = mixer(both)
    for number in reversed(range(10)):
        repeated = again(images, classes, 2, number)
        assert torch.equal(repeated.images, base[number].images)
        assert torch.equal(repeated.targets, base[number].targets)
    assert torch.equal(torch.get_rng_state(), state)
    others = {
        "epoch": [first(images, classes, 3, n) for n in range(10)],
        "seed": [mixer(both, seed=4)(images, classes, 2, n) for n in range(10)],
        "fold": [mixer(both, fold=2)(images, classes, 2, n) for n in range(10)],
        "number": [first(images, classes, 2, n + 1) for n in range(10)],
    }
    for what, other in others.items():
        assert not any(torch.equal(a[0], b[0]) for a, b in zip(base, other, strict=True)), what


def test_draws_are_not_those_that_shuffle_the_rows():
    """Check that batch 0 does not reuse the stream of the epoch's order: numpy pads the key (seed,
    fold, epoch) with zeros, so that (seed, fold, epoch, 0) would be the same one."""
    images, eye = marked()
    equal = 0
    for epoch in range(EPOCHS):
        shuffle = np.random.default_rng([3, 1, epoch])
        shuffle.random()
        lam = partners_and_lambda(mixer(Mix(mixup=1.0))(images, eye, epoch, 0).targets)[1]
        equal += np.isclose(lam, shuffle.beta(1.0, 1.0), atol=1e-6)
    assert equal == 0


def test_classes_become_shares_and_labels_are_mixed():
    """Check types and rows of the targets, multi-class and multi-label, by the images' lambda."""
    images, eye = marked()
    lam, partners = None, None
    for task in ("multiclass", "multilabel"):
        mixed = mixer(Mix(mixup=1.0), task)(images, eye, 0, 5)
        partners, lam = partners_and_lambda(mixed.targets)
        order = torch.from_numpy(partners)
        if task == "multiclass":
            given = torch.arange(B) % C
            hot = F.one_hot(given, C).float()
        else:
            given = (torch.rand(B, C, generator=torch.Generator().manual_seed(1)) < 0.4).char()
            hot = given.float()
        soft = mixer(Mix(mixup=1.0), task)(images, given, 0, 5).targets
        assert soft.dtype == torch.float32 and soft.shape == (B, C)
        torch.testing.assert_close(soft, lam * hot + (1 - lam) * hot[order])
        if task == "multiclass":
            torch.testing.assert_close(soft.sum(1), torch.ones(B))


@pytest.mark.parametrize("mix", [Mix(mixup=1.0), Mix(cutmix=1.0)])
def test_what_comes_in_is_not_written_to_and_layout_is_kept(mix):
    """Check inputs bit by bit, and that channels-last images stay so."""
    images, classes, weights = batch()
    images = images.contiguous(memory_format=torch.channels_last)
    kept = images.clone(), classes.clone(), weights.clone()
    for number in range(10):
        mixed = mixer(mix)(images, classes, 0, number, weights)
        assert mixed.images.is_contiguous(memory_format=torch.channels_last)
        assert mixed.images.dtype == images.dtype and mixed.weights.dtype == weights.dtype
    for before, after in zip(kept, (images, classes, weights), strict=True):
        assert torch.equal(before, after)
    assert mixer(mix)(images, classes, 0, 0).weights is None


@pytest.mark.parametrize("kind", ["mixup", "cutmix"])
def test_row_weights_weigh_each_rows_own_label(kind):
    """Check the loss of a mixed, weighted batch against its definition, in which each of the two
    rows weighs its own label; a row of weight 0 teaches nothing."""
    mixer = Mixer(Mix(**{kind: 1.0}), "multiclass", 3, 0, 0, 1)
    rng = torch.Generator().manual_seed(0)
    images, targets = torch.rand(6, 3, 8, 8, generator=rng), torch.tensor([0, 1, 2, 0, 1, 2])
    weights = torch.tensor([1.0, 0.0, 2.0, 0.5, 0.0, 1.0])
    logits = torch.randn(6, 3, generator=rng)
    plain = mixer(images, targets, 0, 0)
    mixed = mixer(images, targets, 0, 0, weights)
    found = (mixed.weights * F.cross_entropy(logits, mixed.targets, reduction="none")).mean()
    ones = mixer(images, torch.arange(6) % 3, 0, 0, torch.ones(6))
    torch.testing.assert_close(ones.targets, plain.targets)
    # Who is mixed with whom: by labels that are all different.
    shares = Mixer(Mix(**{kind: 1.0}), "multiclass", 6, 0, 0, 1)(images, torch.arange(6), 0, 0)[1]
    of_label = -F.log_softmax(logits, dim=1)[:, targets]  # (6, 6): row i, label of row k
    torch.testing.assert_close(found, (shares * weights * of_label).sum(1).mean())
