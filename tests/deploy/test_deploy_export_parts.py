"""What an export is made of: plans on paper, code without ballast, rows, options and the gate."""

import json
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("onnxruntime", reason="make export needs its packages: EXTRAS=export")
pytest.importorskip("onnxscript", reason="make export needs its packages: EXTRAS=export")

from pipeline.competition import load_data
from pipeline.deploy.export.bundle import all_needed
from pipeline.deploy.export.choose import Tried, none_passes
from pipeline.deploy.export.gate import Figures, Limits
from pipeline.deploy.export.options import AS_IT_IS, Change, Option, ladder
from pipeline.deploy.export.rows import drawn
from pipeline.deploy.export.source import closure
from pipeline.deploy.format import plan_record, read_plan
from pipeline.deploy.plan import open_answering
from pipeline.folds import load_shared

BLENDS = ["a", "a-refit", *(f"ensemble-{name}" for name in ("rank", "mean", "geometric", "power"))]
BLENDS += [f"ensemble-{name}" for name in ("tempered", "hill-climbing", "per-class", "stacking")]
BLENDS += ["ensemble-seeds", "ensemble-nested"]


@pytest.mark.parametrize("source", BLENDS)
def test_a_plan_comes_back_from_paper(trained, source):
    """Check that a plan read back from JSON, and from arrays of ranks, gives the same bits for
    runs, a refit, every blend, averaged seeds, and an ensemble within an ensemble."""
    data = load_data(trained, "kinds")
    plan = open_answering(data, load_shared(data), source)
    ranks: dict[str, np.ndarray] = {}
    content = json.loads(json.dumps(plan_record(plan, ranks)))
    rng = np.random.default_rng(0)
    said = {
        name: rng.dirichlet(np.ones(3), (1 if name.endswith("refit") else 3, 20)).astype(np.float32)
        for name in plan.runs()
    }
    again = read_plan(content, ranks)
    assert again.runs() == plan.runs()
    np.testing.assert_array_equal(again.probs(said), plan.probs(said))


def test_the_code_is_closed_and_light(tmp_path):
    """Check that the copied code loads alone, names nothing that it lacks, and needs no package
    that only training needs; and that each definition in it is one of this package's, word by
    word."""
    source = closure("pipeline.deploy.folder", "main")
    assert {*source.packages} <= {"PIL", "cv2", "numpy", "onnxruntime", "pydantic", "scipy", "tqdm"}
    assert "podium/deploy/exported.py" in source.files
    assert not any(name.startswith("podium/training") for name in source.files)
    for name, text in source.files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    ruff = [sys.executable, "-m", "ruff", "check", "--isolated", "--select", "F", str(tmp_path)]
    checked = subprocess.run(ruff, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout
    code = "import podium.deploy.folder, sys; print([m for m in sys.modules if 'pipeline' in m])"
    run = {"capture_output": True, "text": True, "cwd": tmp_path}
    assert subprocess.run([sys.executable, "-c", code], check=True, **run).stdout == "[]\n"
    assert "fit_blend" not in source.files["podium/ensemble/blending/blend.py"]


def test_a_name_that_is_not_there_is_a_bug():
    """Check that asking for code that does not exist raises."""
    with pytest.raises(ValueError, match="neither defined nor imported"):
        closure("pipeline.deploy.folder", "nothing")


def test_what_a_package_needs_is_followed():
    """Check that dependencies of dependencies are there, and optional ones are not."""
    found = all_needed(["pydantic"])
    assert {"pydantic", "pydantic-core", "annotated-types", "typing-extensions"} <= {*found}
    assert "email-validator" not in found


@given(
    labels=st.lists(st.integers(0, 3), min_size=1, max_size=60),
    most=st.integers(4, 30),
    seed=st.integers(0, 5),
)
def test_rows_are_drawn_by_key_and_class(labels, most, seed):
    """Check that every class is there with about its share, and that another order of the rows
    draws the same ones."""
    ids, strata = np.array([f"r{i}" for i in range(len(labels))]), np.array(labels)
    found = drawn(ids, strata, most)
    assert sorted({*found.tolist()}) == found.tolist()
    assert {*strata[found].tolist()} == {*labels} and len(found) == min(most, len(labels))
    for label in {*labels}:
        share = min(most / len(labels), 1) * labels.count(label)
        assert abs((strata[found] == label).sum() - max(1, share)) <= len({*labels})
    order = np.random.default_rng(seed).permutation(len(labels))
    again = drawn(ids[order], strata[order], most)
    assert {*ids[order][again].tolist()} == {*ids[found].tolist()}


def test_the_ladder_begins_with_the_most_faithful():
    """Check the order of the options, and that what changes nothing is not among them."""
    plain = ladder(several=False, head=False, hidden=False, channels=False)
    assert [str(option) for option in plain] == [
        f"all networks, {kind}" for kind in ("float32", "float16", "int8")
    ]
    full = ladder(several=True, head=True, hidden=True, channels=True)
    assert len(full) == len({*full}) and full[:3] == plain and full[3].few
    assert all(option.precision != "float32" for option in full if option.change != AS_IT_IS)
    sizes = [option.change.explained for option in full if option.change.units == 1]
    assert sizes == sorted(sizes, reverse=True)
    no_head = ladder(several=False, head=False, hidden=True, channels=True)
    assert all(option.change.explained == 1 for option in no_head)


def figures(**changes) -> Figures:
    usual = {"rows": 100, "test_rows": 0, "oof_agreement": 0.99, "test_agreement": None}
    usual |= {"metric": 0.9, "original_metric": 0.9, "difference": 0.0, "se": 0.001}
    return Figures(**{**usual, "largest_difference": 0.1, "latency_ms": 1.0, **changes})


@pytest.mark.parametrize(
    ("mb", "changes", "faults"),
    [
        (9.9, {}, 0),
        (10.1, {}, 1),
        (9.9, {"oof_agreement": 0.979}, 1),
        (9.9, {"test_agreement": 0.9}, 1),
        (9.9, {"difference": -0.004}, 0),
        (9.9, {"difference": -0.006}, 1),
        (9.9, {"difference": -0.006, "se": 0.01}, 0),
        (9.9, {"difference": -0.03, "se": 0.1}, 1),
        (99, {"oof_agreement": 0.5, "difference": -0.5}, 3),
    ],
)
def test_what_the_gate_lets_through(mb, changes, faults):
    """Check size, agreement and loss: up to .005, or one standard error, and never beyond .02."""
    assert len(Limits(10, 0.98).faults(mb, figures(**changes))) == faults


def test_the_nearest_option_is_named():
    """Check that it is the one of highest agreement that fits, else the smallest."""
    options = [Option(AS_IT_IS, False, kind) for kind in ("float32", "float16", "int8")]
    options.append(Option(Change(0.9), False, "int8"))
    shares = (1.0, 0.97, 0.96, 0.9)
    tried = [
        Tried(option, 40.0 / 2**k, figures(oof_agreement=share), ("agreement",))
        for k, (option, share) in enumerate(zip(options, shares, strict=True))
    ]
    assert f'"{options[2]}"' in str(none_passes(tried, Limits(12, 0.98)))
    assert f'"{options[3]}"' in str(none_passes(tried, Limits(1, 0.98)))
