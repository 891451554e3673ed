"""A server as a process: answers, many at once, patience, and how it begins and ends."""

import http.client
import os
import socket
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

pytest.importorskip("gradio", reason="make serve needs gradio; make setup EXTRAS=serve")
pytest.importorskip("onnx", reason="the tests make a model with onnx; make setup EXTRAS=export")

from made_export import CLASSES, POINTS
from serving import launch, multipart, png, read_reply, request, running

from pipeline.config.project import Project
from pipeline.deploy.exported import open_exported
from pipeline.errors import PodiumError
from pipeline.serve.find import find_export


def colours(count: int) -> list[bytes]:
    """Return so many different pictures."""
    rng = np.random.default_rng(3)
    return [png(*rng.integers(0, 256, 3)) for _ in range(count)]


def test_answers_are_those_of_the_export(server, made):
    """Check that class, confidence and probabilities are those that the opened folder gives, of
    several pictures in one request, a broken one among them."""
    pictures = [*colours(5), png(120, 120, 120)]
    model = open_exported(made / "experiments/runs/tiny/colours/export")
    expected = model.answer(pictures, 0.5)
    files = [("bad.png", b"rubbish"), *((str(k), p) for k, p in enumerate(pictures))]
    files.insert(6, ("cut.png", pictures[0][:-30]))
    body, kind = multipart(files)
    bad, *told = server.post(body, kind).json["pictures"]
    assert "truncated" in told.pop(5)["note"]
    assert (bad["answer"], bad["given"], bad["confidence"], bad["probabilities"]) == (
        None, False, 0, None,
    )  # fmt: skip
    assert "not a picture" in bad["note"]
    for k, one in enumerate(told):
        given = bool(expected.given[k])
        assert one["name"] == str(k) and one["note"] == "" and one["given"] == given
        assert one["answer"] == (CLASSES[expected.labels[k]] if given else "don't know")
        assert one["confidence"] == pytest.approx(expected.confidence[k], abs=1e-6)
        probs = list(one["probabilities"].values())
        np.testing.assert_allclose(probs, expected.probs[k], atol=1e-6)
    assert {one["given"] for one in told} == {True, False}


def test_confidence_of_a_request(server):
    """Check that a request may ask for another confidence, from which on answers are given."""
    picture = png(140, 120, 120)
    asked = {
        level: server.post(picture, path=f"/v1/predict?confidence={level}").json["pictures"][0]
        for level in (0, 1)
    }
    assert asked[0]["answer"] == "red <i>"
    assert (asked[1]["answer"], asked[1]["given"]) == ("don't know", False)


def test_what_the_model_says(server):
    """Check that classes, confidence, curve, score, versions and limits are told."""
    told = server.get("/v1/model").json
    assert told["title"] == "Colours & <shapes>"
    assert (told["classes"], told["confidence"], told["coverage"]) == (CLASSES, 0.5, POINTS)
    assert told["score"]["honest"] == 0.9123
    assert told["versions"]["onnxruntime"] and told["limits"]["pictures"] == 8


def test_200_requests_at_concurrency_8(server):
    """Check that none of 200 requests, 8 at a time, is lost or answered otherwise than alone."""
    pictures = colours(200)
    alone = [server.post(picture).json for picture in pictures]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(server.post, pictures))
    assert [reply.status for reply in together] == [200] * 200
    assert [reply.json for reply in together] == alone


def test_small_answers_are_sent_at_once(server):
    """Check that an answer over an open connection does not wait for the 40 ms after which a system
    acknowledges what it received."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    seconds = []
    for _ in range(10):
        started = time.monotonic()
        connection.request("GET", "/health")
        connection.getresponse().read()
        seconds.append(time.monotonic() - started)
    connection.close()
    assert min(seconds[1:]) < 0.03


def test_the_loop_is_not_blocked(hasty):
    """Check that health is told at once while an inference runs."""
    with ThreadPoolExecutor(2) as pool:
        slow = [pool.submit(hasty.post, png(250, 0, 0)) for _ in range(2)]
        time.sleep(0.1)
        healthy = hasty.get("/health")
        assert healthy.json["requests"] == 2
        assert not all(one.done() for one in slow)
        assert [one.result().status for one in slow] == [200, 200]
    assert healthy.seconds < min(one.result().seconds for one in slow)


def test_too_many_at_once_are_told_to_come_again(hasty):
    """Check that of six requests from one address at a time two are answered and the others get
    429 with a time to wait, and that afterwards there is room again."""
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(hasty.post, [png(0, 250, 0)] * 6))
    statuses = sorted(reply.status for reply in found)
    assert statuses[:2] == [200, 200] and set(statuses) == {200, 429}
    late = next(reply for reply in found if reply.status == 429)
    assert late.headers["retry-after"] == "2" and late.seconds < 2
    assert hasty.post(png(0, 250, 0)).status == 200


@pytest.mark.parametrize(
    "start",
    [
        b"",
        b"POST /v1/pre",
        b"POST /v1/predict HTTP/1.1\r\nHost: 127.0.0.1\r\nX: 1\r\n",
        request(bytes(500))[:-400],
        request(*multipart([("a.png", bytes(500))]), "/page/gradio_api/upload")[:-400],
    ],
)
def test_nobody_is_waited_for(hasty, start):
    """Check that a request that does not arrive, though a byte comes now and then, ends with 408
    and a closed connection, in its head or its body, on the page's paths, too."""
    started = time.monotonic()
    with socket.create_connection(("127.0.0.1", hasty.port), 20) as connection:
        connection.sendall(start)
        for byte in b"abcd" if start else b"":
            time.sleep(0.2)
            connection.sendall(bytes([byte]))
        reply = read_reply(connection, False, started)
    assert reply.status == 408 and "1 s" in reply.json["error"]
    assert reply.headers["connection"] == "close"
    assert 0.8 < reply.seconds < 10


def test_too_many_connections(hasty):
    """Check that an address with half of all connections gets 429 for more, which others do not,
    that beyond the limit all get 503, and that there is room again when they end."""
    held = [socket.create_connection(("127.0.0.1", hasty.port), 20) for _ in range(24)]
    try:
        reply = read_reply(held[-1], False, time.monotonic())
        assert reply.status == 429 and reply.headers["retry-after"] == "2"
        place, other = ("127.0.0.1", hasty.port), ("127.0.0.2", 0)
        held += [socket.create_connection(place, 20, other) for _ in range(10)]
        time.sleep(0.3)  # those that were refused are closed
        held[24].sendall(b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        assert read_reply(held[24], False, time.monotonic()).status == 200
        third = socket.create_connection(place, 20, ("127.0.0.3", 0))
        held.append(third)
        assert read_reply(third, False, time.monotonic()).status == 503
    finally:
        for connection in held:
            connection.close()
    time.sleep(0.2)
    assert hasty.alive()


def test_it_ends_in_a_second_with_one_line(made):
    """Check that Ctrl-C ends a server, one with an open connection and a request in work, within
    about a second, with one line and status 0."""
    with running(made, "tiny", "slow") as server, ThreadPoolExecutor(1) as pool:
        held = socket.create_connection(("127.0.0.1", server.port))
        pool.submit(server.post, png(1, 2, 3))
        time.sleep(0.1)
        assert server.stop() < 2
        assert server.process.wait(10) == 0
        assert len(server.lines) == 2 and "pictures answered" in server.lines[1]
        held.close()


def failed(made, source: str = "", port: int = 0, limits: str = "") -> str:
    """Return what a server says that cannot begin."""
    process = launch(made, "tiny", source, port, limits)
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 2
    assert said.count("\n") == 1
    return said


def test_a_port_that_is_taken(made):
    """Check that a port in use is told in one line, before anything heavy is loaded."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        said = failed(made, port=port)
    assert f"PORT: {port}" in said and "another number" in said


def test_a_run_without_an_export(made):
    """Check that a run that was not exported, or does not exist, names the command or the name."""
    assert "make export COMP=tiny FROM=bare" in failed(made, "bare")
    with pytest.raises(PodiumError, match="did you mean colours"):
        find_export(Project(made), "tiny", "colour")
    with pytest.raises(PodiumError, match=r"elsewhere.*exported are: .*colours"):
        find_export(Project(made), "tiny", "elsewhere")
    with pytest.raises(PodiumError, match=r"COMP: no experiments/competitions/none\.yaml"):
        find_export(Project(made), "none", "")


def test_the_newest_export_is_served(made):
    """Check that without a name the export that was made last is found."""
    assert find_export(Project(made), "tiny", "").parent.name == "colours"
    old = find_export(Project(made), "tiny", "colours") / "model.json"
    os.utime(old, (1, 1))
    try:
        assert find_export(Project(made), "tiny", "").parent.name == "slow"
    finally:
        os.utime(old)


def test_a_wrong_limit_is_told(made):
    """Check that a limit that does not exist is an error of one line."""
    assert "unknown key 'picture'" in failed(made, limits="picture=3")


def test_other_machines_only_when_asked(server):
    """Check that the server listens on 127.0.0.1 alone."""
    command = ["cat", f"/proc/{server.process.pid}/net/tcp", f"/proc/{server.process.pid}/net/tcp6"]
    text = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    listening = [line.split()[1] for line in text.splitlines() if f":{server.port:04X} 0" in line]
    assert listening and all(one.startswith("0100007F:") for one in listening)


def test_every_answer_forbids_other_hosts(server):
    """Check that page and answers tell browsers to load nothing from anywhere else."""
    for path in ("/health", "/page/", "/nowhere"):
        policy = server.get(path).headers["content-security-policy"]
        assert "default-src 'self'" in policy and "http" not in policy
