"""How do time and memory grow with the number of pictures? One fold, from 1,000 to 100,000.

    .venv/bin/python -m benchmarks.scale

Four of five pictures are training rows, of which four of five are trained on. Each number of them
has a process of its own: tables, folds (with the search for duplicates), the check and the cache of
the pictures, an epoch of LeNet at 32 px with its validation, and the predictions with all that is
written. The network is so small that the pipeline around it is what is measured.

Memory is looked at every 5 ms. `own` is what the process has for itself; `peak` counts the mapped
pages of the cache's file too, which are the system's to take back. Times are of the processor, all
threads together, and of the clock. Needs Linux.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np

from pipeline.show import table

ROOT = Path(__file__).resolve().parents[1]
ROWS = (1_000, 3_162, 10_000, 31_623, 100_000)
CLASSES, SIDE, LOOK_EVERY = 10, 32, 0.005
SETTINGS = f"""image.size={SIDE} model.pretrained=false training.epochs=1 training.batch_size=64
    runtime.device=cpu runtime.threads=1 runtime.precision=float32"""
YAML = """{{title: Scale, task: multiclass, metric: accuracy, data: data/scale, images: images,
tables: {{train: train-{rows}.csv, test: test-{rows}.csv, sample_submission: null}},
columns: {{label: label}}}}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, nargs="+", default=ROWS)
    parser.add_argument("--be", type=Path, help=argparse.SUPPRESS)  # the process that is measured
    options = parser.parse_args()
    if options.be:
        print(json.dumps(measured(options.be, f"rows-{options.rows[0]}")))
        return
    found = {}
    with tempfile.TemporaryDirectory() as name:
        make_project(Path(name), options.rows)
        for rows in options.rows:
            command = [sys.executable, "-m", "benchmarks.scale", "--be", name, "--rows", str(rows)]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, cwd=ROOT)
            found[rows] = json.loads(done.stdout.splitlines()[-1])
            spent = ", ".join(f"{s} {one['seconds']:.1f} s" for s, one in found[rows].items())
            print(f"{rows:,}: {spent}", flush=True)
    print(f"\n{totals(found)}\n\n{by_stage(found, 'cpu', 1e6, 'CPU us a row')}")
    print(f"\n{by_stage(found, 'own', None, 'own memory at its largest, MB')}")


def make_project(folder: Path, sizes: list[int]) -> None:
    """Write a competition for each size; all share the same pictures."""
    shutil.copytree(ROOT / "experiments" / "recipes", folder / "experiments" / "recipes")
    data = folder / "data" / "scale"
    (data / "images").mkdir(parents=True)
    (folder / "experiments" / "competitions").mkdir()
    rng = np.random.default_rng(0)
    names = [f"{number:06d}.jpg" for number in range(max(sizes))]
    for name in names:
        coarse = rng.integers(0, 256, (8, 8, 3), np.uint8)
        pixels = cv2.resize(coarse, (SIDE, SIDE), interpolation=cv2.INTER_LINEAR)
        cv2.imwrite(str(data / "images" / name), pixels)
    labels = rng.integers(0, CLASSES, len(names))
    for rows in sizes:
        cut = rows * 4 // 5
        lines = (f"{name},c{k}" for name, k in zip(names[:cut], labels[:cut], strict=True))
        (data / f"train-{rows}.csv").write_text("\n".join(["id,label", *lines]) + "\n")
        (data / f"test-{rows}.csv").write_text("\n".join(["id", *names[cut:rows]]) + "\n")
        yaml = folder / "experiments" / "competitions" / f"rows-{rows}.yaml"
        yaml.write_text(YAML.format(rows=rows))


class Meter:
    """What each stage took: seconds of the clock and of the processor, and the largest memory."""

    def __init__(self) -> None:
        self.stages: dict[str, dict[str, float]] = {}
        self._peak, self._own, self._ended = 0.0, 0.0, threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        self._peak, self._own = 0.0, 0.0
        self._look()
        started, used = time.perf_counter(), time.process_time()
        yield
        self._look()
        spent = {"seconds": time.perf_counter() - started, "cpu": time.process_time() - used}
        self.stages[name] = {**spent, "peak": self._peak, "own": self._own}

    def end(self) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(LOOK_EVERY):
            self._look()

    def _look(self) -> None:
        """Take note of the resident memory, with and without what is mapped from files."""
        resident, shared = map(int, Path("/proc/self/statm").read_text().split()[1:3])
        page = os.sysconf("SC_PAGE_SIZE") / 1e6
        self._peak = max(self._peak, resident * page)
        self._own = max(self._own, (resident - shared) * page)


def measured(folder: Path, comp: str) -> dict[str, dict[str, float]]:
    """Take one fold of a competition through the pipeline; return what each stage took."""
    from pipeline.competition import load_data
    from pipeline.config.project import Project
    from pipeline.config.recipe import load_recipe
    from pipeline.folds import make_shared
    from pipeline.training.fold import finish, open_session
    from pipeline.training.run import Run

    meter = Meter()
    with meter.stage("start"):
        recipe = load_recipe(Project(folder), "baseline", arch="lenet", overrides=SETTINGS)
    with meter.stage("tables"):
        data = load_data(Project(folder), comp)
    with meter.stage("folds"):
        folds, _ = make_shared(data)
    with meter.stage("cache"):
        run = Run("lenet", "baseline", recipe, data, folds)
        run.open()
        jobs, _ = run.jobs([0])
    with meter.stage("session"):
        session = open_session(jobs[0])
    with meter.stage("train"):
        session.train()
    with meter.stage("predict"):
        record = finish(jobs[0], session)
    meter.end()
    trained = record["rows"]["train"] / session.history[0]["images_per_second"]
    meter.stages["train"]["epoch"] = trained
    meter.stages["train"]["rows"] = record["rows"]["train"]
    return meter.stages


def totals(found: dict[int, dict]) -> str:
    """Return the table of all sizes."""
    headers = ["rows", "folds s", "cache s", "epoch s", "img/s", "predict s", "all s", "peak MB"]
    headers += ["peak - first", "own MB", "own - first", "bytes a row"]
    lines, first = [], None
    for rows, stages in found.items():
        peak, own = (max(one[key] for one in stages.values()) for key in ("peak", "own"))
        first = first or (rows, peak, own)
        train, seconds = stages["train"], {name: one["seconds"] for name, one in stages.items()}
        shown = [seconds["folds"], seconds["cache"], train["epoch"]]
        line = [f"{rows:,}", *(f"{value:.1f}" for value in shown)]
        line += [f"{train['rows'] / train['epoch']:.0f}", f"{seconds['predict']:.1f}"]
        line += [f"{sum(seconds.values()):.1f}", f"{peak:.0f}", f"{peak - first[1]:+.0f}"]
        more = rows - first[0]
        each = f"{(own - first[2]) * 1e6 / more:.0f}" if more else ""
        lines.append([*line, f"{own:.0f}", f"{own - first[2]:+.0f}", each])
    return table(headers, lines)


def by_stage(found: dict[int, dict], key: str, per_row: float | None, title: str) -> str:
    """Return a table of one measure of every stage, over the rows and times `per_row` if given."""
    names = list(next(iter(found.values())))
    lines = []
    for rows, stages in found.items():
        factor = 1 if per_row is None else per_row / rows
        lines.append([f"{rows:,}", *(f"{stages[name][key] * factor:.0f}" for name in names)])
    return f"{title}\n{table(['rows', *names], lines)}"


if __name__ == "__main__":
    main()
