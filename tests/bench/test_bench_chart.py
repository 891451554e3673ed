"""The chart: every set of rows can be drawn."""

from dataclasses import replace

import cv2
import pytest

from pipeline.bench.chart import draw
from pipeline.bench.rows import Row


def row(name: str, ms: float, honest: float | None, **changes) -> Row:
    scores = honest, None if honest is None else 0.01, honest
    times = ms, ms, 5 * ms, None, 0.0, 1.0
    made = Row(name, "frozen", "lenet", "16", 1, 1, 5, *scores, *times, 1, 1, None, None)
    return replace(made, **changes)


@pytest.mark.parametrize(
    "rows",
    [
        [row("only", 3.0, 0.9, front=True)],
        [row("untrained", 3.0, None, kind="not trained")],
        [row(name, 3.0, 1.0, honest_se=0.0, front=True) for name in "abc"],
        [row("a", 1e-3, 0.1), row("b", 1e4, 0.9, kind="ensemble", archs="x+y", sizes="16+32")],
        [row("a", 1.0, 0.5, front=True), row("b", 2.0, None, kind="not trained", sizes="64")],
        [row(f"run-{k}", 1.0 + k, k / 40, archs=f"arch-{k}") for k in range(40)],
    ],
    ids=["one", "untrained", "equal", "far apart", "both", "many"],
)
@pytest.mark.parametrize("rising", [True, False])
def test_every_set_of_rows_is_drawn(tmp_path, rows, rising):
    """Check that odd sets give a picture with ink on it, and no temporary file."""
    record = {"competition": "tiny", "metric": "accuracy", "greater_is_better": rising}
    draw(tmp_path / "bench.png", rows, record, "a machine")
    picture = cv2.imread(str(tmp_path / "bench.png"))
    assert picture.shape == (720, 1200, 3) and picture.std() > 5
    assert [path.name for path in tmp_path.iterdir()] == ["bench.png"]
