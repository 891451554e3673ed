"""Metrics by name: what a competition's page calls them, as a configuration writes them."""

import re
from functools import partial

from pipeline.errors import PodiumError, nearest
from pipeline.metrics.checks import TASKS
from pipeline.metrics.class_counts import Accuracy, BalancedAccuracy, Matthews, MulticlassFBeta
from pipeline.metrics.f_beta import MultilabelFBeta
from pipeline.metrics.jaccard import MulticlassJaccard, MultilabelJaccard
from pipeline.metrics.matthews import MultilabelMatthews
from pipeline.metrics.metric import Metric
from pipeline.metrics.ranking import ApMacro, AucMacro
from pipeline.metrics.rows import (
    MulticlassLogLoss,
    MultilabelLogLoss,
    QuadraticKappa,
    SubsetAccuracy,
)

AVERAGES = {
    "multiclass": ("macro", "micro", "weighted"),
    "multilabel": ("macro", "micro", "weighted", "samples"),
}
NAMED = {
    "multiclass": {
        "accuracy": Accuracy,
        "balanced_accuracy": BalancedAccuracy,
        "log_loss": MulticlassLogLoss,
        "auc_macro": AucMacro,
        "ap_macro": ApMacro,
        "qwk": QuadraticKappa,
        "mcc": Matthews,
        **{f"jaccard_{a}": partial(MulticlassJaccard, average=a) for a in AVERAGES["multiclass"]},
    },
    "multilabel": {
        "subset_accuracy": SubsetAccuracy,
        "log_loss": MultilabelLogLoss,
        "auc_macro": AucMacro,
        "ap_macro": ApMacro,
        "mcc_macro": MultilabelMatthews,
        **{f"jaccard_{a}": partial(MultilabelJaccard, average=a) for a in AVERAGES["multilabel"]},
    },
}
F_BETA = {"multiclass": MulticlassFBeta, "multilabel": MultilabelFBeta}
F_NAME = re.compile(r"f(\d+(?:\.\d+)?)_([a-z]+)")
USUAL_BETAS = ("1", "2", "0.5")


def metric_names(task: str) -> tuple[str, ...]:
    """Return the names for a task; F-beta takes any positive beta, the usual ones are listed."""
    _check_task(task)
    f_names = (f"f{beta}_{average}" for beta in USUAL_BETAS for average in AVERAGES[task])
    return (*NAMED[task], *f_names)


def get_metric(name: str, task: str) -> Metric:
    """Return the metric of that name for 'multiclass' or 'multilabel'.

    Raises
    ------
    PodiumError
        Where the name is unknown, or is not a metric of this task; it names the nearest ones.
        A name that ends in .py is a file: `custom_metric` loads it from its place.
    """
    _check_task(task)
    if name in NAMED[task]:
        return NAMED[task][name](name, task)
    found = F_NAME.fullmatch(str(name))
    if found and found[2] in AVERAGES[task] and float(found[1]) > 0:
        beta = float(found[1])
        return F_BETA[task](f"f{beta:g}_{found[2]}", task, beta, found[2])
    if str(name).endswith(".py"):
        rule = "is a file, not the name of a metric, and needs the folder it lies in"
        raise PodiumError(f"{name!r} {rule}; custom_metric(path, task) loads it")
    known = metric_names(task)
    hint = nearest(name, known) or f"; known are {', '.join(known)}"
    raise PodiumError(f"{name!r} is not a metric of a {task} task{hint}")


def _check_task(task: str) -> None:
    if task not in TASKS:
        raise PodiumError(f"task must be one of {', '.join(TASKS)}, got {task!r}")
