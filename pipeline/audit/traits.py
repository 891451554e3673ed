"""What can be told of a picture without its pixels: name, folder, size, form, time, place.

A trait is a table of numbers over rows. Nothing here knows a label: the labels of rows that lie
near in order or in time are joined for each fold, from the rows that it trains on.
"""

import os
import posixpath
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.competition import CompetitionData

TITLES = {
    "leak-name": "file name",
    "leak-path": "folder",
    "leak-bytes": "size in bytes",
    "leak-dimensions": "width and height",
    "leak-compression": "way of compression",
    "leak-time": "time of the file",
    "leak-order": "place in the training table",
}
PRESENT = ("absent", "present")
TOKENS, FOLDERS, KINDS = 100, 40, 30  # most columns, or values of a column
_LEAST = 5  # rows that share a token
_CHARACTERS = 40  # looked at from the start of a name: a UUID has 36
_DIVISORS = (2, 3, 4, 5, 7, 10)
_TOKEN = re.compile(r"[^\W\d_]+|\d+")


@dataclass(frozen=True)
class Column:
    """One number per row, (n,) float. `codes` names the values 0, 1, ... of a column of kinds."""

    name: str
    values: np.ndarray
    codes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Trait:
    """One kind of trait. `train`, `test`: its columns of those rows; `order` (n,): a key of all
    training rows by which they have neighbours, whose labels are to be looked at; NaN has none."""

    name: str
    title: str
    train: tuple[Column, ...]
    test: tuple[Column, ...]
    order: np.ndarray | None = None

    def matrix(self) -> np.ndarray:
        """Return the columns of the training rows, (n, columns) float64."""
        return np.stack([column.values for column in self.train], axis=1)


def trait(
    name: str, title: str, columns: Iterable[Column], known: int, order: np.ndarray | None = None
) -> Trait | None:
    """Return a trait of columns over training, then test rows, of which `known` are training rows.

    Columns that are the same for all training rows, or the same as another, say nothing and are
    left out; None where nothing is left.
    """
    kept: dict[bytes, Column] = {}
    for column in columns:
        values = column.values[:known]
        if len(np.unique(values)) > 1:
            kept.setdefault(np.ascontiguousarray(values).tobytes(), column)
    if order is not None and len(np.unique(order[~np.isnan(order)])) < 2:
        order = None
    if not kept:
        return None
    train = tuple(Column(c.name, c.values[:known], c.codes) for c in kept.values())
    test = tuple(Column(c.name, c.values[known:], c.codes) for c in kept.values())
    return Trait(name, title, train, test, order)


def coded(name: str, texts: Sequence[str]) -> Column:
    """Return a column of kinds in alphabetical order; the rarest beyond `KINDS` are one kind."""
    counts = Counter(texts)
    kinds = sorted(kind for kind, _ in counts.most_common(KINDS))
    place = {kind: float(i) for i, kind in enumerate(kinds)}
    rest = ("something rarer",) if len(counts) > len(kinds) else ()
    values = np.array([place.get(text, float(len(kinds))) for text in texts])
    return Column(name, values, (*(repr(kind) for kind in kinds), *rest))


def _presence(name: str, mask: np.ndarray) -> Column:
    return Column(name, mask.astype(float), PRESENT)


def name_columns(names: Sequence[str], what: str = "file name") -> list[Column]:
    """Return what names (n,) tell: common tokens, characters by place, numbers, length."""
    tokens = [_TOKEN.findall(name.casefold()) for name in names]
    numbers = [[int(t) for t in found if t.isdecimal()] for found in tokens]
    columns = [Column(f"length of the {what}", np.array([float(len(name)) for name in names]))]
    columns += _token_columns(tokens, what)
    longest = min(max(map(len, names), default=0), _CHARACTERS)
    for place in range(longest):
        texts = [name[place : place + 1] for name in names]
        columns.append(coded(f"character {place + 1} of the {what}", texts))
    for place in range(1, min(longest, 4) + 1):
        texts = [name[-place:][:1] for name in names]
        columns.append(coded(f"character {place} from the end of the {what}", texts))
    kinds = {"first": lambda n: n[0], "last": lambda n: n[-1], "largest": max}
    for kind, pick in kinds.items():
        picked = [pick(found) if found else None for found in numbers]
        columns.append(Column(f"{kind} number of the {what}", _floats(picked)))
        for by in _DIVISORS if kind != "first" else ():
            rest = [None if value is None else value % by for value in picked]
            columns.append(Column(f"{kind} number of the {what} modulo {by}", _floats(rest)))
    return columns


def _floats(values: Sequence[int | None]) -> np.ndarray:
    """Return numbers as floats, NaN for none; those beyond all floats as the largest."""
    largest = int(np.finfo(float).max)
    return np.array([np.nan if v is None else float(min(v, largest)) for v in values])


def _token_columns(tokens: Sequence[Sequence[str]], what: str) -> list[Column]:
    """Return which of the commonest tokens each name has."""
    counts = Counter(token for found in tokens for token in set(found))
    common = [t for t, rows in counts.most_common(TOKENS) if _LEAST <= rows < len(tokens)]
    where = {token: place for place, token in enumerate(common)}
    has = np.zeros((len(tokens), len(common)), bool)
    for row, found in enumerate(tokens):
        for token in found:
            if token in where:
                has[row, where[token]] = True
    return [_presence(f"token '{t}' in the {what}", has[:, place]) for t, place in where.items()]


def path_columns(folders: Sequence[str]) -> list[Column]:
    """Return which of the commonest folders each path lies in, at any depth, and how deep."""
    parts = [[part for part in folder.split("/") if part] for folder in folders]
    within = [{"/".join(found[: i + 1]) for i in range(len(found))} for found in parts]
    within = [one | set(found) for one, found in zip(within, parts, strict=True)]
    counts = Counter(name for found in within for name in found)
    columns = [Column("depth of the folder", np.array([float(len(found)) for found in parts]))]
    for name, _ in counts.most_common(FOLDERS):
        mask = np.array([name in found for found in within])
        columns.append(_presence(f"folder '{name}'", mask))
    return columns


def byte_columns(looks: np.ndarray) -> list[Column]:
    """Return size in bytes, and per pixel, of looks (n,)."""
    size = np.where(looks["content"] != b"", looks["bytes"], np.nan).astype(float)
    pixels = _known(looks["width"]) * _known(looks["height"])
    return [Column("size in bytes", size), Column("bytes per pixel", size / pixels)]


def dimension_columns(looks: np.ndarray) -> list[Column]:
    """Return width, height, aspect and megapixels of looks (n,)."""
    width, height = _known(looks["width"]), _known(looks["height"])
    return [
        Column("width", width),
        Column("height", height),
        Column("width / height", width / height),
        Column("megapixels", width * height / 1e6),
    ]


def _known(values: np.ndarray) -> np.ndarray:
    return np.where(values > 0, values, np.nan).astype(float)


def compression_columns(looks: np.ndarray) -> list[Column]:
    """Return how the files of looks (n,) were made."""
    texts = {"format": "format", "ending": "suffix", "colours": "mode", "camera": "camera"}
    columns = [coded(name, looks[field].tolist()) for name, field in texts.items()]
    columns.append(Column("JPEG quality", _known(looks["quality"])))
    columns.append(_presence("colour profile", looks["profile"]))
    columns.append(Column("EXIF orientation", looks["orientation"].astype(float)))
    columns.append(Column("frames", looks["frames"].astype(float)))
    return columns


def time_columns(times: np.ndarray) -> list[Column]:
    """Return the rank of each time (n,) and how far it is from those before and after; 0 is none.

    Files of one time have one rank; the ranks of a folder unpacked at once tell its order.
    """
    known = np.flatnonzero(times > 0)
    rank, before, after = (np.full(len(times), np.nan) for _ in range(3))
    if len(known):
        unique, place = np.unique(times[known], return_inverse=True)
        gaps = np.diff(unique)
        rank[known] = place.ravel() / max(1, len(unique) - 1)
        before[known] = np.r_[np.nan, gaps][place.ravel()]
        after[known] = np.r_[gaps, np.nan][place.ravel()]
    named = (("rank of the file's time", rank), ("seconds since the file before", before))
    return [Column(*one) for one in (*named, ("seconds to the file after", after))]


def order_columns(rows: np.ndarray, total: int) -> list[Column]:
    """Return the places of rows (n,) in a table of `total`: the share, and modulo 2 to 12."""
    share = Column("place in the table", rows / max(1, total - 1))
    return [share, *(Column(f"row modulo {k}", rows % float(k)) for k in range(2, 13))]


def shuffled_ties(times: np.ndarray) -> np.ndarray:
    """Return a key (n,) that orders by time; which of two files of one time comes first is drawn,
    since the order of the table is another trait. NaN for no time."""
    drawn = np.random.default_rng(0).permutation(len(times))
    key = np.empty(len(times))
    key[np.lexsort((drawn, times))] = np.arange(len(times))
    return np.where(times > 0, key, np.nan)


def all_traits(
    data: CompetitionData, looks: np.ndarray, train: np.ndarray, test: np.ndarray
) -> list[Trait]:
    """Return every kind of trait that is not the same for all rows.

    Parameters
    ----------
    looks : (n + m,) LOOK of the training, then the test rows
    train, test : rows of the training and of the test table to describe
    """
    n, known = len(data.train), len(train)
    rows = np.concatenate([train, n + test])
    seen, in_folders = looks[rows], data.competition.folders is not None
    times = np.where(looks["fault"] == "", looks["time"], 0.0)
    paths = [*data.train.images, *data.test.images]
    names = [paths[i].stem for i in rows]
    named = name_columns(names)
    title = TITLES["leak-name"]
    columns = {}
    if not in_folders:
        ids = [*data.train.ids.tolist(), *data.test.ids.tolist()]
        if any(ids[i] not in (paths[i].stem, paths[i].name) for i in rows):
            named += name_columns([ids[i] for i in rows], "id")
            title += " and id"
        columns["leak-path"] = path_columns(_folders(paths, rows))
        place = np.concatenate([train, np.full(len(test), np.nan)])
        columns["leak-order"] = order_columns(place, n)
    columns["leak-bytes"] = byte_columns(seen)
    columns["leak-dimensions"] = dimension_columns(seen)
    columns["leak-compression"] = compression_columns(seen)
    columns["leak-time"] = [Column(c.name, c.values[rows]) for c in time_columns(times)]
    orders = {"leak-time": shuffled_ties(times[:n]), "leak-order": np.arange(n, dtype=float)}
    made = [trait("leak-name", title, named, known)]
    for name in TITLES:
        if name in columns:
            made.append(trait(name, TITLES[name], columns[name], known, orders.get(name)))
    return [one for one in made if one is not None]


def _folders(paths: Sequence[os.PathLike], rows: np.ndarray) -> list[str]:
    """Return the folders of the pictures of `rows` below the one that holds them all."""
    folders = [os.path.dirname(paths[i]) for i in rows]
    common = os.path.commonpath(sorted(set(folders))) if folders else ""
    return [posixpath.normpath(os.path.relpath(f, common)).removeprefix(".") for f in folders]


def statistics_trait(looks: np.ndarray) -> Trait | None:
    """Return a few statistics of the pixels, which tell how much there is to compress."""
    spread, mean = looks["std"].mean(axis=1), looks["mean"].mean(axis=1)
    named = {"sharpness": looks["sharpness"], "spread": spread, "mean": mean}
    columns = [Column(name, values.astype(float)) for name, values in named.items()]
    columns += dimension_columns(looks)
    return trait("statistics", "statistics of the pixels", columns, len(looks))
