"""A study opened: loaded, with its competition, and checked before anything is written."""

from pipeline.competition import load_data
from pipeline.config.project import Project
from pipeline.config.recipe import load_recipe
from pipeline.config.study import load_study
from pipeline.errors import PodiumError
from pipeline.folds import draft_shared
from pipeline.search.check import check_base, check_ends, check_keys
from pipeline.search.setting import Setting


def open_setting(project: Project, comp: str, name: str) -> Setting:
    """Load a study and all that it needs; refuse what cannot be searched, writing nothing."""
    if not name:
        known = ", ".join(sorted(path.stem for path in project.studies.glob("*.yaml")))
        raise PodiumError(
            f"STUDY: which study? Type make tune STUDY=name; there are: {known or 'none yet'}"
        )
    study, source = load_study(project, name), project.shown(project.study(name))
    check_keys(study, source)
    data = load_data(project, comp)
    base = load_recipe(
        project,
        study.recipe,
        arch=study.arch,
        competition=data.competition.recipe_overrides(),
        overrides=study.set,
    )
    setting = Setting(name, study, data, draft_shared(data), base)
    check_base(setting)
    check_ends(setting)
    return setting
