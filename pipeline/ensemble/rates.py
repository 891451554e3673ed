"""Does the answer name each class about as often on test rows as out of fold?"""

from typing import Any

import numpy as np

from pipeline.competition import CompetitionData

LIMIT = 3.0  # standard errors


def answer_rates(data: CompetitionData, oof: np.ndarray, test: np.ndarray) -> list[dict[str, Any]]:
    """Return for each class how often it is answered, and the gap in standard errors.

    `oof` and `test` are answers, (n,) class indices or (n, c) 0/1; of probabilities there is none.
    The standard error is the binomial one of a difference between two rates.
    """
    if oof.dtype.kind == "f":
        return []
    if data.competition.task == "multiclass":
        one_hot = np.eye(len(data.classes), dtype=np.int8)
        oof, test = one_hot[oof], one_hot[test]
    pooled = np.concatenate([oof, test]).mean(axis=0)
    se = np.sqrt(pooled * (1 - pooled) * (1 / len(oof) + 1 / len(test)))
    a, b = oof.mean(axis=0), test.mean(axis=0)
    gap = np.divide(b - a, se, out=np.zeros_like(se), where=se > 0)
    columns = (data.classes, a.tolist(), b.tolist(), gap.tolist())
    return [
        {"class": name, "oof": x, "test": y, "gap": z}
        for name, x, y, z in zip(*columns, strict=True)
    ]


def rate_warnings(rates: list[dict[str, Any]]) -> list[str]:
    """Return a sentence for each class whose rates differ by more than `LIMIT` standard errors."""
    return [
        f"class {rate['class']}: answered for {rate['oof']:.1%} of out-of-fold rows but "
        f"{rate['test']:.1%} of test rows, {abs(rate['gap']):.1f} standard errors apart"
        for rate in rates
        if abs(rate["gap"]) > LIMIT
    ]
