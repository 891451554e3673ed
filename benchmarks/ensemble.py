"""Ensembles and decisions beside their peers: one run, the same inputs.

    .venv/bin/python -m benchmarks.ensemble thresholds
    .venv/bin/python -m benchmarks.ensemble greedy --peer PYTHON
    .venv/bin/python -m benchmarks.ensemble honesty --each 50
    .venv/bin/python -m benchmarks.ensemble gains --comp digits digit-sets

Each part explains itself with --help; what they showed, and when, stands in benchmarks/README.md.
"""

import importlib
import sys

PARTS = {
    "thresholds": "benchmarks.thresholds",
    "greedy": "benchmarks.ensemble_greedy",
    "honesty": "benchmarks.ensemble_honesty",
    "gains": "benchmarks.ensemble_gains",
}


def main() -> None:
    asked = sys.argv[1] if len(sys.argv) > 1 else ""
    if asked not in PARTS:
        sys.exit(f"{__doc__}\nparts: {', '.join(PARTS)}")
    importlib.import_module(PARTS[asked]).main(sys.argv[2:])


if __name__ == "__main__":
    main()
