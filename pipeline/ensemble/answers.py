"""The honest answers of a decision, `answers.npz`: what each validated row was answered by a chain
that was chosen and fitted without it. They are what the honest score scores, and what two decisions
are compared by.

A file (never pickled) holds `ids` (n,) and `answer`: class indices (n,) int64, 0/1 (n, c) int8, or
probabilities (n, c).
"""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pipeline.artifacts.files import file_hash, write_with
from pipeline.competition import CompetitionData
from pipeline.ensemble.members import validated_rows
from pipeline.errors import PodiumError
from pipeline.folds import Folds

if TYPE_CHECKING:  # build imports decide, which imports this module
    from pipeline.ensemble.build import Decided

ANSWERS = "answers.npz"


def save_answers(path: Path, ids: np.ndarray, answer: np.ndarray) -> None:
    """Write the answers to the rows `ids`, atomically."""
    ids, answer = np.asarray(ids, np.str_), np.asarray(answer)
    if ids.shape != answer.shape[:1]:
        raise ValueError(f"{len(ids)} ids, and answers of shape {answer.shape}")

    def write(temporary: Path) -> None:
        with open(temporary, "wb") as handle:  # a handle: savez would add .npz to a name
            np.savez(handle, ids=ids, answer=answer)

    write_with(path, write)


def load_answers(decided: "Decided", data: CompetitionData, folds: Folds) -> np.ndarray:
    """Return the honest answers (n,) or (n, c) of a run or ensemble, in the order of the validated
    rows; a file that does not belong to the decision or to these rows is refused."""
    path = decided.folder / ANSWERS
    remedy = _remedy(decided)
    ids, answer = _read(path, remedy)
    if decided.record.get("answers", file_hash(path)) != file_hash(path):
        raise PodiumError(f"{path}: changed since its rule was fitted; {remedy}")
    wanted = data.train.ids[validated_rows(folds)]
    position = {name: at for at, name in enumerate(ids.tolist())}
    if len(ids) != len(wanted) or any(name not in position for name in wanted.tolist()):
        raise PodiumError(
            f"{path}: its {len(ids)} ids are not the {len(wanted)} validated ones; {remedy}"
        )
    answer = answer[[position[name] for name in wanted.tolist()]]
    fault = _fault(answer, data)
    if fault:
        raise PodiumError(
            f"{path}: the answers to a {data.competition.task} task {fault}; {remedy}"
        )
    return answer


def _remedy(decided: "Decided") -> str:
    """Say how the file is made again: a run's with its rule, an ensemble's by its command."""
    if (decided.folder / "ensemble.json").exists():
        return "make ensemble again"
    return f"delete {decided.folder / 'chain.json'} and run the same command again"


def _read(path: Path, remedy: str) -> tuple[np.ndarray, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as stored:
            return stored["ids"], stored["answer"]
    except FileNotFoundError:
        raise PodiumError(f"{path}: no such file; {remedy}") from None
    except Exception as error:  # numpy and zipfile raise a dozen kinds for a broken archive
        raise PodiumError(f"{path}: not a readable file of answers ({error}); {remedy}") from None


def _fault(answer: np.ndarray, data: CompetitionData) -> str:
    """Return what is wrong about the answers' form, or ''."""
    classes = len(data.classes)
    wide, kinds, above, form = True, "iu", 1, "must be 0 or 1"
    if data.metric.needs == "probs":
        kinds, form = "f", "must be probabilities"
    elif data.competition.task == "multiclass":
        wide, above, form = False, classes - 1, f"must be class indices below {classes}"
    if answer.shape[1:] != ((classes,) if wide else ()) or answer.dtype.kind not in kinds:
        return f"{form}, got {answer.dtype} of shape {answer.shape}"
    if answer.size and not (answer.min() >= 0 and answer.max() <= above):  # NaN is neither
        return f"{form}, got values from {answer.min()} to {answer.max()}"
    return ""
