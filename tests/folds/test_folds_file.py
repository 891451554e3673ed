"""The folds file: made once, a function of its rows, refused where it is not what it was."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import PodiumError
from pipeline.folds import file as folds_file
from pipeline.folds import load_shared
from pipeline.folds.balance import balance, balance_table
from pipeline.folds.file import load_folds, make_folds

CLASSES = ["cat", "dog", "owl"]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "folds" / "zoo.csv"


def rows(n=120, grouped=True):
    """Return ids, labels, groups; ids have leading zeros, and one needs quotes."""
    rng = np.random.default_rng(0)
    ids = np.array([f"{i:05d}" for i in range(n - 1)] + ['a "b", c'])
    groups = np.array([f"g{i}" for i in rng.integers(0, n // 3, n)])
    return ids, rng.integers(0, 3, n), groups if grouped else None


def make(path, ids, labels, groups, **arguments):
    return make_folds(path, ids, labels, CLASSES, groups, **arguments)


def edit(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_file_holds_what_was_made(path):
    """Check that what is loaded is what was made, with and without groups, ids as text."""
    for grouped in (False, True):
        ids, labels, groups = rows(grouped=grouped)
        made, new = make(path, ids, labels, groups, fresh=True)
        loaded = load_folds(path, ids)
        assert new
        assert np.array_equal(loaded.ids, ids)
        assert np.array_equal(loaded.fold, made.fold)
        assert (loaded.group is None) == (not grouped)
        assert not grouped or np.array_equal(loaded.group, groups)
        assert loaded.hash == made.hash == made.info["hash"]
        assert loaded.info == made.info
        assert made.numbers == [0, 1, 2, 3, 4]
        assert path.read_text().splitlines()[0] == "id,fold,group"


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.booleans(), st.sampled_from([1, 3, 5]), st.data())
def test_order_of_rows_does_not_matter(tmp_path_factory, seed, grouped, n_folds, data):
    """Check that a shuffled table and a repeated seed write the same bytes."""
    ids, labels, groups = rows(60, grouped)
    order = np.array(data.draw(st.permutations(range(60))))
    folder = tmp_path_factory.mktemp("order")
    first, second = folder / "a.csv", folder / "b.csv"
    arguments = {"seed": seed, "n_folds": n_folds, "test": 0.1}
    make(first, ids, labels, groups, **arguments)
    group = None if groups is None else groups[order]
    made, _ = make(second, ids[order], labels[order], group, **arguments)
    assert first.read_bytes() == second.read_bytes()
    assert first.with_suffix(".json").read_bytes() == second.with_suffix(".json").read_bytes()
    assert np.array_equal(made.ids, ids[order])
    assert np.array_equal(made.fold, load_folds(first, ids[order]).fold)


def test_rows_of_a_fold_exclude_the_test_split(path):
    """Check train, valid and test rows: apart, complete, test rows in no other."""
    ids, labels, groups = rows()
    folds, _ = make(path, ids, labels, groups, test=0.2)
    for k in folds.numbers:
        pieces = [folds.train_rows(k), folds.valid_rows(k), folds.test_rows]
        assert np.array_equal(np.sort(np.concatenate(pieces)), np.arange(len(ids)))
        names = [set(groups[piece]) for piece in pieces]
        assert not (names[0] & names[1] or names[0] & names[2] or names[1] & names[2])


@pytest.mark.parametrize("grouped", [False, True])
def test_three_way_split_has_the_shares_asked_for(path, grouped):
    """Check that FOLDS=1 HOLDOUT=0.1 TEST=0.1 is 80/10/10 of all rows for every class."""
    labels = np.repeat([0, 1, 2], [500, 300, 200])
    ids = np.arange(1000).astype(str)
    groups = (np.arange(1000) // 2).astype(str) if grouped else None
    folds, _ = make(path, ids, labels, groups, n_folds=1, holdout=0.1, test=0.1)
    for number, share in ((-1, 0.8), (0, 0.1), (-2, 0.1)):
        counts = np.bincount(labels[folds.fold == number])
        assert np.abs(counts - share * np.array([500, 300, 200])).max() <= 1
    assert folds.numbers == [0]
    assert len(folds.train_rows(0)) == pytest.approx(800, abs=2)
    assert folds.info["balance"]["warnings"] == []


def test_hold_out_of_95_to_5(path):
    """Check that the hold-out is fold 0 and all others are -1."""
    labels = np.repeat([0, 1, 2], [1000, 600, 400])
    folds, _ = make(path, np.arange(2000).astype(str), labels, None, n_folds=1, holdout=0.05)
    assert np.bincount(labels[folds.fold == 0]).tolist() == [50, 30, 20]
    assert set(folds.fold) == {-1, 0}


def test_test_split_is_the_same_for_any_folds(path):
    """Check that the local test split depends on TEST and SEED alone."""
    ids, labels, groups = rows()
    splits = [
        set(make(path, ids, labels, groups, test=0.2, fresh=True, **arguments)[0].test_rows)
        for arguments in ({"n_folds": 5}, {"n_folds": 1}, {"n_folds": 1, "holdout": 0.4})
    ]
    assert splits[0] == splits[1] == splits[2]


def test_same_arguments_leave_the_file_alone(path):
    """Check that a second call writes nothing, also after a corrected label."""
    ids, labels, groups = rows()
    make(path, ids, labels, groups)
    before = path.stat().st_mtime_ns, path.with_suffix(".json").stat().st_mtime_ns
    folds, new = make(path, ids, (labels + 1) % 3, groups)
    assert not new
    assert (path.stat().st_mtime_ns, path.with_suffix(".json").stat().st_mtime_ns) == before
    assert np.array_equal(folds.fold, load_folds(path, ids).fold)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"n_folds": 4}, "FOLDS 5 -> 4"),
        ({"seed": 7}, "SEED 0 -> 7"),
        ({"test": 0.1}, r"TEST 0.0 -> 0.1"),
        ({"n_folds": 1}, "FOLDS 5 -> 1"),
        ({"ids": "00999"}, "id '00999' is not in the file, id '00000' is not in the competition"),
        ({"groups": "other"}, "group of id '00000' '.*' -> 'other'"),
        ({"groups": None}, "groups given -> none"),
    ],
)
def test_other_arguments_or_rows_never_remake(path, change, said):
    """Check that a difference is named with the remedy, and the file stays; FRESH remakes it."""
    ids, labels, groups = rows()
    make(path, ids, labels, groups)
    before = path.read_bytes(), path.with_suffix(".json").read_bytes()
    arguments = {k: v for k, v in change.items() if k in ("n_folds", "seed", "test")}
    if "ids" in change:
        ids = np.array([change["ids"], *ids[1:]])
    if "groups" in change:
        groups = np.array([change["groups"], *groups[1:]]) if change["groups"] else None
    with pytest.raises(PodiumError, match=f"zoo.csv.*{said}.*FRESH=1") as refusal:
        make(path, ids, labels, groups, **arguments)
    assert "\n" not in str(refusal.value)
    assert (path.read_bytes(), path.with_suffix(".json").read_bytes()) == before
    assert make(path, ids, labels, groups, fresh=True, **arguments)[1]
    assert not make(path, ids, labels, groups, **arguments)[1]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("id,fold,group", "id,fold,groups", "columns must be id,fold,group, got 'id,fold,groups'"),
        ("00003,", "00002,", "'00002' comes twice"),
        ("00003,", "3,", "hash"),
        ("00003,FOLD", "00003,OTHER", "hash"),
        ("00003,FOLD", "00003,FOLD.0", r"fold of id '00003' must be a whole number.*got '\d\.0'"),
        ("00003,FOLD", "00003,-3", "fold of id '00003' must be a whole number.*got '-3'"),
        ("00003,FOLD,", "00003,FOLD,,", "row 5 must have 3 values"),
        ("00003,FOLD,GROUP", "00003,FOLD,", "id '00003' has an empty one"),
        ("00003,FOLD,GROUP", "00003,FOLD,g", "hash"),
    ],
)
def test_edited_files_are_refused(path, old, new, said):
    """Check that each kind of edit is named, by loading and by making."""
    ids, labels, groups = rows()
    folds, _ = make(path, ids, labels, groups)
    words = {"FOLD": folds.fold[3], "OTHER": (folds.fold[3] + 1) % 5, "GROUP": groups[3]}
    for word, value in words.items():
        old, new = old.replace(word, str(value)), new.replace(word, str(value))
    edit(path, old, new)
    for call in (lambda: load_folds(path), lambda: make(path, ids, labels, groups)):
        with pytest.raises(PodiumError, match=f"zoo.csv: .*{said}"):
            call()
    assert make(path, ids, labels, groups, fresh=True)[1]


def test_missing_and_foreign_files_are_refused(path):
    """Check the messages for no file, no JSON beside it, and rows of another competition."""
    ids, labels, groups = rows()
    with pytest.raises(PodiumError, match=r"zoo.csv.*make folds"):
        load_folds(path)
    make(path, ids, labels, groups)
    with pytest.raises(PodiumError, match="id 'new' is not in the file"):
        load_folds(path, np.append(ids, "new"))
    with pytest.raises(PodiumError, match="id '00000' is not in the competition"):
        load_folds(path, ids[1:])
    path.with_suffix(".json").unlink()
    for call in (lambda: load_folds(path), lambda: make(path, ids, labels, groups)):
        with pytest.raises(PodiumError, match=r"zoo.json.*FRESH=1"):
            call()


def test_a_kill_between_the_two_files_is_noticed(path, monkeypatch):
    """Check that a first attempt is simply made again, and a FRESH=1 leaves an explained state."""
    ids, labels, groups = rows()
    write = folds_file.write_text

    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(folds_file, "write_text", killed)
    with pytest.raises(KeyboardInterrupt):
        make(path, ids, labels, groups)
    monkeypatch.setattr(folds_file, "write_text", write)
    assert make(path, ids, labels, groups)[1]
    monkeypatch.setattr(folds_file, "write_text", killed)
    with pytest.raises(KeyboardInterrupt):
        make(path, ids, labels, groups, seed=1, fresh=True)
    monkeypatch.setattr(folds_file, "write_text", write)
    with pytest.raises(PodiumError, match=r"FRESH=1 was interrupted"):
        make(path, ids, labels, groups, seed=1)
    assert make(path, ids, labels, groups, seed=1, fresh=True)[1]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"n_folds": 0}, "FOLDS= must be at least 1.*got 0"),
        ({"holdout": 0.0}, "HOLDOUT= must be a fraction.*got 0.0"),
        ({"holdout": 1.0}, "HOLDOUT="),
        ({"test": -0.1}, "TEST=.*got -0.1"),
        ({"test": 1.0}, "TEST="),
        ({"test": float("nan")}, "TEST="),
        ({"n_folds": 1, "holdout": 0.6, "test": 0.4}, "HOLDOUT=.*together with TEST=0.4.*got 0.6"),
        ({"test": 0.001}, "TEST=.*120 rows.*got 0.001"),
        ({"n_folds": 1, "holdout": 0.999}, "HOLDOUT=.*120 rows"),
        ({"seed": -1}, "SEED="),
        ({"n_folds": 5, "holdout": 0.3}, "FOLDS= must be 1 with HOLDOUT=0.3, got 5"),
        ({"n_folds": 60}, "groups were given for 60 parts.*FOLDS="),
    ],
)
def test_arguments_are_checked(path, arguments, said):
    """Check that a bad argument names the Makefile variable and writes nothing."""
    with pytest.raises(PodiumError, match=said):
        make(path, *rows(), **arguments)
    assert not path.exists()
    assert not path.with_suffix(".json").exists()


def test_bad_rows_are_refused(path):
    """Check that duplicate ids and empty groups are named."""
    ids, labels, groups = rows()
    with pytest.raises(PodiumError, match="'00001' comes twice"):
        make(path, np.where(ids == "00000", "00001", ids), labels, groups)
    with pytest.raises(PodiumError, match="id '00004' has an empty one"):
        make(path, ids, labels, np.where(ids == "00004", "", groups))


def test_balance_counts_by_brute_force():
    """Check rows, groups and counts of both tasks against loops."""
    rng = np.random.default_rng(2)
    fold, groups = rng.integers(-2, 3, 90), rng.integers(0, 20, 90).astype(str)
    sets = rng.integers(0, 2, (90, 3))
    for labels in (sets[:, 0] + sets[:, 1], sets):
        report = balance(fold, labels, CLASSES, groups)
        for k in range(-2, 3):
            here = [i for i in range(90) if fold[i] == k]
            part = report["folds"][str(k)]
            assert part["rows"] == len(here)
            assert part["groups"] == len({groups[i] for i in here})
            for c, name in enumerate(CLASSES):
                has = [labels[i, c] if labels.ndim == 2 else labels[i] == c for i in here]
                assert part["counts"][name] == sum(has)
        assert json.loads(json.dumps(report)) == report


def test_balance_warns():
    """Check each warning: rare and missing classes, uneven folds, parts of another size."""
    fold = np.repeat([0, 1, 2], [10, 10, 14])
    labels = np.zeros(34, int)
    labels[:2] = 1
    said = " | ".join(balance(fold, labels, CLASSES, None)["warnings"])
    assert "no row at all of owl" in said
    assert "fewer rows than the 3 folds: dog" in said
    assert "from 10 to 14 rows" in said
    labels[2] = 1
    said = balance(fold, labels, CLASSES, None)["warnings"]
    assert "fold 1 has no row of dog" in said
    said = " | ".join(balance(fold - 2, labels, CLASSES, None, asked={-2: 3.4})["warnings"])
    assert "-2 (local test) has 10 rows, asked for 3" in said


def test_balance_table_shows_the_worst_class(path):
    """Check the deviation of shares and that warnings follow the table."""
    fold = np.repeat([0, 1], [4, 4])
    report = balance(fold, np.array([0, 0, 0, 1, 0, 1, 1, 1]), CLASSES[:2], None)
    report["warnings"] = ["look"]
    lines = balance_table({"balance": report}).splitlines()
    assert lines[1].split() == ["0", "4", "-", "-50.0%", "+50.0%", "cat"]
    assert lines[-1] == "warning: look"


def test_groups_named_after_the_folds_were_made_are_refused(tiny):
    """Check that a column of groups is not passed over where the folds were dealt without it."""
    tiny.folds(n_folds=2)
    tiny.edit("train", lambda f: f.assign(herd=[f"h{i % 7}" for i in range(len(f))]))
    tiny.configure(columns={"id": "id", "label": "label", "group": "herd"})
    with pytest.raises(PodiumError, match=r"groups none -> given.*FRESH=1"):
        load_shared(tiny.data)
