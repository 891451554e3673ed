"""`predict`: the answers of a run or ensemble to new pictures, the same as its test answers.

Pictures are decoded a part at a time, once per way of looking at them, and every network of every
run that looks that way answers the part before the next one is decoded. What test-time augmentation
cuts out of a picture is kept with it, so that a part then has fewer pictures; what it turns is not.
"""

import os
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from tqdm import tqdm

from pipeline.artifacts.files import write_text
from pipeline.artifacts.hashing import json_hash
from pipeline.competition import CompetitionData, load_data
from pipeline.competition.faults import faults
from pipeline.config.project import Project
from pipeline.deploy.answers import (
    Answers,
    answers_table,
    check_level,
    checked_out,
    decide_answers,
)
from pipeline.deploy.networks import RunNetworks
from pipeline.deploy.pictures import (
    Pictures,
    View,
    find_pictures,
    refuse_all_broken,
    views,
)
from pipeline.deploy.plan import open_answering
from pipeline.deploy.report import Prediction, expected_at, report_parts
from pipeline.ensemble.build import Decided, open_decided
from pipeline.ensemble.newest import newest_ensemble
from pipeline.folds import load_shared

__all__ = ["Prediction", "predict", "report_parts"]

PART_BYTES = 2**28  # of decoded pictures in memory at a time


def predict(
    project: Project,
    comp: str,
    source: str,
    data: str | Path,
    *,
    confidence: float | None = None,
    out: str | Path | None = None,
    say: Callable[[str], None],
) -> Prediction:
    """Answer the picture or folder of pictures `data` and write the table of answers.

    `source` is a run or ensemble, the newest ensemble if it is empty. Below `confidence` the answer
    is "don't know". The table goes to `out`, or into the folder of the run or ensemble.
    """
    started = time.perf_counter()
    place = project.root / os.path.expanduser(data)
    pictures = find_pictures(place)
    table = load_data(project, comp)
    check_level(confidence, table)
    folds = load_shared(table)
    name = source or newest_ensemble(table, folds)[0]
    plan = open_answering(table, folds, name)
    path = (
        _target(project.run(comp, name), place)
        if out is None
        else checked_out(project.root / os.path.expanduser(out))
    )
    networks = [RunNetworks(table, run, say) for run in plan.runs()]
    decided = open_decided(table, folds, name)
    count = sum(len(network.files) for network in networks)
    say(f"{name}: pictures {len(pictures):,}, networks {count}")
    of_runs, notes = look(networks, pictures, len(table.classes))
    competition, probs = table.competition, plan.probs(of_runs)
    rule = decided.rule, decided.constant
    answers = decide_answers(*rule, competition.task, probs, notes, confidence)
    words = table.classes, competition.columns.separator
    write_text(path, answers_table(pictures.names, answers, *words))
    return _prediction(table, decided, answers, path, confidence, started)


def look(
    networks: list[RunNetworks], pictures: Pictures, n_classes: int
) -> tuple[dict[str, np.ndarray], dict[int, str]]:
    """Return the probabilities (networks, n, c) float32 of every run, and by place what is wrong
    with the pictures that cannot be seen, whose rows mean nothing."""
    notes = faults(pictures.paths)
    refuse_all_broken(pictures.paths, notes)
    whole = np.setdiff1d(np.arange(len(pictures)), list(notes))
    by_view: dict[View, list[RunNetworks]] = {}
    for network in networks:
        by_view.setdefault(network.view, []).append(network)
    shape = len(pictures), n_classes
    found = {run.name: np.zeros((len(run.files), *shape), np.float32) for run in networks}
    total = len(whole) * sum(len(network.files) for network in networks)
    with tqdm(total=total, desc="predicting", unit="img", disable=None, leave=False) as bar:
        for rows in _in_parts(whole, networks):
            for view, group in by_view.items():
                images, wrong = views([pictures.paths[i] for i in rows], view)
                notes |= {int(rows[k]): reason for k, reason in wrong.items()}
                for network in group:
                    found[network.name][:, rows] = network.probs(images, bar)
    refuse_all_broken(pictures.paths, notes)
    return found, notes


def _in_parts(rows: np.ndarray, networks: list[RunNetworks]) -> Iterator[np.ndarray]:
    """Cut rows (n,) into parts that fit into `PART_BYTES`, but for that of a batch of looks at
    least."""
    largest = max(network.view.bytes_per_picture for network in networks)
    least = (network.batch_size // len(network.view.looks) for network in networks)
    step = max(PART_BYTES // largest, 1, *least)
    for start in range(0, len(rows), step):
        yield rows[start : start + step]


def _prediction(
    data: CompetitionData,
    decided: Decided,
    answers: Answers,
    path: Path,
    level: float | None,
    started: float,
) -> Prediction:
    given = answers.labels[answers.given]
    n_classes = len(data.classes)
    counts = given.sum(axis=0) if given.ndim == 2 else np.bincount(given, minlength=n_classes)
    return Prediction(
        path,
        data.project.shown(path),
        decided.name,
        images=len(answers.given),
        counts=dict(zip(data.classes, counts.tolist(), strict=True)),
        dont_know=int((~answers.given).sum()),
        broken=len(answers.notes),
        confidence=level,
        expected=expected_at(decided.record, level),
        seconds=time.perf_counter() - started,
    )


def _target(folder: Path, place: Path) -> Path:
    """Return where the answers to `place` go if nothing else is said: below the run or ensemble.

    The hash is of the whole path, so that two folders of one name have a file each.
    """
    path = os.path.abspath(place)
    slug = re.sub(r"[^A-Za-z0-9._-]", "-", os.path.basename(path)).lstrip(".")[:80]
    text = os.fsencode(path).decode("utf-8", "backslashreplace")
    return folder / "predictions" / f"{slug}-{json_hash(text, 6)}.csv"
