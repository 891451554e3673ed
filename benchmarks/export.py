"""What does a smaller network cost: size, agreement, score and time of every way to export one?

    .venv/bin/python -m benchmarks.export --comp digits                      # all architectures
    .venv/bin/python -m benchmarks.export --comp digits --archs resnet18 --epochs 2
    .venv/bin/python -m benchmarks.export --comp mine --runs "ensemble-all"  # what is trained

Each architecture is trained once, on a hold-out of the competition, in a project of its own below
`--folder`, which is kept: a second call trains nothing again. Only networks whose weights are
installed begin from them, the others from nothing. `--runs` trains nothing, and exports runs or
ensembles of this project into their own folders. Every option is built and judged on the rows that
were held out. Times are medians of one picture at a time, on all cores this process may use; take
them on a machine that does nothing else.
"""

import argparse
import shutil
from pathlib import Path

import yaml

from pipeline.competition import load_data
from pipeline.config.competition import load_competition
from pipeline.config.project import Project
from pipeline.deploy.export.export import export
from pipeline.deploy.export.report import options_table
from pipeline.errors import PodiumError
from pipeline.folds import make_shared
from pipeline.show import say, table
from pipeline.training.request import TrainRequest
from pipeline.training.train import train

ARCHS = "vgg11 resnet18 tf_efficientnet_lite0 densenet121 convnext_nano vit_tiny_patch16_224"
INSTALLED = ("tf_efficientnet_lite0", "tf_efficientnet_lite1", "tf_efficientnet_lite2")
RATES = {"vgg11": 3e-4, "convnext_nano": 1e-3, "vit_tiny_patch16_224": 1e-3}  # from nothing


def scratch(here: Project, comp: str, folder: Path) -> Project:
    """Return a project in `folder` that holds the same competition and a hold-out of its own."""
    project = Project(folder)
    project.competitions.mkdir(parents=True, exist_ok=True)
    shutil.copytree(here.recipes, project.recipes, dirs_exist_ok=True)
    content = yaml.safe_load(here.competition(comp).read_text())
    if not load_competition(here, comp).built_in:
        content["data"] = str((here.root / content["data"]).resolve())
    project.competition(comp).write_text(yaml.safe_dump(content, sort_keys=False))
    make_shared(load_data(project, comp), n_folds=1, holdout=0.3)
    return project


def trained(project: Project, comp: str, arch: str, size: int, epochs: int, changes: str) -> str:
    """Train an architecture on the hold-out, unless it is trained; return its run's name."""
    start = "true" if arch in INSTALLED else "false"
    rate = 1e-3 if arch in INSTALLED else RATES.get(arch, 2e-3)
    usual = f"image.size={size} training.epochs={epochs} model.pretrained={start}"
    usual += f" optimizer.lr={rate} augment.horizontal_flip=0 {changes}"
    request = TrainRequest(comp, [arch], name=f"{arch}-{size}", overrides=usual.strip())
    return train(project, request, say)[0].run.name


def shown(project: Project, comp: str, source: str, max_mb: float, agreement: float) -> None:
    """Export a run by every option and print the table."""
    asked = {"max_mb": max_mb, "agreement": agreement, "everything": True}
    print(f"\n{source}")
    try:
        made = export(project, comp, source, say=say, **asked)
    except PodiumError as error:  # none passes: the table was said
        print(error)
        return
    print(f"{table(*options_table(made.record))}\n{made.record['machine']}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--comp", default="digits")
    parser.add_argument("--archs", default=ARCHS)
    parser.add_argument("--runs", default="", help="runs of this project, in place of --archs")
    parser.add_argument("--size", type=int, default=32, help="pixels of the networks trained here")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--set", default="", help="further changes of the recipe")
    parser.add_argument("--max-mb", type=float, default=100.0)
    parser.add_argument("--agreement", type=float, default=0.98)
    parser.add_argument("--folder", type=Path, default=Path("data/cache/bench-export"))
    asked = parser.parse_args()
    here = Project(Path.cwd())
    limits = asked.max_mb, asked.agreement
    if asked.runs:
        for run in asked.runs.split():
            shown(here, asked.comp, run, *limits)
        return
    project = scratch(here, asked.comp, asked.folder.resolve())
    for arch in asked.archs.split():
        how = asked.size, asked.epochs, asked.set
        shown(project, asked.comp, trained(project, asked.comp, arch, *how), *limits)


if __name__ == "__main__":
    main()
