"""The main job from nothing: folds, two architectures, their ensemble, submissions, scores."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pipeline.competition import CompetitionData, load_data
from pipeline.config.project import Project
from pipeline.ensemble.build import build_ensemble
from pipeline.folds import Folds
from pipeline.submission import grade_all
from pipeline.submission.standings import Standing, standings, submit
from pipeline.training.request import TrainRequest
from pipeline.training.train import shared_folds, train

ARCHITECTURES = ("resnet18", "resnet10t")


@dataclass(frozen=True)
class Demo:
    """What the demo made: the standings and the paths it wrote."""

    data: CompetitionData
    folds: Folds
    standings: list[Standing]
    paths: list[Path]


def demo(project: Project, comp: str, say: Callable[[str], None]) -> Demo:
    """Run folds -> train -> ensemble -> submit -> score on a built-in competition."""
    data = load_data(project, comp)
    say(
        f"{data.competition.title}: {len(data.train):,} training and {len(data.test):,} test "
        f"pictures, {len(data.classes)} classes, metric {data.competition.metric}"
    )
    folds = shared_folds(data, say)
    summaries = train(project, TrainRequest(comp, ARCHITECTURES), say)
    names = [summary.run.name for summary in summaries]
    ensemble = build_ensemble(data, folds, names, "demo")
    say(f"{ensemble.name}: {ensemble.record['blend']} of {', '.join(names)}")
    written = [submit(data, folds, name)[1].path for name in (*names, ensemble.name)]
    grade_all(data)
    found, _ = standings(data, folds)
    kept = [standing for standing in found if standing.name in (*names, ensemble.name)]
    runs = [summary.run.folder for summary in summaries]
    paths = [project.folds(comp), *runs, ensemble.folder, *written, project.ledger(comp)]
    return Demo(data, folds, kept, paths)
