"""Uploads that mean no good: each gets an answer, and none harms the server."""

import json
import socket

import numpy as np
import pytest

pytest.importorskip("gradio", reason="make serve needs gradio; make setup EXTRAS=serve")
pytest.importorskip("onnx", reason="the tests make a model with onnx; make setup EXTRAS=export")

from hostile import hostile_requests
from serving import multipart, png, read_reply, request

REQUESTS = hostile_requests()
MOST_MB = 1000  # of memory, ever


def test_there_are_a_hundred():
    """Check that the requests are a hundred and more, each another one."""
    assert len({one.name for one in REQUESTS}) == len(REQUESTS) >= 100
    assert len({one.data for one in REQUESTS}) == len(REQUESTS)


def test_each_is_answered_clearly(server):
    """Check that every hostile request gets a fitting status and one line that tells no path and no
    traceback, and that the server works on as the same process."""
    wrong, before = [], len(server.lines)
    for one in REQUESTS:
        reply = server.send(one.data)
        if reply.status not in one.statuses:
            wrong.append((one.name, reply.status, reply.body[:200]))
        elif reply.body and reply.headers["content-type"] == "application/json":
            told = reply.json
            assert reply.status == 200 or told.keys() >= {"error", "status"} or "detail" in told
            assert len(told.get("error", "")) < 300, one.name
        assert reply.body.count(b"\n") <= 1 or one.name == "a file of the page", one.name
        for secret in (b"Traceback", b"site-packages", b'.py"', str(server.root).encode()):
            assert secret not in reply.body, one.name
        assert reply.seconds < 20, one.name
    assert not wrong
    assert len(server.lines) == before, server.lines  # nothing is reported
    assert server.alive()
    assert server.peak_mb() < MOST_MB
    assert server.post(png(250, 0, 0)).json["pictures"][0]["answer"] == "red <i>"


def test_names_are_repeated_and_no_more(server):
    """Check that a name comes back as it was sent, cut where it is long, in JSON that is ASCII."""
    names = ["../../etc/passwd", "a\tb.png", "\N{GRINNING FACE}.png", "\u202egnp.exe", "x" * 9000]
    body, kind = multipart([(name, png(9, 200, 9)) for name in names])
    reply = server.post(body, kind)
    assert reply.body.isascii()
    told = [one["name"] for one in reply.json["pictures"]]
    assert told[:4] == names[:4]
    assert told[4] == "x" * 254 + "…"


def test_a_refused_body_does_not_cost_the_answer(server):
    """Check that a client that goes on sending what is refused reads the answer all the same."""
    with socket.create_connection(("127.0.0.1", server.port), 30) as connection:
        connection.sendall(request(bytes(6_000_000), "image/png"))
        reply = read_reply(connection, False, 0.0)
    assert reply.status == 413
    assert reply.headers["connection"] == "close"
    assert "3 MB" in reply.json["error"]


def test_two_requests_in_one_packet_are_two_answers(server):
    """Check that what stands behind one request's body is the next request, and nothing else."""
    first = request(png(250, 0, 0)).replace(b"Connection: close\r\n", b"")
    with socket.create_connection(("127.0.0.1", server.port), 30) as connection:
        connection.sendall(first + request(png(0, 0, 250)))
        text = connection.makefile("rb").read()
    bodies = [json.loads(line) for line in text.splitlines() if line.startswith(b"{")]
    assert [body["pictures"][0]["answer"] for body in bodies] == ["red <i>", "blue & co"]


@pytest.mark.parametrize("seed", range(3))
def test_flipped_bits_are_survived(server, seed):
    """Check that pictures with random bytes changed are answered or refused, whatever is in
    them."""
    from hostile import encoded

    rng = np.random.default_rng(seed)
    for form in ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF"):
        data = bytearray(encoded(form))
        for place in rng.integers(0, min(len(data), 400), 6):
            data[place] = rng.integers(0, 256)
        reply = server.post(bytes(data))
        assert reply.status in (200, 413, 415, 422), (form, reply.body)
    assert server.alive()
