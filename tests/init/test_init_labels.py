"""One name or several, groups or labels: told by what the values do."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.competition.labels import split
from pipeline.init.split import SEPARATORS, separator_of

CLOTHES = "T-shirt/top Trouser Pullover Dress Coat Sandal Shirt Sneaker Bag"
LATIN = [f"{genus} {kind}" for genus in ("Acer", "Quercus", "Salix") for kind in ("alba", "rubra")]
DOGS = ["golden retriever", "labrador retriever", "flat-coated retriever", "pug", "boxer"]
IMAGENET = ["tench, Tinca tinca", "goldfish, Carassius auratus", "great white shark, white shark"]
FRUIT = [f"{colour} {fruit}" for colour in ("red", "green", "old") for fruit in ("apple", "pear")]
MANY_FRUIT = [f"{colour} {fruit}" for colour in "rgby" for fruit in ("apple", "pear", "fig", "nut")]
FEW = ["old red apple", "red apple", "old pear", "red pear"]
TWICE = [" ".join(one) for n in (1, 2, 3) for one in itertools.product("abc", repeat=n)]


@pytest.mark.parametrize(
    "names",
    [
        [*CLOTHES.split(), "Ankle boot"],
        LATIN,
        DOGS,
        IMAGENET,
        FRUIT,
        MANY_FRUIT,
        FEW,
        TWICE,
        ["a", "b"],
    ],
)
def test_names_that_hold_separators(names):
    """Check that names of several words are one name each, though words recur."""
    assert separator_of(names * 20) is None


@pytest.mark.parametrize("separator", SEPARATORS)
@given(data=st.data())
@settings(max_examples=25, deadline=None)
def test_random_sets_come_apart(separator, data):
    """Check that random sets of names are taken apart at the separator that joined them."""
    names = data.draw(
        st.lists(
            st.from_regex(r"[a-z0-9]{1,8}", fullmatch=True), min_size=4, max_size=9, unique=True
        )
    )
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    # Every pair, and every name alone, so that no draw lacks what tells sets from names.
    sets = [[name] for name in names] + [list(pair) for pair in itertools.combinations(names, 2)]
    sets += [list(rng.choice(names, rng.integers(1, 4), replace=False)) for _ in range(60)]
    texts = [separator.join(one) for one in sets]
    found = separator_of(texts)
    assert found == separator
    assert [split(text, found) for text in texts] == sets


def test_sentences_are_no_labels():
    """Check that free text, in which words come twice and most are rare, is not taken for sets."""
    rng = np.random.default_rng(0)
    rare = [f"word{i}" for i in range(400)]
    texts = [f"the {rng.choice(rare)} of the {rng.choice(rare)}" for _ in range(100)]
    assert separator_of(texts) is None


def table(site, named, header, rows, extra_pictures=()):
    ids = named("a", len(rows))
    site.table("train.csv", f"id {header}", [(x, *row) for x, row in zip(ids, rows, strict=True)])
    site.pictures("images", [f"{x}.jpg" for x in ids])


def test_a_name_with_a_space_is_said(site, named):
    """Check that names with recurring words stay one name, and that the key to split is said."""
    table(site, named, "label", [[FRUIT[i % 6]] for i in range(30)])
    made = site.init()
    assert made.competition.columns.label == "label" and len(made.classes) == 6
    assert any("task=multilabel" in said for said in made.assumptions)
    split_up = site.init("task=multilabel", fresh=True).competition.columns
    assert split_up.labels == "label" and split_up.separator == " "


def test_sets_with_a_space_are_said(site, named):
    """Check that texts taken apart at spaces say so, and that one name each can be had."""
    words = ["complex", "rust", "scab", "spot"]
    sets = [c for n in (1, 2, 3) for c in itertools.combinations(words, n)]
    table(site, named, "labels", [[" ".join(sets[i % len(sets)])] for i in range(60)])
    made = site.init()
    assert made.competition.columns.labels == "labels"
    assert any("task=multiclass" in said for said in made.assumptions)
    whole = site.init("task=multiclass", fresh=True)
    assert whole.competition.columns.label == "labels" and len(whole.classes) == len(sets)


def test_groups_are_proposed(site, named):
    """Check which columns are proposed as groups: recurring, many, not told by the label."""
    rng = np.random.default_rng(0)
    rows = []
    for i in range(120):
        kind = "abcdefghijkl"[i % 12]
        told = kind.upper()  # which the label tells
        rows.append((kind, f"p{i % 23}", f"n{rng.integers(40)}", told, i * 0.5, i % 30, "same"))
    table(site, named, "label patient_id shelfmark upper depth number constant", rows)
    made = site.init()
    said = {line.partition("   #")[0] for line in made.proposals}
    assert said == {"columns.group: patient_id", "columns.group: shelfmark"}
    assert made.competition.columns.group is None
    grouped = site.init("columns.group=patient_id", fresh=True)
    assert grouped.competition.columns.group == "patient_id"
    assert "columns.group: patient_id" not in {x.partition("   #")[0] for x in grouped.proposals}


def test_weights_and_boxes_are_proposed(site, named):
    """Check that columns of weights and of a box become comments that can be uncommented."""
    rows = [("cat" if i % 2 else "dog", 0.5 + i % 3, 1, 1, 7, 7) for i in range(20)]
    table(site, named, "label weight xmin ymin xmax ymax", rows)
    site.init()
    text = site.yaml.read_text()
    assert "  # weight: weight" in text and "crop: {kind: box" in text
    for line in ("  # weight:", "# crop: {kind: box"):
        text = text.replace(line, line.replace("# ", "", 1), 1)
    site.yaml.write_text(text)
    data = site.load()
    assert data.train.weights.tolist()[:3] == [0.5, 1.5, 2.5]
    assert data.train.boxes.tolist()[0] == [1, 1, 7, 7]


def test_soft_labels_are_refused(site, named):
    """Check that columns asked for that hold fractions are named as what is not supported."""
    ids = named("b", 5)
    table(site, named, "cat dog", [(0.3, 0.7)] * 20)
    site.table("sample_submission.csv", "id cat dog", [(x, 0.5, 0.5) for x in ids])
    assert "'cat' holds other values than 0 and 1" in site.refusal()


def test_classes_that_no_row_has(site, named):
    """Check that classes known from the sample alone are listed, and warned about."""
    table(site, named, "label", [["cat" if i % 2 else "dog"] for i in range(20)])
    test = named("b", 5)
    site.table("sample_submission.csv", "id cat dog owl", [(x, 0.3, 0.3, 0.4) for x in test])
    site.pictures("images", [f"{x}.jpg" for x in test])
    made = site.init()
    assert made.competition.classes == ("cat", "dog", "owl")
    assert any("'owl' (0)" in warning for warning in made.warnings)


def test_alike_names_are_warned_about(site, named):
    """Check that class names that differ by case or spaces alone are named."""
    kinds = ["Cat", "cat", "big dog", "bigdog"]
    table(site, named, "label", [[kinds[i % 4]] for i in range(40)])
    warnings = site.init().warnings
    assert any("'Cat' and 'cat'" in warning for warning in warnings)
    assert any("'big dog' and 'bigdog'" in warning for warning in warnings)


def test_a_column_of_splits_is_warned_about(site, named):
    """Check that rows meant for validation are pointed out, since all are trained on."""
    rows = [("cat" if i % 2 else "dog", ["train", "train", "val"][i % 3]) for i in range(30)]
    table(site, named, "label split", rows)
    assert any("column 'split'" in warning for warning in site.init().warnings)


def test_numbers_to_be_predicted_are_refused(site, named):
    """Check that a target of many different numbers is not taken for classes."""
    table(site, named, "target", [[round(0.37 * i, 2)] for i in range(40)])
    assert "numbers to be predicted are not supported" in site.refusal()


@pytest.mark.parametrize("header", ["Id,label", "ID,label", "image,label"])
def test_an_id_of_another_name_in_the_sample(site, named, header):
    """Check that the sample's first column is its id, however it is spelt."""
    table(site, named, "label", [["cat" if i % 2 else "dog"] for i in range(20)])
    test = named("b", 5)
    site.table("test.csv", "id", [[x] for x in test])
    site.table("sample_submission.csv", header.replace(",", " "), [(x, "cat") for x in test])
    site.pictures("images", [f"{x}.jpg" for x in test])
    made = site.init()
    assert made.competition.columns.id == "id" and made.competition.columns.label == "label"
    assert made.competition.metric == "accuracy" and made.competition.tables.test == "test.csv"


@pytest.mark.parametrize(
    "labels, sampled, metric",
    [
        (["0", "1"], "0", "accuracy"),
        (["0", "1"], "0.0", "log_loss"),
        (["0", "1"], "0.5", "log_loss"),
        (["0.0", "1.0"], "0", "accuracy"),
        (["cat", "dog"], "cat", "accuracy"),
        (["cat", "dog"], "0.5", "log_loss"),
        (["cat", "dog"], "", "accuracy"),
        (["0", "1", "2"], "0.0", "accuracy"),
    ],
)
def test_the_values_of_the_sample_tell_the_form(site, named, labels, sampled, metric):
    """Check when one column of a sample holds names and when a probability."""
    table(site, named, "label", [[labels[i % len(labels)]] for i in range(24)])
    test = named("b", 5)
    site.table("sample_submission.csv", "id label", [(x, sampled) for x in test])
    site.pictures("images", [f"{x}.jpg" for x in test])
    assert site.made()["metric"] == metric


def test_a_box_that_test_rows_lack(site, named):
    """Check that a box is proposed only where both tables have it."""
    rows = [("cat" if i % 2 else "dog", 1, 1, 7, 7) for i in range(20)]
    table(site, named, "label x0 y0 x1 y1", rows)
    assert any(said.startswith("crop") for said in site.init().proposals)
    site.table("test.csv", "id", [[x] for x in named("b", 5)])
    site.pictures("images", [f"{x}.jpg" for x in named("b", 5)])
    assert site.init(fresh=True).proposals == []


def test_the_only_column_is_the_label(site, named):
    """Check that a label may have the name of a group where nothing else is left."""
    table(site, named, "animal", [["cat" if i % 2 else "dog"] for i in range(20)])
    assert site.made()["columns"] == {"id": "id", "label": "animal"}


def test_values_of_the_sample_choose_the_column(site, named):
    """Check that of two columns the one with the sample's values is the label."""
    rows = [("red" if i % 3 else "blue", "cat" if i % 2 else "dog") for i in range(20)]
    table(site, named, "coat kind", rows)
    test = named("b", 5)
    site.pictures("images", [f"{x}.jpg" for x in test])
    site.table("sample_submission.csv", "id Predicted", [(x, "dog") for x in test])
    assert site.made()["columns"]["label"] == "kind"
