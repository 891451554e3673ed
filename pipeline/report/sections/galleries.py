"""Pictures: confident mistakes, labels that may be wrong, duplicates, what the best changed."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from pipeline.compare.pictures import BROKEN, FIXED, STILL
from pipeline.compare.pictures import Pictures as Changed
from pipeline.errors import PodiumError
from pipeline.mislabelled import candidates
from pipeline.page.blocks import Gallery, Section
from pipeline.page.cards import cards
from pipeline.page.thumbnails import Album
from pipeline.report.gather import Scene, Subject
from pipeline.report.sections.shared import Pictures

# Items of a gallery, and characters of its pictures: 2.6 million of a page of 5 MB.
MISTAKES, LABELS, TWINS, CHANGED = (36, 800_000), (36, 800_000), (16, 400_000), (12, 200_000)
ORDER = (FIXED, BROKEN, STILL)


def pictures_section(scene: Scene, pictures: Pictures) -> Section:
    """The galleries, each with a share of the page."""
    blocks = [_mistakes(scene, pictures), _label_errors(scene, pictures), _twins(scene, pictures)]
    return Section("pictures", "Pictures", (*blocks, *_changed(scene, pictures)))


def _gallery(
    title: str,
    says: str,
    items: Iterable[dict[str, Any]],
    count: int,
    pictures: Pictures,
    most: tuple[int, int],
    where: str = "",
) -> Gallery:
    """Return the gallery of the first items that there is room for, of `count`."""
    room: Album = pictures.album.share(6 * most[0], most[1])
    found = cards((item for _, item in zip(range(most[0]), items, strict=False)),
                  pictures.shelf, room)  # fmt: skip
    return Gallery(title, says, found, count - len(found), where)


def _none(title: str, nothing: str) -> Gallery:
    return Gallery(title, "", (), nothing=nothing)


def _mistakes(scene: Scene, pictures: Pictures) -> Gallery:
    """The wrong answers that were given with the highest confidence."""
    title, best = "Most confident mistakes", scene.focus
    if best is None:
        how = f"There are no answers yet: `make train COMP={scene.comp}` makes some."
        return _none(title, f"{scene.unreadable}." if scene.unreadable else how)
    try:
        sure = _surest(best)
    except PodiumError as error:
        return _none(title, f"They cannot be read: {error}.")
    wrong = np.flatnonzero(best.wrong)
    if not len(wrong):
        return _none(title, f"`{best.name}` answers every validated row rightly.")
    order = wrong[np.lexsort((best.ids[wrong], -sure[wrong]))]
    says = f"{len(wrong):,} of {len(best.ids):,} validated rows are answered wrongly by "
    says += f"`{best.name}`; `make report COMP={scene.comp} MISTAKES=1` sorts them into folders."
    items = (_mistake(best, int(at), float(sure[at])) for at in order)
    return _gallery(title, says, items, len(wrong), pictures, MISTAKES, "")


def _surest(best: Subject) -> np.ndarray:
    """Return how sure a wrong answer was (n,): the probability of the answered class, or of several
    labels that of the surest wrong one."""
    if best.labels.ndim == 1:
        return best.sure
    certain = np.where(best.answer == 1, best.probs, 1 - best.probs)
    return np.where(best.answer != best.labels, certain, 0).max(axis=1)


def _mistake(best: Subject, at: int, sure: float) -> dict[str, Any]:
    classes, label, answer = best.data.classes, best.labels[at], best.answer[at]
    item = {"rows": [str(best.ids[at])], "places": ""}
    if label.ndim == 0:
        return item | {"answered": classes[answer], "confidence": f"{sure:.3f}"}
    names = (
        ("missing", np.flatnonzero((label == 1) & (answer == 0))),
        ("superfluous", np.flatnonzero((label == 0) & (answer == 1))),
    )
    said = {key: [classes[i] for i in found[:4]] for key, found in names if len(found)}
    return item | said | {"confidence": f"{sure:.3f}"}


def _label_errors(scene: Scene, pictures: Pictures) -> Gallery:
    """Labels that may be wrong, the least trusted first."""
    title, best = "Labels that may be wrong", scene.focus
    if best is None or scene.folds is None:
        how = f"They take a finished run: `make train COMP={scene.comp}`."
        return _none(title, f"{scene.unreadable}." if scene.unreadable else how)
    try:
        found = candidates(scene.data, scene.folds, best.name)
    except PodiumError as error:
        return _none(title, f"They cannot be told: {error}.")
    if not found.rows:
        return _none(title, f"None of {found.judged:,} labels is contradicted.")
    says = (
        f"{found.found:,} of {found.judged:,} labels are contradicted, {found.flagged:,} of them "
    )
    says += f"flagged by cleanlab, judged by `{best.name}`; `make label-errors COMP={scene.comp}` "
    says += "writes the table to fill in."
    items = (
        {
            "rows": [one.id],
            "places": "",
            "labels": [f"{one.name}: {one.label}" if one.name else one.label],
            "rather": one.suggested,
            "quality": f"{one.score:.3f}",
            "runs_against": f"{one.disagree} of {len(found.runs)}",
        }
        for one in found.rows
    )
    return _gallery(title, says, items, found.found, pictures, LABELS, "label-errors.csv")


def _twins(scene: Scene, pictures: Pictures) -> Gallery:
    """Duplicates, as the audit found them."""
    title, comp = "Duplicates", scene.comp
    if scene.audit is None:
        return _none(title, f"They were not looked for: `make audit COMP={comp}` does.")
    items: list[dict[str, Any]] = []
    known: set[tuple[str, ...]] = set()
    for finding in scene.audit.findings:
        if "duplicate" not in finding.name and finding.name != "conflicting-labels":
            continue
        for item in finding.items:
            rows = tuple(map(str, item.get("rows", ())))
            if len(rows) > 1 and rows not in known:
                known.add(rows)
                items.append(item)
    if not items:
        return _none(title, "The audit found none.")
    says = f"{len(items):,} clusters of pictures that are the same, or nearly so."
    return _gallery(title, says, items, len(items), pictures, TWINS, "audit.html")


def _changed(scene: Scene, pictures: Pictures) -> list[Gallery]:
    """What the best answers rightly that the one before it did not, the other way round, and what
    both get wrong."""
    title, best, before = "What the best changed", scene.focus, scene.before
    if best is None or before is None:
        return [_none(title, "It takes two runs or ensembles with an honest score.")]
    rows = best.ids, tuple(scene.data.classes), best.labels, before.answer, best.answer
    changed, found = Changed(*rows), []
    counts = changed.counts()
    for kind in ORDER:
        at = changed.rows(kind)
        who = f"by {best.name} and {before.name}"
        who = who if kind == STILL else f"by {best.name} against {before.name}"
        heading = f"{kind.capitalize()} {who}"
        if not len(at):
            found.append(_none(heading, "No row."))
            continue
        says = f"{counts[kind]:,} rows; `make compare COMP={scene.comp} "
        says += f'RUNS="{before.name} {best.name}"` lists them.'
        items = (_change(changed, int(row)) for row in at)
        found.append(_gallery(heading, says, items, counts[kind], pictures, CHANGED,
                              f"compare/{before.name}--{best.name}.csv"))  # fmt: skip
    return found


def _change(changed: Changed, row: int) -> dict[str, Any]:
    named = changed.named
    said = {
        "before": named(changed.a[row]) or "no label",
        "now": named(changed.b[row]) or "no label",
    }
    return {"rows": [str(changed.ids[row])], "places": "", **said}
