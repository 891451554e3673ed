"""Items of a gallery: one or several pictures, and what is said of them."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from pipeline.page.shelf import Shelf
from pipeline.page.text import in_words
from pipeline.page.thumbnails import Album, Thumbnail

TOGETHER = 6  # pictures of one item
_LABELS, _PLACES = ("labels", "label"), ("places", "place", "tables", "table")  # keys of an item
_OWN = ("rows", "title", *_LABELS, *_PLACES)  # those that have a place of their own


@dataclass(frozen=True)
class Picture:
    """A row with its picture; `number` is its place in the album, None of one without pixels."""

    id: str
    label: str
    table: str
    thumbnail: Thumbnail
    number: int | None


@dataclass(frozen=True)
class Card:
    """An item as it is shown: a title, facts such as a distance, pictures; `more` are left out."""

    title: str
    facts: tuple[tuple[str, str], ...]
    pictures: tuple[Picture, ...]
    more: int


def card(item: dict[str, Any], shelf: Shelf, album: Album) -> Card | None:
    """Return an item as it is shown, None where there is no room for its pictures.

    `rows` are ids whose pictures are shown, `title` stands above them, `labels` and `places` say
    something of each row, or of all; every other key is a fact.
    """
    given = item.get("rows") or ()
    ids = [str(name) for name in ([given] if isinstance(given, str | int) else given)]
    known = [shelf.find(name) for name in ids[:TOGETHER]]
    taken = album.take([row.path for row in known if row.path is not None])
    if taken is None:
        return None
    thumbnails = iter(taken)
    pictures = []
    for place, row in enumerate(known):
        thumbnail = Thumbnail(reason=row.reason) if row.path is None else next(thumbnails)
        label = _of_row(item, _LABELS, place, row.label)
        table = _of_row(item, _PLACES, place, row.table)
        number = album.number(thumbnail) if thumbnail.uri else None
        pictures.append(Picture(row.id, label, table, thumbnail, number))
    facts = ((key, in_words(value)) for key, value in item.items() if key not in _OWN)
    shown = tuple((key, text) for key, text in facts if text)
    return Card(in_words(item.get("title")), shown, tuple(pictures), len(ids) - len(known))


def cards(items: Iterable[dict[str, Any]], shelf: Shelf, album: Album) -> tuple[Card, ...]:
    """Return the items that the album has room for, up to the first that it has none for."""
    found = []
    for item in items:
        one = card(item, shelf, album)
        if one is None:
            break
        found.append(one)
    return tuple(found)


def _of_row(item: dict[str, Any], keys: Iterable[str], place: int, otherwise: str) -> str:
    """Return what an item says of one of its rows: a list has one value for each, anything else
    holds for all."""
    for key in keys:
        value = item.get(key)
        if isinstance(value, list | tuple):
            value = value[place] if place < len(value) else None
        if value is not None:
            return in_words(value)
    return otherwise
