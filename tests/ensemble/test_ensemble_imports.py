"""Predictions from anywhere: joined by id and class, refused by file and row, kept as a run."""

import json

import numpy as np
import pandas as pd
import pytest

from pipeline.artifacts.files import file_hash
from pipeline.artifacts.predictions import Predictions
from pipeline.ensemble.imports import import_run, report
from pipeline.ensemble.imports.partition import partition_differs
from pipeline.ensemble.members import load_members, read_record, usable_runs
from pipeline.errors import PodiumError
from pipeline.folds import install_given

CLASSES = ["cat", "dog", "owl"]


def frame_of(ids, seed: int, classes=CLASSES, multilabel=False) -> pd.DataFrame:
    """Return invented probabilities of 5 decimals, as CSVs have them."""
    rng = np.random.default_rng(seed)
    probs = rng.random((len(ids), len(classes)))
    if not multilabel:
        probs /= probs.sum(axis=1, keepdims=True)
    return pd.DataFrame({"id": ids}).assign(**dict(zip(classes, probs.round(5).T, strict=True)))


class Desk:
    """Files to import into a tiny competition."""

    def __init__(self, tiny) -> None:
        self.tiny = tiny
        folds = tiny.folds()
        validated = folds.fold >= 0
        self.frames = {
            "oof": frame_of(tiny.data.train.ids[validated], 1),
            "test": frame_of(tiny.data.test.ids, 2),
        }

    def edit(self, name: str, change) -> "Desk":
        self.frames[name] = change(self.frames[name].copy())
        return self

    def write(self) -> str:
        for name, frame in self.frames.items():
            frame.to_csv(self.tiny.root / f"{name}.csv", index=False)
        return ",".join(f"{name}.csv" for name in self.frames)

    def bring(self, name="a", **options):
        return import_run(self.tiny.data, self.tiny.folds(), self.write(), name, **options)

    def refusal(self, name="a", **options) -> str:
        with pytest.raises(PodiumError) as refused:
            self.bring(name, **options)
        text = str(refused.value)
        assert "\n" not in text and not (self.tiny.run(name) / "run.json").exists()
        return text

    def fold_column(self) -> pd.Series:
        folds = self.tiny.folds()
        return pd.Series(folds.fold[folds.fold >= 0])


@pytest.fixture
def desk(make_tiny) -> Desk:
    return Desk(make_tiny())


def test_rows_and_classes_join_by_name(desk):
    """Check against pandas that rows and columns in any order give the same normalised numbers."""
    frame = desk.frames["oof"].set_index("id")
    desk.edit("oof", lambda f: f.sample(frac=1, random_state=0)[["owl", "id", "cat", "dog"]])
    made = desk.bring()
    stored = Predictions.load(made.folder / "oof.npz")
    data = desk.tiny.data
    expected = frame.loc[stored.ids, list(data.classes)].to_numpy()
    expected = expected / expected.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(stored.probs, expected, atol=1e-6)
    np.testing.assert_allclose(stored.probs.sum(axis=1), 1, atol=1e-6)
    assert stored.ids.tolist() == data.train.ids.tolist()
    assert stored.classes.tolist() == list(data.classes)
    right = (expected.argmax(axis=1) == data.labels).mean()
    assert made.record["oof_score"] == pytest.approx(right)


def test_the_record_says_where_it_came_from(desk):
    """Check the record: complete, imported, hashes of the files, of data and of no folds."""
    record = desk.bring(seconds=7.5).record
    assert record == json.loads((desk.tiny.run("a") / "run.json").read_text())
    assert record["complete"] and record["imported"]
    assert (record["seconds"], record["seconds_known"]) == (7.5, True)
    assert record["data_hash"] == desk.tiny.data.hash and record["folds_hash"] is None
    assert [source["file"] for source in record["sources"]] == ["oof.csv", "test.csv"]
    assert all(len(source["sha256"]) == 64 for source in record["sources"])


def test_the_same_files_again_change_nothing(desk, snapshot):
    """Check that a second import writes nothing, and other files under the name need FRESH=1."""
    assert desk.bring().made
    before = snapshot(desk.tiny.run("a"))
    assert not desk.bring().made and snapshot(desk.tiny.run("a")) == before
    desk.edit("test", lambda f: f.iloc[::-1])
    with pytest.raises(PodiumError, match=r"another test\.csv.*FRESH=1"):
        desk.bring()
    with pytest.raises(PodiumError, match="without SECONDS"):
        desk.edit("test", lambda f: f.iloc[::-1]).bring(seconds=3)
    assert snapshot(desk.tiny.run("a")) == before
    assert desk.edit("test", lambda f: f.iloc[::-1]).bring(fresh=True).made
    assert snapshot(desk.tiny.run("a")) != before


def test_the_same_files_are_imported_again_for_other_data(desk):
    """Check that a corrected label makes the same files a new import, which then fits."""
    desk.bring()
    desk.tiny.edit("train", lambda f: f.assign(label=["dog", *f["label"][1:-1], "cat"]))
    made = desk.bring()
    assert made.made and made.record["data_hash"] == desk.tiny.data.hash


def test_runs_and_ensembles_are_never_replaced(desk, snapshot):
    """Check that the name of a trained run, an ensemble or a foreign folder is refused."""
    tiny = desk.tiny
    tiny.fake_run("trained")
    tiny.run("ensemble-x").mkdir(parents=True)
    (tiny.run("ensemble-x") / "ensemble.json").write_text("{}")
    tiny.run("photos").mkdir()
    (tiny.run("photos") / "holiday.txt").write_text("x")
    desk.write()
    before = snapshot(tiny.root)
    for name, words in {
        "trained": "trained",
        "ensemble-x": "an ensemble",
        "photos": "no run",
    }.items():
        with pytest.raises(PodiumError, match=words):
            desk.bring(name, fresh=True)
    assert snapshot(tiny.root) == before


def test_a_killed_import_goes_on(desk):
    """Check that predictions without a record, as a kill leaves them, are made again."""
    made = desk.bring()
    (made.folder / "run.json").unlink()
    assert desk.bring().made


@pytest.mark.parametrize("part", ["oof", "test"])
def test_what_is_damaged_is_imported_again(desk, snapshot, part):
    """Check that a flipped bit, a torn file and a missing one are mended, and said as they are."""
    path = desk.bring(seconds=5.0).folder / f"{part}.npz"
    good = snapshot(path.parent)
    content = path.read_bytes()
    flipped = bytearray(content)
    flipped[len(content) // 2] ^= 1
    for harm, said in {
        "flipped": (bytes(flipped), "had changed"),
        "torn": (content[:-9], "had changed"),
        "gone": (None, "was missing"),
    }.values():
        path.unlink() if harm is None else path.write_bytes(harm)
        made = desk.bring(seconds=5.0)
        assert made.made and made.said == f"again: {part}.npz {said}"
        now = snapshot(path.parent)
        assert {name for name in good if good[name] != now[name]} <= {"run.json"}
        hashes = {name: file_hash(path.parent / name) for name in ("oof.npz", "test.npz")}
        assert made.record["outputs"] == hashes
    assert not desk.bring(seconds=5.0).made
    desk.tiny.folds(seed=9, fresh=True)
    assert desk.bring(seconds=5.0).said == "again: folds changed"


@pytest.mark.parametrize("seconds", [float("nan"), float("inf"), -5.0])
def test_impossible_seconds_are_refused_before_anything_else(desk, snapshot, seconds):
    """Check one line, and that the import that is there stays, under FRESH=1 too."""
    desk.bring()
    before = snapshot(desk.tiny.run("a"))
    with pytest.raises(PodiumError, match=f"SECONDS: .* got {seconds:g}"):
        desk.bring(seconds=seconds, fresh=True)
    assert snapshot(desk.tiny.run("a")) == before


def test_seconds_that_nobody_said_are_not_known(desk):
    """Check that 0 and nothing are the same unknown, in the record and in the member."""
    assert desk.bring().record["seconds_known"] is False
    assert not desk.bring(seconds=0.0).made
    desk.edit("oof", lambda f: f[::-1].assign(cat=f["cat"] ** 1.0001)).bring("b", seconds=8.0)
    desk.tiny.fake_run("c", seconds=3.0)
    members = load_members(desk.tiny.data, desk.tiny.folds(), ["a", "b", "c"], mixed=True)
    found = {member.name: (member.timed, member.seconds) for member in members}
    assert found == {"a": (False, 0.0), "b": (True, 8.0), "c": (True, 3.0)}


def test_a_killed_replacement_goes_on(desk):
    """Check that a folder without run.json, with all that a decision left, is imported into, and
    that any other file there is still refused."""
    folder = desk.bring().folder
    (folder / "run.json").unlink()
    for name in ("answers.npz", "chain.json", "diagnostics.json", ".run.json.host.1.tmp"):
        (folder / name).write_text("x")
    assert desk.bring().made
    assert sorted(path.name for path in folder.iterdir()) == ["oof.npz", "run.json", "test.npz"]
    (folder / "run.json").unlink()
    (folder / "notes.txt").write_text("x")
    assert "no run, but holds notes.txt" in desk.refusal()


def test_a_record_of_nothing_is_not_called_trained(desk):
    """Check that `{}` in place of an import's record is refused for what it is, and stays."""
    path = desk.bring().folder / "run.json"
    path.write_text("{}")
    with pytest.raises(PodiumError, match="neither what was imported nor what was trained"):
        desk.bring(fresh=True)
    assert path.read_text() == "{}"


@pytest.mark.parametrize("name", ["compare", "Compare", "audit.json", "../x"])
def test_names_of_other_things_are_refused(desk, name):
    """Check that an import cannot take the place of what other commands write beside runs."""
    with pytest.raises(PodiumError, match=r"^NAME: ") as refused:
        desk.bring(name)
    assert "\n" not in str(refused.value)
    assert not (desk.tiny.run("a").parent / name).exists()


@pytest.mark.parametrize("kind", ["id", "column", "cell", "given"])
def test_endless_texts_are_cut(desk, kind):
    """Check that 100,000 characters in any place give a short message with their beginning."""
    endless = "x" * 100_000
    if kind == "id":
        desk.edit("oof", cell(1, "id", endless))
    elif kind == "column":
        desk.edit("oof", lambda f: f.rename(columns={"owl": endless}))
    elif kind == "cell":
        desk.edit("oof", cell(1, "owl", endless))
    else:
        folds = desk.tiny.folds()
        desk.frames["folds"] = pd.DataFrame({"id": folds.ids, "fold": endless})
    text = desk.refusal().replace(str(desk.tiny.root), "")
    assert "'" + "x" * 40 + "'..." in text and "x" * 41 not in text and len(text) < 220


@pytest.mark.parametrize("name", ["ids", "classes"])
def test_objects_in_an_npz_are_told_how_to_be_text(desk, name):
    """Check that text stored as Python objects or bytes is refused with what to write instead."""
    desk.write()
    frame = desk.frames["oof"]
    arrays = {"ids": frame["id"].to_numpy(np.str_), "classes": np.array(CLASSES)}
    arrays["probs"] = frame[CLASSES].to_numpy(np.float32)
    for kind in (object, "S"):
        np.savez(desk.tiny.root / "oof.npz", **arrays | {name: arrays[name].astype(kind)})
        with pytest.raises(PodiumError, match=r"oof\.npz: .*ids\.astype\('U'\)"):
            import_run(desk.tiny.data, desk.tiny.folds(), "oof.npz,test.csv", "a")


def cell(row, column, value):
    def change(frame):
        frame = frame.astype({column: object})
        frame.loc[row, column] = value
        return frame

    return change


FAULTS = {
    "text": ("oof", cell(3, "dog", "x"), ["oof.csv", "row 5", "'dog'", "'x'"]),
    "nan": ("oof", cell(3, "dog", "nan"), ["oof.csv", "row 5", "'dog'", "nan"]),
    "empty cell": ("test", cell(0, "cat", ""), ["test.csv", "row 2", "'cat'", "''"]),
    "above one": ("oof", cell(2, "owl", 1.01), ["row 4", "id '002'", "'owl'", "1.01"]),
    "negative": ("test", cell(2, "owl", -0.01), ["test.csv", "row 4", "-0.01"]),
    "sum": ("oof", lambda f: f.assign(cat=f["cat"] * 0.9), ["row 2", "sum to 0.", "softmax"]),
    "missing id": ("oof", lambda f: f.drop([4, 9]), ["oof.csv", "2 of 42", "'004'"]),
    "missing test id": ("test", lambda f: f[1:], ["test.csv", "1 of 18", "'042'"]),
    "twice": ("oof", lambda f: pd.concat([f, f[5:6]]), ["row 44", "'005'", "twice"]),
    "foreign": ("oof", cell(1, "id", "ufo"), ["row 3", "'ufo'", "no training row", "0 more"]),
    "foreign test": ("test", cell(1, "id", "ufo"), ["row 3", "'ufo'", "no test row"]),
    "class": ("oof", lambda f: f.rename(columns={"owl": "owll"}), ["'owll'", "did you mean owl"]),
    "no class": ("test", lambda f: f.drop(columns="owl"), ["no column for class 'owl'"]),
    "no ids": ("oof", lambda f: f.rename(columns={"id": "name"}), ["oof.csv", "no column 'id'"]),
    "no rows": ("oof", lambda f: f[:0], ["oof.csv", "no rows"]),
}


@pytest.mark.parametrize("kind", FAULTS)
def test_a_fault_is_refused_by_file_and_row(desk, kind):
    """Check that each fault names file, row and value, and leaves no run behind."""
    name, change, words = FAULTS[kind]
    text = desk.edit(name, change).refusal()
    for word in words:
        assert word in text, text


def test_swapped_files_are_told_so(desk):
    """Check that oof and test in the wrong order are recognised by their ids."""
    text = desk.write()
    with pytest.raises(PodiumError, match="swapped"):
        import_run(desk.tiny.data, desk.tiny.folds(), "test.csv,oof.csv", "a")
    with pytest.raises(PodiumError, match="those of training rows"):
        import_run(desk.tiny.data, desk.tiny.folds(), "oof.csv,oof.csv", "a")
    for names in ("oof.csv", "", f"{text},a,b"):
        with pytest.raises(PodiumError, match="DATA: names"):
            import_run(desk.tiny.data, desk.tiny.folds(), names, "a")


@pytest.mark.parametrize(
    "content", [b"", b"\n", b"\xff\xfei\x00d", b"id;cat\n1;2;3\n", b"id,cat\0"]
)
def test_what_is_no_table_is_refused(desk, content):
    """Check that an empty, undecodable or torn file is one line with its name."""
    desk.write()
    (desk.tiny.root / "oof.csv").write_bytes(content)
    with pytest.raises(PodiumError, match=r"oof\.csv") as refused:
        import_run(desk.tiny.data, desk.tiny.folds(), "oof.csv,test.csv", "a")
    assert "\n" not in str(refused.value)


def test_ragged_rows_are_refused(desk):
    """Check that a row with a surplus field, the last or every one, is named."""
    desk.write()
    path = desk.tiny.root / "oof.csv"
    lines = path.read_text().splitlines()
    for chosen in (lines[-1:], lines[1:]):
        torn = [line + ",0.1" if line in chosen else line for line in lines]
        path.write_text("\n".join(torn))
        with pytest.raises(PodiumError, match="has 5 fields, the header has 4"):
            import_run(desk.tiny.data, desk.tiny.folds(), "oof.csv,test.csv", "a")


def test_semicolons_and_the_index_of_pandas_are_read(desk):
    """Check that another delimiter and an unnamed first column give the same numbers."""
    first = desk.bring("a").folder
    for name, frame in desk.frames.items():
        frame.to_csv(desk.tiny.root / f"{name}.csv", sep=";")
    second = import_run(desk.tiny.data, desk.tiny.folds(), "oof.csv,test.csv", "b").folder
    for part in ("oof", "test"):
        both = [Predictions.load(folder / f"{part}.npz").probs for folder in (first, second)]
        np.testing.assert_array_equal(*both)


def test_rows_that_no_fold_validates_are_dropped(make_tiny):
    """Check that predictions of rows with fold -1 are left out, whatever they are, and counted."""
    tiny = make_tiny()
    folds = tiny.folds(n_folds=1, holdout=0.5)
    desk = Desk(tiny)
    others = frame_of(tiny.data.train.ids[folds.fold < 0], 3).assign(cat=0.99, dog=0.99)
    made = desk.edit("oof", lambda f: pd.concat([others, f])).bring()
    assert made.record["dropped"] == len(others) > 0
    assert made.record["rows"]["oof"] == int((folds.fold >= 0).sum())


def test_the_local_test_split_is_taken_where_the_file_has_it(make_tiny):
    """Check that its rows become local-test.npz, that without them a warning stands, and that some
    without the others are refused."""
    tiny = make_tiny()
    folds = tiny.folds(test=0.2)
    desk = Desk(tiny)
    local = frame_of(tiny.data.train.ids[folds.test_rows], 3)
    assert any("local test split" in said for said in desk.bring("bare").record["warnings"])
    desk.edit("oof", lambda f: pd.concat([local[1:], f]))
    assert "local test split are missing" in desk.refusal()
    made = desk.edit("oof", lambda f: pd.concat([local[:1], f])).bring()
    stored = Predictions.load(made.folder / "local-test.npz")
    assert stored.ids.tolist() == tiny.data.train.ids[folds.test_rows].tolist()
    assert "local_test_score" in made.record
    parts = {"a": ["local-test", "oof", "test"], "bare": ["oof", "test"]}
    for name, expected in parts.items():
        assert sorted(load_members(tiny.data, folds, [name], mixed=True)[0].probs) == expected
    both = load_members(tiny.data, folds, ["bare", "a"], mixed=True)
    assert [member.name for member in both] == ["a"], "the copy that has more parts counts"


RENAMED = {0: "9", 1: "a", 2: "0", 3: "1", 4: "x y"}


@pytest.mark.parametrize("proof", ["column", "table", "npz"])
def test_the_same_partition_makes_a_full_member(desk, proof):
    """Check that folds of other names but the same rows give the shared folds' hash."""
    tiny, folds = desk.tiny, desk.tiny.folds()
    if proof == "column":
        desk.edit("oof", lambda f: f.assign(fold=desk.fold_column().map(RENAMED)))
        made = desk.bring()
    elif proof == "table":
        numbers = {0: 3, 1: 9, 2: 0, 3: 1, 4: 7}
        table = pd.DataFrame({"id": folds.ids, "fold": pd.Series(folds.fold).map(numbers)})
        desk.frames["folds"] = table.sample(frac=1, random_state=0)
        made = desk.bring()
    else:
        source = tiny.fake_run("source")
        names = ",".join(str(source / f"{part}.npz") for part in ("oof", "test"))
        made = import_run(tiny.data, folds, names, "a")
    assert made.record["folds_hash"] == folds.hash and not made.record["warnings"]
    assert usable_runs(tiny.data, folds)[0][0] == "a"
    (member,) = load_members(tiny.data, folds, ["a"])
    assert not member.mixed and member.fold_models("test") is None


@pytest.mark.parametrize("kind", ["none", "other"])
def test_other_folds_join_only_when_asked_for(desk, kind):
    """Check that without the folds, or with others, it is left out but for mixed=True."""
    tiny, folds = desk.tiny, desk.tiny.folds()
    if kind == "other":
        desk.edit("oof", lambda f: f.assign(fold=np.arange(len(f)) % 5))
    record = desk.bring().record
    assert record["folds_hash"] is None and len(record["warnings"]) == 1
    usable, left = usable_runs(tiny.data, folds)
    assert usable == [] and "make ensemble MIXED_FOLDS=1" in left["a"]
    assert ("folds.csv and FRESH=1" in left["a"]) == (kind == "none")
    with pytest.raises(PodiumError, match="MIXED_FOLDS=1") as refused:
        load_members(tiny.data, folds, ["a"])
    assert "finish" not in str(refused.value) and len(str(refused.value)) < 160
    last = report(tiny.data, desk.bring()).splitlines()[-1]
    assert last.endswith("make ensemble COMP=tiny MIXED_FOLDS=1") and len(last) < 160
    assert last.startswith("next: prove its folds: make import again with") == (kind == "none")
    assert usable_runs(tiny.data, folds, mixed=True)[0] == ["a"]
    assert load_members(tiny.data, folds, ["a"], mixed=True)[0].mixed


def test_after_new_folds_an_import_is_to_be_imported_again(desk):
    """Check the reason for new folds, for rows that only these validate, and for new labels."""
    tiny, old = desk.tiny, desk.tiny.folds()
    fold = [-1, *(np.arange(41) % 3)]
    pd.DataFrame({"id": old.ids, "fold": fold}).to_csv(tiny.root / "g.csv", index=False)
    install_given(tiny.data, "g.csv", fresh=True)
    desk.edit("oof", lambda f: f.assign(fold=fold)[1:])
    hashed = desk.bring().record["folds_hash"]
    assert hashed == tiny.folds().hash
    tiny.folds(fresh=True)
    said = usable_runs(tiny.data, tiny.folds())[1]["a"]
    assert f"imported on other folds ({hashed}, " in said and said.endswith("import it again")
    said = usable_runs(tiny.data, tiny.folds(), mixed=True)[1]["a"]
    assert "no prediction for 1 of 42 ids" in said and "make import it again" in said
    tiny.edit("train", lambda f: f.assign(label=["dog", *f["label"][1:-1], "cat"]))
    said = usable_runs(tiny.data, tiny.folds(), mixed=True)[1]["a"]
    assert said == "imported for other labels or ids: import it again"


def test_a_damaged_import_says_how_it_is_mended(desk):
    """Check that reading it asks for another import, not for training, and that this helps."""
    path = desk.bring().folder / "oof.npz"
    path.write_bytes(path.read_bytes()[:-99])
    for _ in range(2):
        with pytest.raises(PodiumError, match=r"oof\.npz: .*; make import it again$"):
            load_members(desk.tiny.data, desk.tiny.folds(), ["a"], mixed=True)
    desk.bring()
    assert load_members(desk.tiny.data, desk.tiny.folds(), ["a"], mixed=True)


def test_partitions_are_compared_up_to_names(make_tiny):
    """Check against sets of sets, on random renamings, merges, splits and moves of a row."""
    folds = make_tiny().folds()
    rng = np.random.default_rng(0)

    def parts(of):
        return {frozenset(np.flatnonzero(of == k).tolist()) for k in np.unique(of)}

    for _ in range(60):
        other = rng.permutation(5)[folds.fold]
        kind = rng.integers(4)
        if kind == 1:
            other[other == 1] = 0
        elif kind == 2:
            other[rng.integers(len(other))] = rng.integers(6)
        elif kind == 3:
            other = np.where(rng.random(len(other)) < 0.5, other, other + 5)
        order = rng.permutation(len(other))
        said = partition_differs(folds, folds.ids[order], other[order])
        assert (said == "") == (parts(other) == parts(folds.fold)), said
    assert "is validated here" in partition_differs(folds, folds.ids, folds.fold - 1)


def test_half_precision_stays_half(desk):
    """Check that a float16 npz without logits is stored as float16, close to its source."""
    tiny, paths = desk.tiny, []
    for name, frame in desk.frames.items():
        paths.append(tiny.root / f"{name}.npz")
        probs = frame[["owl", "cat", "dog"]].to_numpy(np.float16)
        ids = frame["id"].to_numpy(np.str_)
        np.savez(paths[-1], ids=ids, classes=np.array(["owl", "cat", "dog"]), probs=probs)
    made = import_run(tiny.data, tiny.folds(), ",".join(map(str, paths)), "a")
    stored = Predictions.load(made.folder / "oof.npz")
    assert stored.probs.dtype == np.float16 and stored.logits.dtype == np.float32
    expected = desk.frames["oof"].set_index("id").loc[stored.ids, list(tiny.data.classes)]
    np.testing.assert_allclose(stored.probs, expected, atol=1e-3)
    (member,) = load_members(tiny.data, tiny.folds(), ["a"], mixed=True)
    assert member.probs["oof"].dtype == np.float16


def test_labels_that_exclude_nothing_need_not_sum_to_one(make_tiny):
    """Check that a multi-label import is taken as it is."""
    tiny = make_tiny(task="multilabel")
    desk = Desk(tiny)
    desk.frames = {
        "oof": frame_of(tiny.data.train.ids, 1, multilabel=True),
        "test": frame_of(tiny.data.test.ids, 2, multilabel=True),
    }
    stored = Predictions.load(desk.bring().folder / "oof.npz")
    expected = desk.frames["oof"][list(tiny.data.classes)].to_numpy(np.float32)
    np.testing.assert_array_equal(stored.probs, expected)


def test_a_competition_without_test_rows_needs_no_second_file(make_tiny):
    """Check that out-of-fold predictions alone will do there, with folds behind them."""
    tiny = make_tiny()
    tiny.configure(tables={"test": None})
    folds = tiny.folds()
    desk = Desk(tiny)
    desk.frames = {"oof": frame_of(tiny.data.train.ids, 1)}
    desk.frames["folds"] = pd.DataFrame({"id": folds.ids, "fold": folds.fold})
    assert desk.bring().record["folds_hash"] == folds.hash
    (member,) = load_members(tiny.data, folds, ["a"])
    assert member.probs["test"].shape == (0, 3)


def test_test_ids_may_lack_their_prefix(make_tiny):
    """Check that test ids as the host's table has them are found under the pipeline's prefix."""
    tiny = make_tiny()
    tiny.configure(test_prefix="t-")
    desk = Desk(tiny)
    desk.edit("test", lambda f: f.assign(id=f["id"].str.removeprefix("t-")))
    assert read_record(tiny.data, desk.bring().name)["rows"]["test"] == 18


def test_the_verbs_take_folds_and_predictions(make_tiny, podium):
    """Check at the command line that given folds and predictions make a member, and say what next;
    and that a mistake is one line and status 2."""
    tiny = make_tiny(images=True)
    fold = np.arange(42) % 4
    pd.DataFrame({"id": tiny.data.train.ids, "fold": fold}).to_csv(tiny.root / "f.csv", index=False)
    done = podium(tiny.root, "folds", "--comp", "tiny", "--data", "f.csv")
    assert done.status == 0 and "folds/tiny.csv: made" in done.out
    desk = Desk(tiny)
    desk.edit("oof", lambda f: f.assign(fold=fold))
    command = ("import", "--comp", "tiny", "--name", "a", "--data", desk.write())
    for words in ("a: imported\n", "a: there already, unchanged\n"):
        done = podium(tiny.root, *command)
        assert done.status == 0 and words in done.out, done
        assert "42 rows oof, 18 rows test; 3 classes\nout-of-fold accuracy 0." in done.out
        assert done.out.endswith("next: make ensemble COMP=tiny\n")
    for wrong in (command[:3], ("folds", "--comp", "tiny", "--data", "f.csv", "--folds", "3")):
        done = podium(tiny.root, *wrong)
        assert done.status == 2 and done.err.startswith("error: ") and done.err.count("\n") == 1
