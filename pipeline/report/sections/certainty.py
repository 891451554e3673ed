"""Whether confidence means what it says, and how many rows are answered from a confidence on."""

import numpy as np
from markupsafe import Markup

from pipeline.page.blocks import Block, Charts, Section, Words
from pipeline.page.figures import FIRST, MUTED, SECOND, chart, legend, svg
from pipeline.report.gather import Scene, Subject
from pipeline.report.sections.shared import by_subject, grid, share

LEVEL = 0.9  # the confidence that is marked
FEWEST = 10  # rows of a point that the line goes through


def certainty_section(scene: Scene) -> Section:
    """Reliability diagram and coverage of each run and ensemble that is shown."""
    title = "Confidence"
    places = {subject.name: at for at, subject in enumerate(scene.subjects)}

    def show(subject: Subject) -> tuple[Block, ...]:
        return _of(subject, places[subject.name])

    blocks = by_subject(scene, show)
    if not blocks:
        why = "no run or ensemble has been decided"
        return Section("confidence", title, nothing=f"{why}: `make ensemble COMP={scene.comp}`")
    return Section("confidence", title, blocks)


def _of(subject: Subject, place: int) -> tuple[Block, ...]:
    curve = subject.diagnostics["reliability"]
    noise = curve.get("ece_of_a_calibrated_model")
    said = f"Calibration error (ECE) {curve['ece']:.3f}"
    if noise:
        beyond = curve["ece"] > noise["high"]
        said += (
            f"; chance alone shows up to {noise['high']:.3f} where confidence is exact, so it is "
        )
        said += "not to be taken at its word" if beyond else "as exact as can be told"
    points = [p for p in subject.decided.record["coverage"]["points"] if p["coverage"]]
    at = next((p for p in points if abs(p["confidence"] - LEVEL) < 1e-9), None)
    if at is not None:
        said += f". From confidence {LEVEL:g} on, {share(at['coverage'])} of rows are answered, "
        said += f"{share(at['accuracy'])} of them rightly"
    diagram = _diagram(subject, f"reliability-{place}")
    coverage = _coverage(points, f"coverage-{place}", subject.name)
    charts = Charts((("reliability", diagram), ("coverage and accuracy", coverage)))
    rows = [[f"{p['confidence']:g}", share(p["coverage"]), share(p["accuracy"])] for p in points]
    table = grid(
        ["confidence", "answered", "of these right"], rows, "answered from a confidence on"
    )
    return (Words(f"{said}."), charts, table)


def _diagram(subject: Subject, name: str) -> Markup:
    """Accuracy by confidence; the larger the point, the more rows."""
    bins = subject.diagnostics["reliability"]["bins"]
    figure, axes = chart()
    axes.plot([0, 1], [0, 1], ":", color=MUTED, lw=1, label="exact")
    rows = np.array([one["rows"] for one in bins], float)
    x, y = (np.array([one[key] for one in bins]) for key in ("confidence", "accuracy"))
    sound = rows >= FEWEST  # the share of fewer is mostly luck: no line leads there
    axes.plot(x[sound], y[sound], color=FIRST, lw=1.2, alpha=0.6)
    axes.scatter(x, y, s=8 + 60 * np.sqrt(rows / rows.max()), color=FIRST, label="rows", lw=0)
    axes.set_xlabel("confidence")
    axes.set_ylabel("share that is right")
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(-0.02, 1.02)
    legend(axes, loc="upper left")
    return svg(figure, name, f"share of right rows by confidence, {subject.name}")


def _coverage(points: list[dict], name: str, run: str) -> Markup:
    """Accuracy of what is answered by how much that is, the level of 0.9 marked."""
    figure, axes = chart()
    known = [p for p in points if p["accuracy"] is not None]
    x, y = (np.array([p[key] for p in known]) for key in ("coverage", "accuracy"))
    axes.plot(x, y, "o-", color=FIRST, lw=1.4, ms=3.5)
    for point in known:
        if abs(point["confidence"] - LEVEL) < 1e-9:
            place = (point["coverage"], point["accuracy"])
            axes.plot(*place, "D", color=SECOND, ms=7, label=f"from confidence {LEVEL:g}")
    axes.set_xlabel("share of rows answered")
    axes.set_ylabel("share of these right")
    axes.set_xlim(right=1 + 0.03 * (1 - float(x.min())) if x.min() < 1 else 1.05)
    legend(axes, loc="best")
    return svg(figure, name, f"accuracy by coverage, {run}")
