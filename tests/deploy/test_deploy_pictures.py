"""Pictures of any kind, place and name."""

import os
import shutil
import sys

import cv2
import numpy as np
import pytest
import yaml
from PIL import Image

from pipeline.competition import load_data
from pipeline.config.pictures import Image as ImageSection
from pipeline.deploy.networks import RunNetworks
from pipeline.deploy.pictures import View, views
from pipeline.ensemble.build import open_decided
from pipeline.folds import load_shared, make_shared
from pipeline.images.augment import Evaluator
from pipeline.training.request import TrainRequest
from pipeline.training.train import train


def test_a_rotated_and_a_grey_picture(trained, answers, tmp_path):
    """Check that EXIF turns a picture, and that grey is seen as grey of three channels."""
    folder, rng = tmp_path / "new", np.random.default_rng(3)
    folder.mkdir()
    picture = np.zeros((30, 20, 3), np.uint8)
    picture[3:9, 2:18, 0] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    Image.fromarray(picture).save(folder / "exif.jpg", exif=exif, quality=95)
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    stored = cv2.imread(str(folder / "exif.jpg"), flags)
    cv2.imwrite(str(folder / "stored.png"), stored)
    cv2.imwrite(str(folder / "turned.png"), cv2.rotate(stored, cv2.ROTATE_90_CLOCKWISE))
    grey = rng.integers(0, 255, (24, 20), dtype=np.uint8)
    cv2.imwrite(str(folder / "grey.png"), grey)
    cv2.imwrite(str(folder / "rgb.png"), np.stack([grey] * 3, axis=2))
    got = answers(trained, "kinds", "ensemble-mean", folder)
    probs = dict(zip(got.column("image"), got.probs, strict=True))
    np.testing.assert_allclose(probs["exif.jpg"], probs["turned.png"], atol=1e-6)
    assert np.abs(probs["stored.png"] - probs["turned.png"]).max() > 1e-3
    np.testing.assert_allclose(probs["grey.png"], probs["rgb.png"], atol=1e-6)


def test_one_picture_alone(trained, answers, new_pictures):
    """Check that a path to a picture is answered as it is in its folder, under its own name."""
    everything = answers(trained, "kinds", "a", new_pictures)
    alone = answers(trained, "kinds", "a", str(new_pictures / "deep" / "er" / "50.png"))
    assert alone.column("image") == ["50.png"] and alone.made.images == 1
    at = everything.column("image").index("deep/er/50.png")
    np.testing.assert_allclose(alone.probs[0], everything.probs[at], atol=1e-5)


def test_names_of_any_script(trained, answers, tmp_path):
    """Check that names keep letters, commas and quotes, and that hidden files do not count."""
    source = next((trained.data("kinds") / "images").glob("45.*"))
    names = ['a, "b".jpg', "grüße/日本 語.jpg", "ไทย.JPG"]
    for name in names:
        path = tmp_path / "new" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, path)
    shutil.copy(source, tmp_path / "new" / ".hidden.jpg")
    got = answers(trained, "kinds", "a", tmp_path / "new")
    assert sorted(got.column("image")) == sorted(names)
    assert set(got.column("note")) == {""} and len(np.unique(got.probs, axis=0)) == 1


@pytest.mark.skipif(sys.platform == "darwin", reason="its file names are UTF-8")
def test_a_name_that_is_not_utf8(trained, answers, tmp_path):
    """Check that a name in another encoding is written with its odd byte spelt out."""
    source = next((trained.data("kinds") / "images").glob("45.*"))
    (tmp_path / "new").mkdir()
    shutil.copy(source, os.fsdecode(os.fsencode(tmp_path / "new") + b"/caf\xe9.jpg"))
    got = answers(trained, "kinds", "a", tmp_path / "new")
    assert got.column("image") == ["caf\\udce9.jpg"] and got.column("note") == [""]


@pytest.mark.parametrize("overrides", ["", "image.size=12 image.cache=jpeg image.short_side=10"])
def test_large_pictures_are_shrunk_as_for_training(project, answers, tmp_path, overrides):
    """Check that a run whose pictures are above `max_megapixels` answers copies of its test
    pictures as it answered them, and that this limit is what makes the difference."""
    path = project.competition("kinds")
    content = yaml.safe_load(path.read_text())
    path.write_text(yaml.safe_dump({**content, "max_megapixels": 0.0002}))  # of 480 pixels and more
    data = load_data(project, "kinds")
    make_shared(data, n_folds=3, fresh=True)
    request = TrainRequest("kinds", ["lenet"], name="small", recipe="tiny", overrides=overrides)
    train(project, request, str)
    assert len(list((project.cache / "shrunk").rglob("*.jpg"))) == 60
    folder = tmp_path / "copies"
    folder.mkdir()
    for picture in data.test.images:
        shutil.copy(picture, folder / picture.name)
    before = sorted((project.cache / "shrunk").rglob("*"))
    got = answers(project, "kinds", "small", folder)
    folds = load_shared(data)
    submitted = open_decided(data, folds, "small").test_probs(data, folds)
    np.testing.assert_allclose(got.probs, submitted, atol=1e-5)
    assert sorted((project.cache / "shrunk").rglob("*")) == before
    view = RunNetworks(data, "small", str).view
    assert view.max_megapixels == 0.0002
    shrunk, whole = (
        views(data.test.images, view.model_copy(update={"max_megapixels": limit}))[0][0]
        for limit in (0.0002, 4.0)
    )
    assert np.abs(shrunk.astype(int) - whole).mean() > 0.5


def test_view_is_the_recipe_s_image_and_the_limit(written_photo):
    """Check that a view decides pixels like the recipe's `image`, and tells two limits apart."""
    section = ImageSection(size=16)
    small, large = (View(**section.model_dump(), max_megapixels=limit) for limit in (0.01, 4.0))
    assert small != large and len({small, large, small.model_copy()}) == 2
    (images,), wrong = views([written_photo], large)
    decoded = cv2.cvtColor(cv2.imread(str(written_photo)), cv2.COLOR_BGR2RGB)
    np.testing.assert_array_equal(
        images[0], Evaluator(section)(cv2.resize(decoded, (28, 19), interpolation=cv2.INTER_AREA))
    )
    assert not wrong and np.any(views([written_photo], small)[0][0] != images)


@pytest.fixture
def written_photo(tmp_path):
    """A picture of 300 x 200 pixels."""
    path = tmp_path / "photo.png"
    rng = np.random.default_rng(2)
    cv2.imwrite(str(path), rng.integers(0, 256, (200, 300, 3), dtype=np.uint8))
    return path
