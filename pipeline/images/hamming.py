"""All pairs of 256-bit codes within a Hamming distance, exactly and without comparing all pairs.

Two codes that differ in at most d bits agree in at least one of d + 1 disjoint chunks of their bits
(multi-index hashing: Norouzi, Punjani, Fleet 2012, "Fast Search in Hamming Space with Multi-Index
Hashing"). So only codes that share a chunk are compared: near linear in the number of codes, where
they are diverse. faiss does the same (IndexBinaryMultiHash) in about the same time
(benchmarks/README.md), but would bring a second OpenMP library beside torch's into the process,
which aborts on macOS.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.sparse.csgraph import connected_components, minimum_spanning_tree

BLOCK = 1 << 21  # pairs compared at a time: 64 MB of differences
EQUAL = 16  # rows of one code that are compared one by one
KEPT = 4_000_000  # pairs kept; of more, a tree that joins the same codes


@dataclass(frozen=True)
class Pairs:
    """Pairs of rows and the distance of each: `first` < `second`, (m,) int64; `distance` (m,)."""

    first: np.ndarray
    second: np.ndarray
    distance: np.ndarray

    def __len__(self) -> int:
        return len(self.first)

    def take(self, chosen: np.ndarray) -> "Pairs":
        """Return the pairs at the positions, or where the mask, `chosen` is set."""
        return Pairs(self.first[chosen], self.second[chosen], self.distance[chosen])


def near_pairs(codes: np.ndarray, distance: int, *, kept: int = KEPT) -> Pairs:
    """Return the pairs of codes that differ in at most `distance` bits, nearest first.

    Parameters
    ----------
    codes : (n, b) uint8, b a multiple of 8: b * 8 bits each
    distance : int, bits, 0 or more
    kept : int, how many pairs to hold at most

    Returns
    -------
    Pairs, sorted by distance and rows. Of more than `kept`, about as many that join the same rows
    to the same clusters, the nearest pair of each two joined parts among them (minimum spanning
    tree). A code of more than EQUAL rows is such a case from the start: the first row stands for
    all, and each of them is paired with the next.

    Reference
    ---------
    Norouzi, Punjani and Fleet 2012, Fast Search in Hamming Space with Multi-Index Hashing.
    """
    if codes.ndim != 2 or codes.dtype != np.uint8 or codes.shape[1] % 8:
        raise ValueError(f"codes must be (n, 8 k) uint8, got {codes.shape} {codes.dtype}")
    if distance < 0:
        raise ValueError(f"distance must be 0 or more, got {distance}")
    _, code_of, counts = np.unique(codes, axis=0, return_inverse=True, return_counts=True)
    chain, searched = _chained(code_of.ravel(), counts)
    found = _searched_pairs(np.ascontiguousarray(codes[searched]), distance, kept)
    one, other = searched[found.first], searched[found.second]
    pairs = Pairs(
        np.concatenate([chain.first, one]),
        np.concatenate([chain.second, other]),
        np.concatenate([chain.distance, found.distance]),
    )
    return pairs.take(np.lexsort((pairs.second, pairs.first, pairs.distance)))


def clusters(n: int, pairs: Pairs) -> np.ndarray:
    """Return the cluster (n,) of every row: rows that pairs join, directly or through others."""
    links = sparse.coo_array((np.ones(len(pairs), np.int8), (pairs.first, pairs.second)), (n, n))
    return connected_components(links, directed=False)[1]


def _chained(code_of: np.ndarray, counts: np.ndarray) -> tuple[Pairs, np.ndarray]:
    """Pair each row of a code that many rows (n,) have with the next one; return these pairs, and
    the rows to search, sorted: all of the other codes, and the first of each of these."""
    order = np.argsort(code_of, kind="stable")
    many = counts[code_of[order]] > EQUAL
    follows = np.r_[False, code_of[order[1:]] == code_of[order[:-1]]] & many
    later = np.flatnonzero(follows)
    chain = Pairs(order[later - 1], order[later], np.zeros(len(later), np.int64))
    return chain, np.sort(order[~follows])


def _searched_pairs(codes: np.ndarray, distance: int, kept: int) -> Pairs:
    """Return the pairs among codes (n, b) uint8 of which few are equal."""
    n, words = len(codes), codes.view(np.uint64)
    none = np.array([], np.int64)
    found = Pairs(none, none, none)
    if n < 2:
        return found
    for keys in _chunk_keys(codes, distance + 1):
        parts = [found]
        for one, other in _same_key(keys):
            bits = np.bitwise_count(words[one] ^ words[other]).sum(axis=1, dtype=np.int64)
            near = bits <= distance
            if near.any():
                one, other, bits = one[near], other[near], bits[near]
                parts.append(Pairs(np.minimum(one, other), np.maximum(one, other), bits))
            if sum(map(len, parts)) > kept:
                parts = [_thinned(_merged(parts, n), n, kept)]
        found = _thinned(_merged(parts, n), n, kept)
    return found


def _chunk_keys(codes: np.ndarray, chunks: int) -> Iterator[np.ndarray]:
    """Yield, chunk by chunk, a key (n,) of the bits in it.

    Bits are dealt to chunks by how even they are over the codes. Without that, the chunks of a
    plain margin, which many pictures share, would hold most codes under one key.
    """
    bits = np.unpackbits(codes, axis=1)
    evenness = np.abs(bits.mean(axis=0) - 0.5)
    order = np.argsort(evenness, kind="stable")
    for chunk in range(min(chunks, len(order))):
        packed = np.packbits(bits[:, order[chunk::chunks]], axis=1)
        yield np.unique(packed, axis=0, return_inverse=True)[1].ravel()


def _same_key(keys: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield all pairs of rows (m,), (m,) of equal keys (n,), about BLOCK at a time."""
    order = np.argsort(keys, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(keys[order]) != 0])
    ends = np.r_[starts[1:], len(keys)]
    # How many later rows of its run each row is paired with; row by row these fill the blocks.
    partners = np.repeat(ends, ends - starts) - np.arange(len(keys)) - 1
    total = np.cumsum(partners)
    begin = 0
    while begin < len(keys):
        done = total[begin - 1] if begin else 0
        end = max(int(np.searchsorted(total, done + BLOCK, "right")), begin + 1)
        count = partners[begin:end]
        one = np.repeat(np.arange(begin, end), count)
        step = np.arange(len(one)) - np.repeat(np.cumsum(count) - count, count)
        if len(one):
            yield order[one], order[one + 1 + step]
        begin = end


def _merged(parts: list[Pairs], n: int) -> Pairs:
    """Join pairs found in several chunks; each is kept once."""
    key = np.concatenate([p.first * n + p.second for p in parts])
    key, place = np.unique(key, return_index=True)
    distance = np.concatenate([p.distance for p in parts])[place]
    return Pairs(key // n, key % n, distance)


def _thinned(pairs: Pairs, n: int, kept: int) -> Pairs:
    """Return the pairs, or where they are too many a tree that joins the same rows."""
    if len(pairs) <= kept:
        return pairs
    weights = sparse.coo_array((pairs.distance + 1.0, (pairs.first, pairs.second)), (n, n))
    tree = minimum_spanning_tree(weights.tocsr()).tocoo()
    one, other = tree.row.astype(np.int64), tree.col.astype(np.int64)
    distance = np.rint(tree.data).astype(np.int64) - 1
    return Pairs(np.minimum(one, other), np.maximum(one, other), distance)
