"""A folder per class: train/CLASS/PICTURE, with val/ and test/ beside it, or classes at the top."""

from collections import defaultdict
from dataclasses import dataclass

from pipeline.errors import PodiumError
from pipeline.init.asked import Asked
from pipeline.init.look import Look, words
from pipeline.init.tables import TEST, TRAIN, VALID

PICTURES = {"image", "images", "img", "imgs", "pictures", "photos", "masks", "mask"}


@dataclass(frozen=True)
class ClassFolders:
    """The folders of training pictures, each with a folder per class, and that of the test ones."""

    train: tuple[str, ...]
    test: str | None


def find_class_folders(look: Look, asked: Asked) -> ClassFolders | None:
    """Return the folders per class, None where there are none."""
    below = _below(look)
    told = asked.get("folders.train")
    if told:
        train = (told,) if isinstance(told, str) else tuple(told)
        return ClassFolders(train, asked.get("folders.test", _test_beside(below, train[0], asked)))
    holders = [where for where in below if _holds_classes(look, below, where)]
    chosen = [where for where in holders if _kind(where) == "train"]
    if not chosen:
        plain = [where for where in holders if _kind(where) == ""]
        depth = min(map(_depth, plain), default=0)
        chosen = [where for where in plain if _depth(where) == depth]
    if not chosen:
        return None
    if len(chosen) > 1:
        shown = " or ".join(map(repr, chosen[:4]))
        raise PodiumError(
            f"{look.shown}: the folders per class could be those in {shown}; say which: "
            f"{asked.command('folders.train', chosen[0])}"
        )
    first = chosen[0]
    _refuse_mixed(look, below, first)
    valid = [where for where in holders if _kind(where) == "valid" and _beside(where, first)]
    joined = [where for where in valid if below[where] & below[first]]
    return ClassFolders((first, *joined), _test_beside(below, first, asked))


def _below(look: Look) -> dict[str, set[str]]:
    """Return, for each folder with pictures at any depth, the names of such folders in it."""
    below: dict[str, set[str]] = defaultdict(set)
    for folder in look.pictures:
        parts = [] if folder == "." else folder.split("/")
        for depth, name in enumerate(parts):
            below["/".join(parts[:depth]) or "."].add(name)
        below.setdefault(folder, set())
    return dict(below)


def _holds_classes(look: Look, below: dict[str, set[str]], where: str) -> bool:
    classes = [name for name in below[where] if not words(name) & PICTURES and not _kind(name)]
    return where not in look.pictures and len(classes) > 1


def _kind(where: str) -> str:
    said = words(where.rpartition("/")[2])
    kinds = (("test", TEST), ("valid", VALID), ("train", TRAIN - {"label", "labels"}))
    return next((kind for kind, marks in kinds if said & marks), "")


def _depth(where: str) -> int:
    return 0 if where == "." else where.count("/") + 1


def _parent(where: str) -> str:
    return where.rpartition("/")[0] or "."


def _beside(where: str, other: str) -> bool:
    return _parent(where) == _parent(other) and where != other


def _refuse_mixed(look: Look, below: dict[str, set[str]], first: str) -> None:
    """Refuse classes beside a test folder: every folder there would be read as a class."""
    mixed = sorted(name for name in below[first] if _kind(name) or words(name) & PICTURES)
    if mixed and _kind(first) != "train":
        raise PodiumError(
            f"{look.folder / first}: holds the folder {mixed[0]!r} beside the folders of the "
            f"classes; move the classes into a folder train/ beside {mixed[0]!r}"
        )


def _test_beside(below: dict[str, set[str]], first: str, asked: Asked) -> str | None:
    if asked.has("folders.test"):
        return asked.get("folders.test")
    found = [where for where in below if _kind(where) == "test" and _beside(where, first)]
    exact = [where for where in found if where.rpartition("/")[2].lower() == "test"]
    found = exact or found
    if len(found) > 1:
        raise PodiumError(
            f"{asked.data}: the test pictures could lie in {' or '.join(map(repr, found))}; say "
            f"which: {asked.command('folders.test', found[0])}"
        )
    return found[0] if found and first != "." else None
