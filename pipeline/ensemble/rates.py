"""Does the answer name each class about as often on test rows as out of fold?"""

import numpy as np

from pipeline.competition import CompetitionData

LIMIT = 3.0  # standard errors


def rate_warnings(data: CompetitionData, oof: np.ndarray, test: np.ndarray) -> list[str]:
    """Return a sentence for each class whose rate differs by more than `LIMIT` standard errors.

    `oof` and `test` are answers, (n,) class indices or (n, c) 0/1; probabilities are not judged.
    The standard error is the binomial one of a difference between two rates.
    """
    if oof.dtype.kind == "f":
        return []
    if data.competition.task == "multiclass":
        one_hot = np.eye(len(data.classes), dtype=np.int8)
        oof, test = one_hot[oof], one_hot[test]
    pooled = np.concatenate([oof, test]).mean(axis=0)
    se = np.sqrt(pooled * (1 - pooled) * (1 / len(oof) + 1 / len(test)))
    rates = oof.mean(axis=0), test.mean(axis=0)
    return [
        f"class {name}: answered for {a:.1%} of out-of-fold rows but {b:.1%} of test rows, "
        f"{abs(a - b) / error:.1f} standard errors apart"
        for name, a, b, error in zip(data.classes, *rates, se, strict=True)
        if abs(a - b) > LIMIT * error
    ]
