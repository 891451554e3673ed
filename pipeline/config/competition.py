"""A competition as its YAML describes it; pipeline.competition reads the tables themselves."""

import os
import posixpath
import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from pipeline.artifacts.findings import MAY_BE_ALLOWED
from pipeline.config.pictures import Crop, Positive
from pipeline.config.project import Project
from pipeline.config.recipe import Recipe
from pipeline.config.schema import Section, merged, parse, read_yaml
from pipeline.errors import PodiumError, nearest

LABEL_FORMATS = ("label", "labels", "classes")


class Tables(Section):
    """File names below `data`. `answers` is opened by grading alone.

    `delimiter`: between the fields; a tab where the name ends in .tsv and a comma elsewhere, if not
    given. Without `test` there is nothing to submit; without `sample_submission` its form is one
    column of names, or a column per class where the metric needs probabilities.
    """

    train: str = "train.csv"
    test: str | None = "test.csv"
    sample_submission: str | None = "sample_submission.csv"
    answers: str | None = None
    leaderboard: str | None = None
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] | None = None


class Folders(Section):
    """A folder per class instead of tables: `train`/CLASS/PICTURE and `test`/PICTURE below `data`.

    A picture's id is its path below `data`; of a test picture its file name, where the sample
    submission that the YAML names does so. Several folders of training pictures are joined.
    """

    train: Annotated[tuple[str, ...], Field(min_length=1)]
    test: str | None = None

    @field_validator("train", mode="before")
    @classmethod
    def _one_or_several(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    @field_validator("train", "test")
    @classmethod
    def _one_spelling(cls, value: Any) -> Any:
        """Ids are made of these: `train/` and `./train` are `train`."""
        if isinstance(value, tuple):
            return tuple(map(posixpath.normpath, value))
        return value and posixpath.normpath(value)


class Columns(Section):
    """Names of columns. Labels are one of: `label` (a class name per row), `labels` (one column of
    names, split at `separator`) or `classes` (a 0/1 column each).

    `group`: its rows never straddle folds. `weight`: of the row in the training loss. `train_only`:
    a 0/1 column, 1 for rows that are trained on and never validated on.
    """

    id: str = "id"
    image: str | None = None
    label: str | None = None
    labels: str | None = None
    classes: tuple[str, ...] | None = None
    separator: Annotated[str, Field(min_length=1)] = " "
    group: str | None = None
    weight: str | None = None
    train_only: str | None = None


class ImageFolders(Section):
    """Where the pictures of the training and the test table lie, if not in one folder."""

    train: str
    test: str = "images"


class External(Section):
    """A table of further training rows, with the columns of the training table; they are never
    validated on. `prefix` goes before their ids, `weight` multiplies their loss."""

    table: str
    images: str | None = None
    prefix: str = ""
    weight: Positive = 1.0


class Duplicates(Section):
    """Which pictures count as one: those of the same bytes, and those whose dHashes of 256 bits
    differ in at most `distance`; null leaves it at the same bytes. They share a fold, unless
    `group` is false."""

    distance: Annotated[int, Field(ge=0, le=32)] | None = 10
    group: bool = True


class Audit(Section):
    """`allow`: names of blocking findings of `make audit` that training may go on with."""

    allow: tuple[str, ...] = ()

    @field_validator("allow", mode="before")
    @classmethod
    def _one_or_several(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    @field_validator("allow")
    @classmethod
    def _known(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            if name not in MAY_BE_ALLOWED:
                known = nearest(name, MAY_BE_ALLOWED) or f"; those are: {', '.join(MAY_BE_ALLOWED)}"
                raise ValueError(f"{name!r} is not a finding that can be allowed{known}")
        return value


class Competition(Section):
    """What `experiments/competitions/COMP.yaml` says; `name` is COMP itself.

    `test_prefix` goes before the test ids within the pipeline, where a training row has the same.
    `extension` is added to the pictures' names; '*' takes whichever there is. `nested`: pictures
    lie at any depth below their folder, under names that are unique in it. `missing_images`: what
    to do about pictures that are missing or broken: `error`; `drop` their training rows;
    `predict-prior`, which answers them, like all such test rows, without looking at pixels.
    `exclude`: a file of training ids to leave out, one a line. `corrections`: a table of corrected
    training labels. `max_megapixels`: larger pictures are shrunk to it once, and only the copies
    are decoded from then on. `kaggle`: the competition's name in its address on kaggle.com, for
    uploads. `public_rows` or `public_share`: how much of the test set the public score is of, where
    the competition's page says so.
    """

    name: str
    title: str = ""
    built_in: Literal["digits", "digit-sets", "fashion-mnist", "solar-cells"] | None = None
    task: Literal["multiclass", "multilabel"]
    metric: str
    data: str
    tables: Tables = Tables()
    test_prefix: str = ""
    folders: Folders | None = None
    columns: Columns = Columns()
    images: str | ImageFolders = "images"
    extension: str = ""
    nested: bool = False
    missing_images: Literal["error", "drop", "predict-prior"] = "error"
    exclude: str | None = None
    corrections: Annotated[str, Field(min_length=1)] | None = None
    external: tuple[External, ...] = ()
    duplicates: Duplicates = Duplicates()
    audit: Audit = Audit()
    max_megapixels: Annotated[float, Field(ge=0.0001)] = 4.0
    kaggle: str | None = None
    public_rows: Annotated[int, Field(ge=1)] | None = None
    public_share: Annotated[float, Field(gt=0, le=1)] | None = None
    classes: tuple[str, ...] | None = None
    crop: Crop = Crop()
    recipe: dict[str, Any] = Field(default_factory=dict)

    @field_validator("kaggle")
    @classmethod
    def _the_end_of_an_address(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", value):
            raise ValueError(
                f"{value!r} is not the last part of a competition's address; of "
                "kaggle.com/competitions/plant-pathology it is plant-pathology"
            )
        return value

    @model_validator(mode="after")
    def _one_size_of_the_public_part(self) -> "Competition":
        if self.public_rows is not None and self.public_share is not None:
            raise ValueError("public_rows and public_share say the same; give one of them")
        return self

    @model_validator(mode="after")
    def _one_label_format(self) -> "Competition":
        columns = self.columns
        if columns.classes and self.classes and columns.classes != self.classes:
            raise ValueError("columns.classes already names the classes; leave `classes` out")
        for names in (columns.classes, self.classes):
            if names and len(set(names)) < len(names):
                raise ValueError("the names of the classes must be unique")
        given = [key for key in LABEL_FORMATS if getattr(columns, key)]
        if self.folders:
            if columns != Columns() or self.external or self.task != "multiclass":
                raise ValueError(
                    "`folders` name the classes: task multiclass, no columns or tables"
                )
        elif len(given) != 1:
            raise ValueError(f"columns needs one of label, labels, classes, not {given or 'none'}")
        elif self.task == "multiclass" and given == ["labels"]:
            raise ValueError("a multiclass competition names columns.label or columns.classes")
        elif self.task == "multilabel" and given == ["label"]:
            raise ValueError("a multilabel competition names columns.labels or columns.classes")
        return self

    def folder(self, project: Project) -> Path:
        """Return where the tables lie: `data` as given, from the project's root if relative."""
        return Path(os.path.normpath(project.root / Path(self.data).expanduser()))

    def image_folder(self, kind: str) -> str:
        """Return the name of the folder with the pictures of table `kind`, below `data`."""
        return self.images if isinstance(self.images, str) else getattr(self.images, kind)

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
    return parse_competition(comp, read_yaml(path, ""), project.shown(path))


def parse_competition(comp: str, content: dict[str, Any], source: str) -> Competition:
    """Return the competition that `content` describes; faults are blamed on `source`."""
    competition = parse(Competition, {**content, "name": comp}, source)
    parse(Recipe, competition.recipe, f"{source}, recipe")
    return competition
