"""What do threads that wait without spinning cost, and bring? OMP_WAIT_POLICY passive or unset.

    .venv/bin/python -m benchmarks.waiting [--arch tf_efficientnet_lite0] [--size 128] [--pairs 3]

Training steps of batch 32 in a process of their own, both policies in turn; alone, and beside a
process that keeps one core busy. Prints the medians and the paired ratios passive / unset.
"""

import argparse
import os
import subprocess
import sys
import time

import numpy as np

from pipeline.show import table

POLICY = "OMP_WAIT_POLICY"
STEPS = 6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--arch", default="tf_efficientnet_lite0")
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--steps", action="store_true", help="be the process that is measured")
    arguments = parser.parse_args()
    if arguments.steps:
        print(rate(arguments.arch, arguments.size))
        return
    lines = []
    for neighbours in (0, 1):
        command = [sys.executable, "-c", "while True: pass"]
        busy = [subprocess.Popen(command) for _ in range(neighbours)]
        try:
            found = [pair(arguments) for _ in range(arguments.pairs)]
        finally:
            for process in busy:
                process.kill()
        unset, passive = (np.median(column) for column in zip(*found, strict=True))
        ratios = [b / a for a, b in found]
        span = f"{np.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}), n={len(ratios)}"
        lines.append(["alone", "one busy core"][neighbours : neighbours + 1])
        lines[-1] += [f"{unset:.1f}", f"{passive:.1f}", span]
    print(table([f"{arguments.arch}, img/s", "unset", "passive", "ratio"], lines))


def pair(arguments: argparse.Namespace) -> tuple[float, float]:
    """Return images per second with the policy unset and with passive waiting."""
    options = ["--arch", arguments.arch, "--size", str(arguments.size), "--steps"]
    command = [sys.executable, "-m", "benchmarks.waiting", *options]
    plain = {key: value for key, value in os.environ.items() if key != POLICY}
    found = []
    for environment in (plain, {**plain, POLICY: "PASSIVE"}):
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, check=True, timeout=900
        )
        found.append(float(done.stdout))
    return found[0], found[1]


def rate(arch: str, size: int) -> float:
    """Return images per second of training steps on the same random batch."""
    import timm
    import torch

    model = timm.create_model(arch, num_classes=10).to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    images = torch.randn(32, 3, size, size).contiguous(memory_format=torch.channels_last)
    targets = torch.randint(0, 10, (32,))
    for step in range(STEPS + 3):
        if step == 3:
            started = time.perf_counter()
        torch.nn.functional.cross_entropy(model(images), targets).backward()
        optimizer.step()
        optimizer.zero_grad()
    return 32 * STEPS / (time.perf_counter() - started)


if __name__ == "__main__":
    main()
