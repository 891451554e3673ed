"""Ray: two real nodes on this machine, a worker that is killed, and the same bytes."""

import importlib.util
import json
import sys
from collections.abc import Iterator

import pytest

from pipeline.cluster.ray import RayEngine
from pipeline.config.cluster import Cluster
from pipeline.errors import PodiumError
from pipeline.training.engine import Call
from pipeline.training.work import DO_FOLD

needs_ray = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason="ray is not here: make setup EXECUTOR=ray"
)


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Start two nodes of a core each; give the address of the cluster."""
    from ray.cluster_utils import Cluster as Nodes

    nodes = Nodes(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    nodes.add_node(num_cpus=1)
    yield nodes.address
    nodes.shutdown()


@pytest.fixture
def engine(address, tmp_path, monkeypatch) -> Iterator[RayEngine]:
    import ray

    monkeypatch.chdir(tmp_path)
    yield RayEngine(None, tmp_path / "logs", str, Cluster(), address)
    ray.shutdown()


@needs_ray
@pytest.mark.slow
def test_two_nodes_and_a_kill(engine, tiny, run_by, whole, artefacts, striking):
    """Check that both nodes train, that a fold whose worker SIGKILL ends goes on from its
    checkpoint, and that the artefacts are those of this process alone."""
    assert len(engine.nodes) == 2 and engine.cpus == 1 and engine.gpus == 0
    with striking(tiny) as struck:
        summary = run_by(tiny, engine)
    assert len(struck) == 1
    record = json.loads((summary.run.fold_folder(0) / "fold.json").read_text())
    assert record["resumed_at_epoch"] > 0
    assert artefacts(summary.run.folder) == whole
    assert not list((tiny.project.runs("tiny") / ".jobs").iterdir())


@needs_ray
@pytest.mark.slow
def test_what_fails_is_not_done_again(engine, tmp_path):
    """Check that a user's mistake is its one line, that a job larger than any node is refused
    instead of waiting for ever, and that a bug leaves its traceback."""
    (tmp_path / "broken.npz").write_bytes(b"no archive")
    calls = [
        Call("gone", DO_FOLD, tmp_path / "gone.npz"),
        Call("large", DO_FOLD, tmp_path / "gone.npz", cpus=64),
        Call("broken", DO_FOLD, tmp_path / "broken.npz"),
    ]
    ended = {call.name: fault for call, fault in engine.run(calls)}
    assert "no such job" in ended["gone"]
    assert ended["large"].startswith("asks for 64 cores and 0 GPUs, but the largest node")
    [log] = engine.folder.glob("*.log")
    assert str(log) in ended["broken"] and "Traceback" in log.read_text()


@needs_ray
@pytest.mark.parametrize("address", ["127.0.0.1:1", "nowhere", "ray://127.0.0.1:1", "h:99999"])
def test_an_address_where_nobody_answers(tmp_path, address):
    """Check that it is one line, at once."""
    with pytest.raises(PodiumError, match="EXECUTOR: no Ray cluster answers at ") as caught:
        _ = RayEngine(None, tmp_path, str, Cluster(), address).nodes
    assert "\n" not in str(caught.value)


def test_without_ray(tmp_path, monkeypatch):
    """Check the line that says how to get it."""
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(PodiumError, match="make setup EXECUTOR=ray installs it"):
        _ = RayEngine(None, tmp_path, str, Cluster()).cpus


def nodes_of(engine: RayEngine, *nodes: dict[str, float]) -> RayEngine:
    vars(engine)["nodes"] = list(nodes)
    return engine


@pytest.mark.parametrize(
    ("workers", "nodes", "asked", "expected"),
    [
        (None, [{"CPU": 8}, {"CPU": 4}], {}, (4, 0)),
        (4, [{"CPU": 8}, {"CPU": 4}], {}, (2, 0)),
        (None, [{"CPU": 16, "GPU": 4}, {"CPU": 4}], {}, (4, 1)),
        (None, [{"CPU": 2, "GPU": 4}], {}, (1, 1)),
        (None, [{"CPU": 16, "GPU": 4}], {"gpus": 0}, (16, 0)),
        (None, [{"CPU": 16, "GPU": 4}], {"gpus": 0.5}, (2, 0.5)),
        (2, [{"CPU": 16, "GPU": 4}], {"cpus": 3, "gpus": 0.5}, (3, 0.5)),
    ],
)
def test_shares_of_nodes(tmp_path, workers, nodes, asked, expected):
    """Check what a job gets of a cluster's nodes where the project's file leaves it open."""
    engine = nodes_of(RayEngine(workers, tmp_path, str, Cluster(**asked)), *nodes)
    assert (engine.cpus, engine.gpus) == expected
