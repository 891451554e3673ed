"""`make report`: `report.html`, one page that says where we are, what is wrong, what to do next."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pipeline.artifacts.files import write_text
from pipeline.competition import CompetitionData, load_data
from pipeline.config.project import Project
from pipeline.errors import PodiumError
from pipeline.page.blocks import Section
from pipeline.page.document import render
from pipeline.page.shelf import Shelf
from pipeline.page.thumbnails import Album
from pipeline.report.gather import Scene
from pipeline.report.mistakes import Mistakes, write_mistakes
from pipeline.report.problems import Problem
from pipeline.report.scene import scene_of
from pipeline.report.sections.answers import classes_section, confusion_section
from pipeline.report.sections.around import (
    audit_section,
    growth_section,
    rates_section,
    studies_section,
)
from pipeline.report.sections.certainty import certainty_section
from pipeline.report.sections.galleries import pictures_section
from pipeline.report.sections.learning import curves_section
from pipeline.report.sections.members import members_section
from pipeline.report.sections.origin import origin_section
from pipeline.report.sections.shared import Pictures
from pipeline.report.sections.standing import baselines_section, board_section, runs_section
from pipeline.report.sentences import next_step, where, wrong
from pipeline.report.state import done_of, problems_of, where_of

TEMPLATE = Path(__file__).with_name("report.html.j2")
PAGE = "report.html"
Say = Callable[[str], None]


@dataclass(frozen=True)
class Report:
    """The page that was written, its three sentences, all that is wrong, and the folder of mistakes
    where one was asked for; `shown` is the page's path as the user would type it."""

    path: Path
    shown: str
    size: int
    where: str
    wrong: str
    next: str
    problems: tuple[Problem, ...]
    mistakes: Mistakes | None = None
    mistakes_shown: str = ""


def report(
    project: Project, comp: str, source: str = "", *, mistakes: bool = False, say: Say
) -> Report:
    """Write the page of a competition; `source` is the run or ensemble whose pictures are shown,
    the best if it is empty. With `mistakes`, sort those of it into folders of links, too."""
    data = load_data(project, comp)
    say(f"{data.competition.title or comp}: reading what is recorded")
    scene = scene_of(data, source)
    if mistakes and scene.focus is None:
        why = scene.unreadable or f"{comp} has no finished run yet; make train COMP={comp} first"
        raise PodiumError(f"MISTAKES: {why}")
    problems = problems_of(scene)
    at = where_of(scene)
    said = where(at), wrong(problems, at), next_step(done_of(scene), problems)
    text = page_of(scene, said, problems)
    path = project.runs(comp) / PAGE
    write_text(path, text)
    links = write_mistakes(scene.focus) if mistakes and scene.focus is not None else None
    size, shown = len(text.encode("utf-8")), project.shown(path)
    folder = project.shown(links.folder) if links else ""
    return Report(path, shown, size, *said, problems, links, folder)


def page_of(scene: Scene, said: tuple[str, str, str], problems: tuple[Problem, ...]) -> str:
    """Return the page as HTML: the same records make the same text."""
    album = Album()
    data = scene.data
    return render(
        TEMPLATE,
        title=data.competition.title or scene.comp,
        facts=_facts(data),
        said=said,
        others=problems[1:],
        sections=_sections(scene, Pictures(Shelf(data), album)),
        hashes=(data.hash, scene.folds.hash if scene.folds is not None else ""),
        album=album,
    )


def _facts(data: CompetitionData) -> str:
    pictures = f"{len(data.train):,} training and {len(data.test):,} test pictures"
    return f"{pictures}, {len(data.classes):,} classes, {data.competition.task}, {data.metric.name}"


def _sections(scene: Scene, pictures: Pictures) -> list[Section]:
    first = [runs_section, board_section, baselines_section, curves_section, confusion_section]
    rest = [classes_section, certainty_section, members_section]
    last = [audit_section, studies_section, rates_section, growth_section, origin_section]
    found = [section(scene) for section in (*first, *rest)]
    return [*found, pictures_section(scene, pictures), *(section(scene) for section in last)]


def report_parts(made: Report) -> list[str]:
    """Return what to print: the three sentences, where the page is, and the folder of mistakes."""
    said = [sentence.replace("`", "") for sentence in (made.where, made.wrong)]
    if len(made.problems) > 1:
        said.append(f"and {len(made.problems) - 1} more on the page")
    found = made.mistakes
    if found is not None and found.reason:
        said.append(f"no folder of mistakes: {found.reason}")
    elif found is not None:
        without = f"; {found.without:,} have no picture" if found.without else ""
        said.append(
            f"{made.mistakes_shown}: {found.rows:,} pictures by {found.links} links{without}"
        )
    size = f"{made.size / 1e6:.1f} MB"
    return [*said, f"page: {made.shown}, {size}", f"next: {made.next.replace('`', '').rstrip('.')}"]
