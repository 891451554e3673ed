"""Codes that differ in few bits: all pairs found, none invented."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.images.hamming import clusters, near_pairs


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
