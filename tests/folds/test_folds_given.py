"""Folds from a table of the user's own: installed as they are, checked, never silently replaced."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest

from pipeline.errors import PodiumError
from pipeline.folds import (
    balance_table,
    draft_shared,
    duplicates_sentence,
    install_given,
    load_shared,
    make_shared,
    make_splits,
)

ROWS = 42


def table(tiny, **columns) -> pd.DataFrame:
    """Return folds of the training rows in an order of their own, and further columns."""
    ids = [f"{i:03d}" for i in range(ROWS)]
    frame = pd.DataFrame({"id": ids, "fold": np.arange(ROWS) % 3, **columns})
    return frame.sample(frac=1, random_state=0)


def write(tiny, frame) -> str:
    frame.to_csv(tiny.root / "given.csv", index=False)
    return "given.csv"


def install(tiny, frame, **options):
    return install_given(tiny.data, write(tiny, frame), **options)


def refusal(tiny, frame, **options) -> str:
    before = {path: path.read_bytes() for path in (tiny.root / "folds").glob("*.csv")}
    with pytest.raises(PodiumError) as refused:
        install(tiny, frame, **options)
    assert before == {path: path.read_bytes() for path in (tiny.root / "folds").glob("*.csv")}
    assert "\n" not in str(refused.value)
    return str(refused.value)


@pytest.fixture
def tiny(make_tiny):
    return make_tiny(images=True)


def grouped(tiny, of: list[str]) -> None:
    tiny.edit("train", lambda frame: frame.assign(who=of))
    tiny.configure(columns={"id": "id", "label": "label", "group": "who"})


def test_given_folds_are_the_shared_ones(tiny):
    """Check that the folds are those of the file by id, are loaded by whoever shares them, and that
    a float's text and columns that mean nothing here do not matter."""
    frame = table(tiny).assign(fold=lambda f: f["fold"].astype(float), path="x.png")
    made, new = install(tiny, frame)
    assert new and made.info["scheme"] == "given"
    by_id = dict(zip(frame["id"], frame["fold"].astype(int), strict=True))
    loaded = load_shared(tiny.data)
    assert [by_id[name] for name in loaded.ids] == loaded.fold.tolist()
    assert loaded.hash == made.hash == draft_shared(tiny.data).hash
    assert loaded.numbers == [0, 1, 2] and loaded.group is None
    assert "given by given.csv" in duplicates_sentence(loaded)
    assert len(balance_table(loaded.info).splitlines()) >= 4


def test_the_same_folds_again_change_nothing(tiny, snapshot):
    """Check that they are there already, that others need FRESH=1, and that none are dealt over."""
    install(tiny, table(tiny))
    before = snapshot(tiny.root / "folds")
    assert install(tiny, table(tiny).iloc[::-1])[1] is False
    other = table(tiny).assign(fold=lambda f: (f["fold"] + 1) % 3)
    assert "FRESH=1" in refusal(tiny, other)
    with pytest.raises(PodiumError, match=r"given by given\.csv -> dealt here.*FRESH=1"):
        make_shared(tiny.data, n_folds=3)
    assert snapshot(tiny.root / "folds") == before
    assert install(tiny, other, fresh=True)[1]
    assert make_shared(tiny.data, fresh=True)[0].info["scheme"] != "given"
    assert "exists, but made otherwise" in refusal(tiny, table(tiny))


def cell(row, column, value):
    return lambda frame: frame.astype({column: object}).assign(
        **{column: [value if i == row else v for i, v in enumerate(frame[column])]}
    )


FAULTS = {
    "missing": (lambda f: f[2:], ["2 of 42 training ids have no fold"]),
    "twice": (lambda f: pd.concat([f, f[:1]]), ["row 44", "stands twice"]),
    "foreign": (cell(3, "id", "ufo"), ["1 of 42 ids", "'ufo'"]),
    "test row": (cell(3, "id", "050"), ["'050'", "no training rows"]),
    "fraction": (cell(3, "fold", "0.5"), ["row 5", "'0.5'"]),
    "text": (cell(3, "fold", "a"), ["row 5", "'a'"]),
    "too low": (cell(3, "fold", -3), ["row 5", "-2 up", "'-3'"]),
    "nothing to validate": (lambda f: f.assign(fold=-1), ["no row has a fold to validate"]),
    "nothing to train on": (lambda f: f.assign(fold=4), ["fold 4"]),
    "no fold": (lambda f: f.rename(columns={"fold": "kfold"}), ["no column 'fold'", "kfold"]),
    "no id": (lambda f: f.rename(columns={"id": "name"}), ["no column 'id'"]),
    "blank group": (lambda f: f.assign(group=["", *["g"] * 41]), ["every row needs a group"]),
}


@pytest.mark.parametrize("kind", FAULTS)
def test_a_fault_of_the_table_is_refused(tiny, kind):
    """Check that each fault is one line that names file and offender, and writes nothing."""
    change, words = FAULTS[kind]
    text = refusal(tiny, change(table(tiny)))
    for word in ["given.csv", *words]:
        assert word in text, text
    with pytest.raises(PodiumError, match=r"nowhere\.csv: no such file"):
        install_given(tiny.data, "nowhere.csv")


@pytest.mark.parametrize("column", ["id", "fold"])
def test_endless_cells_are_cut(tiny, column):
    """Check that a cell of 100,000 characters is shown by its first 40."""
    text = refusal(tiny, cell(3, column, "x" * 100_000)(table(tiny)))
    assert "'" + "x" * 40 + "'..." in text and "x" * 41 not in text


def test_rows_may_be_trained_on_only_or_kept_apart(tiny):
    """Check that -1 and -2 are kept, in folds that several validate, and loaded again."""
    fold = [-1, -1, -2, *(np.arange(ROWS - 3) % 2)]
    install(tiny, table(tiny, fold=fold))
    loaded = load_shared(tiny.data)
    assert loaded.fold.tolist() == fold
    assert loaded.test_rows.tolist() == [2] and {0, 1} <= set(loaded.train_rows(0).tolist())


def test_rows_that_the_table_trains_on_only_need_no_fold(tiny):
    """Check that train-only rows may be missing or -1, and are refused in a fold."""
    tiny.edit("train", lambda f: f.assign(extra=(np.arange(ROWS) < 4).astype(int)))
    tiny.configure(columns={"id": "id", "label": "label", "train_only": "extra"})
    full = table(tiny)
    assert "only trained on" in refusal(tiny, full)
    install(
        tiny, full[full["id"] > "002"].assign(fold=lambda f: f["fold"].where(f["id"] > "003", -1))
    )
    assert np.flatnonzero(load_shared(tiny.data).fold == -1).tolist() == [0, 1, 2, 3]


def test_groups_are_the_files_or_the_competitions(tiny):
    """Check which groups are stored, and that changed groups of the table are noticed only where
    they are those that count."""
    grouped(tiny, [f"g{i % 21}" for i in range(ROWS)])
    install(tiny, table(tiny))
    assert load_shared(tiny.data).group.tolist() == [f"g{i % 21}" for i in range(ROWS)]
    own = [f"mine{i % 6}" for i in range(ROWS)]
    install(tiny, table(tiny, group=own), fresh=True)
    assert load_shared(tiny.data).group.tolist() == own
    grouped(tiny, [f"h{i}" for i in range(ROWS)])
    assert load_shared(tiny.data).group.tolist() == own
    install(tiny, table(tiny), fresh=True)
    grouped(tiny, [f"g{i % 21}" for i in range(ROWS)])
    with pytest.raises(PodiumError, match="groups of the table have changed"):
        load_shared(tiny.data)


def test_groups_that_straddle_are_counted(tiny):
    """Check the warning's count against brute force, for groups of the table and for copies."""
    who = [f"g{i // 2}" if i < 10 else f"g{i % 3 + 50}" for i in range(ROWS)]
    grouped(tiny, who)
    images = tiny.root / "data" / "tiny" / "images"
    shutil.copy(images / "020.png", images / "040.png")
    made, _ = install(tiny, table(tiny))
    fold_of = {}
    joined = dict(zip(range(ROWS), who, strict=True))
    one, other = joined[20], joined[40]
    for row in range(ROWS):
        name = one if joined[row] == other else joined[row]
        fold_of.setdefault(name, set()).add(row % 3)
    expected = sum(len(folds) > 1 for folds in fold_of.values())
    assert made.info["given"]["straddling"] == expected > 0
    assert any(f"given.csv: {expected};" in said for said in made.info["balance"]["warnings"])
    fine, _ = install(tiny, table(tiny, fold=[int(w[1:]) % 3 for w in who]), fresh=True)
    assert fine.info["given"]["straddling"] == (0 if one == other else 1)


def test_the_record_beside_holds_the_source(tiny):
    """Check that the JSON says scheme, file, hash and number of folds, and that repeats deal on."""
    made, _ = install(tiny, table(tiny))
    record = json.loads(tiny.project.folds("tiny").with_suffix(".json").read_text())
    assert record["scheme"] == "given" and record["given"]["file"] == "given.csv"
    assert len(record["given"]["hash"]) == 16 and record["n_folds"] == 3
    splits, _ = make_splits(tiny.data, made, 2)
    assert len(splits.numbers) == 6
