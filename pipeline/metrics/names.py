"""Metrics by name: what a competition's page calls them, as a configuration writes them."""

import re

from pipeline.errors import PodiumError, nearest
from pipeline.metrics.checks import TASKS
from pipeline.metrics.class_counts import Accuracy, BalancedAccuracy, Matthews, MulticlassFBeta
from pipeline.metrics.f_beta import MultilabelFBeta
from pipeline.metrics.metric import Metric
from pipeline.metrics.ranking import ApMacro, AucMacro
from pipeline.metrics.rows import (
    MulticlassLogLoss,
    MultilabelLogLoss,
    QuadraticKappa,
    SubsetAccuracy,
)

NAMED = {
    "multiclass": {
        "accuracy": Accuracy,
        "balanced_accuracy": BalancedAccuracy,
        "log_loss": MulticlassLogLoss,
        "auc_macro": AucMacro,
        "ap_macro": ApMacro,
        "qwk": QuadraticKappa,
        "mcc": Matthews,
    },
    "multilabel": {
        "subset_accuracy": SubsetAccuracy,
        "log_loss": MultilabelLogLoss,
        "auc_macro": AucMacro,
        "ap_macro": ApMacro,
    },
}
F_BETA = {
    "multiclass": (MulticlassFBeta, ("macro", "micro", "weighted")),
    "multilabel": (MultilabelFBeta, ("macro", "micro", "weighted", "samples")),
}
F_NAME = re.compile(r"f(\d+(?:\.\d+)?)_([a-z]+)")
USUAL_BETAS = ("1", "2", "0.5")


def metric_names(task: str) -> tuple[str, ...]:
    """Return the names for a task; F-beta takes any positive beta, the usual ones are listed."""
    _check_task(task)
    f_names = (f"f{beta}_{average}" for beta in USUAL_BETAS for average in F_BETA[task][1])
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
    make, averages = F_BETA[task]
    if found and found[2] in averages and float(found[1]) > 0:
        beta = float(found[1])
        return make(f"f{beta:g}_{found[2]}", task, beta, found[2])
    if str(name).endswith(".py"):
        rule = "is a file, not the name of a metric, and needs the folder it lies in"
        raise PodiumError(f"{name!r} {rule}; custom_metric(path, task) loads it")
    known = metric_names(task)
    hint = nearest(name, known) or f"; known are {', '.join(known)}"
    raise PodiumError(f"{name!r} is not a metric of a {task} task{hint}")


def _check_task(task: str) -> None:
    if task not in TASKS:
        raise PodiumError(f"task must be one of {', '.join(TASKS)}, got {task!r}")
