"""Codes that differ in few bits: all pairs found, none invented."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.images import hamming
from pipeline.images.hamming import Pairs, clusters, near_pairs


def brute(codes: np.ndarray, distance: int) -> dict[tuple[int, int], int]:
    """Return the pairs within the distance, by comparing all."""
    bits = np.unpackbits(codes, axis=1).astype(int)
    apart = (bits[:, None] != bits[None]).sum(axis=2)
    first, second = np.where(np.triu(apart <= distance, 1))
    return {(int(i), int(j)): int(apart[i, j]) for i, j in zip(first, second, strict=True)}


def same_clusters(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether two numberings of clusters part the rows alike."""
    return len(np.unique(np.stack([one, other]), axis=1).T) == one.max() + 1 == other.max() + 1


def relatives(rng: np.random.Generator, n: int, flips: int, width: int = 32) -> np.ndarray:
    """Return codes (n, width) of few ancestors, each with up to `flips` bits turned."""
    bits = rng.integers(0, 2, (max(1, n // 6), 8 * width))[rng.integers(0, max(1, n // 6), n)]
    for row in bits:
        row[rng.choice(8 * width, rng.integers(0, flips + 1), replace=False)] ^= 1
    return np.packbits(bits.astype(np.uint8), axis=1)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 60), st.integers(0, 14), st.integers(0, 12))
def test_the_pairs_are_those_of_all_comparisons(seed, n, flips, distance):
    """Check that pairs, distances and clusters are those of comparing all with all."""
    codes = relatives(np.random.default_rng(seed), n, flips)
    expected = brute(codes, distance)
    found = near_pairs(codes, distance)
    pairs = dict(
        zip(
            zip(found.first.tolist(), found.second.tolist(), strict=True),
            found.distance.tolist(),
            strict=True,
        )
    )
    assert pairs == expected
    links = brute(codes, distance)
    truth = np.arange(n)
    for i, j in links:
        truth[truth == truth[j]] = truth[i]
    assert same_clusters(clusters(n, found), np.unique(truth, return_inverse=True)[1])


@pytest.mark.parametrize("width", [8, 32])
def test_pictures_with_a_plain_margin_are_told_apart(width):
    """Check codes of which most bits are the same in all, which fills the chunks unevenly."""
    rng = np.random.default_rng(1)
    bits = np.zeros((300, 8 * width), np.uint8)
    bits[:, 10:34] = rng.integers(0, 2, (300, 24))
    codes = np.packbits(bits, axis=1)
    found = near_pairs(codes, 3)
    pairs = set(zip(found.first.tolist(), found.second.tolist(), strict=True))
    assert pairs == set(brute(codes, 3))


def test_planted_neighbours_are_found_to_the_last_bit():
    """Check that of codes at exactly 10 and 11 bits only the former are pairs."""
    rng = np.random.default_rng(2)
    codes = rng.integers(0, 256, (4000, 32), dtype=np.uint8)
    bits = np.unpackbits(codes[:200], axis=1)
    for i, row in enumerate(bits):
        row[rng.choice(256, 10 + i % 2, replace=False)] ^= 1
    found = near_pairs(np.concatenate([codes, np.packbits(bits, axis=1)]), 10)
    assert found.first.tolist() == list(range(0, 200, 2))
    assert found.second.tolist() == list(range(4000, 4200, 2))
    assert set(found.distance.tolist()) == {10}


def test_of_too_many_pairs_those_that_join_are_kept():
    """Check that a bound on the pairs leaves the clusters as they are."""
    codes = relatives(np.random.default_rng(3), 400, 6)
    every, few = near_pairs(codes, 10), near_pairs(codes, 10, kept=50)
    assert len(few) < 400 < len(every)
    assert same_clusters(clusters(400, every), clusters(400, few))


def test_a_code_of_many_rows_is_chained():
    """Check that rows of one frequent code are paired in a row, and stay with their neighbours."""
    codes = np.random.default_rng(4).integers(0, 256, (60, 32), dtype=np.uint8)
    codes[10:50] = codes[10]
    codes[55] = codes[10] ^ np.r_[np.uint8(7), np.zeros(31, np.uint8)]
    found = near_pairs(codes, 10)
    assert found.first.tolist() == [*range(10, 49), 10]
    assert found.second.tolist() == [*range(11, 50), 55]
    assert found.distance.tolist() == [0] * 39 + [3]


@pytest.mark.parametrize("n", [0, 1])
def test_too_few_codes_have_no_pairs(n):
    """Check no code and one code."""
    assert len(near_pairs(np.zeros((n, 32), np.uint8), 10)) == 0


def test_other_forms_are_refused():
    """Check that codes which are not whole words of bytes, and distances below 0, raise."""
    for codes, distance in ((np.zeros((2, 5), np.uint8), 1), (np.zeros((2, 8)), 1)):
        with pytest.raises(ValueError, match="codes must be"):
            near_pairs(codes, distance)
    with pytest.raises(ValueError, match="distance must be"):
        near_pairs(np.zeros((2, 8), np.uint8), -1)


def sparse(rng: np.random.Generator, n: int, share: float) -> np.ndarray:
    """Return codes (n, 32) with a share of their bits set, as of line drawings on white."""
    return np.packbits(rng.random((n, 256)) < share, axis=1)


@pytest.mark.parametrize("share", [0.02, 0.05, 0.1, 0.9])
@pytest.mark.parametrize("tile", [(256, 4096), (32, 48)])
def test_sparse_codes_are_compared_exactly(share, tile, monkeypatch):
    """Check pairs and distances of codes that share most chunks, in one tile and in many."""
    monkeypatch.setattr(hamming, "TILE", tile)
    codes = sparse(np.random.default_rng(5), 400, share)
    codes[200:300] = codes[:100]
    codes[200:300, 5] ^= 96
    found = near_pairs(codes, 10)
    rows = zip(found.first.tolist(), found.second.tolist(), strict=True)
    assert dict(zip(rows, found.distance.tolist(), strict=True)) == brute(codes, 10)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([0.01, 0.02, 0.04]), st.integers(0, 300))
def test_of_too_many_pairs_the_shortest_tree_is_kept(seed, share, kept):
    """Check by all comparisons that what is left of many pairs joins the same rows at every
    distance, which is what a shortest tree does, and that all of it are pairs."""
    codes = sparse(np.random.default_rng(seed), 120, share)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hamming, "DENSE", 6)
        patch.setattr(hamming, "TILE", (12, 20))
        every, few = brute(codes, 8), near_pairs(codes, 8, kept=kept)
    rows = list(zip(few.first.tolist(), few.second.tolist(), strict=True))
    assert len(rows) == len(set(rows)) <= max(kept, 119)
    assert all(every[pair] == d for pair, d in zip(rows, few.distance.tolist(), strict=True))
    first, second = (np.array([pair[k] for pair in every], np.int64) for k in (0, 1))
    whole = Pairs(first, second, np.array([*every.values()], np.int64))
    for level in range(9):
        one, other = (clusters(120, p.take(p.distance <= level)) for p in (whole, few))
        assert same_clusters(one, other)


def test_codes_of_few_bits_differ_in_all_of_them():
    """Check a code and its complement, which share no chunk, and a distance of all bits."""
    codes = np.array([[0] * 8, [255] * 8], np.uint8)
    assert near_pairs(codes, 64).distance.tolist() == [64]
    assert len(near_pairs(codes, 63)) == 0
    wide = np.array([[0] * 32, [255] * 32], np.uint8).repeat(2, axis=0)
    assert near_pairs(wide, 255).distance.tolist() == [0, 0]


def test_comparing_sparse_codes_is_bounded_by_their_number(monkeypatch):
    """Check that no more pairs are compared than there are, however many chunks codes share."""
    compared = []
    original = hamming._distances

    def counting(one, other):
        compared.append(one.shape[1] * other.shape[1])
        return original(one, other)

    monkeypatch.setattr(hamming, "_distances", counting)
    codes = sparse(np.random.default_rng(6), 3000, 0.03)
    near_pairs(codes, 10)
    assert 0 < sum(compared) < 1.2 * 3000**2
    compared.clear()
    codes[:1500] |= sparse(np.random.default_rng(7), 1500, 0.4)
    near_pairs(codes, 10)
    assert sum(compared) < 0.75 * 3000**2


@pytest.mark.parametrize("tile", [(1, 1), (4, 6)])
def test_tiles_are_passed_over_only_where_all_is_too_far(tile, monkeypatch):
    """Check codes that differ just as their numbers of set bits do, against all comparisons."""
    monkeypatch.setattr(hamming, "TILE", tile)
    monkeypatch.setattr(hamming, "DENSE", 2)
    codes = np.packbits(np.arange(256) < np.arange(0, 200, 2)[:, None], axis=1)
    found = near_pairs(codes, 10)
    pairs = zip(found.first.tolist(), found.second.tolist(), strict=True)
    assert dict(zip(pairs, found.distance.tolist(), strict=True)) == brute(codes, 10)
