"""`fashion-mnist`: Zalando's 70,000 pictures of clothes, 28 x 28 grey pixels, 10 classes.

Source: H. Xiao, K. Rasul, R. Vollgraf, Fashion-MNIST, 2017, arXiv 1708.07747, MIT licence. The
official test set is the test; its labels become the answers. The leaderboard holds classical
models on the first 50 principal components, fitted on the training rows alone.
"""

import os
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier, NearestCentroid
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier
from tqdm import tqdm

from pipeline.competition.built_in.download import download
from pipeline.competition.built_in.host import write_images, write_leaderboard, write_tables
from pipeline.competition.built_in.idx import read_idx
from pipeline.errors import PodiumError

SEED = 40
CLASSES = (
    *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
    *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
)
VARIABLE = "FASHION_MNIST"
DEBIAN = Path("/usr/share/datasets/fashion-mnist")  # of the package dataset-fashion-mnist
ADDRESS = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com"
MD5 = {  # of the downloads, from the README of github.com/zalandoresearch/fashion-mnist
    "train-images-idx3-ubyte": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
    "train-labels-idx1-ubyte": "25c81989df183df01b3e8a0aad5dffbe",
    "t10k-images-idx3-ubyte": "bef4ecab320f06d8554ea6380940ec79",
    "t10k-labels-idx1-ubyte": "bb300cfdad3c16e7a12a480ee83cd310",
}
COMPONENTS, SVM_ROWS = 50, 20_000  # so that the leaderboard takes seconds


def make(folder: Path) -> None:
    """Write the competition into `folder`, which exists and is empty."""
    files = source_files(folder.with_name("fashion-mnist-source"))
    train, train_labels = _part(files, "train")
    test, test_labels = _part(files, "t10k")
    if train.shape[1:] != test.shape[1:]:
        raise PodiumError(
            f"{files['t10k-images-idx3-ubyte']}: pictures of {test.shape[1:]} pixels, "
            f"those of the training are {train.shape[1:]}; take both files from one source"
        )
    tables = _table("train", train_labels), _table("test", test_labels)
    ids = [name for table in tables for name in table["id"]]
    write_images(folder, ids, np.concatenate([train, test]))
    public = write_tables(folder, *tables, labels=["label"], seed=SEED)
    answers = _baseline_answers(train, train_labels, test)
    right = {team: answer == test_labels for team, answer in answers.items()}
    parts = {team: (hit[public].mean(), hit[~public].mean()) for team, hit in right.items()}
    write_leaderboard(folder, parts)


def source_files(beside: Path, address: str = ADDRESS) -> dict[str, Path]:
    """Return the four IDX files by name: from the folder in FASHION_MNIST, or Debian's package, or
    `beside`, where they are downloaded to if they are nowhere."""
    asked = os.environ.get(VARIABLE, "").strip()
    if asked:
        place = Path(asked).expanduser()
        files = _files_in(place)
        missing = [name for name in MD5 if name not in files]
        if missing:
            raise PodiumError(
                f"{VARIABLE}: {asked} has no {missing[0]}.gz, nor that file unpacked; "
                "name the folder of the four IDX files"
            )
    else:
        place = DEBIAN if len(_files_in(DEBIAN)) == len(MD5) else beside
        files = _files_in(place)
        for name in [name for name in MD5 if name not in files]:
            _download(name, beside, address)
        files = _files_in(place)
    tqdm.write(f"fashion-mnist: making it from {place}")
    return files


def _files_in(folder: Path) -> dict[str, Path]:
    """Return which of the four files lie in `folder`, packed or not."""
    choices = {name: (folder / f"{name}.gz", folder / name) for name in MD5}
    found = {name: [path for path in paths if path.is_file()] for name, paths in choices.items()}
    return {name: paths[0] for name, paths in found.items() if paths}


def _download(name: str, beside: Path, address: str) -> None:
    remedy = (
        "run it again later, or install Debian's dataset-fashion-mnist, or put the four files "
        f"into {beside}, or name their folder: {VARIABLE}=folder"
    )
    download(f"{address}/{name}.gz", beside / f"{name}.gz", MD5[name], remedy)


def _part(files: dict[str, Path], part: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the pictures (n, h, w) uint8 of a part and their class indices (n,) uint8."""
    images, labels = files[f"{part}-images-idx3-ubyte"], files[f"{part}-labels-idx1-ubyte"]
    pictures, values = read_idx(images, 3), read_idx(labels, 1)
    if not pictures.size or len(pictures) != len(values):
        raise PodiumError(
            f"{labels}: {len(values)} labels for the {len(pictures)} pictures of {images.name}; "
            "take both files from one source"
        )
    if values.max() >= len(CLASSES):
        row = int(np.argmax(values >= len(CLASSES)))
        raise PodiumError(
            f"{labels}: label {row + 1} is {values[row]}, not one of 0 to {len(CLASSES) - 1}; "
            "replace it by the original file"
        )
    return pictures, values


def _table(part: str, labels: np.ndarray) -> pd.DataFrame:
    ids = [f"{part}-{row:05d}" for row in range(1, len(labels) + 1)]
    return pd.DataFrame({"id": ids, "label": [CLASSES[value] for value in labels]})


def _baseline_answers(
    train: np.ndarray, labels: np.ndarray, test: np.ndarray
) -> dict[str, np.ndarray]:
    """Return the class indices (m,) that classical models answer for the pictures of the test."""
    flat, asked = (part.reshape(len(part), -1) / 255.0 for part in (train, test))
    # Exact, unlike the randomised solver that scikit-learn would choose for so many rows.
    pca = PCA(min(COMPONENTS, *flat.shape), svd_solver="covariance_eigh").fit(flat)
    known, asked = pca.transform(flat), pca.transform(asked)
    models = {
        f"support vector machine, first {SVM_ROWS:,} rows": SVC(C=10),
        "5 nearest neighbours": KNeighborsClassifier(5),
        "nearest neighbour": KNeighborsClassifier(1),
        "logistic regression": make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)),
        "linear discriminant": LinearDiscriminantAnalysis(),
        "naive Bayes": GaussianNB(),
        "decision tree": DecisionTreeClassifier(max_depth=12, random_state=SEED),
        "nearest class mean": NearestCentroid(),
        "the commonest class": DummyClassifier(),
    }
    answers = {}
    bar = {"unit": "model", "delay": 1, "disable": None, "leave": False}
    for team, model in tqdm(models.items(), "baselines", **bar):
        rows = slice(SVM_ROWS if isinstance(model, SVC) else None)
        answers[team] = model.fit(known[rows], labels[rows]).predict(asked)
    return answers
