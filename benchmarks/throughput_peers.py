"""An epoch of timm or of fastai on request: the processes that throughput.py measures itself by.

    PYTHON benchmarks/throughput_peers.py timm | fastai      # started by throughput.py

Needs torch and timm or fastai, and nothing of Podium, so that fastai may live in an environment of
its own. A line of JSON on stdin says what to train; then every line names an epoch to run, which is
answered with its seconds. Nothing is computed in between.
"""

import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO

import torch
from torch import nn


@dataclass(frozen=True)
class Task:
    """What to train: the pictures' files with their classes, the network, and how.

    `channels_last` of None leaves the layout of memory to the library; `threads` are torch's.
    """

    paths: list[str]
    labels: list[int]
    classes: int
    arch: str
    size: int
    batch: int
    scale: list[float]
    ratio: list[float]
    flip: float
    mean: list[float]
    std: list[float]
    lr: float
    weight_decay: float
    device: str
    precision: str
    threads: int
    workers: int
    channels_last: bool | None = None

    @property
    def kind(self) -> str:
        return torch.device(self.device).type

    def autocast(self) -> torch.autocast:
        dtype = getattr(torch, self.precision)
        return torch.autocast(self.kind, dtype, enabled=dtype != torch.float32)


def serve(kind: str, sides: dict[str, Callable[[], int]], facts: dict) -> None:
    """Answer with `facts`, then run the epochs that stdin names; each returns how many images."""
    answers, sys.stdout = sys.stdout, sys.stderr  # what a library prints is no answer
    print(json.dumps(facts), file=answers, flush=True)
    for line in sys.stdin:
        synchronise(kind)
        started, used = time.perf_counter(), time.process_time()
        images = sides[line.strip()]()
        synchronise(kind)
        taken = {"seconds": time.perf_counter() - started, "cpu": time.process_time() - used}
        print(json.dumps({**taken, "images": images}), file=answers, flush=True)


def synchronise(kind: str) -> None:
    """Wait until the device has done all that it was given."""
    if kind in ("cuda", "mps"):
        getattr(torch, kind).synchronize()


def timm_epoch(task: Task) -> tuple[Callable[[], int], dict]:
    """timm's dataset, loader, transforms, optimiser and network, and the step of its train.py."""
    import timm
    from timm.data import ImageDataset, create_loader
    from timm.optim import create_optimizer_v2
    from timm.utils import AverageMeter

    prefetch = task.kind == "cuda"
    loader = create_loader(
        ImageDataset("", reader=_Reader(task.paths, task.labels)),
        input_size=(3, task.size, task.size),
        batch_size=task.batch,
        is_training=True,
        scale=task.scale,
        ratio=task.ratio,
        hflip=task.flip,
        color_jitter=0.0,
        interpolation="bilinear",
        mean=tuple(task.mean),
        std=tuple(task.std),
        num_workers=task.workers,
        pin_memory=prefetch,
        device=torch.device(task.device),
        use_prefetcher=prefetch,
        persistent_workers=task.workers > 0,
    )
    model = timm.create_model(task.arch, pretrained=False, num_classes=task.classes)
    layout = torch.channels_last if task.channels_last else torch.contiguous_format
    model = model.to(task.device, memory_format=layout)
    how = {"opt": "adamw", "lr": task.lr, "weight_decay": task.weight_decay}
    optimizer, criterion = create_optimizer_v2(model, **how), nn.CrossEntropyLoss()

    def epoch() -> int:
        losses, seen = AverageMeter(), 0
        model.train()
        for images, target in loader:
            if not prefetch:
                images, target = images.to(task.device), target.to(task.device)
            if task.channels_last:
                images = images.contiguous(memory_format=torch.channels_last)
            with task.autocast():
                loss = criterion(model(images), target)
            losses.update(loss.item(), len(images))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            synchronise(task.kind)
            seen += len(images)
        return seen

    return epoch, {"name": f"timm {timm.__version__}", "precision": task.precision}


class _Reader:
    """What timm's ImageDataset reads by: an open file and a class for each picture."""

    def __init__(self, paths: list[str], labels: list[int]) -> None:
        self._paths, self._labels = paths, labels

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: int) -> tuple[BinaryIO, int]:
        return open(self._paths[index], "rb"), self._labels[index]


def fastai_epoch(task: Task) -> tuple[Callable[[], int], dict]:
    """fastai's fit, up to its validation."""
    import fastai
    from fastai.vision.all import Callback, CancelValidException

    class TrainOnly(Callback):
        def before_validate(self) -> None:
            raise CancelValidException

    learner = fastai_learner(task)
    learner.add_cb(TrainOnly())
    halved = task.precision == "bfloat16" and task.kind == "cuda"  # its autocast is CUDA's
    if halved:
        learner.to_bf16()

    def epoch() -> int:
        with learner.no_bar(), learner.no_logging():
            learner.fit(1)
        return len(learner.dls.train) * task.batch  # a last batch that is not full is left out

    precision = "bfloat16" if halved else "float32"
    return epoch, {"name": f"fastai {fastai.__version__}", "precision": precision}


def fastai_learner(task: Task):
    """fastai's vision_learner, with the head of timm's own network in place of its larger one, so
    that all train the same layers."""
    import timm
    from fastai.data.all import CategoryBlock, ColReader, DataBlock
    from fastai.vision import all as vision

    block = DataBlock(
        blocks=(vision.ImageBlock, CategoryBlock(vocab=list(range(task.classes)))),
        get_x=ColReader(0),
        get_y=ColReader(1),
        splitter=lambda items: (list(range(len(items))), [0]),
        item_tfms=vision.RandomResizedCrop(
            task.size, min_scale=task.scale[0], max_scale=task.scale[1], ratio=tuple(task.ratio)
        ),
        batch_tfms=[vision.Flip(p=task.flip), vision.Normalize.from_stats(task.mean, task.std)],
    )
    how = {"bs": task.batch, "num_workers": task.workers, "device": torch.device(task.device)}
    items = list(zip(task.paths, task.labels, strict=True))
    loaders = block.dataloaders(items, pin_memory=task.kind == "cuda", **how)
    width = timm.create_model(task.arch, num_classes=task.classes).num_features
    return vision.vision_learner(
        loaders,
        task.arch,
        pretrained=False,
        normalize=False,
        custom_head=nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, task.classes)
        ),
        n_out=task.classes,
        loss_func=vision.CrossEntropyLossFlat(),
        opt_func=vision.Adam,
        lr=task.lr,
        wd=task.weight_decay,
        cbs=[vision.ChannelsLast()] if task.channels_last else [],
    )


def main() -> None:
    task = Task(**json.loads(sys.stdin.readline()))
    torch.set_num_threads(task.threads)
    torch.backends.cudnn.benchmark = task.kind == "cuda"
    make = {"timm": timm_epoch, "fastai": fastai_epoch}[sys.argv[1]]
    epoch, facts = make(task)
    serve(task.kind, {"epoch": epoch}, {**facts, "torch": torch.__version__})


if __name__ == "__main__":
    main()
