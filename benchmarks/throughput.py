"""Do the data keep up with the network? An epoch beside its steps alone, timm, and fastai.

    .venv/bin/python -m benchmarks.throughput --arch resnet18 --size 128 --rounds 6

    epoch    a training epoch as the pipeline runs it: cache, augmentation, batches, normalisation,
             step, training metrics
    memory   the same steps of the same network on tensors that lie on the device already: the roof
    timm     ImageDataset, create_loader and its transforms on the same files, a step as in train.py
    fastai   vision_learner on the same files, where `--fastai` names an interpreter that has it:
             python -m venv DIR; DIR/bin/pip install fastai torch==... torchvision==... timm==...

All have the same files, network (without weights), batch size, precision, threads, workers, AdamW
(each its own), random resized crop and mirror image; what else a competition's recipe changes in
pictures, `epoch` alone does. Memory is laid out as each does by default: channels_last here alone,
unless `--peers-channels-last`. One side computes at a time, in turn within each round, backwards in
every other. Ratios are of one round; the table has their medians, smallest and largest. On a
processor that others use too, take `--threads 1` and look at its time per image: it depends less on
who else is there. fastai has bfloat16 on CUDA alone; elsewhere it trains in float32, and says so.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pipeline.show import table

if TYPE_CHECKING:
    from pipeline.training.session import FoldSession

ROOT = Path(__file__).resolve().parents[1]
CLASSES = 10


def main() -> None:
    options = arguments()
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the command line does, for all sides
    if options.side:
        podium(options)
        return
    with tempfile.TemporaryDirectory() as name:
        if options.comp is None:
            make_project(Path(name), options.images)
            options.root, options.comp = name, "photos"
        workers: list[Worker] = []
        try:
            rounds = measured(options, workers)
        finally:
            for worker in workers:
                worker.end()
    print("\n" + report(rounds))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--comp", help="a competition of this project; photos are made without it")
    parser.add_argument("--images", type=int, default=600, help="how many; 4 of 5 are trained on")
    parser.add_argument("--arch", default="resnet18", help="a network of timm")
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", default="auto")
    parser.add_argument("--workers", default="auto", help="of Podium; the others get as many")
    parser.add_argument("--peers", nargs="*", default=["timm", "fastai"], help="which of them")
    parser.add_argument("--peer-workers", type=int, help="other than those of Podium")
    parser.add_argument("--peers-channels-last", action="store_true")
    parser.add_argument("--fastai", help="the interpreter that has fastai")
    parser.add_argument("--rounds", type=int, default=6, help="an even number")
    parser.add_argument("--root", default=".", help=argparse.SUPPRESS)
    parser.add_argument("--side", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


class Worker:
    """A process that answers `facts`, and then runs an epoch whenever it is told to."""

    def __init__(self, command: list[str], first: dict | None = None) -> None:
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        self._process = subprocess.Popen(command, env=environment, text=True, **pipes)
        self.facts = self.ask(first)

    def ask(self, what: dict | str | None) -> dict:
        """Send a line, if there is one, and return the answer."""
        if what is not None:
            self._process.stdin.write((what if isinstance(what, str) else json.dumps(what)) + "\n")
            self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            sys.exit(f"a side ended with status {self._process.wait()}; its own words stand above")
        return json.loads(answer)

    def end(self) -> None:
        self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()


def measured(options: argparse.Namespace, workers: list[Worker]) -> list[dict[str, dict]]:
    """Start all sides, in `workers`, and return what each epoch of each round took, by side."""
    own = [sys.executable, "-m", "benchmarks.throughput", *sys.argv[1:], "--side"]
    workers.append(Worker([*own, "--root", options.root, "--comp", options.comp]))
    facts = workers[0].facts
    print(facts.pop("said"), flush=True)
    task = facts["task"] | {"channels_last": options.peers_channels_last or None}
    if options.peer_workers is not None:
        task["workers"] = options.peer_workers
    sides = {"epoch": workers[0], "memory": workers[0]}
    for peer, python in (("timm", sys.executable), ("fastai", options.fastai)):
        if python and peer in options.peers:
            script = str(ROOT / "benchmarks" / "throughput_peers.py")
            workers.append(Worker([python, script, peer], task))
            sides[peer] = workers[-1]
            print(f"{peer}: {workers[-1].facts}", flush=True)
    for side, worker in sides.items():  # kernels are chosen, files and memory touched
        worker.ask("epoch" if side != "memory" else side)
    rounds = []
    for number in range(options.rounds):
        # Whoever begins in a process finds its caches cold: every other round goes backwards.
        order = list(sides) if number % 2 == 0 else list(reversed(sides))
        took = {side: sides[side].ask(side if side == "memory" else "epoch") for side in order}
        rounds.append({side: took[side] for side in sides})
        print(f"round {number + 1}: {shown(rounds[-1])}", flush=True)
    return rounds


def shown(one: dict[str, dict]) -> str:
    """Say what one round took."""
    rates = ", ".join(f"{s} {took['images'] / took['seconds']:.1f}" for s, took in one.items())
    used = ", ".join(f"{took['cpu'] / took['images'] * 1000:.2f}" for took in one.values())
    return f"{rates} img/s; {used} ms of the processor an image"


def report(rounds: list[dict[str, dict]]) -> str:
    """Return a table of the sides: images per second, and the epoch's ratios to each side."""
    lines = []
    for side in rounds[0]:
        rates = [one[side]["images"] / one[side]["seconds"] for one in rounds]
        used = [one[side]["cpu"] / one[side]["images"] * 1000 for one in rounds]
        own = [one["epoch"]["images"] / one["epoch"]["seconds"] for one in rounds]
        own_used = [one["epoch"]["cpu"] / one["epoch"]["images"] * 1000 for one in rounds]
        speed = [a / b for a, b in zip(own, rates, strict=True)]
        saved = [b / a for a, b in zip(own_used, used, strict=True)]
        lines.append([side, f"{statistics.median(rates):.1f}", span(speed)])
        lines[-1] += [f"{statistics.median(used):.2f}", span(saved)]
    lines[0][2] = lines[0][4] = ""
    headers = ["side", "img/s", "epoch / side", "CPU ms/img", "side / epoch, CPU"]
    return f"{table(headers, lines)}\nn={len(rounds)} rounds"


def span(values: list[float]) -> str:
    return f"{statistics.median(values):.3f} ({min(values):.3f} to {max(values):.3f})"


def make_project(folder: Path, count: int) -> None:
    """Lay out a project with this checkout's recipes and a competition of `count` JPEG photos."""
    from benchmarks.decoding import make_photos

    shutil.copytree(ROOT / "experiments" / "recipes", folder / "experiments" / "recipes")
    data = folder / "data" / "photos"
    data.mkdir(parents=True)
    paths = make_photos(data / "images", count, 500, 400)
    labels = np.random.default_rng(0).integers(0, CLASSES, count)
    rows = "".join(f"{p.name},c{label}\n" for p, label in zip(paths, labels, strict=True))
    (data / "train.csv").write_text("id,label\n" + rows)
    (folder / "experiments" / "competitions").mkdir()
    (folder / "experiments" / "competitions" / "photos.yaml").write_text(
        "{title: Photos, task: multiclass, metric: accuracy, data: data/photos, images: images,\n"
        "tables: {test: null}, columns: {id: id, label: label}, duplicates: {group: false}}\n"
    )


def podium(options: argparse.Namespace) -> None:
    """Be the process of `epoch` and `memory`."""
    from benchmarks.throughput_peers import serve
    from pipeline.competition import load_data
    from pipeline.config.project import Project
    from pipeline.config.recipe import load_recipe
    from pipeline.folds import draft_shared
    from pipeline.training.run import Run
    from pipeline.training.session import FoldSession

    data = load_data(Project(Path(options.root).resolve()), options.comp)
    # No schedule ends: every epoch is alike. No average: the other sides have none.
    overrides = f"""image.size={options.size} training.batch_size={options.batch}
        training.epochs=10000 training.ema=0 model.pretrained=false
        runtime.device={options.device} runtime.precision={options.precision}
        runtime.threads={options.threads} runtime.workers={options.workers}"""
    asked = {"arch": options.arch, "competition": data.competition.recipe_overrides()}
    recipe = load_recipe(data.project, "baseline", **asked, overrides=overrides)
    run = Run("benchmark", "baseline", recipe, data, draft_shared(data))
    jobs, pictures = run.jobs([0])
    session = FoldSession(jobs[0])
    how = f"{options.arch}, {options.size} px, batch {options.batch}, {session.setup.record()}"
    said = f"trained on {len(jobs[0].train)} of {pictures}\n{how}"
    sides = {"epoch": whole_epoch(session), "memory": steps_alone(session)}
    serve(session.setup.kind, sides, {"said": said, "task": task_of(session)})


def whole_epoch(session: "FoldSession") -> Callable[[], int]:
    """Return what trains an epoch as `FoldSession.train` does, up to the validation."""
    from pipeline.images.augment import Augmenter
    from pipeline.images.batches import Images, loader
    from pipeline.training.learning.loop import train_epoch

    job, training = session.job, session.job.recipe.training
    view = Augmenter(job.recipe.augment, job.recipe.image, training.seed, training.epochs)
    images = Images(job.pixels, job.ids, view)
    batches = loader(images, session.batches, session.setup.workers, session.pin)
    targets = job.targets()

    def epoch() -> int:
        number = session.batches.epoch = session.batches.epoch + 1
        how = session.normalise, number, session.weights
        done = train_epoch(session.learner, batches, targets, *how)
        session.scores.line("train", done.rows, done.logits)
        return len(done.rows)

    return epoch


def steps_alone(session: "FoldSession") -> Callable[[], int]:
    """Return what takes an epoch's steps on random pixels that were normalised beforehand."""
    import torch

    from pipeline.training.learning.loop import train_step

    size, rng = session.job.recipe.image.size, np.random.default_rng(0)
    targets, stored = session.job.targets(), []
    for batch in session.batches:
        pixels = torch.from_numpy(rng.integers(0, 256, (len(batch), size, size, 3), np.uint8))
        wanted = targets[[row for _, row in batch]].to(session.setup.device)
        stored.append((session.normalise(pixels), wanted))

    def epoch() -> int:
        session.learner.model.train()
        for pixels, wanted in stored:
            train_step(session.learner, pixels, wanted)
        return sum(len(wanted) for _, wanted in stored)

    return epoch


def task_of(session: "FoldSession") -> dict:
    """Return what another library has to do to train as `session` does, but for its layout of
    memory."""
    from pipeline.training.networks.origin import normalisation

    job, recipe, setup = session.job, session.job.recipe, session.setup
    if job.data.competition.task != "multiclass":
        sys.exit("throughput: choose a competition with one class per row")
    if setup.precision == "float16":
        sys.exit("throughput: --precision must be float32 or bfloat16 here, got float16")
    mean, std = normalisation(recipe)
    return {
        "paths": [str(job.data.train.images[row]) for row in job.train],
        "labels": job.data.labels[job.train].tolist(),
        "classes": len(job.data.classes),
        "arch": recipe.model.arch,
        "size": recipe.image.size,
        "batch": recipe.training.batch_size,
        "scale": recipe.augment.scale,
        "ratio": recipe.augment.ratio,
        "flip": recipe.augment.horizontal_flip,
        "mean": mean,
        "std": std,
        "lr": recipe.optimizer.lr,
        "weight_decay": recipe.optimizer.weight_decay,
        "device": setup.device,
        "precision": setup.precision,
        "threads": setup.threads,
        "workers": setup.workers,
    }


if __name__ == "__main__":
    main()
