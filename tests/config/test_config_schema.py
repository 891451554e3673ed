"""Configuration: unknown keys name the nearest one, wrong values name key and value."""

import pytest

from pipeline.config.learning import Features
from pipeline.config.recipe import Recipe
from pipeline.config.schema import (
    differing,
    known_keys,
    merged,
    parse,
    parse_overrides,
    read_yaml,
)
from pipeline.config.study import Study
from pipeline.errors import PodiumError, nearest


def refusal(text: str) -> str:
    """Return what the pipeline says about a recipe with SET=`text`."""
    with pytest.raises(PodiumError) as refused:
        parse(Recipe, parse_overrides(text), "SET")
    assert str(refused.value).startswith("SET: ") and "\n" not in str(refused.value)
    return str(refused.value)


@pytest.mark.parametrize(
    ("key", "known"),
    [
        ("trainng.epochs", "training"),
        ("training.epochs_", "training.epochs"),
        ("training.epchs", "training.epochs"),
        ("image.crop.knd", "image.crop.kind"),
        ("image.sise", "image.size"),
        ("runtime.thread", "runtime.threads"),
    ],
)
def test_an_unknown_key_names_the_nearest(key, known):
    """Check that a misspelt key at any depth is refused with the key that was meant."""
    text = refusal(f"{key}=3")
    shown = key if known != "training" else "trainng"
    assert f"unknown key {shown!r} (did you mean {known}" in text


def test_an_unknown_key_without_a_neighbour_lists_what_is_known():
    """Check that keys of the same section are listed where none is near."""
    text = refusal("data.qqqqqqqqqqqqqqqqqq=1")
    assert text.endswith("known here: data.limit")


@pytest.mark.parametrize(
    ("text", "key", "value"),
    [
        ("training.epochs=three", "training.epochs", "'three'"),
        ("training.epochs=1.5", "training.epochs", "1.5"),
        ("training.epochs=-1", "training.epochs", "-1"),
        ("training.epochs=", "training.epochs", "None"),
        ("training.batch_size=1", "training.batch_size", "1"),
        ("training.checkpoint=middle", "training.checkpoint", "'middle'"),
        ("model.drop_rate=1.2", "model.drop_rate", "1.2"),
        ("model.pretrained=perhaps", "model.pretrained", "'perhaps'"),
        ("optimizer.lr=0", "optimizer.lr", "0"),
        ("optimizer.lr=.inf", "optimizer.lr", "inf"),
        ("optimizer.lr=nan", "optimizer.lr", "'nan'"),
        ("image.size=7", "image.size", "7"),
        ("image.mean=[0.5,0.5]", "image.mean", "[0.5, 0.5]"),
        ("augment.scale=[0.5,0.2]", "augment.scale", "[0.5, 0.2]"),
        ("augment.scale=[0.5,1.2]", "augment.scale", "[0.5, 1.2]"),
        ("loss.label_smoothing=1", "loss.label_smoothing", "1"),
        ("training=3", "training", "3"),
    ],
)
def test_a_wrong_value_names_key_and_value(text, key, value):
    """Check that type and range are checked, and the message holds key and value."""
    assert refusal(text).startswith(f"SET: {key} is {value}, but: ")


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("runtime.workers=-1", "runtime.workers"),
        ("runtime.threads=0", "runtime.threads"),
        ("runtime.channels_last=maybe", "runtime.channels_last"),
    ],
)
def test_a_key_that_also_takes_auto_is_named_as_written(text, key):
    """Check that of a key with two types the message names the key, not an inner type."""
    assert refusal(text).startswith(f"SET: {key} is ")


@pytest.mark.parametrize("text", ["training.epochs=true", "training.seed=yes"])
def test_a_truth_value_is_not_a_number(text):
    """Check that `true` is not read as 1 where a number is asked for."""
    assert text.split("=")[0] in refusal(text)


@pytest.mark.parametrize(
    ("text", "nested"),
    [
        ("", {}),
        ("  training.epochs=3 ", {"training": {"epochs": 3}}),
        ("a.b=1 a.c=x d=[1,2]", {"a": {"b": 1, "c": "x"}, "d": [1, 2]}),
        ("a.b=1 a.b=2", {"a": {"b": 2}}),
        ("a=x=y b=true c=null d=", {"a": "x=y", "b": True, "c": None, "d": None}),
        ("a.b.c={d: 1}".replace(" ", ""), {"a": {"b": {"c": {"d:1": None}}}}),
    ],
)
def test_overrides_are_nested_yaml(text, nested):
    """Check that SET becomes nested keys, that the last value wins, and types are YAML's."""
    assert parse_overrides(text) == nested


@pytest.mark.parametrize("text", ["training.epochs", "=3", ".=3", "training.epochs=3 epochs"])
def test_an_item_without_equals_or_key_is_refused(text):
    """Check that what is not key=value is named, with an example."""
    with pytest.raises(PodiumError, match="is not key=value") as refused:
        parse_overrides(text)
    assert repr(text.split()[-1]) in str(refused.value)


def test_overrides_that_contradict_or_break_yaml():
    """Check that a key below a value, and a value that is not YAML, are refused."""
    with pytest.raises(PodiumError, match="already given a value"):
        parse_overrides("training=3 training.epochs=2")
    with pytest.raises(PodiumError, match="not valid YAML"):
        parse_overrides("image.mean=[0.5,")


def test_merging():
    """Check that later layers win leaf by leaf, and that nothing given is changed."""
    low, high = {"a": {"b": 1, "c": 2}, "d": [1, 2]}, {"a": {"c": 3}, "d": [9], "e": None}
    assert merged(low, high) == {"a": {"b": 1, "c": 3}, "d": [9], "e": None}
    assert merged(low, {"a": None}) == {"a": None, "d": [1, 2]}
    assert low == {"a": {"b": 1, "c": 2}, "d": [1, 2]}


def test_differing_names_every_changed_leaf():
    """Check that a comparison lists changed, added and removed keys, and no others."""
    old, new = {"a": {"b": 1, "c": 2}, "d": 1}, {"a": {"b": 1, "c": 3}, "e": 1}
    assert differing(old, new) == ["a.c: 2 -> 3", "d: 1 -> None", "e: None -> 1"]
    assert differing(old, old) == []


def test_known_keys_are_complete():
    """Check that the keys offered are those of the model itself, sections and leaves."""
    dumped = Recipe(features=Features()).model_dump()
    expected = {*dumped, *(f"{k}.{x}" for k, v in dumped.items() if isinstance(v, dict) for x in v)}
    expected |= {f"image.crop.{key}" for key in dumped["image"]["crop"]}
    assert set(known_keys(Recipe)) == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: [1", "not valid YAML"),
        ("- 1\n- 2", "must be keys and values"),
        ("1: 2", "a key is a word, not 1"),
        ("a: !!python/object/apply:os.getcwd []", "not valid YAML"),
    ],
)
def test_a_file_that_is_not_a_mapping(tmp_path, text, words):
    """Check that broken YAML, lists and Python tags are one line that names the file."""
    path = tmp_path / "x.yaml"
    path.write_text(text)
    with pytest.raises(PodiumError, match=words) as refused:
        read_yaml(path, "")
    assert str(path) in str(refused.value) and "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"space": {"optimizer.lr": {"points": 0}}}, "space.optimizer.lr.points is 0"),
        ({"tasks": {"low": {"epochs": 1, "cost": 5}}, "space": {}}, "tasks.low.cost is 5"),
        ({"space": {"optimizer.lr": {"lgo": [1, 2]}}}, "did you mean space.optimizer.lr.log"),
        ({"space": {"a": {"qqqqqqqqqq": 1}}}, "known here: space.a.log, space.a.uniform"),
        ({"folds": "none", "space": {}}, "folds is 'none'"),
    ],
)
def test_a_fault_below_a_name_of_the_users_own_is_named_whole(content, words):
    """Check that keys under names that the user chose are given with those names."""
    with pytest.raises(PodiumError) as refused:
        parse(Study, content, "x.yaml")
    assert words in str(refused.value)


def test_an_empty_file_has_no_keys(tmp_path):
    """Check that a file of comments alone is an empty mapping."""
    (tmp_path / "x.yaml").write_text("# nothing yet\n")
    assert read_yaml(tmp_path / "x.yaml", "") == {}


def test_nearest():
    """Check that near names are offered, best first, and far ones are not."""
    assert nearest("densenet12", ["lenet", "densenet121"]) == " (did you mean densenet121?)"
    assert nearest("zzz", ["resnet18", "densenet121"]) == ""


def test_an_error_is_one_line():
    """Check that line ends within a message become spaces."""
    assert str(PodiumError("a\n  b\tc")) == "a b c"


def test_a_key_that_stands_twice_is_refused(tmp_path):
    """Check that of two equal keys in a YAML file the second does not win in silence."""
    path = tmp_path / "x.yaml"
    path.write_text("training:\n  epochs: 3\n  epochs: 4\n")
    with pytest.raises(PodiumError, match="'epochs' stands twice"):
        read_yaml(path, "")


@pytest.mark.parametrize(
    ("text", "nested"),
    [
        ("columns.id='Picture Name' a=1", {"columns": {"id": "Picture Name"}, "a": 1}),
        ('title="A b"', {"title": "A b"}),
        (
            "external=[{table: more.csv, weight: 0.5}]",
            {"external": [{"table": "more.csv", "weight": 0.5}]},
        ),
        ("a=[1, 2] b={c: d e}", {"a": [1, 2], "b": {"c": "d e"}}),
        ("title=Don't a=1", {"title": "Don't", "a": 1}),
        ("a='x", None),
    ],
)
def test_spaces_in_quotes_and_brackets_do_not_separate(text, nested):
    """Check values with spaces, an apostrophe within a word, and an open quote."""
    if nested is None:
        with pytest.raises(PodiumError, match="not valid YAML"):
            parse_overrides(text)
    else:
        assert parse_overrides(text) == nested
