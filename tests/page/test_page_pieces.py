"""What pages share: tables, albums with shares, cards, text, matrices."""

import re
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest
from jinja2 import UndefinedError
from markupsafe import Markup

from pipeline.page.blocks import DEEPEST, matrix
from pipeline.page.document import render
from pipeline.page.photos import photo
from pipeline.page.tables import table_of
from pipeline.page.text import in_words, printable
from pipeline.page.thumbnails import Album


@pytest.fixture
def paths(tmp_path) -> list[Path]:
    """Return ten different pictures of noise."""
    rng = np.random.default_rng(0)
    found = [tmp_path / f"{i}.png" for i in range(10)]
    for path in found:
        cv2.imwrite(str(path), rng.integers(0, 256, (20, 20, 3)).astype(np.uint8))
    return found


def test_shares_of_an_album_have_room_of_their_own(paths):
    """Check that a share which is full takes nothing new, that others and the whole still do, and
    that all pictures are in the whole once."""
    album = Album(most=4)
    first, second = album.share(2, 10**6), album.share(3, 10**6)
    assert len(first.take(paths[:2]) or ()) == 2
    assert first.take([paths[2]]) is None
    assert len(second.take(paths[1:4]) or ()) == 3  # the one that the first share has costs nothing
    assert len(album.pictures) == 4
    assert first.number(first.take([paths[1]])[0]) == second.number(second.take([paths[1]])[0])


def test_characters_of_a_share_are_bounded(paths):
    """Check that a share never holds more characters than it was given."""
    album = Album()
    room = len(album.take([paths[0]])[0].uri)
    share = album.share(100, 2 * room + 10)
    taken = [path for path in paths[1:] if share.take([path]) is not None]
    used = sum(len(one.uri) for one in album.pictures[1:])
    assert taken and used <= 2 * room + 10 < used + room


def test_tables_are_cut_and_say_by_how_much():
    """Check lines, those left out, and that a column with a word in it is no column of numbers."""
    table = table_of([["a", "b"], *[[str(i), "1,234 ± 5"] for i in range(9)], ["x", "-"]], 4, "of")
    assert (len(table.lines), table.more, table.caption) == (4, 6, "of")
    assert table.numeric == (False, True)
    assert [cell.value for cell in table.lines[0]] == ["", "1234"]
    assert table_of([]).lines == ()


@pytest.mark.parametrize(
    "value, words",
    [(None, ""), (1234, "1,234"), (0.123456, "0.1235"), ([1, "a"], "1, a"), (True, "True")],
)
def test_values_in_words(value, words):
    """Check how values of records are read."""
    assert in_words(value) == words


def test_markup_is_left_alone_and_text_is_not():
    """Check that only what is no markup is made harmless."""
    assert printable(Markup("a\x00")) == "a\x00"
    assert printable("a\x00\u202e\udcff") == "a\ufffd\ufffd\\udcff"


def test_matrices_show_shares_by_shade_and_number():
    """Check text and shade of nothing, of very little, and of all."""
    found = matrix("c", "true", ["a", "b"], [[0, 0.001], [None, 1]], [[0, 1], [0, 1000]])
    texts = [[square.text for square in line] for line in found.squares]
    assert texts == [["", "<1"], ["", "100"]]
    shades = [square.shade for line in found.squares for square in line]
    assert shades[0] == shades[2] == 0 and shades[1] == 1 and shades[3] == DEEPEST
    assert found.squares[1][1].says == "1,000 rows"


def test_photos_fit_their_room_or_are_left_out(tmp_path):
    """Check width, room and form, and that a file that is no picture is None."""
    path = tmp_path / "a.png"
    pixels = np.random.default_rng(0).integers(0, 256, (300, 900, 3)).astype(np.uint8)
    cv2.imwrite(str(path), pixels)
    shot = photo(path, "t", 300, 60_000)
    assert shot is not None and (shot.width, shot.height) == (300, 100)
    assert shot.uri.startswith("data:image/webp;base64,") and len(shot.uri) <= 60_000
    assert photo(path, "t", 300, 100) is None
    path.write_bytes(b"no picture")
    assert photo(path, "t", 300, 60_000) is None


class Tags(HTMLParser):
    """The tags of a page with their attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict]] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))


def test_the_base_escapes_and_has_what_every_page_needs(tmp_path):
    """Check the policy, the skip link that leads to the content, escaping, and that a name that is
    not there is an error."""
    template = tmp_path / "page.html.j2"
    template.write_text(
        '{% extends "base.html.j2" %}{% set own_style %}.own { color: red; }{% endset %}'
        "{% block main %}<p>{{ said }}</p>{% endblock %}"
    )
    text = render(template, said="<b>&", album=Album())
    assert "<p>&lt;b&gt;&amp;</p>" in text and ".own { color: red; }" in text
    tags = Tags(text).found
    assert ("a", {"class": "skip", "href": "#main"}) in tags and ("main", {"id": "main"}) in tags
    policy = next(a["content"] for _, a in tags if a.get("http-equiv"))
    assert policy.startswith("default-src 'none'") and "unsafe" not in policy
    assert not re.search(r"https?:", text)


def test_a_name_that_is_not_there_is_a_bug(tmp_path):
    """Check that a template never shows nothing for what it was not given."""
    template = tmp_path / "page.html.j2"
    template.write_text(
        '{% extends "base.html.j2" %}{% set own_style = "" %}'
        "{% block main %}{{ nothing }}{% endblock %}"
    )
    with pytest.raises(UndefinedError, match="nothing"):
        render(template, album=Album())
