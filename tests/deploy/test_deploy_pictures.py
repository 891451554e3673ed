"""Pictures of any kind, place and name."""

import os
import shutil
import sys

import cv2
import numpy as np
import pytest
from PIL import Image


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
