"""What a preview warns of, the competitions it takes, and what it refuses."""

import cv2
import numpy as np
import pandas as pd
import pytest

from pipeline.errors import PodiumError
from pipeline.images.augment import Augmenter, Evaluator
from pipeline.preview import preview, report_parts
from pipeline.show import parts


@pytest.fixture
def look_at():
    """Return a function that previews the tiny competition without printing."""

    def look(tiny, **options):
        return preview(tiny.project, "tiny", **{"arch": "lenet", "say": print, **options})

    return look


def redraw(tiny, width: int, height: int) -> None:
    """Replace all pictures by noise of another size."""
    rng = np.random.default_rng(0)
    for path in sorted((tiny.root / "data" / "tiny" / "images").iterdir()):
        noise = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        cv2.imwrite(str(path), noise)


def warned(made, text: str) -> list[str]:
    return [warning for warning in made.warnings if text in warning]


def test_nothing_is_wrong_with_the_tiny_competition(tiny, look_at):
    """Check that a sound recipe gets no warning at all."""
    made = look_at(tiny)
    assert made.warnings == () and made.skipped == ()
    assert made.fed == "3 x 16 x 16, fit squash"
    assert made.cropped == "the whole picture; the network sees 100% of each picture"


class Unchanging(Augmenter):
    """Does nothing, as if augmentation were lost on the way."""

    def __call__(self, pixels, epoch, id_hash):
        return Evaluator(self._image)(pixels)


class Repeating(Augmenter):
    """Changes each picture in the same way in all epochs, as if the epoch were lost on the way."""

    def __call__(self, pixels, epoch, id_hash):
        return super().__call__(pixels, 0, id_hash)


def test_lost_augmentation_is_found(tiny, look_at, monkeypatch):
    """Check the warnings where pictures stay as they are, or the same in all epochs."""
    monkeypatch.setattr("pipeline.preview.feed.Augmenter", Unchanging)
    assert warned(look_at(tiny), "every picture of epoch 1, 2, 3, 4, 5, 6 is what validation")
    off = look_at(tiny, overrides="augment.scale=null augment.horizontal_flip=0")
    assert not off.warnings and off.notes[0].startswith("augmentation is off")
    monkeypatch.setattr("pipeline.preview.feed.Augmenter", Repeating)
    assert warned(look_at(tiny), "the same in all epochs")


def test_a_flip_leaves_few_pictures_unchanged_by_chance(tiny, look_at):
    """Check that flips of one or two pictures are not taken for lost augmentation."""
    for seed in range(8):
        made = look_at(tiny, seed=seed, limit=2, overrides="augment.scale=null")
        assert not warned(made, "is what validation"), seed


@pytest.mark.parametrize(
    ("fit", "crop", "share"),
    [
        ("squash", {"kind": "sides", "top": 12, "left": 2}, "21.9%"),
        ("cover", {"kind": "centre", "width": 16, "height": 7}, "19.1%"),
    ],
)
def test_a_crop_that_leaves_little_is_found(tiny, look_at, fit, crop, share):
    """Check that under a quarter of the picture is warned of, and what `cover` cuts counted."""
    tiny.configure(crop=crop)
    made = look_at(tiny, overrides=f"image.fit={fit}")
    assert warned(made, f"under 25% of 33 of 33 pictures, down to {share}")
    assert not warned(look_at(tiny, overrides="image.crop.kind=whole"), "under 25%")


def test_black_bars_are_found(tiny, look_at):
    """Check that padding which fills more than half of the input is warned of, and no other fit."""
    redraw(tiny, 60, 25)
    assert warned(look_at(tiny, overrides="image.fit=pad"), "black bars are more than half")
    assert not warned(look_at(tiny, overrides="image.fit=cover"), "black bars")
    redraw(tiny, 60, 35)
    assert not warned(look_at(tiny, overrides="image.fit=pad"), "black bars")


@pytest.mark.parametrize(
    ("size", "overrides", "said"),
    [
        ((16, 16), "image.size=32", "pictures of 16 px after the crop are enlarged to 32"),
        ((90, 20), "image.size=32", "pictures of 20 px after the crop are enlarged to 32"),
        ((90, 20), "image.size=32 image.fit=pad", ""),
        ((90, 40), "image.size=32", ""),
        ((90, 40), "image.size=32 image.short_side=24", "since image.short_side keeps 24 px"),
        ((90, 40), "image.size=32 image.crop.kind=sides image.crop.top=30", "pictures of 10 px"),
    ],
)
def test_enlarged_pictures_are_found(tiny, look_at, size, overrides, said):
    """Check that pictures with fewer pixels than the input are warned of, and no others."""
    redraw(tiny, *size)
    made = look_at(tiny, overrides=overrides)
    assert bool(warned(made, "enlarged")) == bool(said) and (not said or warned(made, said))


@pytest.mark.parametrize(
    ("numbers", "found"),
    [
        ("image.mean=[0.3,0.3,0.3] image.std=[0.2,0.2,0.2]", False),
        ("image.mean=[0.5,0.5,0.5] image.std=[0.5,0.5,0.5]", False),
        ("image.mean=[0.3,0.3,0.3] image.std=[50,50,50]", True),  # of pixels in 0..255
        ("image.mean=[0.99,0.3,0.3] image.std=[0.15,0.2,0.2]", True),
    ],
)
def test_a_normalisation_far_from_the_pictures_is_found(tiny, look_at, numbers, found):
    """Check that mean and std of another scale, or of other pictures, are warned of."""
    assert bool(warned(look_at(tiny, overrides=numbers), "image.mean and image.std")) == found


def test_several_labels(make_tiny, look_at):
    """Check that a multilabel competition shows every label and a row without any."""
    tiny = make_tiny(task="multilabel", images=True)
    made = look_at(tiny, limit=4)
    labels = dict(zip(tiny.data.train.ids.tolist(), tiny.data.labels, strict=True))
    shown = np.stack([labels[name] for name in made.sheets[0].ids])
    assert shown.any(axis=0).all() and (shown.sum(axis=1) == 0).any()
    assert made.sheets[0].classes == 3


def test_no_test_table(tiny, look_at):
    """Check that a competition without test rows has two sheets, and no old third one."""
    old = look_at(tiny).sheets[2].path
    assert old.exists()
    tiny.configure(tables={"test": None, "sample_submission": None})
    made = look_at(tiny)
    assert [sheet.part for sheet in made.sheets] == ["train", "valid"] and not old.exists()
    assert any("no test picture" in note for note in made.notes)


def test_boxes(tiny, look_at):
    """Check that boxes of both tables reach the pictures that are shown, and that small ones are no
    reason for a warning about what is left."""
    places = {"x0": "4", "y0": "2", "x1": "8", "y1": "12"}
    for table in ("train", "test"):
        tiny.edit(table, lambda frame: frame.assign(**places))
    tiny.configure(crop={"kind": "box", "columns": list(places)})
    made = look_at(tiny, overrides="image.size=8")
    assert "the box in the columns x0, y0, x1, y1; the network sees 16%" in made.cropped
    assert not warned(made, "25%")


def test_grey_pictures(tiny, look_at):
    """Check that pictures of one channel are fed as three equal ones."""
    for path in (tiny.root / "data" / "tiny" / "images").iterdir():
        cv2.imwrite(str(path), cv2.imread(str(path), cv2.IMREAD_GRAYSCALE))
    means = look_at(tiny).numbers.pixels[0]
    assert means[0] == means[1] == means[2] > 0


def test_a_class_that_a_fold_lacks_is_named(tiny, look_at):
    """Check that a class which only one fold validates is said to be missing in the others."""
    folds = tiny.folds()
    first, last = folds.valid_rows(0)[0], tiny.data.train.ids
    tiny.project.folds("tiny").unlink()
    tiny.project.folds("tiny").with_suffix(".json").unlink()

    def only_one(frame: pd.DataFrame) -> pd.DataFrame:
        frame.loc[frame["label"] == "owl", "label"] = "cat"
        frame.loc[frame["id"] == last[first], "label"] = "owl"
        return frame

    tiny.edit("train", only_one)
    folds = tiny.folds()
    lacking = [k for k in folds.numbers if first not in folds.valid_rows(k)]
    made = look_at(tiny, only=lacking[:1])
    assert any("no validation picture of 1 of 3 classes: owl" in note for note in made.notes)
    assert made.sheets[1].classes == 2 and made.sheets[1].lacking == ("owl",)


def test_class_names_of_any_script(tiny, look_at):
    """Check that class names beyond ASCII are drawn and reported."""
    tiny.edit("train", lambda frame: frame.replace({"cat": "кот 日本 Žluť", "dog": "b" * 300}))
    tiny.configure(classes=["кот 日本 Žluť", "b" * 300, "owl"], tables={"test": None})
    made = look_at(tiny)
    assert made.sheets[0].classes == 3 and parts(report_parts(made))


def test_missing_pictures_are_skipped_and_said(tiny, look_at):
    """Check that a picture that is not there is replaced by another, with what `make train` will
    say of it; where all are missing, that is refused."""
    first = look_at(tiny, limit=3).sheets[0].ids
    folder = tiny.root / "data" / "tiny" / "images"
    (folder / f"{first[0]}.png").unlink()
    made = look_at(tiny, limit=3)
    assert len(made.sheets[0].ids) == 3 and first[0] not in made.sheets[0].ids
    assert len(made.skipped) == 1 and made.skipped[0].startswith(f"train {first[0]}: ")
    assert warned(made, "make train refuses") and made.skipped[0] in parts(report_parts(made))
    for path in folder.iterdir():
        path.unlink()
    with pytest.raises(PodiumError, match=r"missing, and so are all \d+ training pictures that"):
        look_at(tiny, limit=3)


def test_missing_pictures_by_policy(tiny, look_at):
    """Check that pictures which the competition does without are said and not shown."""
    first, said = look_at(tiny, limit=3).sheets[0].ids[0], []
    (tiny.root / "data" / "tiny" / "images" / f"{first}.png").unlink()
    tiny.configure(missing_images="predict-prior")
    made = look_at(tiny, limit=3, say=said.append)
    assert first not in made.sheets[0].ids and not made.skipped and not made.warnings
    assert said and said[0].startswith("missing or broken pictures: 1 of training rows")


def test_a_limited_recipe_shows_the_rows_it_keeps(tiny, look_at):
    """Check that data.limit takes rows from the sheets as it does from training."""
    made = look_at(tiny, overrides="data.limit=10")
    assert made.name.startswith("preview-lenet-baseline-limit10-")
    assert [sheet.pool for sheet in made.sheets] == [8, 2, 10]


def test_no_architecture_is_needed_where_the_normalisation_is_known(tiny, look_at):
    """Check that a recipe from scratch, or one with mean and std, is previewed without ARCH."""
    made = look_at(tiny, arch="")
    assert made.name == "preview-any-baseline"
    assert made.next == "make train COMP=tiny ARCH=densenet121"
    numbers = "image.mean=[0.3,0.3,0.3] image.std=[0.2,0.2,0.2]"
    given = look_at(tiny, arch="", overrides=f"model.pretrained=true {numbers}")
    assert given.numbers.used == ((0.3,) * 3, (0.2,) * 3)
    with pytest.raises(PodiumError, match="ARCH: which architecture"):
        look_at(tiny, arch="", overrides="model.pretrained=true")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"limit": 0}, "LIMIT: 0 pictures a sheet; choose from 1 to 100"),
        ({"limit": 101}, "LIMIT: 101"),
        ({"only": [7]}, "ONLY: there is no fold 7; the folds are 0, 1, 2, 3, 4"),
        ({"only": [0, 1]}, "ONLY: a preview shows one fold, not 0 1"),
        ({"arch": "resnet81"}, "ARCH: timm .* has no model 'resnet81'"),
        ({"recipe": "basline"}, "RECIPE: no .*baseline"),
        ({"overrides": "image.siz=3"}, "SET: .*size"),
        ({"overrides": "image.crop.kind=sides image.crop.top=16"}, "leaves nothing of 16 x 16"),
        ({"overrides": "image.crop.kind=box image.crop.columns=[a,b,c,d]"}, "image.crop.columns"),
    ],
)
def test_refusals(tiny, look_at, options, message):
    """Check that what cannot be previewed is refused in one line, and leaves no folder."""
    with pytest.raises(PodiumError, match=message):
        look_at(tiny, **options)
    assert not tiny.project.runs("tiny").exists()


def test_a_run_of_the_same_name_is_left_alone(tiny, look_at):
    """Check that sheets are not put among the files of a run that is called like a preview."""
    folder = tiny.fake_run("preview-lenet-baseline")
    with pytest.raises(PodiumError, match="a run, among whose files"):
        look_at(tiny)
    assert not list(folder.glob("*.png"))


def test_a_preview_is_no_run(tiny, look_at):
    """Check that the folder of sheets is not taken for a run when runs are blended."""
    from pipeline.ensemble.members import list_runs

    look_at(tiny)
    tiny.fake_run("real")
    assert list_runs(tiny.data) == ["real"]
