"""All pairs of 256-bit codes within a Hamming distance, exactly and without comparing all pairs.

Two codes that differ in at most d bits agree in at least one of d + 1 disjoint chunks of their bits
(multi-index hashing: Norouzi, Punjani, Fleet 2012, "Fast Search in Hamming Space with Multi-Index
Hashing"). So only codes that share a chunk are compared: near linear in the number of codes, where
they are diverse. Sparse codes, as of line drawings on white, share most of their chunks: many rows
of one chunk are compared in tiles, and where chunks would spare nothing, all rows are, once.

faiss does the same (IndexBinaryMultiHash) in about the same time (benchmarks/README.md), but would
bring a second OpenMP library beside torch's into the process, which aborts on macOS.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy import sparse
from scipy.sparse.csgraph import connected_components, minimum_spanning_tree

BLOCK = 1 << 21  # pairs compared at a time: 64 MB of differences
EQUAL = 16  # rows of one code that are compared one by one
KEPT = 4_000_000  # pairs kept; of more, a tree that joins the same codes
DENSE = 64  # rows of one chunk that are compared in tiles
TILE = (256, 4096)  # rows by rows: 8 MB of differences


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
    found = _Found(n, distance, kept)
    if n < 2:
        return found.pairs()
    chunks = [_same_key(keys) for keys in _chunk_keys(codes, distance + 1)]
    candidates = sum(float(sizes @ (sizes - 1)) / 2 for _, sizes in chunks)
    if distance >= 8 * codes.shape[1] or candidates > n * (n - 1) / 2:
        chunks = [(np.arange(n), np.array([n]))]
    for order, sizes in chunks:
        few = np.repeat(sizes <= DENSE, sizes)
        for one, other in _pairs_of(order[few], sizes[sizes <= DENSE]):
            bits = np.bitwise_count(words[one] ^ words[other]).sum(axis=1, dtype=np.int64)
            near = bits <= distance
            found.add(one[near], other[near], bits[near])
        ends = np.cumsum(sizes)
        for size, end in zip(sizes[sizes > DENSE], ends[sizes > DENSE], strict=True):
            _compare(words, order[end - size : end], found)
    return found.pairs()


class _Found:
    """Pairs as they are found, and those that too many of them come to.

    Once they were thinned to a tree, a pair is left out if links of at most its distance join its
    rows already: the shortest tree needs no such pair.
    """

    def __init__(self, n: int, distance: int, kept: int) -> None:
        self._n, self._distance, self._kept = n, distance, kept
        self._parts: list[Pairs] = []
        self._count = 0
        self._most = kept  # pairs to hold before they are thinned
        self._joined: np.ndarray | None = None  # (distance + 1, n) clusters of links that short

    def add(self, one: np.ndarray, other: np.ndarray, bits: np.ndarray) -> None:
        """Take in pairs of rows, in any order, and their distances, (m,) each."""
        if self._joined is not None:
            new = self._joined[bits, one] != self._joined[bits, other]
            one, other, bits = one[new], other[new], bits[new]
        if len(one):
            self._parts.append(Pairs(np.minimum(one, other), np.maximum(one, other), bits))
            self._count += len(one)
        if self._count > self._most:
            self._thin()

    def limit(self, rows: np.ndarray) -> int:
        """Return the largest distance at which pairs among the rows can still be of use."""
        if self._joined is None:
            return self._distance
        joined = self._joined[:, rows]
        return int((joined != joined[:, :1]).any(axis=1).sum()) - 1

    def pairs(self) -> Pairs:
        """Return the pairs, or where they are too many a tree that joins the same rows."""
        return _thinned(_merged(self._parts, self._n), self._n, self._kept)

    def _thin(self) -> None:
        merged = _merged(self._parts, self._n)
        thinned = _thinned(merged, self._n, self._kept)
        self._parts, self._count = [thinned], len(thinned)
        self._most = max(self._kept, 2 * len(thinned))
        if len(merged) > self._kept:
            levels = range(self._distance + 1)
            short = [thinned.take(thinned.distance <= level) for level in levels]
            self._joined = np.stack([clusters(self._n, links) for links in short])


def _compare(words: np.ndarray, rows: np.ndarray, found: _Found) -> None:
    """Compare all of many rows (m,), tile by tile.

    Sorted by how many bits are set, tiles whose rows differ in that by more than the distance are
    passed over.
    """
    ones = np.bitwise_count(words[rows]).sum(axis=1, dtype=np.int64)
    order = np.argsort(ones, kind="stable")
    rows, ones = rows[order], ones[order]
    columns = np.ascontiguousarray(words[rows].T)
    for top, below in pairwise([*range(0, len(rows), TILE[0]), len(rows)]):
        for left in range(top, len(rows), TILE[1]):
            right = min(left + TILE[1], len(rows))
            limit = found.limit(np.r_[rows[top:below], rows[left:right]])
            if ones[left] - ones[below - 1] > limit:
                continue
            apart = _distances(columns[:, top:below], columns[:, left:right])
            one, other = np.nonzero(apart <= limit)
            once = top + one < left + other
            one, other = one[once], other[once]
            found.add(rows[top + one], rows[left + other], apart[one, other].astype(np.int64))


def _distances(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return the distances (k, m) of codes (words, k) and (words, m); word by word, since numpy is
    slow on short rows."""
    total = np.zeros((one.shape[1], other.shape[1]), np.uint16)
    differ, count = np.empty(total.shape, np.uint64), np.empty(total.shape, np.uint8)
    for mine, theirs in zip(one, other, strict=True):
        np.bitwise_xor(mine[:, None], theirs, out=differ)
        np.bitwise_count(differ, out=count)
        np.add(total, count, out=total)
    return total


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


def _same_key(keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows (m,) that share their key (n,) with others, key after key, and how many have
    each of these keys."""
    order, counts = np.argsort(keys, kind="stable"), np.bincount(keys)
    shared = counts > 1
    return order[np.repeat(shared, counts)], counts[shared]


def _pairs_of(rows: np.ndarray, sizes: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield all pairs of rows of the same run, about BLOCK at a time; the runs lie one after the
    other in `rows` (m,)."""
    # How many later rows of its run each row is paired with; row by row these fill the blocks.
    partners = np.repeat(np.cumsum(sizes), sizes) - np.arange(len(rows)) - 1
    total = np.cumsum(partners)
    begin = 0
    while begin < len(rows):
        done = total[begin - 1] if begin else 0
        end = max(int(np.searchsorted(total, done + BLOCK, "right")), begin + 1)
        count = partners[begin:end]
        one = np.repeat(np.arange(begin, end), count)
        step = np.arange(len(one)) - np.repeat(np.cumsum(count) - count, count)
        if len(one):
            yield rows[one], rows[one + 1 + step]
        begin = end


def _merged(parts: list[Pairs], n: int) -> Pairs:
    """Join pairs found in several chunks; each is kept once."""
    if not parts:
        return Pairs(*(np.array([], np.int64),) * 3)
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
