"""A competition as its YAML describes it; pipeline.competition reads the tables themselves."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from pipeline.config.project import Project
from pipeline.config.recipe import Crop, Recipe
from pipeline.config.schema import Section, merged, parse, read_yaml
from pipeline.errors import PodiumError, nearest


class Tables(Section):
    """File names below `data`. `answers` is opened by grading alone."""

    train: str = "train.csv"
    test: str = "test.csv"
    sample_submission: str = "sample_submission.csv"
    answers: str | None = None
    leaderboard: str | None = None


class Columns(Section):
    """Names of columns. Labels are one of: `label` (a class name per row), `labels` (one column of
    names, split at `separator`) or `classes` (a 0/1 column each)."""

    id: str = "id"
    image: str | None = None
    label: str | None = None
    labels: str | None = None
    classes: tuple[str, ...] | None = None
    separator: Annotated[str, Field(min_length=1)] = " "
    group: str | None = None


class Competition(Section):
    """What `experiments/competitions/COMP.yaml` says; `name` is COMP itself."""

    name: str
    title: str = ""
    built_in: Literal["digits", "digit-sets"] | None = None
    task: Literal["multiclass", "multilabel"]
    metric: str
    data: str
    tables: Tables = Tables()
    columns: Columns
    images: str = "images"
    extension: str = ""
    classes: tuple[str, ...] | None = None
    crop: Crop = Crop()
    recipe: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _one_label_format(self) -> "Competition":
        columns = self.columns
        if columns.classes and self.classes and columns.classes != self.classes:
            raise ValueError("columns.classes already names the classes; leave `classes` out")
        given = [key for key in ("label", "labels", "classes") if getattr(columns, key)]
        if len(given) != 1:
            raise ValueError(f"columns needs one of label, labels, classes, not {given or 'none'}")
        if self.task == "multiclass" and given != ["label"]:
            raise ValueError("a multiclass competition names its column of classes: columns.label")
        if self.task == "multilabel" and given == ["label"]:
            raise ValueError("a multilabel competition names columns.labels or columns.classes")
        return self

    def folder(self, project: Project) -> Path:
        """Return where the tables lie: `data` as given, from the project's root if relative."""
        return project.root / Path(self.data).expanduser()

    def recipe_overrides(self) -> dict[str, Any]:
        """Return what this competition says about every recipe: its crop, then its `recipe:`."""
        crop = {"image": {"crop": self.crop.model_dump(exclude_defaults=True)}}
        return merged(crop, self.recipe)


def load_competition(project: Project, comp: str) -> Competition:
    """Read and check `experiments/competitions/COMP.yaml`."""
    path = project.competition(comp)
    if not path.exists():
        known = [other.stem for other in sorted(project.competitions.glob("*.yaml"))]
        hint = nearest(comp, known) or f"; there are: {', '.join(known) or 'none'}"
        raise PodiumError(f"COMP: no {project.shown(path)}{hint}")
    content = {**read_yaml(path, ""), "name": comp}
    competition = parse(Competition, content, project.shown(path))
    parse(Recipe, competition.recipe, f"{project.shown(path)}, recipe")
    return competition
