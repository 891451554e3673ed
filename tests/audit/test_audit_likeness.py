"""Test against training pictures: a shift is found, and of one distribution there is none."""

import numpy as np
import pytest

from pipeline.audit import likeness
from pipeline.audit.adversarial import boosting, out_of_fold, regression, told_apart
from pipeline.audit.auc import roc_area
from pipeline.audit.evidence import differences, single_areas
from pipeline.audit.likeness import NAME, likeness_findings
from pipeline.audit.traits import Column
from pipeline.images.duplicates import competition_looks
from pipeline.images.look import LOOK

N, M = 240, 120


def quiet(sentence: str) -> None:
    pass


@pytest.fixture
def blind(monkeypatch):
    """Do without pictures: only looks are compared."""
    monkeypatch.setattr(likeness, "frozen_features", lambda *_: None)


def looks_like(n, seed=0, brightness=1.0):
    """Make looks at pictures of random brightness, all else being noise that fits it."""
    rng = np.random.default_rng(seed)
    looks = np.zeros(n, LOOK)
    level = rng.normal(120, 5, n) * brightness
    looks["mean"] = level[:, None] + rng.normal(0, 3, (n, 3))
    looks["std"] = rng.normal(40, 5, (n, 3))
    looks["thumb"] = np.clip(level[:, None, None, None] + rng.normal(0, 20, (n, 8, 8, 3)), 0, 255)
    looks["sharpness"] = rng.random(n)
    looks["bytes"] = rng.integers(3000, 9000, n)
    looks["dhash"] = rng.integers(0, 256, (n, 32))
    looks["content"] = rng.integers(0, 2**60, n).astype("S32")
    looks["width"], looks["height"], looks["format"], looks["orientation"] = 64, 48, "PNG", 1
    return looks


@pytest.fixture
def found(make_tiny, tmp_path, blind):
    """Return a function from looks to the finding of a competition of 240 and 120 pictures."""

    def find(looks, groups=None, **options):
        data = make_tiny(folder=f"c{len(list(tmp_path.iterdir()))}", rows=N, test=M).data
        (finding,) = likeness_findings(data, looks, tmp_path, quiet, groups)
        return finding

    return find


def ids_of(finding, title):
    return [int(item["rows"][0]) for item in finding.items if title in item["title"]]


def test_brighter_test_pictures_are_found(found):
    """Check that a test set brightened by 15 % is warned of, with the direction, and that training
    pictures brightened alike are those named as most like the test."""
    looks = np.concatenate([looks_like(N, 1), looks_like(M, 2, 1.15)])
    alike = np.arange(5, 77, 6)  # twelve of them
    looks[alike] = looks_like(12, 3, 1.15)
    finding = found(looks)
    assert (finding.name, finding.level, finding.count) == (NAME, "warn", M)
    named = ids_of(finding, "training picture, most like the test")
    assert set(named[:5]) <= set(alike.tolist())
    assert len(set(named) & set(alike.tolist())) >= 7  # by chance there would be 0.6
    assert all(number >= N for number in ids_of(finding, "test picture, least"))
    assert len(finding.items) == 36 and "mean of" in finding.table[1][-1]
    words = finding.table[1][-1].split(": median ")[1].split(";")[0].split(" against ")
    assert float(words[0]) > 1.08 * float(words[1])


def test_shape_of_the_files_is_found_apart(found):
    """Check that other sizes and formats are found by the form of the file alone."""
    looks = looks_like(N + M)
    looks["width"][N:], looks["format"][N:] = 80, "JPEG"
    finding = found(looks)
    assert finding.level == "warn" and "by the form of the file" in finding.says
    rows = {row[0]: row for row in finding.table}
    assert float(rows["statistics of the pixels"][1]) < 0.6
    assert "width: median 80 against 64" in rows["form of the file"][-1]


def test_one_distribution_is_not_told_apart(found):
    """Check that of ten pairs of tables from one distribution at most one is noted, and none
    warned of."""
    levels = [found(looks_like(N + M, seed)).level for seed in range(10)]
    assert levels.count("fine") >= 9 and "warn" not in levels


def test_interval_of_halves_holds_one_half():
    """Check that the two halves of one distribution have an AUC of one half within the interval in
    about 95 of 100, with scores that nothing was fitted to."""
    rng, held = np.random.default_rng(0), 0
    for _ in range(1000):
        area = roc_area(rng.permutation(200) < 100, rng.normal(size=200))
        held += area.low <= 0.5 <= area.high
    assert 930 <= held <= 970  # 2.9 standard errors either way


def test_copies_within_the_test_set_do_not_tell(found):
    """Check that test pictures that are copies of each other are kept in one part: they are no
    sign of another distribution."""
    looks = looks_like(N + M, 4)
    looks[N:] = np.repeat(looks[N : N + 12], 10)
    assert found(looks).level != "warn"
    looks["content"][N:] = np.arange(M).astype("S32")  # now they seem to be other pictures
    looks["dhash"] = np.random.default_rng(0).integers(0, 256, (N + M, 32))
    assert float(found(looks).table[1][2].split(" ")[0]) > 0.6


def hidden_films(seed, brightness=1.0):
    """Make looks at films of ten similar pictures, none of which is in both tables."""
    films, rng = looks_like((N + M) // 10, seed), np.random.default_rng(100 + seed)
    looks, film = looks_like(N + M, seed + 1), np.repeat(np.arange((N + M) // 10), 10)
    looks["mean"] = films["mean"][film] + rng.normal(0, 0.5, (N + M, 3))
    looks["std"], looks["sharpness"] = films["std"][film], films["sharpness"][film]
    looks["thumb"] = np.clip(films["thumb"][film] + rng.normal(0, 2, (N + M, 8, 8, 3)), 0, 255)
    looks["mean"][N:] *= brightness
    return looks


def test_films_that_nobody_names_are_noted_but_not_warned_of(found):
    """Check that hidden clusters of similar pictures, without any shift, are a note that names
    them, where the classifier's interval alone would warn; that a shift of theirs still warns."""
    for seed in (0, 10, 20):
        finding = found(hidden_films(seed))
        assert finding.level == "note" and "columns.group if there are" in finding.why
        assert float(finding.table[1][2].split(" ")[0]) > 0.6
    assert found(hidden_films(0, 1.2)).level == "warn"


def test_test_set_of_copies_cannot_be_compared(found):
    """Check that test pictures which are all the same one say nothing of others."""
    looks = looks_like(N + M)
    looks[N:] = looks[N]
    finding = found(looks)
    assert finding.level == "fine" and "nothing can be compared" in finding.says


def test_groups_that_recognise_each_other_are_no_shift():
    """Check that a test set of whole groups looks shifted to the classifier, not to the comparison
    with groups drawn from the training rows; a shift of its own still shows."""
    rng = np.random.default_rng(0)
    group = np.repeat(np.arange(90), 10)
    table = rng.normal(size=(90, 6))[group] + 0.3 * rng.normal(size=(900, 6))
    test = group >= 60
    cluster = np.where(test, 1000 + np.arange(900), group)
    rows = np.arange(900)
    alone = told_apart("x", boosting, table, rows, 600, cluster, grouped=False)
    assert alone.beyond(0.6)
    drawn = told_apart("x", boosting, table, rows, 600, cluster, grouped=True)
    assert not drawn.beyond(0.5) and drawn.drawn > 0.6
    moved = table + 8.0 * test[:, None]
    assert told_apart("x", boosting, moved, rows, 600, cluster, grouped=True).beyond(0.6)


def test_out_of_fold_scores_are_blind_to_their_clusters():
    """Check that noise which is the same within clusters tells nothing where clusters keep
    together, and everything where they do not."""
    rng = np.random.default_rng(0)
    cluster = np.repeat(np.arange(120), 5)
    table, test = rng.normal(size=(120, 4))[cluster], (rng.random(120) < 0.5)[cluster]
    blind = out_of_fold(boosting, table, test, cluster)
    torn = out_of_fold(boosting, table, test, np.arange(600))
    assert abs(roc_area(test, blind).value - 0.5) < 0.15 < roc_area(test, torn).value - 0.5


def test_regression_takes_many_columns():
    """Check that a shift in one of 300 columns is found with 200 rows of each table."""
    table = np.random.default_rng(0).normal(size=(400, 300))
    table[200:, 7] += 4
    told = told_apart("x", regression, table, np.arange(400), 200, np.arange(400), grouped=False)
    assert told.beyond(0.6)


def test_differences_are_in_words():
    """Check medians, means where medians agree, shares of kinds, and columns without a name."""

    def words(*columns):
        return differences(single_areas(columns, test), test)

    test = np.arange(40) >= 20
    spread = np.where(test, np.tile([1.0, 1, 1, 9, 9], 8), np.tile([1.0, 1, 1, 3, 3], 8))
    kinds = Column("format", test.astype(float), ("'JPEG'", "'PNG'"))
    size = Column("size", np.where(test, 9.0, 3.0) + np.arange(40) % 3)
    assert words(kinds) == "format 'JPEG': 0% against 100%"
    assert words(size) == "size: median 10 against 4"
    assert words(Column("s", spread)) == "s: mean 4.2 against 1.8"
    assert words(Column("", size.values)) == "-"
    falls = Column("falls", -size.values)
    assert [area for area, _ in single_areas([falls, size], test)] == pytest.approx([1.0, 1.0])


def test_too_few_or_no_test_rows(make_tiny, tmp_path, blind):
    """Check that without test rows there is no finding, and with a few nothing is said."""
    small = make_tiny(rows=30, test=5).data
    (finding,) = likeness_findings(small, looks_like(35), tmp_path, quiet)
    assert finding.level == "fine" and "too few" in finding.says
    tiny = make_tiny(folder="none")
    tiny.configure(tables={"test": None, "sample_submission": None})
    assert likeness_findings(tiny.data, looks_like(42), tmp_path, quiet) == []


def test_frozen_features_of_pictures_are_kept(make_tiny, monkeypatch):
    """Check the network's pass on real pictures: a darker test set is found, features are kept,
    read again, and made anew for a picture that has changed."""
    from pipeline.audit import frozen

    tiny = make_tiny(rows=60, test=30, images=True)
    data, looks = tiny.data, competition_looks(tiny.data)
    rows = np.arange(80)
    made = frozen.frozen_features(data, rows, looks, tiny.project.cache)
    assert made.shape == (80, 1280) and np.isfinite(made).all()
    labels = data.labels[:60]
    near = ((made[:60, None] - made[None, :60]) ** 2).sum(2) + 1e9 * np.eye(60)
    assert (labels[near.argmin(1)] == labels).mean() > 0.8  # colours of the classes are seen
    (finding,) = likeness_findings(data, looks, tiny.project.cache, quiet)
    assert [row[0] for row in finding.table][-1] == "features of a network"

    def refuse(*_):
        raise AssertionError("computed again")

    frozen.frozen_features(data, rows, looks, tiny.project.cache)
    monkeypatch.setattr(frozen, "_computed", refuse)
    again = frozen.frozen_features(data, rows, looks, tiny.project.cache)
    np.testing.assert_array_equal(again, made)
    looks["content"][3] = b"another"
    with pytest.raises(AssertionError, match="again"):
        frozen.frozen_features(data, rows, looks, tiny.project.cache)
    monkeypatch.setattr(frozen, "package_of", lambda arch: "no-such-package")
    assert frozen.frozen_features(data, rows, looks, tiny.project.cache) is None
