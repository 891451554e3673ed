"""`digits`: scikit-learn's 1,797 handwritten digits (8 x 8 pixels), multi-class, 30 % kept as test.

The leaderboard holds classical models on the 64 pixels, fitted on the training rows alone, so that
a first submission has somebody to beat.
"""

from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier

from pipeline.competition.built_in.host import write_images, write_leaderboard, write_tables
from pipeline.competition.built_in.source import handwritten_digits

SEED = 20
TEST_SHARE = 0.3


def make(folder: Path) -> None:
    """Write the competition into `folder`, which exists and is empty."""
    pictures, labels = handwritten_digits()
    ids = [f"digit-{i:04d}" for i in range(len(labels))]
    rows = pd.DataFrame({"id": ids, "label": labels})
    train, test = train_test_split(
        np.arange(len(rows)), test_size=TEST_SHARE, stratify=labels, random_state=SEED
    )
    train.sort()
    write_images(folder, ids, pictures)
    tables = rows.iloc[train], rows.iloc[test]
    public = write_tables(folder, *tables, labels=["label"], seed=SEED)
    pixels = pictures.reshape(len(rows), -1) / 255.0
    scores = {}
    for team, model in _baselines().items():
        right = model.fit(pixels[train], labels[train]).predict(pixels[test]) == labels[test]
        scores[team] = (right[public].mean(), right[~public].mean())
    write_leaderboard(folder, scores)


def _baselines() -> dict[str, object]:
    return {
        "support vector machine": SVC(gamma="scale", C=10),
        "5 nearest neighbours": KNeighborsClassifier(5),
        "random forest": RandomForestClassifier(300, random_state=SEED),
        "logistic regression": make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)),
        "linear discriminant": LinearDiscriminantAnalysis(),
        "naive Bayes": GaussianNB(),
        "decision tree": DecisionTreeClassifier(random_state=SEED),
        "nearest neighbour": KNeighborsClassifier(1),
        "the commonest class": DummyClassifier(),
    }
