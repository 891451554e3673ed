"""Where the pictures of a table lie: told by looking for its values among the pictures' names."""

import posixpath
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from pipeline.competition.pictures import ANY, is_picture
from pipeline.errors import PodiumError
from pipeline.init.asked import Asked
from pipeline.init.look import Look, words
from pipeline.init.tables import TEST, TRAIN

PROBED = 300  # values of a column that are looked for, to see whether it names pictures
ENOUGH = 0.5  # share of the pictures that must be there


@dataclass(frozen=True)
class Place:
    """Where a table's pictures lie: `images`, `extension` and `nested` as in the YAML."""

    images: str
    extension: str
    nested: bool
    found: int


@dataclass
class _Seen:
    """How many values lead to a picture below a folder, with which extension; `twice`: to two."""

    rows: int = 0
    twice: int = 0
    extensions: Counter = field(default_factory=Counter)


def share_found(look: Look, values: Sequence[str]) -> float:
    """Return for which share of `values` there is a picture anywhere; some of them are tried."""
    step = max(1, len(values) // PROBED)
    tried = values[::step]
    return sum(bool(value) and bool(look.find(value)) for value in tried) / max(1, len(tried))


def place_of(look: Look, values: Sequence[str], kind: str, asked: Asked, table: str) -> Place:
    """Return where the pictures of `values` lie; `kind` is train or test.

    Plain names are preferred; `nested` is taken where it leads to more pictures.
    """
    plain, nested = _seen(look, values, asked.get("extension"))
    told = asked.get("images")
    told = told.get(kind) if isinstance(told, dict) else told
    if told is not None:
        told = posixpath.normpath(told)
        plain, nested = ({told: seen[told]} if told in seen else {} for seen in (plain, nested))
    flat = max((seen.rows for seen in plain.values()), default=0)
    deep = {where: seen for where, seen in nested.items() if not seen.twice}
    most = max((seen.rows for seen in deep.values()), default=0)
    if asked.get("nested") or (most > flat and not asked.has("nested")):
        best = _deepest([where for where, seen in deep.items() if seen.rows == most and most])
        chosen = _preferred(best, kind, asked, table) if best else told or "."
        return _place(chosen, deep.get(chosen, _Seen()), True, asked, table)
    best = [where for where, seen in plain.items() if seen.rows == flat and flat]
    chosen = _preferred(best, kind, asked, table) if best else told or "images"
    return _place(chosen, plain.get(chosen, _Seen()), False, asked, table)


def _deepest(folders: list[str]) -> list[str]:
    """Return the folders that hold none of the others."""
    return [
        where
        for where in folders
        if not any(where in _ancestors(f"{other}/") and where != other for other in folders)
    ]


def _seen(
    look: Look, values: Sequence[str], extension: str | None
) -> tuple[dict[str, _Seen], dict[str, _Seen]]:
    """Return what is found by folder: plainly below it, and at any depth below it."""
    plain, nested = defaultdict(_Seen), defaultdict(_Seen)
    for value in values:
        found = [(path, _extension(value, path)) for path in look.find(value)] if value else []
        if extension is not None:
            found = [(p, e) for p, e in found if extension in (ANY, e)]
        straight = [(_root(value, path, ending), ending) for path, ending in found]
        _count(plain, [(root, ending) for root, ending in straight if root is not None])
        _count(nested, [(root, e) for path, e in found for root in _ancestors(path)])
    return plain, nested


def _count(seen: dict[str, _Seen], found: list[tuple[str, str]]) -> None:
    by_root = defaultdict(list)
    for root, extension in found:
        by_root[root].append(extension)
    for root, extensions in by_root.items():
        seen[root].rows += 1
        # Two pictures of one name and extension cannot be told apart, others by `extension`.
        seen[root].twice += len(set(extensions)) < len(extensions)
        seen[root].extensions.update(set(extensions))


def _extension(value: str, path: str) -> str:
    """Return what to add to `value` for the file name of `path`; '*' if it ends otherwise."""
    name, given = path.rpartition("/")[2], value.rpartition("/")[2]
    return name[len(given) :] if name.startswith(given) else ANY


def _root(value: str, path: str, extension: str) -> str | None:
    """Return the folder below which `value` is the path of the picture; None if it is not."""
    stem, ending = (value, extension) if extension != ANY else (value.rpartition(".")[0], "")
    tail = stem + ending
    known = path if extension != ANY else path.rpartition(".")[0]
    if known == tail:
        return "."
    return known[: -len(tail) - 1] if known.endswith(f"/{tail}") else None


def _ancestors(path: str) -> list[str]:
    parts = path.split("/")[:-1]
    return [".", *("/".join(parts[: n + 1]) for n in range(len(parts)))]


def _preferred(best: list[str], kind: str, asked: Asked, table: str) -> str:
    """Return the folder of several equal ones whose name says `kind`; ask if none alone does."""
    if len(best) == 1:
        return best[0]
    marks, others = (TRAIN, TEST) if kind == "train" else (TEST, TRAIN)
    for keep in (lambda name: words(name) & marks, lambda name: not words(name) & others):
        fits = [name for name in best if keep(name)]
        if len(fits) == 1:
            return fits[0]
    shown = " or ".join(repr(name) for name in sorted(best)[:4])
    raise PodiumError(
        f"{table}: its pictures could lie in {shown}; say which: "
        f"{asked.command('images', sorted(best)[0])}"
    )


def _place(where: str, seen: _Seen, nested: bool, asked: Asked, table: str) -> Place:
    """Return the place with the extension that leads to every picture found, '*' if none does."""
    full = sorted(e for e, n in seen.extensions.items() if n == seen.rows)
    if len(full) > 1 and not asked.has("extension"):
        shown = " or ".join(repr(extension) for extension in full)
        raise PodiumError(
            f"{table}: its pictures in {where} could end in {shown}; say which: "
            f"{asked.command('extension', full[0])}"
        )
    extension = full[0] if full else ANY if seen.extensions else ""
    return Place(where, asked.get("extension", extension), nested, seen.rows)


def together(train: Place, test: Place | None) -> dict[str, object]:
    """Return images, extension and nested for both tables, those that differ from the defaults."""
    test = test or train
    same = train.images == test.images
    extension = train.extension if train.extension == test.extension else ANY
    images = train.images if same else {"train": train.images, "test": test.images}
    keys: dict[str, object] = {"images": images}
    if extension:
        keys["extension"] = extension
    if train.nested or test.nested:
        keys["nested"] = True
    return keys


def names_files(values: Sequence[str]) -> bool:
    """Whether most values are file names of pictures, extension included."""
    tried = values[:PROBED]
    return sum(map(is_picture, (v.rpartition("/")[2] for v in tried))) > len(tried) / 2
