"""The sheets of a preview: what the network is fed, where the crop lies, the same bytes again."""

import cv2
import numpy as np
import pytest
import torch
from PIL import Image as PillowImage

from pipeline.artifacts.hashing import stable_int
from pipeline.config.pictures import Augment, Crop, Image
from pipeline.images.augment import Augmenter, Evaluator
from pipeline.images.decode import canonical, crop_box
from pipeline.preview import preview, report_parts
from pipeline.preview.cells import CELL, box_in_cell, cell
from pipeline.preview.feed import denormalised
from pipeline.preview.sheet import CROP, LINE, MARGIN, SQUARE, Shown, draw_sheet
from pipeline.training.device import Setup
from pipeline.training.learning.loop import Normalise
from pipeline.training.parts import Parts

SIDE = 16  # of the tiny pictures
TIMES = CELL // SIDE


@pytest.fixture
def look_at():
    """Return a function that previews the tiny competition without printing."""

    def look(tiny, **options):
        return preview(tiny.project, "tiny", **{"arch": "lenet", "say": print, **options})

    return look


def pixels_of(made, part: str) -> np.ndarray:
    """Return the sheet of a part, (h, w, 3) uint8."""
    path = next(sheet.path for sheet in made.sheets if sheet.part == part)
    return np.asarray(PillowImage.open(path).convert("RGB"))


def holds(sheet: np.ndarray, picture: np.ndarray) -> bool:
    """Whether a sheet holds a picture, pixel for pixel, at any place."""
    data, (height, width) = sheet.tobytes(), picture.shape[:2]
    row, at = picture[0].tobytes(), -1
    while (at := data.find(row, at + 1)) >= 0:
        y, x = divmod(at // 3, sheet.shape[1])
        if at % 3 == 0 and np.array_equal(sheet[y : y + height, x : x + width], picture):
            return True
    return False


def enlarged(picture: np.ndarray) -> np.ndarray:
    return picture.repeat(TIMES, axis=0).repeat(TIMES, axis=1)


def path_of(tiny, name: str):
    return tiny.root / "data" / "tiny" / "images" / f"{name}.png"


def test_training_views_are_those_of_the_augmenter(tiny, look_at):
    """Check that each picture stands on the sheet as the augmenter makes it in epochs 1 to 6, and
    in no later one, after it was normalised and back."""
    made = look_at(tiny, seed=3, limit=5, overrides="augment.rotate=20 augment.brightness=0.3")
    sheet = pixels_of(made, "train")
    augment = Augment(horizontal_flip=0.5, rotate=20, brightness=0.3)
    augmenter = Augmenter(augment, Image(size=SIDE), seed=3)
    ids = made.sheets[0].ids
    assert len(ids) == 5
    for name in ids:
        pixels = canonical(path_of(tiny, name), Crop(), 19)
        views = [augmenter(pixels, epoch, stable_int(name)) for epoch in range(7)]
        found = [holds(sheet, enlarged(view)) for view in views]
        assert found == [True] * 6 + [False], name


def test_no_picture_is_dropped_with_its_batch(tiny, look_at):
    """Check that a picture which training would leave over, alone in its batch, is on the sheet."""
    whole, left = (
        look_at(tiny, limit=5, overrides=f"training.batch_size={size}") for size in (5, 4)
    )
    assert whole.sheets[0].ids == left.sheets[0].ids and whole.numbers == left.numbers
    below = slice(MARGIN + 4 * LINE, None)  # the headlines, of which one names the batch size
    assert np.array_equal(pixels_of(whole, "train")[below], pixels_of(left, "train")[below])


@pytest.mark.parametrize("fit", ["squash", "pad", "cover"])
def test_validation_and_test_views_are_those_of_the_evaluator(tiny, look_at, fit):
    """Check that validation and test pictures stand there as the crop and the fit leave them."""
    cut = {"kind": "sides", "top": 3, "right": 0.2, "bottom": 4}
    tiny.configure(crop=cut)
    made = look_at(tiny, limit=4, overrides=f"image.fit={fit}")
    image = Image(size=SIDE, fit=fit, crop=cut)
    for sheet in made.sheets[1:]:
        assert sheet.part in ("valid", "test") and len(sheet.ids) == 4
        for name in sheet.ids:
            pixels = canonical(path_of(tiny, name), image.crop, image.canonical_side)
            view = Evaluator(image)(pixels)
            assert holds(pixels_of(made, sheet.part), enlarged(view)), (sheet.part, name)


def test_the_sheets_hold_rows_of_their_parts(tiny, look_at):
    """Check that the fold asked for trains on the rows of one sheet and validates the other's."""
    folds, ids = tiny.folds(), tiny.data.train.ids
    made = look_at(tiny, only=[2])
    train, valid, test = (set(sheet.ids) for sheet in made.sheets)
    assert train <= set(ids[folds.train_rows(2)]) and len(train) == 12
    assert valid <= set(ids[folds.valid_rows(2)]) and len(valid) == len(folds.valid_rows(2))
    assert test <= set(tiny.data.test.ids) and len(test) == 12
    assert [sheet.pool for sheet in made.sheets] == [42 - len(valid), len(valid), 18]


def bounds(sheet: np.ndarray, colour: tuple[int, int, int]) -> tuple[int, int, int, int]:
    y, x = np.nonzero((sheet == np.array(colour)).all(axis=2))
    return x.min(), y.min(), x.max() + 1, y.max() + 1


@pytest.mark.parametrize(
    "crop",
    [
        {"kind": "whole"},
        {"kind": "sides", "top": 3, "left": 2, "bottom": 0.25},
        {"kind": "centre", "width": 9, "height": 4},
    ],
)
def test_the_rectangle_lies_at_the_crop(tiny, look_at, crop):
    """Check that the coloured line goes round the pixels that the crop keeps, and does not cover
    them: inside it stand the original's pixels."""
    tiny.configure(crop=crop)
    made = look_at(tiny, limit=1)
    sheet = pixels_of(made, "valid")
    left, top, right, bottom = bounds(sheet, CROP)
    original = canonical(path_of(tiny, made.sheets[1].ids[0]), Crop(), 1000)
    x0, y0, x1, y1 = crop_box(Crop.model_validate(crop), SIDE, SIDE)
    inside = sheet[top + 2 : bottom - 2, left + 2 : right - 2]
    assert np.array_equal(inside, enlarged(original[y0:y1, x0:x1]))


@pytest.mark.parametrize(
    ("crop", "sides", "offset"),
    [
        ({"top": 4, "bottom": 4}, (CELL, CELL // 2), (CELL // 4, 0)),
        ({"left": 9, "right": 3, "top": 4}, (CELL // 4, 3 * CELL // 4), (0, CELL // 4)),
    ],
)
def test_the_square_of_cover_is_drawn_too(tiny, look_at, crop, sides, offset):
    """Check that what `cover` cuts beside the crop is seen: the middle square stays."""
    tiny.configure(crop={"kind": "sides", **crop})
    sheet = pixels_of(look_at(tiny, limit=1, overrides="image.fit=cover"), "valid")
    outer, inner = bounds(sheet, CROP), bounds(sheet, SQUARE)
    assert (outer[2] - outer[0] - 4, outer[3] - outer[1] - 4) == sides
    assert inner[2] - inner[0] == inner[3] - inner[1] == min(sides)
    assert (inner[0] - outer[0] - 2, inner[1] - outer[1] - 2) == offset


def test_originals_are_turned_as_their_exif_says(tiny, look_at):
    """Check that a photo that was taken sideways stands upright, and its crop counts so."""
    folder = tiny.root / "data" / "tiny" / "images"
    exif, rng = PillowImage.Exif(), np.random.default_rng(0)
    exif[0x0112] = 6  # turn right to see it
    for path in folder.glob("*.png"):
        photo = rng.integers(0, 40, (32, 64, 3), np.uint8)
        photo[:, :16] = 255  # the left quarter, which becomes the upper one
        PillowImage.fromarray(photo).save(path.with_suffix(".jpg"), exif=exif, quality=100)
        path.unlink()
    tiny.configure(extension=".jpg", crop={"kind": "sides", "top": 16})
    made = look_at(tiny, limit=1)
    sheet = pixels_of(made, "test")
    left, top, right, bottom = bounds(sheet, CROP)
    assert (right - left - 4, bottom - top - 4) == (64, 96)
    inside = sheet[top + 2 : bottom - 2, left + 2 : right - 2]
    assert inside.max() < 80 and sheet[top - 20, (left + right) // 2].min() > 215


@pytest.mark.parametrize(("dtype", "levels"), [(torch.float32, 0), (torch.bfloat16, 2)])
def test_denormalising_takes_the_normalisation_back(dtype, levels):
    """Check that every level of every channel comes back, and from bfloat16 within its rounding."""
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    images = torch.arange(256, dtype=torch.uint8).repeat(3, 1).T.reshape(1, 16, 16, 3)
    inputs = Normalise(mean, std, Setup("cpu", "float32", True, 0, 1))(images).to(dtype)
    back = denormalised(inputs, mean, std)
    assert back.dtype == np.uint8
    assert np.abs(back.astype(int) - images.numpy()).max() <= levels


def test_a_broken_normalisation_is_seen(tiny, look_at, monkeypatch):
    """Check that pixels look other where training normalises by other numbers than it says."""

    class Wrong(Normalise):
        def __init__(self, mean, std, setup):
            super().__init__(tuple(m + 0.2 for m in mean), std, setup)

    right = pixels_of(look_at(tiny, limit=2), "valid").astype(int)
    monkeypatch.setattr("pipeline.preview.feed.Normalise", Wrong)
    wrong = pixels_of(look_at(tiny, limit=2), "valid").astype(int)
    differs = (right != wrong).any(axis=2)
    assert 0.6 * 2 * CELL**2 < differs.sum() <= 2 * CELL**2
    assert np.median((right - wrong)[differs]) == 51  # 0.2 of 255


def test_another_mean_than_the_weights_is_seen_as_a_shift(tiny, look_at):
    """Check that a recipe which overrules the mean of pretrained weights shows their shift."""
    numbers = "image.mean=[0.3,0.5,0.5] image.std=[0.5,0.5,0.3]"
    options = {"arch": "tf_efficientnet_lite0", "limit": 1}
    made = look_at(tiny, **options, overrides=f"model.pretrained=true {numbers}")
    pixels = canonical(path_of(tiny, made.sheets[1].ids[0]), Crop(), 19) / 255
    used = np.array([0.3, 0.5, 0.5]), np.array([0.5, 0.5, 0.3])
    shifted = np.clip((pixels - used[0]) / used[1] * 0.5 + 0.5, 0, 1) * 255
    assert holds(pixels_of(made, "valid"), enlarged(np.rint(shifted).astype(np.uint8)))
    assert any("not by the weights' own" in warning for warning in made.warnings)
    plain = look_at(tiny, **options, overrides="model.pretrained=true")
    assert not any("own" in warning for warning in plain.warnings)
    assert plain.numbers.used == ((0.5,) * 3, (0.5,) * 3)


def test_the_numbers_are_those_of_the_training_views(tiny, look_at):
    """Check mean, std and range against numpy on what the augmenter gives."""
    numbers = "image.mean=[0.1,0.2,0.3] image.std=[0.4,0.5,0.6]"
    made = look_at(tiny, overrides=numbers)
    augmenter = Augmenter(Augment(horizontal_flip=0.5), Image(size=SIDE), seed=0)
    views = [
        augmenter(canonical(path_of(tiny, name), Crop(), 19), epoch, stable_int(name))
        for name in made.sheets[0].ids
        for epoch in range(6)
    ]
    pixels = np.stack(views).reshape(-1, 3) / 255
    fed = (pixels - [0.1, 0.2, 0.3]) / [0.4, 0.5, 0.6]
    assert np.allclose(made.numbers.pixels, (pixels.mean(0), pixels.std(0)))
    assert np.allclose(made.numbers.fed, (fed.mean(0), fed.std(0)), atol=1e-6)
    assert made.numbers.used == ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    assert np.allclose((made.numbers.low, made.numbers.high), (fed.min(), fed.max()))


def test_the_same_command_writes_the_same_bytes_and_nothing_else(make_tiny, look_at, snapshot):
    """Check that two previews, in two copies of the project, give equal sheets, that no folds, runs
    or pixels are left behind, and that another seed shows other pictures."""
    tiny, twin = (make_tiny(folder=name, images=True) for name in ("one", "two"))
    before = snapshot(tiny.root)
    made, again, other = look_at(tiny), look_at(tiny), look_at(twin)
    folder = "experiments/runs/tiny/preview-lenet-baseline"
    new = {name for name in snapshot(tiny.root) if name not in before}
    sheets = {f"{folder}/{part}.png" for part in ("train", "valid", "test")}
    assert sheets == {name for name in new if not name.startswith("data/cache/")}
    assert not [name for name in new if name.endswith(".bin")]
    assert {sheet.shown for sheet in made.sheets} == sheets
    for a, b in zip(again.sheets, other.sheets, strict=True):
        assert a.path.read_bytes() == b.path.read_bytes()
    assert look_at(tiny, seed=1).sheets[0].ids != made.sheets[0].ids


def test_few_pictures_are_opened(make_tiny, look_at, monkeypatch):
    """Check that three sheets of two open six pictures of two hundred, in a cache of their own."""
    tiny, opened = make_tiny(rows=150, test=50, images=True), []
    original = Parts.open

    def spy(self, image):
        opened.append((len(self.data.train), len(self.data.test), self.data.project))
        return original(self, image)

    monkeypatch.setattr(Parts, "open", spy)
    look_at(tiny, limit=2)
    assert [(train, test) for train, test, _ in opened] == [(4, 2)]
    assert opened[0][2].root != tiny.root and not opened[0][2].root.exists()


def test_names_of_any_script_and_length_are_drawn():
    """Check that a sheet is as wide with ids and labels of any length, script and bytes."""
    picture = np.full((CELL, CELL, 3), 90, np.uint8)
    names = ["a", "x" * 500, "Žluťoučký кот 日本語 🙂", "\udcff\x00\n broken", ""]
    shown = [Shown(name, name, picture, (0, 0, 9, 9), None, [picture] * 3) for name in names]
    sheet = draw_sheet(["headline " * 60, "日本"], ["picture", "one", "two", "three"], shown)
    plain = draw_sheet(["h"], ["picture", "one", "two", "three"], shown[:1])
    assert sheet.width == plain.width and sheet.height > plain.height


def test_many_views_fit_on_a_sheet():
    """Check that a block of more cells than usual widens the sheet, and that all are on it."""
    views = [np.full((CELL, CELL, 3), 10 + 9 * i, np.uint8) for i in range(12)]
    shown = [Shown("id", "", views[0], (0, 0, 9, 9), None, views)]
    sheet = draw_sheet(["h"], ["picture", *(f"view {i}" for i in range(12))], shown)
    assert all(holds(np.asarray(sheet), view) for view in views)


@pytest.mark.parametrize("size", [(8, 8), (7, 3), (48, 48), (128, 60), (129, 12), (4000, 900)])
def test_cells_have_one_size(size):
    """Check that pictures of any size fill a cell's longest side but for whole repetitions."""
    picture = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    scaled = cell(picture)
    longest = max(scaled.shape[:2])
    assert CELL - max(size) < longest <= CELL and scaled.dtype == np.uint8
    if max(size) < CELL:
        times = CELL // max(size)
        assert np.array_equal(scaled[::times, ::times], picture)


def test_a_box_keeps_its_place_in_the_thumbnail():
    """Check the box of a picture of 400 x 200 in its thumbnail of 128 x 64."""
    assert box_in_cell((100, 50, 300, 200), (400, 200), (128, 64)) == (32, 16, 96, 64)


def test_the_report_ends_with_the_sheets_and_the_next_command(tiny, look_at):
    """Check that the report can be shown, and that its last lines are to be typed on."""
    from pipeline.show import parts

    overrides = "image.size=24  augment.rotate=5"
    made = look_at(tiny, seed=2, overrides=overrides, arch="resnet18")
    lines = parts(report_parts(made)).splitlines()
    assert made.name.startswith("preview-resnet18-baseline-s2-")
    folder = f"experiments/runs/tiny/{made.name}"
    assert lines[-5:-1] == [
        "written:",
        *(f"  {folder}/{part}.png" for part in ("train", "valid", "test")),
    ]
    assert lines[-1] == (
        "next: make train COMP=tiny ARCH=resnet18 SEED=2 SET='image.size=24 augment.rotate=5'"
    )
    assert cv2.imread(str(made.sheets[0].path)) is not None
