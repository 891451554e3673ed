"""The hunt for leaks: what is planted is found by its own trait, and nothing else is."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import f1_score

from pipeline.audit.evidence import overlap
from pipeline.audit.hunt import features, neighbours, score_of
from pipeline.audit.leaks import leak_findings, level_of
from pipeline.audit.rows import KEPT_ROWS, MOST_ROWS, Rows, hunt_of, sample
from pipeline.audit.score import Score, best_f1, chance_of_hits, clustered_error
from pipeline.audit.traits import PRESENT, Column, all_traits, trait
from pipeline.competition import CompetitionData
from pipeline.competition import Rows as TableRows
from pipeline.config.competition import parse_competition
from pipeline.config.project import Project
from pipeline.folds import Folds, k_folds
from pipeline.images.look import LOOK
from pipeline.metrics import get_metric

N, M = 240, 60  # training and test rows
NAMES = ("cat", "dog", "owl")


def quiet(sentence: str) -> None:
    pass


def table_rows(ids, images, labels=None):
    flags = np.zeros(len(ids), bool)
    return TableRows(np.array(ids), images, labels, None, None, None, flags, ~flags)


def competition(labels, stems=None, ids=None, folder=None, test=M, seed=0, **yaml):
    """Make a competition of rows whose names and looks say nothing, but for what is given."""
    n = len(labels)
    rng = np.random.default_rng(seed)
    names = [f"{k:05d}" for k in rng.permutation(90_000)[: n + test]]
    stems = [*(names if stems is None else stems), *names[n:]][: n + test] if stems else names
    ids = [*(stems[:n] if ids is None else ids), *stems[n:]]
    folders = folder or ["images"] * (n + test)
    images = [Path("data") / folders[i] / f"{stems[i]}.jpg" for i in range(n + test)]
    several = labels.ndim == 2
    task, metric = ("multilabel", "f1_micro") if several else ("multiclass", "accuracy")
    classes = NAMES[: labels.shape[1] if several else max(2, int(labels.max()) + 1)]
    columns = {"classes": list(classes)} if several else {"label": "label"}
    content = {"task": task, "metric": metric, "data": "data", "columns": columns, **yaml}
    made = CompetitionData(
        Project(Path(".")),
        parse_competition("c", content, "c.yaml"),
        classes,
        table_rows(ids[:n], images[:n], labels),
        table_rows(ids[n:], images[n:]),
        None,
        (),
        get_metric(metric, task),
    )
    looks = np.zeros(n + test, LOOK)
    for field, value in {
        "bytes": 4000,
        "content": b"x",
        "suffix": ".jpg",
        "format": "JPEG",
    }.items():
        looks[field] = value
    for field, value in {"mode": "RGB", "width": 64, "height": 48, "quality": 90}.items():
        looks[field] = value
    looks["orientation"] = looks["frames"] = looks["time"] = 1
    return made, looks


def folds_of(data, group=None):
    fold = k_folds(data.labels, group, 5, 0)
    return Folds(data.train.ids, fold, group, "", {})


def levels(data, looks, group=None):
    found = leak_findings(data, folds_of(data, group), looks, quiet)
    return {finding.name: finding for finding in found}


def blocked(found):
    return {name for name, finding in found.items() if finding.level == "block"}


def told(found):
    """Return the names of what blocks or warns."""
    return {name for name, finding in found.items() if finding.level in ("block", "warn")}


def drawn(seed=0, classes=3, n=N):
    return np.random.default_rng(seed).permutation(np.arange(n) % classes)


def noise(n, seed=5):
    return np.random.default_rng(seed).integers(10_000, 99_999, n)


def test_class_at_the_start_of_the_file_name():
    """Check that names with the class are told of, with the token and how many rows have it; they
    block where the test names have it, too, and warn where these do not."""
    y = drawn()
    every = zip([*y, *drawn(3, n=M)], noise(N + M), strict=True)
    stems = [f"{NAMES[k]}_{number}" for k, number in every]
    data, looks = competition(y, stems[:N])
    images = [Path(f"data/images/{stem}.jpg") for stem in stems[N:]]
    carried = replace(data, test=table_rows(stems[N:], images))
    assert blocked(levels(carried, looks)) == {"leak-name"}
    found = levels(data, looks)
    assert not blocked(found) and told(found) == {"leak-name"}
    finding = found["leak-name"]
    titles = [item["title"] for item in finding.items]
    assert any("token 'dog'" in title and "80 of 80 rows are dog" in title for title in titles)
    assert "agree" in finding.why and "does not carry over" in finding.why
    assert finding.table[1][3] == "100.0%"


def test_sign_that_the_test_names_share_blocks_behind_one_that_they_lack():
    """Check that a suffix which both tables have blocks, though a word that tells more is of the
    training names alone; the suffix is what the finding shows."""
    y, rng = drawn(classes=2), np.random.default_rng(1)
    truth = np.r_[y, drawn(3, 2, M)]
    suffix = np.where(rng.random(N + M) < 0.93, truth, 1 - truth)
    words = [("camp", "palm")[k] for k in y] + ["shot"] * M
    stems = [f"{w}{v}{'xz'[k]}" for w, v, k in zip(words, noise(N + M), suffix, strict=True)]
    data, looks = competition(y, stems[:N])
    images = [Path(f"data/images/{stem}.jpg") for stem in stems[N:]]
    found = levels(replace(data, test=table_rows(stems[N:], images)), looks)
    assert blocked(found) == {"leak-name"}
    assert 0.85 < float(found["leak-name"].table[1][1].split(" ")[0]) < 0.97
    titles = " ".join(item["title"] for item in found["leak-name"].items)
    assert "token 'x'" in titles and "camp" not in titles


def test_missing_pictures_are_no_sign_of_their_class():
    """Check that pictures which are missing for most of one class do not make sizes and forms that
    are all the same into leaks; in the pictures that are there a leak still shows."""
    y = drawn()
    gone = np.zeros(N + M, bool)
    gone[:N] = (y == 1) & (np.random.default_rng(0).random(N) < 0.6)
    data, looks = competition(y)
    looks[gone], looks["fault"][gone] = np.zeros(1, LOOK), "no such file"
    assert not told(levels(data, looks))
    looks["quality"][:N][y == 0] = 75
    found = levels(data, looks)
    assert blocked(found) == {"leak-compression"}
    assert found["leak-compression"].count == N - gone.sum()
    looks["fault"] = "no such file"
    assert {f.level for f in levels(data, looks).values()} == {"fine"}


def test_class_in_a_hexadecimal_digit_of_the_id():
    """Check that a digit of the id tells, though the file names do not."""
    y, rng = drawn(classes=2), np.random.default_rng(1)
    hexes = [f"{rng.integers(16**7):07x}" for _ in range(N)]
    digits = [f"{2 * rng.integers(8) + k:x}" for k in y]
    ids = [one[:3] + digit + one[3:] for one, digit in zip(hexes, digits, strict=True)]
    assert blocked(levels(*competition(y, ids=ids))) == {"leak-name"}


def test_class_in_a_range_of_numbers():
    """Check that camera numbers of a session per class are told of, as a range."""
    y, rng = drawn(), np.random.default_rng(1)
    stems = [f"IMG{4000 + 300 * k + rng.integers(250)}x{i}" for i, k in enumerate(y)]
    finding = levels(*competition(y, stems))["leak-name"]
    assert finding.level == "warn"  # the test names have no such numbers
    assert any("number of the file name 4," in item["title"] for item in finding.items)


def test_class_in_the_folder():
    """Check that a folder is blocked, and that test rows which lie in such folders are counted."""
    y = drawn()
    truth = drawn(3, n=M)
    folder = [f"images/{'abc'[k]}" for k in [*y, *truth]]
    found = levels(*competition(y, folder=folder))
    assert blocked(found) == {"leak-path"}
    assert "would carry over" in found["leak-path"].why


@pytest.mark.parametrize(
    ("field", "values", "name"),
    [
        ("bytes", (4000, 4016, 4032), "leak-bytes"),
        ("width", (64, 65, 64), "leak-dimensions"),
        ("quality", (90, 90, 75), "leak-compression"),
        ("camera", ("", "Canon", "Nikon"), "leak-compression"),
        ("time", (100.0, 200.0, 300.0), "leak-time"),
    ],
)
def test_class_in_the_file(field, values, name):
    """Check that padding, size and compression are each blocked by the trait of that name, and that
    time, which no network sees, warns; sharpness and the like are noise, so that no picture
    explains it."""
    y = drawn()
    data, looks = competition(y)
    looks[field][:N] = np.array(values)[y]
    looks["sharpness"] = np.random.default_rng(0).random(N + M)
    if field == "bytes":
        looks["bytes"] += np.random.default_rng(1).integers(0, 12, N + M)
    if field == "time":
        looks["time"][:N] += np.random.default_rng(1).random(N)
    found = levels(data, looks)
    assert blocked(found) == ({name} if field != "time" else set())
    assert found[name].level in ("block", "warn") and found["leak-all"].level == "note"
    if field == "width":  # bytes per pixel know it, too, and no better than the pixels
        assert found["leak-bytes"].level == "warn"


def test_size_in_bytes_that_the_picture_explains():
    """Check that a class of sharp pictures in longer files is a warning, not a block."""
    y = drawn(classes=2)
    data, looks = competition(y)
    sharp = np.r_[y, drawn(4, 2, M)] + 0.4 * np.random.default_rng(0).normal(size=N + M)
    looks["sharpness"] = sharp
    looks["bytes"] = 4000 + 1000 * sharp + np.random.default_rng(1).normal(0, 50, N + M)
    finding = levels(data, looks)["leak-bytes"]
    assert finding.level == "warn" and "pixels alone put right" in finding.why


@pytest.mark.parametrize("how", ["sorted", "blocks", "alternating"])
def test_class_in_the_order_of_rows(how):
    """Check that a table that is sorted, in short blocks, or alternates is told of; it does not
    block, since no network sees it and sound tables are often sorted."""
    y = {
        "sorted": np.sort(drawn()),
        "blocks": np.repeat(drawn(n=N // 6), 6),
        "alternating": np.arange(N) % 3,
    }[how]
    found = levels(*competition(y))
    assert not blocked(found) and told(found) == {"leak-order"}
    assert found["leak-all"].level == "note"


def test_one_label_of_several():
    """Check that of three labels the one that a name gives away is named."""
    rng = np.random.default_rng(0)
    labels = (rng.random((N, 3)) < 0.4).astype(np.int8)
    stems = [f"{'xq'[k]}{v}" for k, v in zip(labels[:, 1], noise(N), strict=True)]
    found = levels(*competition(labels, stems))
    assert told(found) == {"leak-name"}
    assert "label 'dog'" in found["leak-name"].says


def test_leaking_label_is_found_among_many(monkeypatch):
    """Check that the screening passes the one of 30 labels that leaks to the boosting."""
    monkeypatch.setattr("test_audit_leaks.NAMES", tuple(f"label-{k}" for k in range(30)))
    monkeypatch.setattr("pipeline.audit.hunt.MOST_LABELS", 2)
    labels = (np.random.default_rng(0).random((N, 30)) < 0.3).astype(np.int8)
    stems = [f"{'xq'[k]}{v}" for k, v in zip(labels[:, 23], noise(N), strict=True)]
    found = levels(*competition(labels, stems))
    assert "label 'label-23'" in found["leak-name"].says and told(found) == {"leak-name"}


def test_rare_class():
    """Check that a class of 2 % that is named so is told of, though accuracy hardly moves."""
    y = np.r_[np.full(12, 2), drawn(classes=2, n=588)]
    y = np.random.default_rng(0).permutation(y)
    stems = [f"{'rare' if k == 2 else 'some'}{v}" for k, v in zip(y, noise(600), strict=True)]
    finding = levels(*competition(y, stems))["leak-name"]
    assert finding.level == "warn"
    assert "class 'owl' (12 rows) almost surely (F1 1.00)" in finding.says


def test_noise_is_not_blocked():
    """Check that of 20 labellings of pictures that differ in everything none is blocked, and at
    most one is warned of."""
    warned = 0
    for seed in range(20):
        y = np.random.default_rng(seed).integers(0, 2, 90)
        data, looks = competition(y, test=20, seed=seed)
        rng = np.random.default_rng(100 + seed)
        looks["bytes"], looks["width"] = rng.integers(3000, 9000, (2, 110))
        looks["quality"], looks["time"] = rng.integers(70, 99, 110), rng.random(110) + 1
        folds = Folds(data.train.ids, k_folds(y, None, 3, 0), None, "", {})
        found = {f.name: f for f in leak_findings(data, folds, looks, quiet)}
        assert len(found) == 8 and not blocked(found)
        warned += any(finding.level == "warn" for finding in found.values())
    assert warned <= 1


def test_photographers_do_not_count_where_folds_keep_them_together():
    """Check that names of photographers with favourite classes tell nothing of those unseen, and
    would if the folds tore their photos apart."""
    rng = np.random.default_rng(0)
    who = np.repeat(np.arange(24), 10)
    y = np.where(rng.random(N) < 0.9, rng.integers(0, 3, 24)[who], rng.integers(0, 3, N))
    shuffled = rng.permutation(N)
    who, y = who[shuffled], y[shuffled]
    people = [f"{k:02d}" for k in rng.permutation(99)[:24]]
    stems = [f"by{people[p]}no{v}" for p, v in zip(who, noise(N), strict=True)]
    data, looks = competition(y, stems)
    assert "leak-name" not in told(levels(data, looks, who.astype(str)))
    assert "leak-name" in told(levels(data, looks))


def test_folders_of_classes_are_not_hunted():
    """Check that with a folder per class only the file name counts, and that it is said."""
    y = np.sort(drawn())
    folder = [f"train/{NAMES[k]}" for k in y] + ["test"] * M
    stems = [f"{v}" for v in noise(N)]
    ids = [f"{f}/{s}.jpg" for f, s in zip(folder, stems, strict=False)]
    yaml = {"folders": {"train": "train", "test": "test"}, "columns": {}}
    data, looks = competition(y, stems, ids, folder, **yaml)
    looks["time"] = np.r_[100.0 + np.arange(N), 1000.0 + np.arange(M)]
    found = levels(data, looks)
    assert not blocked(found)
    assert found["leak-time"].level == "warn"  # the test files are from another time
    assert "to 0%, so it does not carry over" in found["leak-time"].why
    assert found["leak-path"].level == found["leak-order"].level == "note"
    stems = [f"{NAMES[k]}{v}" for k, v in zip(y, stems, strict=True)]
    assert told(levels(*competition(y, stems, ids, folder, **yaml))) == {"leak-name"}


def test_odd_tables_pass():
    """Check pictures that are absent, a class of one row, few rows, no test rows, one class."""
    y = np.r_[drawn(classes=2, n=23), 2]
    data, looks = competition(y, test=0)
    looks[3:9] = np.zeros(6, LOOK)
    looks["fault"][3:9] = "no such file"
    assert {f.level for f in levels(data, looks).values()} == {"fine"}
    few, looks = competition(np.array([0, 1, 0]), test=1)
    folds = Folds(few.train.ids, np.array([0, -1, -1]), None, "", {})
    assert {f.level for f in leak_findings(few, folds, looks, quiet)} == {"fine"}
    one, looks = competition(np.zeros(20, int))
    assert {f.level for f in levels(one, looks).values()} == {"fine"}


def test_hold_out_and_rows_kept_apart():
    """Check that a hold-out is enough to find a leak, and that rows kept apart are not used."""
    y = drawn()
    stems = [f"{NAMES[k]}_{v}" for k, v in zip(y, noise(N), strict=True)]
    data, looks = competition(y, stems)
    fold = np.where(np.arange(N) % 4 == 0, 0, -1)
    fold[:20] = -2
    found = leak_findings(data, Folds(data.train.ids, fold, None, "", {}), looks, quiet)
    assert found[0].level == "warn" and found[0].count == N - 20


def test_neighbours_are_of_other_groups_and_trained_on():
    """Check the nearest trained rows against a search row by row."""
    rng = np.random.default_rng(0)
    order = rng.permutation(60).astype(float)
    order[[4, 9]] = np.nan
    group = rng.integers(0, 15, 60)
    trained = np.flatnonzero(~np.isin(group, [1, 5, 7]))
    found = neighbours(order, trained, group, np.arange(60))
    for row in range(60):
        other = [t for t in trained if group[t] != group[row] and not np.isnan(order[t])]
        before = [t for t in other if order[t] < order[row]]
        after = [t for t in other if order[t] > order[row]]
        expected = max(before, key=order.item, default=-1), min(after, key=order.item, default=-1)
        assert tuple(found[row]) == (expected if not np.isnan(order[row]) else (-1, -1))


def test_labels_of_validated_rows_are_not_seen():
    """Check that changing the labels of a fold changes nothing that is fed to its model."""
    y = drawn()
    data, looks = competition(y)
    rows = Rows(folds_of(data), np.arange(N), np.arange(N))
    traits = all_traits(data, looks, np.arange(N), np.arange(M))
    trained, other = rows.folds.train_rows(0), y.copy()
    other[rows.folds.valid_rows(0)] = (y[rows.folds.valid_rows(0)] + 1) % 3
    fed = [features(traits, rows, trained, codes[:, None])[0] for codes in (y, other)]
    np.testing.assert_array_equal(*fed)
    assert (features(traits, rows, np.arange(N), other[:, None])[0] != fed[0]).any()


def test_best_f1_is_the_best_of_all_thresholds():
    """Check F1 with ties against scikit-learn at every threshold."""
    rng = np.random.default_rng(0)
    positive, scores = rng.random(80) < 0.3, np.round(rng.random(80), 1)
    best = max(np.unique(scores), key=lambda cut: f1_score(positive, scores >= cut))
    found, answered, hits = best_f1(positive, scores)
    assert found == pytest.approx(f1_score(positive, scores >= best))
    assert (answered, hits) == ((scores >= best).sum(), (positive & (scores >= best)).sum())


def test_chance_of_hits_is_that_of_shuffled_answers():
    """Check the chance against shuffling, and that rows of one group count once."""
    rng = np.random.default_rng(0)
    positive, answered = np.arange(40) < 12, np.arange(40) % 40 < 15
    hits = [(rng.permutation(answered) & positive).sum() for _ in range(20_000)]
    alone = np.arange(40)
    for k in (5, 7, 8):
        chance = chance_of_hits(positive, 15, k, alone)
        assert chance == pytest.approx(np.mean(np.array(hits) >= k), rel=0.15)
    four = [np.repeat(x, 4) for x in (positive, alone)]
    assert chance_of_hits(four[0], 60, 32, four[1]) == chance_of_hits(positive, 15, 8, alone)
    assert chance_of_hits(four[0], 60, 32, np.arange(160)) < chance / 100


def score(gain=0.0, se=0.1, f1=0.0, chance=1.0):
    return Score("", 0.5 + gain, 0.5, se, 10_000, "owl", f1, 10, chance)


def test_many_labels_of_noise_are_judged_together():
    """Check that of 30,000 labels whose gains and chances are those of noise none is told of,
    whereas some would be if each were judged as the only one."""
    rng = np.random.default_rng(0)
    gains = [score(gain=z * 0.1) for z in rng.normal(size=30_000)]
    named = [score(f1=1.0, chance=p) for p in rng.random(30_000)]
    for noise_of in (gains, named):
        assert {level_of(one, 30_000) for one in noise_of} == {"fine"}
        alone = sum(level_of(one, 1) == "block" for one in noise_of)
        assert 20 < alone < 65  # 40 is 30,000 times .00135


def test_class_that_chance_may_tell_does_not_block():
    """Check that a high F1 of a few rows is not enough: nine hits of ten answers, where half of the
    rows are of that class, against ten of ten in a large table."""
    few, many = np.arange(21) < 10, np.arange(400) < 10
    lucky = chance_of_hits(few, 10, 9, np.arange(21)) * 21
    surely = chance_of_hits(many, 10, 10, np.arange(400)) * 400
    assert level_of(score(f1=0.9, chance=lucky), 8) == "fine"
    assert level_of(score(f1=1.0, chance=surely), 8) == "block"


def test_gains_on_noise_spread_by_no_more_than_their_error():
    """Check over 60 tables of noise, whose trait has two values, that the models of all parts share
    rows: the error of independent rows is a sixth too small."""
    found, every = [], np.arange(300)
    for seed in range(60):
        rng = np.random.default_rng(seed)
        y, bit = rng.integers(0, 2, 300), rng.integers(0, 2, 300).astype(float)
        folds = Folds(every.astype(str), k_folds(y, None, 5, seed), None, "", {})
        one = trait("t", "t", [Column("b", bit)], 300)
        found.append(score_of([one], Rows(folds, every, every), y, ("a", "b")))
    spread, error = np.std([s.gain for s in found], ddof=1), np.mean([s.se for s in found])
    assert 0.6 * error < spread < 0.95 * error  # 1.18 without the widening


def test_error_counts_groups():
    """Check that copying every row four times as one group leaves the error, and n rows alone give
    the usual one."""
    values = np.random.default_rng(0).normal(size=50)
    usual = values.std(ddof=1) / np.sqrt(50)
    assert clustered_error(values, np.arange(50))[0] == pytest.approx(usual)
    copied = clustered_error(np.repeat(values, 4), np.repeat(np.arange(50), 4))
    assert copied == (pytest.approx(usual), 50)


def test_overlap_of_distributions():
    """Check 1 for the same values, 0 for others, and half where half of the rows are elsewhere."""
    column = Column("size", np.arange(200.0))
    assert overlap(column, column) == pytest.approx(1)
    assert overlap(column, replace(column, values=np.arange(500.0, 600))) == 0
    half = np.r_[np.arange(200.0), np.arange(500.0, 700)]
    assert overlap(column, replace(column, values=half)) == pytest.approx(0.5)
    token = Column("token 'a'", np.array([0.0, 1.0]), PRESENT)
    assert overlap(token, replace(token, values=np.zeros(9))) == 0
    assert overlap(token, token) == 1
    kinds = Column("format", np.array([0.0, 0, 1, 1]), ("'JPEG'", "'PNG'"))
    assert overlap(kinds, replace(kinds, values=np.array([1.0, 1]))) == pytest.approx(0.5)


def test_sample_keeps_rare_classes():
    """Check that a large table is thinned evenly, by ids and not by places, and a rare class is
    kept whole."""
    n = 2 * MOST_ROWS
    y = np.where(np.arange(n) % 1000 == 0, 1, 0)
    ids = np.array([f"{k}" for k in range(n)])
    kept = sample(ids, y)
    assert len(kept) <= MOST_ROWS and y[kept].sum() == 40
    other = np.random.default_rng(0).permutation(n)
    assert set(ids[other][sample(ids[other], y[other])]) == set(ids[kept])


def test_sample_of_very_many_classes_keeps_the_limit(monkeypatch):
    """Check that 1,000 classes do not each keep the rows of a rare one: those beyond 20 are one."""
    monkeypatch.setattr("pipeline.audit.rows.MOST_ROWS", 4000)
    data, _ = competition(drawn(classes=2))
    n = 30_000
    y = np.r_[np.zeros(4000, int), np.arange(n - 4000) % 1000]
    ids = np.array([f"{k}" for k in range(n)])
    classes = tuple(f"{k}" for k in range(1000))
    many = replace(data, classes=classes, train=table_rows(ids, [Path("a")] * n, y))
    folds = Folds(ids, np.arange(n) % 5, None, "", {})
    hunt = hunt_of(many, folds, np.ones(n, bool))
    chosen = hunt.labels[hunt.rows.chosen, 0]
    assert 3000 < len(chosen) <= 4000 and np.bincount(chosen, minlength=20).min() >= 26
    assert len(sample(ids, y)) <= 4000 < KEPT_ROWS * 1000  # more classes than there is room for


def test_columns_that_say_nothing_are_left_out():
    """Check that constants and copies are dropped, by the training rows alone."""
    columns = [Column("a", np.array([1.0, 2, 3])), Column("b", np.array([1.0, 2, 9]))]
    columns += [Column("c", np.array([1.0, 1, 2])), Column("d", np.array([np.nan, 1, 1]))]
    made = trait("t", "t", columns, 2)
    assert [column.name for column in made.train] == ["a", "d"]
    assert trait("t", "t", columns[2:3], 2) is None
