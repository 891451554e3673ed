"""Pieces of the page in HTML: answers, bars, pictures. Every text of a model or file is escaped."""

import base64
import html
from collections.abc import Sequence

import cv2
import numpy as np

from pipeline.deploy.answers import COLUMNS, DONT_KNOW, in_words
from pipeline.page.text import printable
from pipeline.serve.engine import Answered, Look
from pipeline.serve.uploads import shown_name

MOST_BARS = 10
STYLE = """
.answer { font-size: 1.4rem; font-weight: 600; overflow-wrap: anywhere; margin: .2rem 0; }
.fault, .quiet { overflow-wrap: anywhere; margin: .2rem 0; }
.quiet { opacity: .75; }
.bars { display: grid; grid-template-columns: minmax(5rem, 30%) 1fr 4rem; gap: .3rem .6rem;
  align-items: center; margin: 0; }
.bars dt { overflow-wrap: anywhere; }
.bars dd { margin: 0; font-variant-numeric: tabular-nums; text-align: right; }
.bars .track { background: rgba(127, 127, 127, .25); border-radius: 3px; height: .9rem; }
.bars .bar { background: var(--color-accent, #2b6cb0); border-radius: 3px; height: 100%; }
.seen { display: flex; flex-wrap: wrap; gap: 1rem; }
.seen figure { margin: 0; max-width: 14rem; }
.seen img { width: 14rem; max-width: 100%; image-rendering: pixelated; border-radius: 3px; }
.wide { overflow-x: auto; max-height: 32rem; }
.answers { border-collapse: collapse; width: 100%; }
.answers th, .answers td { text-align: left; padding: .3rem .6rem; overflow-wrap: anywhere;
  border: 0; border-bottom: 1px solid rgba(127, 127, 127, .3); vertical-align: top; }
.answers th { white-space: nowrap; }
.answers td:first-child { min-width: 7rem; }
.answers td:last-child:not(:empty) { min-width: 12rem; }
"""


def answer_html(found: Answered, classes: Sequence[str], separator: str) -> str:
    """Return the answer to the first picture in words: with its confidence, or "don't know", or
    what is wrong with the picture."""
    if 0 in found.faults:
        return fault_html(found.faults[0].message)
    answers = found.answers
    said = in_words(answers.labels[:1], classes, separator)[0] or "none of the labels"
    sure = f"confidence {answers.confidence[0]:.1%}"
    if answers.given[0]:
        return f'<p class="answer">{escape(said)}</p><p class="quiet">{sure}</p>'
    rather = f"{sure}; it would be: {escape(said)}"
    return f'<p class="answer">{escape(DONT_KNOW)}</p><p class="quiet">{rather}</p>'


def escape(text: str) -> str:
    """Return text that is nothing but text in HTML, and that no character of it turns around."""
    return html.escape(printable(text))


def fault_html(message: str) -> str:
    return f'<p class="fault" role="alert">This picture cannot be used: {escape(message)}.</p>'


def bars_html(probs: np.ndarray, classes: Sequence[str]) -> str:
    """Return the likeliest classes of probabilities (c,) as bars, `MOST_BARS` at most."""
    likeliest = np.argsort(-probs, kind="stable")[:MOST_BARS]
    rows = (_bar(classes[k], float(probs[k])) for k in likeliest.tolist())
    left = len(classes) - len(likeliest)
    rest = f'<p class="quiet">and {left:,} less likely classes</p>' if left else ""
    return f'<dl class="bars">{"".join(rows)}</dl>{rest}'


def _bar(name: str, share: float) -> str:
    width = f"{100 * min(max(share, 0.0), 1.0):.1f}%"
    bar = f'<dd class="track"><div class="bar" style="width: {width}"></div></dd>'
    return f"<dt>{escape(name)}</dt>{bar}<dd>{share:.1%}</dd>"


def look_html(look: Look) -> str:
    """Return what the network saw, and where it looked where that is known."""
    figures = [_figure(look.seen, "what the network saw")]
    if look.heat is not None:
        figures.append(_figure(look.heat, "where it looked: bright is where the answer comes from"))
    return f'<div class="seen">{"".join(figures)}</div>'


def _figure(pixels: np.ndarray, caption: str) -> str:
    stored = cv2.imencode(".png", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))[1]
    source = "data:image/png;base64," + base64.b64encode(stored.tobytes()).decode("ascii")
    image = f'<img src="{source}" alt="{escape(caption)}">'
    return f'<figure>{image}<figcaption class="quiet">{escape(caption)}</figcaption></figure>'


def table_html(found: Answered, classes: Sequence[str], separator: str) -> str:
    """Return the answers to many pictures as a table, below how many there are."""
    answers = found.answers
    words = in_words(answers.labels, classes, separator)
    rows = []
    for place, (name, word) in enumerate(zip(found.names, words, strict=True)):
        broken = place in answers.notes
        said = "" if broken else word if answers.given[place] else DONT_KNOW
        sure = "" if broken else f"{answers.confidence[place]:.1%}"
        cells = shown_name(name), said, sure, answers.notes.get(place, "")
        rows.append("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>")
    heads = "".join(f"<th>{name}</th>" for name in COLUMNS)
    table = f'<table class="answers"><tr>{heads}</tr>{"".join(rows)}</table>'
    return f'<p>{escape(_counted(found))}</p><div class="wide">{table}</div>'


def _counted(found: Answered) -> str:
    total, broken = len(found.names), len(found.faults)
    unsure = sum(not found.answers.given[k] for k in range(total) if k not in found.faults)
    noun = "picture" if total == 1 else "pictures"
    return f'{total:,} {noun}: {unsure:,} "{DONT_KNOW}", {broken:,} cannot be used'
