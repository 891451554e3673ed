"""Which table is which: names propose, content decides."""

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.competition.sources import sample_id_column
from pipeline.errors import PodiumError, nearest
from pipeline.init.asked import Asked
from pipeline.init.columns import find_id, find_image
from pipeline.init.labels import KEYS, candidates
from pipeline.init.look import Look, words
from pipeline.init.places import PROBED, share_found
from pipeline.init.tables import TEST, Table, sniffed, tables_of


@dataclass(frozen=True)
class Shelved:
    """The tables near the top of a folder and what the user said about them."""

    look: Look
    tables: tuple[Table, ...]
    asked: Asked

    @classmethod
    def of(cls, look: Look, asked: Asked) -> "Shelved":
        return cls(look, tuple(tables_of(look)), asked)

    def kinds(self, *kinds: str) -> list[Table]:
        return [table for table in self.tables if table.kind in kinds]

    def said(self, key: str) -> Table | None:
        """Return the table that SET names by `key`, None where it says null."""
        name = self.asked.get(key)
        if name is None:
            return None
        if not (self.look.folder / str(name)).is_file():
            known = [table.name for table in self.tables]
            hint = nearest(name, known) or f"; there are: {', '.join(known[:8]) or 'none'}"
            raise PodiumError(
                f"SET: {key} is {name!r}, but {self.look.shown} has no such file{hint}"
            )
        return sniffed(self.look, str(name))


def find_sample(shelved: Shelved) -> Table | None:
    """Return the sample submission: the one that says so, with the ids of a test table if there
    are several."""
    if shelved.asked.has("tables.sample_submission"):
        return shelved.said("tables.sample_submission")
    found = [table for table in shelved.kinds("sample") if len(table.header) > 1]
    depth = min((shelved.look.depth(table.name) for table in found), default=0)
    found = [table for table in found if shelved.look.depth(table.name) == depth]
    if len(found) > 1:
        tests = [set(t.frame[c]) for t in shelved.kinds("test") for c in t.header[:3]]
        fits = [table for table in found if set(table.frame[table.header[0]]) in tests]
        found = fits if len(fits) == 1 else found
    if len(found) > 1:
        shown = " or ".join(repr(table.name) for table in found[:4])
        say = shelved.asked.command("tables.sample_submission", found[0].name)
        raise PodiumError(
            f"{shelved.look.shown}: the sample submission could be {shown}; say which: {say}"
        )
    return found[0] if found else None


def find_train(
    shelved: Shelved, sample: Table | None, *, far: bool
) -> tuple[Table | None, list[str]]:
    """Return the training table, and why the others are not: it has labels and leads to pictures.

    Named ones come first, and those at the top; `far` also takes any table one folder deep.
    """
    if shelved.asked.get("tables.train"):
        return shelved.said("tables.train"), []
    depth = {table.name: shelved.look.depth(table.name) for table in shelved.tables}
    named, others = shelved.kinds("train"), shelved.kinds("", "valid")
    tiers = [
        [table for table in tables if depth[table.name] == level]
        for tables, level in ((named, 0), (named, 1), (others, 0), *([(others, 1)] if far else []))
    ]
    reasons = []
    for tier in tiers:
        why = {table.name: _unfit(shelved, table, sample) for table in tier}
        fit = [table for table in tier if not why[table.name]]
        reasons += [f"{name}: {reason}" for name, reason in why.items() if reason]
        asked_for = [table for table in fit if _has_values(table, sample)]
        fit = asked_for or fit
        if len(fit) > 1:
            shown = " or ".join(repr(table.name) for table in fit[:4])
            say = shelved.asked.command("tables.train", fit[0].name)
            raise PodiumError(
                f"{shelved.look.shown}: the training table could be {shown}; say which: {say}"
            )
        if fit:
            return fit[0], reasons
        for table in tier:
            if table.kind == "train":
                _ = table.frame  # one that cannot be read is refused by row
    return None, reasons


def _has_values(table: Table, sample: Table | None) -> bool:
    """Whether a table has the columns that the sample asks for."""
    if sample is None:
        return False
    values = set(sample.header[1:])
    return bool(values) and values <= set(table.header)


def _unfit(shelved: Shelved, table: Table, sample: Table | None) -> str:
    """Return why a table is no training table, '' if it may be."""
    look, asked = shelved.look, shelved.asked
    if len(table.header) < 2:
        return "has one column"
    try:
        id_column = find_id(look, table, sample, shelved.kinds("test"), asked)
        image = find_image(look, table, id_column, None, asked)
    except PodiumError as error:
        return str(error).removeprefix(f"{table.path}: ")
    rest = [name for name in table.header if name not in (id_column, image)]
    given = any(asked.get(f"columns.{key}") for key in KEYS)
    if not (given or _has_values(table, sample) or candidates(table, rest)):
        return "no column looks like labels"
    values = table.frame[image].tolist() if image in table.header else []
    if not share_found(look, values):
        example = f"{values[0]!r}" if values else "none"
        return f"its column {image!r} leads to no picture (the first of {PROBED}: {example})"
    return ""


def find_test(shelved: Shelved, train: Table, id_column: str, sample: Table | None) -> Table | None:
    """Return the test table: it has the ids of the sample, which stands for it where none has.

    Without a sample it is the one whose name says so.
    """
    if shelved.asked.has("tables.test"):
        return shelved.said("tables.test")
    near = {_folder(train.name), *([_folder(sample.name)] if sample else [])}
    found = [
        table
        for table in (*shelved.kinds("test"), *(shelved.kinds("") if sample else []))
        if table.name != train.name and (_folder(table.name) in near or _in_test(table.name))
    ]
    usable = [table for table in found if id_column in table.header]
    if sample is not None:
        wanted = set(sample.frame[sample_id_column(sample.header, id_column)])
        same = [table for table in usable if set(table.frame[id_column]) == wanted]
        return same[0] if same else sample
    if len(usable) > 1:
        shown = " or ".join(repr(table.name) for table in usable[:4])
        say = shelved.asked.command("tables.test", usable[0].name)
        raise PodiumError(
            f"{shelved.look.shown}: the test table could be {shown}; say which: {say}"
        )
    if found and not usable:
        raise PodiumError(
            f"{found[0].path}: has no column {id_column!r}, the ids of {train.name}; give it that "
            f"name, or do without a test table: {shelved.asked.command('tables.test', None)}"
        )
    return usable[0] if usable else None


def _folder(name: str) -> str:
    return name.rpartition("/")[0]


def _in_test(name: str) -> bool:
    return bool(words(_folder(name).rpartition("/")[2]) & TEST)


def find_answers(shelved: Shelved, train: Table, columns: Sequence[str]) -> str | None:
    """Return the table of answers, by its name and header alone: it has the ids and the labels."""
    found = [
        table.name
        for table in shelved.kinds("answers")
        if set(columns) <= set(table.header) and table.delimiter == train.delimiter
    ]
    return found[0] if found else None


def find_leaderboard(shelved: Shelved) -> str | None:
    """Return the table of a leaderboard: team, public, private."""
    for table in shelved.tables:
        if "leaderboard" in words(table.name) and {"team", "public", "private"} <= set(
            table.header
        ):
            return table.name
    return None


def common_delimiter(tables: Sequence[Table]) -> str | None:
    """Return the delimiter that the YAML must name, None where the suffixes say it; one file may
    not be cut otherwise than the others."""
    cut = [table for table in tables if len(table.header) > 1]
    if not any(table.unusual for table in cut):
        return None
    first = cut[0]
    for table in cut[1:]:
        if table.delimiter != first.delimiter:
            raise PodiumError(
                f"{table.path}: its fields are separated by {table.delimiter!r}, those of "
                f"{first.name} by {first.delimiter!r}; save both alike"
            )
    return first.delimiter
