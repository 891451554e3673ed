"""Pictures of a table: where they lie, which are broken, and what becomes of their rows."""

import cv2
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from pipeline.competition import require_pictures
from pipeline.competition.absent import COLUMNS, list_path
from pipeline.competition.faults import fault, faults
from pipeline.competition.pictures import SUFFIXES, Shelf, walk
from pipeline.errors import PodiumError

NOISE = np.random.default_rng(0).integers(0, 255, (40, 30, 3), dtype=np.uint8)


def write(path, pixels=NOISE, **options) -> bytes:
    """Write a picture in the format of its name; return its bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)
    return path.read_bytes()


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_whole_picture_has_no_fault_and_a_cut_one_has(tmp_path, suffix):
    """Check every format: whole it passes and OpenCV decodes it; with half its bytes it does not
    pass."""
    path = tmp_path / f"a{suffix}"
    pixels = NOISE[..., 0] if suffix == ".pgm" else NOISE
    data = write(path, pixels)
    assert fault(path) == ""
    assert cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR).shape == NOISE.shape
    path.write_bytes(data[: len(data) // 2])
    assert fault(path)


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9, 0.995])
@pytest.mark.parametrize("progressive", [False, True])
def test_a_truncated_jpeg_is_found_wherever_it_ends(tmp_path, share, progressive):
    """Check that a JPEG that ends early is called truncated, which OpenCV would fill with grey."""
    path = tmp_path / "a.jpg"
    data = write(path, np.tile(NOISE, (10, 10, 1)), progressive=progressive)
    path.write_bytes(data[: int(share * len(data))])
    assert fault(path) == "truncated"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "missing"),
        (b"", "an empty file"),
        (b"<html>404</html>", "not an image (an HTML page)"),
    ],
)
def test_other_faults(tmp_path, content, reason):
    """Check missing and empty files, and those that are no pictures."""
    path = tmp_path / "a.jpg"
    if content is not None:
        path.write_bytes(content)
    assert fault(path) == reason


def test_modes_that_networks_do_not_take_are_no_faults(tmp_path):
    """Check that greyscale, transparent, palette, CMYK and 16 bit pictures are let through."""
    rgb = Image.fromarray(NOISE)
    for mode, name in [("L", "l.png"), ("RGBA", "a.png"), ("P", "p.png"), ("CMYK", "c.jpg")]:
        rgb.convert(mode).save(tmp_path / name)
        assert fault(tmp_path / name) == "", mode
    cv2.imwrite(str(tmp_path / "d.png"), NOISE.astype(np.uint16) * 200)
    assert fault(tmp_path / "d.png") == ""


def test_faults_are_looked_for_once_until_a_file_changes(tmp_path):
    """Check that the second look reads what was kept, and that a mended file is looked at anew."""
    paths = [tmp_path / f"{i}.png" for i in range(3)]
    for path in paths:
        write(path)
    paths[1].write_bytes(b"no")
    cache = tmp_path / "cache"
    assert faults(paths, cache) == {1: "not an image"}
    (kept,) = cache.glob("pictures-*.json")
    kept.write_text(kept.read_text().replace("not an image", "kept"))
    assert faults(paths, cache) == {1: "kept"}
    write(paths[1])
    assert faults(paths, cache) == {}


def test_walk_finds_pictures_at_any_depth(tmp_path):
    """Check the order, and that hidden files and other files are passed over."""
    for name in ("b.JPG", "a/c/d.png", "a/e.jpeg", ".hidden.png", ".git/x.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "notes.txt").write_text("x")
    assert sorted(walk(tmp_path)) == ["a/c/d.png", "a/e.jpeg", "b.JPG"]


@pytest.mark.parametrize(
    ("shelf", "name", "found"),
    [
        ({}, "a/one.jpg", "a/one.jpg"),
        ({"extension": ".jpg"}, "a/one", "a/one.jpg"),
        ({"extension": "*"}, "a/one", "a/one.jpg"),
        ({"extension": "*"}, "two", "two.png"),
        ({"extension": "*"}, "two.png", "two.png"),
        ({"extension": "*"}, "v1.2", "v1.2.png"),
        ({"nested": True}, "one.jpg", "a/one.jpg"),
        ({"nested": True, "extension": ".jpg"}, "one", "a/one.jpg"),
        ({"nested": True, "extension": "*"}, "one", "a/one.jpg"),
        ({"nested": True}, "none.jpg", "none.jpg"),
    ],
)
def test_names_lead_to_pictures(tmp_path, shelf, name, found):
    """Check names with and without extension, in the folder or at any depth below it."""
    for path in ("a/one.jpg", "two.png", "v1.2.png"):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_bytes(b"x")
    assert Shelf(tmp_path, **shelf).find(name, tmp_path / "train.csv", 0) == tmp_path / found


def test_a_name_that_fits_two_pictures_is_refused(tmp_path):
    """Check that neither is guessed: the row and both are named."""
    for path in ("a/one.jpg", "b/one.jpg"):
        (tmp_path / path).parent.mkdir()
        (tmp_path / path).write_bytes(b"x")
    with pytest.raises(PodiumError, match=r"row 5: image 'one.jpg' could be a/one.jpg or b/one"):
        Shelf(tmp_path, nested=True).find("one.jpg", tmp_path / "train.csv", 3)


def spoil(tiny) -> None:
    """Break the picture of one training row, take away that of another and of a test row."""
    folder = tiny.root / "data" / "tiny" / "images"
    (folder / "003.png").write_bytes(b"not a picture")
    (folder / "010.png").unlink()
    (folder / "050.png").unlink()


def test_error_names_the_first_and_counts_the_others(tiny):
    """Check the default policy: table, row, picture, reason, how many, and the key."""
    spoil(tiny)
    data = tiny.data
    rows = np.arange(len(data.train) + len(data.test))
    with pytest.raises(PodiumError) as refused:
        require_pictures(tiny.project, data.competition, data.train, data.test, rows)
    said = str(refused.value)
    for word in ("train.csv: row 5", "003.png: not an image", "3 of 60", "missing_images"):
        assert word in said
    require_pictures(tiny.project, data.competition, data.train, data.test, np.arange(3))


def test_drop_leaves_the_rows_out_of_everything(tiny):
    """Check that training rows go, test rows stay unpictured, and all are listed in a file."""
    spoil(tiny)
    before = tiny.data.hash
    tiny.configure(missing_images="drop")
    data = tiny.data
    assert len(data.train) == 40 and not {"003", "010"} & set(data.train.ids.tolist())
    assert data.train.pictured.all() and len(data.train.images) == len(data.labels) == 40
    assert data.test.ids[~data.test.pictured].tolist() == ["050"]
    listed = pd.read_csv(list_path(tiny.project, "tiny"), dtype=str)
    assert listed.columns.tolist() == COLUMNS
    assert listed[["table", "id", "reason"]].to_numpy().tolist() == [
        ["train", "003", "not an image"],
        ["train", "010", "missing"],
        ["test", "050", "missing"],
    ]
    assert data.hash != before


def test_predict_prior_keeps_the_rows(tiny):
    """Check that training rows stay, marked, except those that are only trained on."""
    spoil(tiny)
    tiny.edit("train", lambda f: f.assign(extra=(f["id"] == "010").astype(int)))
    tiny.configure(
        missing_images="predict-prior",
        columns={"id": "id", "label": "label", "train_only": "extra"},
    )
    data = tiny.data
    assert len(data.train) == 41
    assert data.train.ids[~data.train.pictured].tolist() == ["003"]
    assert not data.train.train_only.any()


def test_a_folder_without_any_of_the_pictures_is_an_error_under_every_policy(tiny):
    """Check that a wrong folder is not taken for a competition whose pictures are all missing."""
    tiny.configure(missing_images="predict-prior", images="pictures")
    with pytest.raises(PodiumError, match="none of the 42 training pictures can be used"):
        _ = tiny.data


def test_the_list_goes_when_nothing_is_missing_any_more(tiny):
    """Check that a picture which was put back leaves no list behind."""
    path = tiny.root / "data/tiny/images/003.png"
    content = path.read_bytes()
    path.unlink()
    tiny.configure(missing_images="predict-prior")
    assert len(tiny.data.absent) == 1 and list_path(tiny.project, "tiny").exists()
    path.write_bytes(content)
    assert not tiny.data.absent and not list_path(tiny.project, "tiny").exists()
