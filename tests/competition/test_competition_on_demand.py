"""fashion-mnist and solar-cells, from miniature sources laid out like the real ones."""

import functools
import gzip
import hashlib
import http.server
import os
import shutil
import signal
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from pipeline.competition import CompetitionData, load_data
from pipeline.competition.built_in import ensure_made, fashion_mnist, solar_cells
from pipeline.competition.built_in.idx import read_idx
from pipeline.config.project import Project
from pipeline.errors import PodiumError

CHECKOUT = Path(fashion_mnist.__file__).parents[3]
VERBS = ("setup", "demo", "folds", "train", "ensemble", "submit", "score", "leaderboard")
ROWS = {"train": 60, "t10k": 20}


def idx(array: np.ndarray) -> bytes:
    """Return an array as the bytes of an IDX file, written down independently of the reader."""
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


def arrays(seed: int = 0) -> dict[str, np.ndarray]:
    """Return the four arrays of a miniature: every class as often, pictures of 7 x 6 pixels."""
    rng = np.random.default_rng(seed)
    made = {}
    for part, rows in ROWS.items():
        made[f"{part}-images-idx3-ubyte"] = rng.integers(0, 256, (rows, 7, 6)).astype(np.uint8)
        made[f"{part}-labels-idx1-ubyte"] = rng.permutation(np.arange(rows) % 10).astype(np.uint8)
    return made


def write_source(folder: Path, *, packed: bool = True, seed: int = 0, **changed) -> Path:
    """Write the miniature's four files; `changed` replaces one array by the file's first word."""
    folder.mkdir(parents=True)
    for name, array in arrays(seed).items():
        content = idx(changed.get(name.replace("-", "_").removesuffix("_ubyte"), array))
        path = folder / (f"{name}.gz" if packed else name)
        path.write_bytes(gzip.compress(content, mtime=0) if packed else content)
    return folder


def project_with(root: Path, name: str) -> Project:
    project = Project(root)
    project.competitions.mkdir(parents=True)
    shutil.copy(Project(CHECKOUT).competition(name), project.competitions)
    return project


@pytest.fixture(autouse=True)
def nowhere(tmp_path, monkeypatch):
    """Hide what this machine has: no variable, no Debian package, no proxy before the server."""
    monkeypatch.delenv("FASHION_MNIST", raising=False)
    monkeypatch.setattr(fashion_mnist, "DEBIAN", tmp_path / "debian")
    monkeypatch.setenv("no_proxy", "*")


@pytest.fixture
def fashion(tmp_path, monkeypatch) -> CompetitionData:
    """Load the miniature fashion-mnist, made from gzipped files."""
    monkeypatch.setenv("FASHION_MNIST", str(write_source(tmp_path / "source")))
    return load_data(project_with(tmp_path / "project", "fashion-mnist"), "fashion-mnist")


# IDX


@pytest.mark.parametrize("packed", [True, False])
def test_idx_is_read_as_torchvision_reads_it(tmp_path, packed):
    """Check pictures and labels against torchvision's reader of the same format."""
    from torchvision.datasets.mnist import read_sn3_pascalvincent_tensor

    plain = write_source(tmp_path / "plain", packed=False)
    read = write_source(tmp_path / "read", packed=packed)
    for name in arrays():
        ours = read_idx(read / (f"{name}.gz" if packed else name), 3 if "images" in name else 1)
        theirs = read_sn3_pascalvincent_tensor(str(plain / name)).numpy()
        assert ours.dtype == np.uint8
        np.testing.assert_array_equal(ours, theirs)


GOOD = idx(np.arange(24, dtype=np.uint8).reshape(2, 3, 4))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "0 bytes are too few"),
        (GOOD[:15], "15 bytes are too few"),
        (GOOD[:-1], "2 x 3 x 4 = 24 bytes, but 23 follow"),
        (GOOD + b"x", "24 bytes, but 25 follow"),
        (b"\0\0\x08\x01" + GOOD[4:], "0x00000801, not with 0x00000803"),
        (b"\0\0\x0d\x03" + GOOD[4:], "0x00000d03"),
        (b"\x08\x03\0\0" + GOOD[4:], "0x08030000"),
        (GOOD[:4] + struct.pack(">I", 3) + GOOD[8:], "3 x 3 x 4 = 36 bytes, but 24 follow"),
        (GOOD[:4] + struct.pack(">I", 2**32 - 1) + GOOD[8:], "but 24 follow"),
    ],
)
@pytest.mark.parametrize("packed", [True, False])
def test_a_wrong_idx_file_is_refused(tmp_path, content, words, packed):
    """Check that each fault of header and length is named with the file."""
    path = tmp_path / ("odd.gz" if packed else "odd")
    path.write_bytes(gzip.compress(content) if packed else content)
    with pytest.raises(PodiumError) as refused:
        read_idx(path, 3)
    assert str(refused.value).startswith(f"{path}: ") and words in str(refused.value)


@pytest.mark.parametrize("damage", ["cut", "plain", "flipped", "missing"])
def test_a_broken_gzip_file_is_refused(tmp_path, damage):
    """Check that what gzip cannot unpack is one line with the file, not a traceback."""
    packed = gzip.compress(GOOD)
    middle = len(packed) // 2
    flipped = packed[:middle] + bytes([packed[middle] ^ 255]) + packed[middle + 1 :]
    path = tmp_path / "odd.gz"
    if damage != "missing":
        path.write_bytes({"cut": packed[:-9], "plain": GOOD, "flipped": flipped}[damage])
    with pytest.raises(PodiumError, match=r"odd\.gz: cannot be read"):
        read_idx(path, 3)


# fashion-mnist


def test_fashion_mnist_keeps_the_official_split(fashion):
    """Check classes, labels, ids and every pixel against the source; the test has no labels."""
    source, folder = arrays(), fashion.competition.folder(fashion.project)
    assert fashion.classes == fashion_mnist.CLASSES
    assert fashion.classes[0] == "T-shirt/top" and fashion.classes[9] == "Ankle boot"
    np.testing.assert_array_equal(fashion.labels, source["train-labels-idx1-ubyte"])
    answers = pd.read_csv(folder / "answers.csv")
    named = [fashion.classes[i] for i in source["t10k-labels-idx1-ubyte"]]
    assert answers["label"].tolist() == named
    assert answers["id"].tolist() == fashion.test.ids.tolist()
    assert (answers["Usage"] == "Public").sum() == 0.3 * ROWS["t10k"]
    assert list(pd.read_csv(folder / "test.csv").columns) == ["id"]
    assert fashion.train.ids[[0, -1]].tolist() == ["train-00001", "train-00060"]
    assert fashion.test.ids[[0, -1]].tolist() == ["test-00001", "test-00020"]
    for rows, part in ((fashion.train, "train"), (fashion.test, "t10k")):
        read = np.stack([cv2.imread(str(path), cv2.IMREAD_UNCHANGED) for path in rows.images])
        np.testing.assert_array_equal(read, source[f"{part}-images-idx3-ubyte"])


def test_fashion_mnists_leaderboard_is_fitted(fashion):
    """Check a figure of the leaderboard against the same model fitted here, by hand."""
    source, folder = arrays(), fashion.competition.folder(fashion.project)
    board = pd.read_csv(folder / "leaderboard.csv").set_index("team")
    assert len(board) >= 5 and board.to_numpy().min() >= 0 and board.to_numpy().max() <= 1
    public = (pd.read_csv(folder / "answers.csv")["Usage"] == "Public").to_numpy()
    known, asked = (
        source[f"{part}-images-idx3-ubyte"].reshape(rows, -1) / 255.0 for part, rows in ROWS.items()
    )
    assert known.shape[1] <= fashion_mnist.COMPONENTS  # so that all are kept, and distances too
    distance = ((asked[:, None] - known[None]) ** 2).sum(axis=2)
    answer = source["train-labels-idx1-ubyte"][distance.argmin(axis=1)]
    right = answer == source["t10k-labels-idx1-ubyte"]
    scores = board.loc["nearest neighbour"]
    assert scores["public"] == pytest.approx(right[public].mean(), abs=1e-6)
    assert scores["private"] == pytest.approx(right[~public].mean(), abs=1e-6)


def test_fashion_mnist_is_the_same_bytes_packed_or_not(tmp_path, monkeypatch, snapshot):
    """Check that two makings agree in every file, whatever the source's form."""
    for form, packed in (("packed", True), ("plain", False)):
        source = write_source(tmp_path / form, packed=packed)
        monkeypatch.setenv("FASHION_MNIST", str(source))
        ensure_made("fashion-mnist", tmp_path / f"data-{form}" / "fashion-mnist")
    made = [snapshot(tmp_path / f"data-{form}") for form in ("packed", "plain")]
    assert made[0] == made[1] and len(made[0]) == sum(ROWS.values()) + 5


def test_sources_are_tried_in_their_order(tmp_path, monkeypatch):
    """Check that the variable comes before Debian's package, that before the folder beside."""
    beside = write_source(tmp_path / "beside")
    folders = {path.parent for path in fashion_mnist.source_files(beside).values()}
    assert folders == {beside}
    debian = write_source(tmp_path / "debian")
    folders = {path.parent for path in fashion_mnist.source_files(beside).values()}
    assert folders == {debian}
    asked = write_source(tmp_path / "asked", packed=False)
    monkeypatch.setenv("FASHION_MNIST", str(asked))
    assert fashion_mnist.source_files(beside) == {name: asked / name for name in arrays()}


def test_an_incomplete_debian_folder_is_passed_over(tmp_path):
    """Check that three files of Debian's are not mixed with one of another place."""
    beside, debian = write_source(tmp_path / "beside"), write_source(tmp_path / "debian")
    (debian / "t10k-labels-idx1-ubyte.gz").unlink()
    assert {path.parent for path in fashion_mnist.source_files(beside).values()} == {beside}


def test_a_folder_asked_for_must_have_the_files(tmp_path, monkeypatch):
    """Check that FASHION_MNIST is not passed over in silence for another source."""
    beside = write_source(tmp_path / "beside")
    monkeypatch.setenv("FASHION_MNIST", str(tmp_path / "typo"))
    with pytest.raises(PodiumError, match=r"^FASHION_MNIST: .*typo has no train-images-idx3-ubyte"):
        fashion_mnist.source_files(beside)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        (
            {"train_labels_idx1": np.zeros(59, np.uint8)},
            "train-labels-idx1-ubyte.gz: 59 labels",
        ),
        (
            {"t10k_labels_idx1": np.full(20, 10, np.uint8)},
            "t10k-labels-idx1-ubyte.gz: label 1 ",
        ),
        (
            {"t10k_images_idx3": np.zeros((20, 7, 7), np.uint8)},
            "t10k-images-idx3-ubyte.gz: pict",
        ),
        ({"train_images_idx3": np.zeros((0, 7, 6), np.uint8)}, "60 labels for the 0 pictures"),
    ],
)
def test_files_that_do_not_fit_each_other_are_refused(
    tmp_path, monkeypatch, changed, words, snapshot
):
    """Check that parts of two data sets are not joined, and nothing is left of the attempt."""
    monkeypatch.setenv("FASHION_MNIST", str(write_source(tmp_path / "source", **changed)))
    with pytest.raises(PodiumError, match=words):
        ensure_made("fashion-mnist", tmp_path / "data" / "fashion-mnist")
    assert not snapshot(tmp_path / "data") and len(list((tmp_path / "data").iterdir())) == 1


# The download


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serve a folder; where the server is `short`, files are announced whole and sent by half."""

    def log_message(self, *_):
        pass

    def copyfile(self, source, outputfile):
        content = source.read()
        outputfile.write(content[: len(content) // 2] if self.server.short else content)


@pytest.fixture
def server(tmp_path):
    """Serve the miniature's four packed files on a free port of this machine."""
    folder = write_source(tmp_path / "served")
    handler = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as serving:
        serving.folder, serving.short = folder, False
        serving.address = f"http://127.0.0.1:{serving.server_port}"
        threading.Thread(target=serving.serve_forever, args=(0.05,), daemon=True).start()
        yield serving
        serving.shutdown()


@pytest.fixture
def sums(server, monkeypatch) -> dict[str, str]:
    """Let the published MD5 sums be those of the served files."""
    files = {name: (server.folder / f"{name}.gz").read_bytes() for name in arrays()}
    published = {name: hashlib.md5(content).hexdigest() for name, content in files.items()}
    monkeypatch.setattr(fashion_mnist, "MD5", published)
    return published


def test_the_download_keeps_the_files(tmp_path, server, sums):
    """Check that four files arrive as served, and are found again without the server."""
    beside = tmp_path / "data" / "fashion-mnist-source"
    files = fashion_mnist.source_files(beside, server.address)
    for name, path in files.items():
        assert path == beside / f"{name}.gz"
        assert path.read_bytes() == (server.folder / f"{name}.gz").read_bytes()
    assert len(list(beside.iterdir())) == 4
    assert fashion_mnist.source_files(beside, "http://127.0.0.1:9") == files


def test_only_what_is_missing_is_downloaded(tmp_path, server, sums):
    """Check that a download that was broken off goes on with the next file."""
    beside = write_source(tmp_path / "beside", packed=False)
    (beside / "t10k-labels-idx1-ubyte").unlink()
    files = fashion_mnist.source_files(beside, server.address)
    packed = [name for name, path in files.items() if path.suffix == ".gz"]
    assert packed == ["t10k-labels-idx1-ubyte"]


def test_fashion_mnist_is_made_from_the_download(tmp_path, server, sums, monkeypatch, snapshot):
    """Check the whole way, and that it is the same bytes as from a folder."""
    download = functools.partial(fashion_mnist.source_files, address=server.address)
    with monkeypatch.context() as patched:
        patched.setattr(fashion_mnist, "source_files", download)
        ensure_made("fashion-mnist", tmp_path / "one" / "fashion-mnist")
    monkeypatch.setenv("FASHION_MNIST", str(server.folder))
    ensure_made("fashion-mnist", tmp_path / "two" / "fashion-mnist")
    made = snapshot(tmp_path / "one" / "fashion-mnist")
    assert made == snapshot(tmp_path / "two" / "fashion-mnist") and "train.csv" in made
    assert len(list((tmp_path / "one" / "fashion-mnist-source").iterdir())) == 4


@pytest.mark.parametrize("fault", ["other bytes", "short", "not found", "no server", "no host"])
def test_a_download_that_fails_leaves_nothing(tmp_path, server, sums, fault):
    """Check that a wrong sum, half a file and no network are one line with the other ways."""
    address = server.address
    if fault == "other bytes":
        (server.folder / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(b"other"))
    elif fault == "not found":
        (server.folder / "train-images-idx3-ubyte.gz").unlink()
    elif fault == "no server":
        server.shutdown()
        server.server_close()
    elif fault == "no host":
        address = "http://fashion-mnist.invalid"
    server.short = fault == "short"
    beside = tmp_path / "data" / "fashion-mnist-source"
    with pytest.raises(PodiumError) as refused:
        fashion_mnist.source_files(beside, address)
    text = str(refused.value)
    assert text.startswith(f"{address}/train-images-idx3-ubyte.gz: ")
    assert ("MD5 sum" in text) == (fault in ("other bytes", "short"))
    for way in ("dataset-fashion-mnist", str(beside), "FASHION_MNIST=folder"):
        assert way in text
    assert not beside.exists() and not list((tmp_path / "data").iterdir())


def test_a_late_fault_keeps_the_files_before_it(tmp_path, server, sums):
    """Check that a wrong fourth file is not kept, while three right ones need not come again."""
    (server.folder / "t10k-labels-idx1-ubyte.gz").write_bytes(gzip.compress(b"other"))
    with pytest.raises(PodiumError, match=r"t10k-labels-idx1-ubyte.gz: its MD5 sum is"):
        fashion_mnist.source_files(tmp_path / "beside", server.address)
    kept = sorted(path.name for path in (tmp_path / "beside").iterdir())
    assert kept == sorted(f"{name}.gz" for name in arrays() if name != "t10k-labels-idx1-ubyte")


# solar-cells


def write_package(root: Path, per_stratum: int = 8) -> pd.DataFrame:
    """Write a package like elpv-dataset, whose code must not run; return its cells."""
    rng = np.random.default_rng(3)
    data = root / "elpv_dataset" / "data"
    (data / "images").mkdir(parents=True)
    (data.parent / "__init__.py").write_text("raise RuntimeError('code of the package was run')")
    strata = [(p, kind) for p in (0, 1 / 3, 2 / 3, 1) for kind in ("mono", "poly")]
    cells = pd.DataFrame(strata * per_stratum, columns=["probability", "type"])
    cells.insert(0, "id", [f"cell{i:04d}" for i in range(1, len(cells) + 1)])
    lines = []
    for name, probability, kind in cells.itertuples(index=False):
        shown = f"{probability:.16f}".rstrip("0") if probability % 1 else f"{probability:.1f}"
        lines.append(f"images/{name}.png  {shown:<19} {kind}\n")
        photo = rng.integers(0, 256, (9, 9)).astype(np.uint8)
        cv2.imwrite(str(data / "images" / f"{name}.png"), photo)
    (data / "labels.csv").write_text("".join(lines))
    return cells


@pytest.fixture
def cells(tmp_path, monkeypatch) -> pd.DataFrame:
    """Put a fake package where Python finds it first; return its cells."""
    made = write_package(tmp_path / "packages")
    monkeypatch.syspath_prepend(tmp_path / "packages")
    return made


def test_solar_cells_have_their_levels_and_types(tmp_path, cells, capsys):
    """Check labels, the column type, and that the photos are the package's own bytes."""
    data = load_data(project_with(tmp_path / "project", "solar-cells"), "solar-cells")
    folder = data.competition.folder(data.project)
    tables = {name: pd.read_csv(folder / f"{name}.csv") for name in ("train", "test", "answers")}
    assert data.classes == solar_cells.LEVELS == tuple(sorted(solar_cells.LEVELS))
    assert list(tables["train"]) == ["id", "type", "label"]
    assert list(tables["test"]) == ["id", "type"]
    assert not set(data.train.ids) & set(data.test.ids)
    labelled = pd.concat([tables["train"], tables["test"].merge(tables["answers"], on="id")])
    found = cells.merge(labelled, on="id", validate="1:1", suffixes=("", "_table"))
    assert len(found) == len(cells) and (found["type"] == found["type_table"]).all()
    level = np.array([data.classes.index(label) for label in found["label"]])
    np.testing.assert_allclose(level / 3, found["probability"])
    source = tmp_path / "packages" / "elpv_dataset" / "data" / "images"
    for path in [*data.train.images, *data.test.images]:
        assert path.read_bytes() == (source / path.name).read_bytes()
    assert capsys.readouterr().out.count("not for commercial use") == 1


def test_solar_cells_are_split_by_level_and_type(tmp_path, cells):
    """Check that a quarter of each level of each type is test, and 30 % of it public."""
    ensure_made("solar-cells", tmp_path / "solar-cells")
    test = pd.read_csv(tmp_path / "solar-cells" / "test.csv")
    answers = pd.read_csv(tmp_path / "solar-cells" / "answers.csv")
    strata = test.merge(answers, on="id").groupby(["type", "label"]).size()
    assert len(strata) == 8 and set(strata) == {2}
    assert (answers["Usage"] == "Public").sum() == round(0.3 * len(test))


def test_solar_cells_are_made_the_same_twice(tmp_path, cells, snapshot):
    """Check that two makings agree in every byte."""
    for place in ("one", "two"):
        ensure_made("solar-cells", tmp_path / place / "solar-cells")
    assert snapshot(tmp_path / "one") == snapshot(tmp_path / "two")


def test_a_missing_package_is_named_with_the_command(tmp_path, monkeypatch, podium):
    """Check that the command line says in one line how to install the package."""
    monkeypatch.setitem(sys.modules, "elpv_dataset", None)  # Python's way to say: not there
    project_with(tmp_path, "solar-cells")
    result = podium(tmp_path, "folds", "--comp", "solar-cells")
    assert result.status == 2 and len(result.err.splitlines()) == 1
    requirements = "experiments/competitions/solar-cells.requirements.txt"
    assert f"pip install -r {requirements}" in result.err and (CHECKOUT / requirements).exists()
    assert not (tmp_path / "data" / "solar-cells").exists()


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("images/cell0001.png  0.5  mono", "not 0, 1/3, 2/3 or 1"),
        ("images/cell0001.png  2.0  mono", "not 0, 1/3, 2/3 or 1"),
        ("images/cell0001.png  1.0  thin", "not 'images/CELL.png PROBABILITY TYPE'"),
        ("images/cell0001.png  1.0.0  mono", "not 'images/CELL.png PROBABILITY TYPE'"),
        ("../cell0001.png  1.0  mono", "not 'images/CELL.png PROBABILITY TYPE'"),
        ("images/cell0002.png  1.0  mono", "the same cell twice"),
        ("", "not 'images/CELL.png PROBABILITY TYPE'"),
    ],
)
def test_a_line_that_is_not_as_published_is_refused(tmp_path, cells, line, words, snapshot):
    """Check that an altered table of labels is named by file and line, and nothing is made."""
    path = tmp_path / "packages" / "elpv_dataset" / "data" / "labels.csv"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[1], line, *lines[2:]]) + "\n")
    with pytest.raises(PodiumError) as refused:
        ensure_made("solar-cells", tmp_path / "data" / "solar-cells")
    assert words in str(refused.value) and f"{path}: line 2 is " in str(refused.value)
    assert not snapshot(tmp_path / "data")


@pytest.mark.parametrize("lost", ["images/cell0009.png", "labels.csv"])
def test_a_package_without_a_file_is_refused(tmp_path, cells, lost, snapshot):
    """Check that a broken installation is named by its file, and nothing is made."""
    (tmp_path / "packages" / "elpv_dataset" / "data" / lost).unlink()
    with pytest.raises(PodiumError, match=f"{lost}: .*--force-reinstall"):
        ensure_made("solar-cells", tmp_path / "data" / "solar-cells")
    assert not snapshot(tmp_path / "data")


def test_a_package_with_too_few_cells_is_refused(tmp_path, monkeypatch):
    """Check that a level that cannot be split is one line, not scikit-learn's traceback."""
    write_package(tmp_path / "packages", per_stratum=1)
    monkeypatch.syspath_prepend(tmp_path / "packages")
    with pytest.raises(PodiumError, match=r"labels\.csv: cannot be split"):
        ensure_made("solar-cells", tmp_path / "data" / "solar-cells")


# Whole or not at all

SLOW = """
import signal, sys, time
from pathlib import Path
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job ignores it
import pipeline.competition.built_in as built_in
def make(folder):
    (folder / "train.csv").write_text("half")
    print("begun", flush=True)
    time.sleep(60)
built_in._MAKERS["digits"] = make
built_in.ensure_made("digits", Path(sys.argv[1]))
"""


@pytest.mark.parametrize("blow", [signal.SIGKILL, signal.SIGINT])
def test_a_making_that_is_stopped_is_no_competition(tmp_path, monkeypatch, blow):
    """Check that half a folder never has the competition's name, and the next making clears it."""
    folder = tmp_path / "digits"
    command = [sys.executable, "-c", SLOW, str(folder)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True}
    process = subprocess.Popen(command, cwd=CHECKOUT, **pipes)
    assert process.stdout.readline() == "begun\n"
    process.send_signal(blow)
    process.wait(timeout=20)
    process.stdout.close()
    assert not folder.exists()
    left = {path.name for path in tmp_path.iterdir()} - {"digits.lock"}
    if blow == signal.SIGINT:
        assert not left
    made = sys.modules["pipeline.competition.built_in"]._MAKERS
    monkeypatch.setitem(made, "digits", lambda place: (place / "train.csv").write_text("whole"))
    started = time.monotonic()
    ensure_made("digits", folder)
    assert time.monotonic() - started < 5, "the lock of a dead process was waited for"
    assert (folder / "train.csv").read_text() == "whole"
    assert {path.name for path in tmp_path.iterdir()} == {"digits", "digits.lock"}


def test_the_folder_can_be_read_by_others(tmp_path, monkeypatch):
    """Check that the made folder has the usual permissions, not those of a temporary one."""
    (tmp_path / "usual").mkdir()
    made = sys.modules["pipeline.competition.built_in"]._MAKERS
    monkeypatch.setitem(made, "digits", lambda place: (place / "train.csv").write_text("whole"))
    ensure_made("digits", tmp_path / "digits")
    assert (tmp_path / "digits").stat().st_mode == (tmp_path / "usual").stat().st_mode


# The Makefile

needs_make = pytest.mark.skipif(shutil.which("make") is None, reason="there is no make here")
EXTRA = "experiments/competitions/solar-cells.requirements.txt"


def make(root: Path, *arguments: str) -> str:
    """Return what make prints, untouched by the variables of a make that runs these tests."""
    own = ("MAKE", "MFLAGS", "GNUMAKEFLAGS", "COMP", "FASHION_MNIST")
    environment = {key: value for key, value in os.environ.items() if not key.startswith(own)}
    command = ["make", "--no-print-directory", *arguments]
    options = {"cwd": root, "env": environment, "capture_output": True, "text": True}
    done = subprocess.run(command, timeout=30, **options)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def toy(tmp_path) -> Path:
    """Make a project of the Makefile and its files whose Python only says how it was called."""
    root = tmp_path / "toy"
    (root / ".venv" / "bin").mkdir(parents=True)
    (root / EXTRA).parent.mkdir(parents=True)
    for name in ("Makefile", "requirements.txt", EXTRA):
        shutil.copy(CHECKOUT / name, root / name)
    shutil.copy(CHECKOUT / "requirements.txt", root / ".venv" / "done")
    python = root / ".venv" / "bin" / "python"
    python.write_text('#!/bin/sh\necho "FASHION_MNIST=$FASHION_MNIST python $*"\n')
    python.chmod(0o755)
    return root


@needs_make
@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_installs_what_its_competition_needs(toy, verb):
    """Check that pip runs before the verb for solar-cells, and not for the others."""
    lines = make(toy, "-n", verb, "COMP=solar-cells")
    assert (
        f"pip install --quiet --disable-pip-version-check -c requirements.txt -r {EXTRA}" in lines
    )
    if verb != "setup":
        assert lines.index("pip install") < lines.index(f"-m pipeline {verb}")
    for other in ("digits", "fashion-mnist", "%", "*", "solar"):
        assert "pip install" not in make(toy, "-n", verb, f"COMP={other}")
    assert "pip install" not in make(toy, "-n", verb)


@needs_make
def test_an_extra_is_installed_once(toy):
    """Check that the stamp holds the text it was installed from, and only a change installs."""
    stamp = toy / ".venv" / "extra-solar-cells"
    assert make(toy, "folds", "COMP=solar-cells").count("pip install") == 1
    assert stamp.read_text() == (toy / EXTRA).read_text()
    assert "pip install" not in make(toy, "folds", "COMP=solar-cells")
    os.utime(toy / EXTRA, (time.time() + 9, time.time() + 9))
    os.utime(toy / "requirements.txt", (time.time() + 9, time.time() + 9))
    assert "pip install" not in make(
        toy, "folds", "COMP=solar-cells"
    )  # touched, the text is the same
    (toy / EXTRA).write_text("elpv-dataset==9\n")
    os.utime(toy / EXTRA, (time.time() + 99, time.time() + 99))
    assert "pip install" in make(toy, "folds", "COMP=solar-cells")
    assert stamp.read_text() == "elpv-dataset==9\n"


@needs_make
def test_a_new_environment_installs_the_extra_again(toy):
    """Check that the stamp does not outlive the environment that it speaks of."""
    make(toy, "folds", "COMP=solar-cells")
    (toy / "requirements.txt").write_text("numpy\n")
    os.utime(toy / "requirements.txt", (time.time() + 9, time.time() + 9))
    printed = make(toy, "folds", "COMP=solar-cells", f"PYTHON={toy / '.venv/bin/python'}")
    assert f"-r {EXTRA}" in printed and "-r requirements.txt" in printed


@needs_make
def test_fashion_mnist_reaches_the_verb(toy):
    """Check that a folder typed at make, spaces and all, is in the verb's environment."""
    printed = make(toy, "folds", "COMP=fashion-mnist", "FASHION_MNIST=/my data")
    assert printed.startswith("FASHION_MNIST=/my data python -m pipeline folds")
    assert make(toy, "folds").startswith("FASHION_MNIST= python")


def test_extras_are_pinned_exactly():
    """Check that every line of a competition's requirements is a comment or NAME==VERSION."""
    files = sorted(Project(CHECKOUT).competitions.glob("*.requirements.txt"))
    lines = [line for path in files for line in path.read_text().splitlines()]
    pins = [line for line in lines if line and not line.startswith("#")]
    assert "elpv-dataset==1.0.0.post1" in pins
    assert all(line.count("==") == 1 and not set(line) & set("<>~!; ") for line in pins)
