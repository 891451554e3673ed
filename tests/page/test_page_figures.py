"""Charts as inline SVG: no style attribute, the page's colours, text as text, always the same."""

import re
from xml.etree import ElementTree

import pytest

from pipeline.page.figures import COLOURS, FIRST, SECOND, chart, legend, plain, svg


def drawn(name: str = "one", label: str = "a", says: str = "says") -> str:
    figure, axes = chart()
    axes.plot([1, 2, 3], [0.1, 0.5, 0.2], "o-", color=FIRST, label=plain(label))
    axes.fill_between([1, 2], [0, 0], [1, 1], color=SECOND, alpha=0.2)
    axes.set_xlabel("epoch")
    legend(axes)
    return str(svg(figure, name, says))


def test_a_chart_follows_the_page_and_its_policy():
    """Check that it is well formed, has no style that a policy refuses, no address, no size of its
    own, and no colour but those of the page."""
    text = drawn()
    root = ElementTree.fromstring(text)
    assert root.attrib.keys() == {"class", "viewBox", "role", "aria-label"}
    assert not re.search(r"style|https?:|xlink|<metadata|<\?xml", text)
    colours = {one.get(key) for one in root.iter() for key in ("fill", "stroke")} - {None}
    assert colours <= {*COLOURS.values(), "none"} and {"var(--c1)", "var(--c2)"} <= colours


def test_text_is_text_and_escaped():
    """Check that words can be read and searched, whatever they hold: markup, dollars that would be
    maths, and letters that no font here has."""
    words = "<script> $x$ & \u0639\u0631\u0628 \U0001f600 \x00 ns0:"
    texts = [one.text for one in ElementTree.fromstring(drawn(label=words)).iter("text")]
    shown = " ".join("".join(text for text in texts if text and "script" in text).split())
    assert shown == "<script> $x$ & \u0639\u0631\u0628 \U0001f600 \ufffd ns0:"
    assert "epoch" in texts


def test_charts_of_a_page_share_no_id_and_refer_to_their_own():
    """Check ids of two charts, and that every reference leads to one of the same chart."""
    for name in ("one", "two"):
        text = drawn(name)
        ids = re.findall(r' id="([^"]+)"', text)
        used = re.findall(r'(?:href="#|url\(#)([^")]+)', text)
        assert ids and all(one.startswith(f"{name}-") for one in ids)
        assert set(used) <= set(ids)


def test_the_same_chart_is_the_same_text():
    """Check that neither time nor order of making is in it."""
    first = drawn()
    drawn("other")
    assert drawn() == first


@pytest.mark.parametrize("says", ['a "quoted" <b>', "plain"])
def test_what_is_read_out_is_escaped(says):
    """Check the label for those who do not see the chart."""
    assert ElementTree.fromstring(drawn(says=says)).get("aria-label") == says
