"""Looks at pictures: hashes and qualities against peers, and what is kept of them on disk."""

import contextlib
import io
import os
import tracemalloc

import imagehash
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from pipeline.competition.faults import fault, quiet
from pipeline.errors import PodiumError
from pipeline.images import look as look_module
from pipeline.images import looks as looks_module
from pipeline.images.decode import decode
from pipeline.images.look import HASH_SIDE, LOOK, look
from pipeline.images.looks import looks_of
from pipeline.images.shrunk import BUDGET, Budget

FILES = {"suppress_health_check": [HealthCheck.function_scoped_fixture], "deadline": None}


def clouds(seed: int, width: int, height: int, noise: float = 0) -> Image.Image:
    """Return a picture of coloured clouds, with noise like that of a camera."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (9, 12, 3), dtype=np.uint8)
    picture = Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)
    if not noise:
        return picture
    grain = rng.normal(0, noise, (height, width, 1)).astype(np.float32)
    return Image.fromarray(np.clip(np.asarray(picture) + grain, 0, 255).astype(np.uint8))


def encoded(picture: Image.Image, form: str, **options) -> bytes:
    out = io.BytesIO()
    picture.save(out, form, **options)
    return out.getvalue()


def peer_hash(path) -> np.ndarray:
    """Return the dHash of the whole picture by imagehash, 256 bits."""
    with Image.open(path) as picture:
        return imagehash.dhash(picture.convert("RGB"), hash_size=HASH_SIDE).hash.ravel()


@settings(max_examples=40, **FILES)
@given(seed=st.integers(0, 999), width=st.integers(1, 300), height=st.integers(1, 300))
def test_dhash_of_a_png_is_imagehashs(seed, width, height, tmp_path):
    """Check the 256 bits against imagehash on pictures of any size."""
    path = tmp_path / "a.png"
    clouds(seed, width, height, noise=9).save(path)
    np.testing.assert_array_equal(np.unpackbits(look(path)["dhash"]), peer_hash(path))


@pytest.mark.parametrize("options", [{}, {"progressive": True, "subsampling": 0}])
def test_dhash_of_a_large_jpeg_is_that_of_all_its_pixels(options, tmp_path):
    """Check that decoding 12 MP at an eighth changes at most 2 of 256 bits, and not the size."""
    path = tmp_path / "a.jpg"
    clouds(1, 4000, 3000, noise=12).save(path, quality=92, **options)
    told = look(path)
    assert (told["width"], told["height"], told["fault"]) == (4000, 3000, "")
    assert (np.unpackbits(told["dhash"]) != peer_hash(path)).sum() <= 2


@pytest.mark.parametrize("options", [{}, {"optimize": True}, {"progressive": True}])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_quality_is_the_one_that_was_asked_for(mode, options, tmp_path):
    """Check the estimate within 2 of what Pillow was asked for, from 30 to 98."""
    picture, path = clouds(0, 40, 30).convert(mode), tmp_path / "a.jpg"
    for quality in range(30, 99, 4):
        picture.save(path, quality=quality, **options)
        assert abs(int(look(path)["quality"]) - quality) <= 2
    picture.save(tmp_path / "a.png")
    assert look(tmp_path / "a.png")["quality"] == 0


def test_statistics_are_those_of_the_pixels(tmp_path):
    """Check mean, standard deviation and thumbnail of a 64 x 64 picture, which is not scaled."""
    path, picture = tmp_path / "a.png", clouds(3, 64, 64, noise=20)
    picture.save(path)
    told, pixels = look(path), np.asarray(picture).astype(float)
    np.testing.assert_allclose(told["mean"], pixels.mean((0, 1)), atol=1e-3)
    np.testing.assert_allclose(told["std"], pixels.std((0, 1)), atol=1e-3)
    blocks = pixels.reshape(8, 8, 8, 8, 3).mean((1, 3))
    assert np.abs(told["thumb"] - blocks).max() <= 1  # rounded twice, for rows and columns
    assert told["bits"] == 8 and not told["grey"] and not told["constant"]
    assert told["suffix"] == ".png" and told["bytes"] == path.stat().st_size


SOURCES = {
    "a.jpg": encoded(clouds(0, 60, 40), "JPEG"),
    "b.jpg": encoded(clouds(0, 60, 40), "JPEG", progressive=True),
    "a.png": encoded(clouds(0, 60, 40), "PNG"),
    "b.png": encoded(clouds(0, 60, 40).quantize(9), "PNG"),
    "a.gif": encoded(clouds(0, 60, 40), "GIF"),
    "a.webp": encoded(clouds(0, 60, 40), "WEBP"),
    "a.tif": encoded(clouds(0, 60, 40), "TIFF"),
    "a.bmp": encoded(clouds(0, 60, 40), "BMP"),
    "a.ppm": encoded(clouds(0, 60, 40), "PPM"),
}


@settings(max_examples=150, **FILES)
@given(
    name=st.sampled_from(sorted(SOURCES)),
    changes=st.lists(st.tuples(st.floats(0, 0.999), st.integers(0, 255)), max_size=3),
    kept=st.one_of(st.just(1.0), st.floats(0, 1)),
)
def test_damaged_files_are_refused_or_decoded_as_told(name, changes, kept, tmp_path):
    """Check files with changed bytes or cut short: nothing is raised, look and fault agree, and
    what they call usable is what training decodes, of the same size and mean."""
    data = bytearray(SOURCES[name])
    for place, value in changes:
        data[int(place * len(data))] = value
    path = tmp_path / name
    path.write_bytes(data[: round(kept * len(data))])
    with quiet():
        told = look(path)
        assert str(told["fault"]) == fault(path)
        if told["fault"]:
            return
        pixels = decode(path)
    assert pixels.shape == (told["height"], told["width"], 3)
    assert np.abs(told["mean"] - pixels.mean((0, 1))).max() < 6
    assert told["constant"] == (pixels == pixels[0, 0]).all()


@settings(max_examples=60, **FILES)
@given(data=st.binary(max_size=200), start=st.sampled_from([b"", b"\xff\xd8\xff", b"\x89PNG\r\n"]))
def test_any_bytes_are_looked_at(data, start, tmp_path):
    """Check that no bytes raise, and that what is refused is refused by training too."""
    path = tmp_path / "a"
    path.write_bytes(start + data)
    with quiet():
        told = look(path)
        if told["fault"]:
            with pytest.raises(PodiumError):
                decode(path)


@pytest.fixture
def pictures(tmp_path) -> list:
    """Write 60 small pictures, two of them broken, and name one that is not there."""
    paths = [tmp_path / f"{i:02d}.jpg" for i in range(60)]
    for i, path in enumerate(paths):
        clouds(i, 30 + i, 24).save(path, quality=40 + i % 50)
    paths[7].write_bytes(paths[7].read_bytes()[:200])
    paths[8].write_text("no")
    return [*paths, tmp_path / "missing.jpg"]


@pytest.fixture
def counted(monkeypatch) -> list:
    """Return the list of files that are looked at from now on."""
    taken = []

    def counting(path, budget):
        taken.append(path)
        return look(path)

    monkeypatch.setattr(looks_module, "look", counting)
    return taken


def test_looks_are_taken_once(pictures, counted, tmp_path):
    """Check order, one look at a path that comes twice, and that only what is missing is looked for
    again."""
    kept = tmp_path / "kept.npz"
    paths = [pictures[3], *pictures, pictures[3]]
    told = looks_of(paths, kept)
    assert told.dtype == LOOK and len(told) == 63 and len(counted) == 61
    for path, one in zip(paths, told, strict=True):
        assert one == look(path)
    counted.clear()
    assert (looks_of(paths, kept) == told).all()
    assert counted == [pictures[-1]]
    counted.clear()
    assert (looks_of(paths[:5], kept) == told[:5]).all() and not counted


def test_only_what_changed_is_looked_at_again(pictures, counted, tmp_path):
    """Check a change of size, of time alone, a new file, and one that was mended."""
    kept = tmp_path / "kept.npz"
    looks_of(pictures, kept)
    counted.clear()
    clouds(99, 50, 50).save(pictures[1])
    stat = pictures[2].stat()
    os.utime(pictures[2], ns=(stat.st_atime_ns, stat.st_mtime_ns + 1_000_000))
    clouds(98, 50, 50).save(pictures[8])
    clouds(97, 50, 50).save(pictures[-1])
    told = looks_of(pictures, kept)
    assert sorted(counted) == sorted([pictures[i] for i in (1, 2, 8, -1)])
    assert told["width"][[1, 8, -1]].tolist() == [50, 50, 50]
    assert not told["fault"][[1, 2, 8, 60]].any() and told["fault"][7]


def test_a_kill_in_the_middle_costs_only_what_was_not_saved(pictures, monkeypatch, tmp_path):
    """Check that looks saved before an interrupt are not taken again, and change nothing."""
    kept, taken = tmp_path / "kept.npz", []
    monkeypatch.setattr(looks_module, "SAVE_SECONDS", 0.0)
    monkeypatch.setattr(looks_module.os, "cpu_count", lambda: 1)

    def dying(path, budget):
        if len(taken) == 40:
            raise KeyboardInterrupt
        taken.append(path)
        return look(path)

    monkeypatch.setattr(looks_module, "look", dying)
    with pytest.raises(KeyboardInterrupt):
        looks_of(pictures, kept)
    with np.load(kept) as stored:
        saved = len(stored["keys"])
    assert 1 <= saved <= 40
    again = []
    monkeypatch.setattr(looks_module, "look", lambda path, budget: again.append(path) or look(path))
    told = looks_of(pictures, kept)
    assert len(again) == len(pictures) - saved
    assert (told == looks_of(pictures, tmp_path / "other.npz")).all()


def test_threads_change_nothing(pictures, monkeypatch, tmp_path):
    """Check that one thread and four tell the same, byte for byte, in what is kept too."""
    told = {}
    for threads in (1, 4):
        monkeypatch.setattr(looks_module.os, "cpu_count", lambda n=threads: n)
        told[threads] = looks_of(pictures, tmp_path / f"{threads}.npz").tobytes()
    assert told[1] == told[4]
    with np.load(tmp_path / "1.npz") as one, np.load(tmp_path / "4.npz") as four:
        assert all((one[key] == four[key]).all() for key in ("keys", "looks"))


def test_a_broken_file_of_looks_is_made_anew(pictures, counted, tmp_path):
    """Check any kind of damage to what is kept: the looks are those of the pictures."""
    kept = tmp_path / "kept.npz"
    some = pictures[:4]
    told = looks_of(some, kept)
    whole = kept.read_bytes()
    older = np.dtype([field for field in LOOK.descr if field[0] != "bits"])
    out = io.BytesIO()
    np.savez(out, keys=np.arange(4, dtype=np.uint64), looks=np.zeros(4, older))
    for damaged in (b"", b"no", whole[:100], whole[:-30], out.getvalue()):
        kept.write_bytes(damaged)
        counted.clear()
        assert (looks_of(some, kept) == told).all()
        assert sorted(counted) == some and kept.read_bytes() == whole
    rng = np.random.default_rng(0)
    for place in rng.integers(0, len(whole), 150).tolist():
        kept.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        assert (looks_of(some, kept) == told).all(), place


def test_looks_at_other_pictures_are_kept(pictures, counted, tmp_path):
    """Check that a part asked for alone, with one file changed, forgets nothing of the rest, and
    that a path has one look in the file."""
    kept, there = tmp_path / "kept.npz", pictures[:-1]
    told = looks_of(there, kept)
    clouds(99, 50, 50).save(there[1])
    looks_of(there[:20], kept)
    counted.clear()
    again = looks_of(there[20:] + there[:20], kept)
    assert not counted and (again[:40] == told[20:]).all()
    assert again["width"][41] == 50 and (again[42:] == told[2:20]).all()
    with np.load(kept) as stored:
        assert len(stored["keys"]) == len(np.unique(stored["keys"])) == 60


def test_what_was_asked_for_last_is_kept_where_room_ends(pictures, counted, monkeypatch, tmp_path):
    """Check the bound on looks that are not asked for: the ones asked for longest ago go."""
    kept = tmp_path / "kept.npz"
    monkeypatch.setattr(looks_module, "OTHERS", 12)
    for part in (pictures[:10], pictures[10:20], pictures[20:30]):
        looks_of(part, kept)
    with np.load(kept) as stored:
        assert len(stored["keys"]) == 22
    counted.clear()
    looks_of(pictures[10:30], kept)
    assert not counted
    looks_of(pictures[:10], kept)
    assert sorted(counted) == pictures[2:10]


def test_missing_pictures_alone_rewrite_nothing(pictures, tmp_path):
    """Check that the file is left as it is where nothing new was seen."""
    kept = tmp_path / "kept.npz"
    looks_of(pictures, kept)
    before = kept.stat()
    looks_of(pictures, kept)
    assert (kept.stat().st_mtime_ns, kept.stat().st_ino) == (before.st_mtime_ns, before.st_ino)


@pytest.fixture
def traced():
    """Return a function from a call to its result and the most memory that it took, in bytes."""

    def measure(call):
        tracemalloc.start()
        try:
            return call(), tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    return measure


def test_no_second_copy_of_the_looks_is_held(traced, monkeypatch, tmp_path):
    """Check memory while 20,000 looks are taken, and read again: little more than the answer."""
    one = np.zeros((), LOOK)
    one["content"], one["fault"] = "0" * 32, "missing"
    numbers = np.arange(1, 20_001, dtype=np.uint64)
    monkeypatch.setattr(looks_module, "look", lambda path, budget: one)
    monkeypatch.setattr(looks_module, "_identities", lambda files: (numbers[::-1], numbers))
    monkeypatch.setattr(looks_module, "PIECE", 256)
    paths = [tmp_path / f"{i}" for i in range(20_000)]
    for _ in range(2):
        told, most = traced(lambda: looks_of(paths, tmp_path / "kept.npz"))
        assert (told == one).all() and most < 1.7 * told.nbytes
    assert LOOK.itemsize <= 800


def test_reasons_and_cameras_fit(monkeypatch, tmp_path):
    """Check that every reason of the system is told whole, a longer one with an ellipsis, and that
    long names of cameras are shortened to different ones."""
    for number in range(1, 140):
        reason = f"cannot be read ({os.strerror(number)})"
        monkeypatch.setattr(look_module, "read_picture", lambda path, r=reason: (b"", r))
        assert look(tmp_path / "a")["fault"] == reason
    monkeypatch.setattr(look_module, "read_picture", lambda path: (b"", "é" * 90))
    assert str(look(tmp_path / "a")["fault"]) == "é" * 69 + "..."
    monkeypatch.undo()
    names = set()
    for make, model in (("NIKON CORPORATION", "D850"), ("NIKON CORPORATION", "D750"), ("Y", "7")):
        exif = Image.Exif()
        exif[0x010F], exif[0x0110], exif[0x0131] = make, f"NIKON {model}\0", "1.10"
        clouds(0, 20, 20).save(tmp_path / "a.jpg", exif=exif)
        names.add(str(look(tmp_path / "a.jpg")["camera"]))
    assert len(names) == 3 and "Y NIKON 7 1.10" in names
    assert sum(name.startswith("NIKON CORPORATION ~") for name in names) == 2


class Recorded:
    """A budget that remembers what was asked of it, and whether it is held."""

    def __init__(self) -> None:
        self.asked, self.held = [], False

    @contextlib.contextmanager
    def taken(self, wanted: int):
        self.asked.append(wanted)
        self.held = True
        yield
        self.held = False


def test_memory_is_asked_for_before_pixels_are_decoded(monkeypatch, tmp_path):
    """Check what a PNG of one colour, both kinds of JPEG and a file without a header ask for, that
    it is held while they are decoded, and that all looks share one budget."""
    budget, original = Recorded(), look_module.opened
    seen = []
    monkeypatch.setattr(look_module, "opened", lambda *a: seen.append(budget.held) or original(*a))
    Image.new("RGBA", (3000, 1000)).save(tmp_path / "a.png")
    clouds(0, 3000, 1000).save(tmp_path / "b.jpg")
    clouds(0, 3000, 1000).save(tmp_path / "c.jpg", progressive=True)
    (tmp_path / "d.jpg").write_text("no")
    paths = [tmp_path / name for name in ("a.png", "b.jpg", "c.jpg", "d.jpg")]
    with quiet():
        for path in paths:
            look(path, budget)
    assert budget.asked[0] >= 9 * 3e6 and budget.asked[1] <= 3e6 and budget.asked[2] >= 6 * 3e6
    assert budget.asked[3] == BUDGET and seen == [True] * 4 and not budget.held
    budgets = []
    monkeypatch.setattr(looks_module, "look", lambda p, budget: budgets.append(budget) or look(p))
    looks_of(paths, tmp_path / "kept.npz")
    assert len(budgets) == 4 and len(set(map(id, budgets))) == 1
    assert isinstance(budgets[0], Budget)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA", "P", "RGB"])
def test_see_through_pixels_are_counted(mode, monkeypatch, tmp_path):
    """Check the share of every form of transparency against all pixels as RGBA, and that no such
    copy is made of a picture that has the channel."""
    picture = clouds(2, 60, 40).quantize(16) if mode in ("P", "PA") else clouds(2, 60, 40)
    picture = picture.convert(mode) if picture.mode != mode else picture
    if mode in ("RGBA", "LA", "PA"):
        picture.putalpha(clouds(3, 60, 40).convert("L"))
    elif mode == "P":
        picture.info["transparency"] = bytes(range(0, 256, 16))
    else:
        picture.info["transparency"] = picture.getpixel((3, 3))
    opacity = np.asarray(picture.convert("RGBA"))[:, :, 3]
    assert 0 < (opacity < 128).mean() < 1
    if mode in ("RGBA", "LA", "PA"):
        monkeypatch.setattr(Image.Image, "convert", None)
    assert look_module._clear(picture) == (opacity < 128).mean()


def test_a_disk_that_cannot_be_written_costs_no_look(tmp_path, monkeypatch):
    """Check that looks which cannot be kept, or locked, are taken and returned all the same."""
    path = tmp_path / "a.png"
    Image.new("RGB", (9, 9), (1, 2, 3)).save(path)

    def full(*arguments, **options):
        raise OSError(28, "No space left on device")

    for name in ("write_with", "lock"):
        with monkeypatch.context() as patch:
            patch.setattr(f"pipeline.images.looks.{name}", full)
            assert looks_of([path], tmp_path / f"{name}.npz")["width"].tolist() == [9]
