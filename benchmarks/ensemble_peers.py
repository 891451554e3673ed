"""AutoGluon's ensemble selection on arrays in a folder: the process ensemble_greedy.py times.

    PYTHON benchmarks/ensemble_peers.py FOLDER accuracy|log_loss ROUNDS    # started by it

Needs autogluon.core and nothing of Podium, so that it may live in an environment of its own:
python -m venv DIR; DIR/bin/pip install autogluon.core. FOLDER holds `labels.npy` (n,) and
`members.npy` (members, n, c). Prints a line of JSON: weights, seconds of the selection alone and
those of the processor, the peak of its memory and its version.
"""

import json
import sys
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
from autogluon.core.metrics import accuracy, log_loss
from autogluon.core.models.greedy_ensemble.ensemble_selection import EnsembleSelection

METRICS = {"accuracy": accuracy, "log_loss": log_loss}


def peak_memory() -> int:
    """Return the most bytes this process held; getrusage would count its parent's before exec."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith("VmHWM")).split()[1])


def main() -> None:
    folder, metric, rounds = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    labels = np.load(folder / "labels.npy")
    members = list(np.load(folder / "members.npy"))
    selection = EnsembleSelection(
        ensemble_size=rounds, problem_type="multiclass", metric=METRICS[metric]
    )
    start, used = time.perf_counter(), time.process_time()
    selection.fit(members, labels)
    seconds, cpu = time.perf_counter() - start, time.process_time() - used
    answer = {
        "weights": selection.weights_.tolist(),
        "seconds": seconds,
        "cpu": cpu,
        "peak": peak_memory(),
        "version": f"autogluon.core {version('autogluon.core')}",
    }
    print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
