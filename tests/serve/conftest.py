"""An exported model made by hand, and servers of it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

REASON = "make serve needs {}; make setup EXTRAS=serve"


def needed() -> None:
    """Skip where what the server is made of is not installed."""
    for package in ("gradio", "onnxruntime", "onnx"):
        pytest.importorskip(package, reason=REASON.format(package))


@pytest.fixture(scope="session")
def made(tmp_path_factory) -> Path:
    """A project with two exports of competition `tiny`: `colours`, and `slow`, which is older."""
    needed()
    from made_export import write_export

    root = tmp_path_factory.mktemp("serve")
    runs = root / "experiments" / "runs" / "tiny"
    (runs / "bare").mkdir(parents=True)
    write_export(runs / "slow" / "export", delay=30)
    write_export(runs / "colours" / "export")
    return root


@pytest.fixture(scope="session")
def server(made) -> Iterator:
    """A server with smaller limits than usual; it must outlive all tests."""
    from serving import running

    with running(made, "tiny", limits="picture_mb=1 request_mb=3 pictures=8") as found:
        yield found
        assert found.alive()


@pytest.fixture(scope="session")
def hasty(made) -> Iterator:
    """A server of a slow model that waits for nobody."""
    from serving import running

    limits = "read_seconds=1 answer_seconds=20 requests=3 client=2 connections=20"
    with running(made, "tiny", "slow", limits) as found:
        yield found
        assert found.alive()
