"""What the page's interface gives to nobody: files of the machine, answers of other hosts, room
on the disk; asked by a program, or by a page of another host.
"""

import json
import os
import socket
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("gradio", reason="make serve needs gradio; make setup EXTRAS=serve")
pytest.importorskip("onnx", reason="the tests make a model with onnx; make setup EXTRAS=export")

from serving import Reply, Running, multipart, png, request

from pipeline.serve.events import FILE, FILES, NUMBER, checked_event
from pipeline.serve.folder import remove_left, remove_old, upload_folder
from pipeline.serve.refusals import Refused

API = "/page/gradio_api"


def asked(server: Running, path: object, session: str, number: int = 0) -> Reply:
    """Send an event about one file by its path; return all that is answered, or the refusal."""
    file = {"path": path, "meta": {"_type": "gradio.FileData"}}
    event = {"data": [[file] if number else file, 0.5], "fn_index": number, "session_hash": session}
    kind = "application/json"
    joined = server.post(json.dumps(event).encode(), kind, f"{API}/queue/join")
    if joined.status != 200:
        return joined
    return server.get(f"{API}/queue/data?session_hash={session}")


def uploaded(server: Running, data: bytes, name: str = "a.png") -> str:
    """Upload a file as the page does, and return its path."""
    body, kind = multipart([(name, data)])
    body = body.replace(b'name="file"', b'name="files"', 1)
    return server.post(body, kind, f"{API}/upload").json[0]


def button(server: Running) -> int:
    """Return the number of the event that answers many."""
    found = server.get("/page/config").json["dependencies"]
    return next(one["id"] for one in found if any("click" in on for on in one["targets"]))


def test_an_upload_is_answered(server):
    """Check that the event which the tests below send is the one that answers an upload."""
    path = uploaded(server, png(250, 0, 0))
    assert b"red &lt;i&gt;" in asked(server, path, "mine").body
    assert b"1 picture" in asked(server, path, "many", button(server)).body


def test_no_file_of_the_machine_is_read(server, tmp_path):
    """Check that a picture or a zip that lies on the machine and was not uploaded is neither
    answered nor listed nor copied, and that its path cannot be had either."""
    private, packed = tmp_path / "private.png", tmp_path / "private.zip"
    private.write_bytes(png(250, 0, 0))
    with zipfile.ZipFile(packed, "w") as archive:
        archive.write(private, "member.png")
    config, before = server.get("/page/config"), len(server.lines)
    assert config.status == 200 and str(server.root).encode() not in config.body
    beside = Path(uploaded(server, b"x")).parents[2]
    for number in {one["id"] for one in config.json["dependencies"]}:
        for path in (private, packed, "/etc/passwd", beside, beside / ".." / "x.png", ".", "a\0"):
            reply = asked(server, str(path), f"private{number}", number)
            assert reply.status == 400 and "no event of the page" in reply.json["error"], path
            for told in (
                b"red &lt;i&gt;",
                b"img src",
                b"member.png",
                b"<table",
                str(path).encode(),
            ):
                assert told not in reply.body, (number, path)
    assert server.lines[before:] == []
    assert server.get(f"{API}/file={private}").status in (403, 404)


def test_a_device_does_not_hold_the_server(server):
    """Check that an endless file is not read: the server answers at once afterwards."""
    assert asked(server, "/dev/zero", "endless").status == 400
    assert server.get("/health").seconds < 5


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[" * 9_000,
        b"[]",
        b'"x"',
        b"\xff",
        b'{"data": []}',
        b'{"data": [null, 0.5], "fn_index": 0}',
        b'{"data": [null, 0.5], "fn_index": true, "session_hash": "odd"}',
        b'{"data": [null, 0.5], "fn_index": 99, "session_hash": "odd"}',
        b'{"data": [null, 0.5], "fn_index": 0, "session_hash": "../odd"}',
        b'{"data": [null], "fn_index": 0, "session_hash": "odd"}',
        b'{"data": [null, "0.5"], "fn_index": 0, "session_hash": "odd"}',
        b'{"data": [null, NaN], "fn_index": 0, "session_hash": "odd"}',
        b'{"data": ["a.png", 0.5], "fn_index": 0, "session_hash": "odd"}',
        b'{"data": [[null], 0.5], "fn_index": 0, "session_hash": "odd"}',
        b'{"data": [{"url": "http://evil.example/"}, 0.5], "fn_index": 0, "session_hash": "odd"}',
    ],
)
def test_what_is_no_event(server, body):
    """Check that an event of any other form gets 400 and says nothing in the terminal."""
    before = len(server.lines)
    reply = server.post(body, "application/json", f"{API}/queue/join")
    assert reply.status == 400 and "reload the page" in reply.json["error"]
    assert server.lines[before:] == []


def test_an_event_that_is_too_long(server):
    """Check that it is refused before it is parsed."""
    body = b'{"data": [' + b" " * 2_000_000
    assert server.post(body, "application/json", f"{API}/queue/join").status == 413


FOLDER = Path(__file__).resolve().parent
PATHS = st.sampled_from(
    [
        __file__,
        str(FOLDER / "gone.png"),
        str(FOLDER),
        "/etc/passwd",
        f"{FOLDER}/../conftest.py",
        "x",
    ]
)
FILES_SAID = st.fixed_dictionaries({"path": PATHS | st.integers()}, optional={"url": st.text()})
VALUES = FILES_SAID | st.lists(FILES_SAID, max_size=3) | st.none() | st.floats() | st.text()
EVENTS = st.fixed_dictionaries(
    {"fn_index": st.sampled_from([0, 1]), "data": st.lists(VALUES, min_size=1, max_size=2)},
    optional={"event_data": VALUES, "oauth_token": st.text(), "trigger_id": st.integers()},
)


@settings(max_examples=500)
@given(EVENTS)
def test_only_what_is_known_is_passed_on(event):
    """Check that an event is refused, or passed on with numbers and paths in the folder alone."""
    said = json.dumps(event | {"session_hash": "mine"}).encode()
    try:
        found = checked_event(said, {0: (FILE, NUMBER), 1: (FILES,)}, FOLDER)
    except Refused as refused:
        assert refused.status == 400
        return
    assert set(found) == {"data", "fn_index", "session_hash", "trigger_id"}
    first, number = found["data"][0], (found["data"][1:] or [None])[0]
    assert number is None or abs(number) < float("inf")
    for one in first if isinstance(first, list) else [first]:
        assert one is None or (set(one), set(one["meta"])) == ({"path", "meta"}, {"_type"})
        assert one is None or Path(one["path"]).parent.samefile(FOLDER)


def test_no_other_host_is_called_for_a_file(server):
    """Check that an event whose file is an address makes the server call nobody, whatever part of
    the event holds it."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        other.settimeout(1)
        for number in (0, button(server)):
            for host in (f"127.0.0.1:{other.getsockname()[1]}", "pypi.invalid"):
                reply = asked(server, f"http://{host}/a.png", f"far{number}", number)
                assert reply.status == 400
        with pytest.raises(TimeoutError):
            other.accept()
    assert not [line for line in server.lines if "CALLED" in line]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "process_recording"),
        ("POST", "run/predict"),
        ("POST", "call/predict"),
        ("POST", "stream/abc"),
        ("POST", "reset"),
        ("POST", "vibe-edit"),
        ("GET", "proxy=http://127.0.0.1/"),
        ("GET", "file=http://evil.example/"),
        ("GET", "openapi.json"),
        ("GET", "deep_link?session_hash=a"),
        ("GET", "queue/join"),
    ],
)
def test_addresses_that_the_page_does_not_need(server, method, path):
    """Check that the other addresses of the page's package are none, whatever is sent there."""
    body, kind = multipart([("a.webm", bytes(50))])
    data = request(body, kind, f"{API}/{path}").replace(b"POST", method.encode(), 1)
    reply = server.send(data)
    assert (reply.status, reply.json["status"]) == (404, 404)


@pytest.mark.parametrize("path", [f"{API}/upload", f"{API}/queue/join", "/v1/predict"])
def test_pages_of_other_hosts_send_nothing(server, path):
    """Check that a post whose browser says that another host's page sent it gets 403, and that of
    this server's page does not."""
    body, kind = multipart([("a.png", png(250, 0, 0))])
    foreign = ["Origin: http://evil.example", "Origin: null", "Sec-Fetch-Site: cross-site"]
    foreign += [f"Origin: http://127.0.0.1:{server.port + 1}", "Origin: http://["]
    for head in foreign:
        assert server.send(request(body, kind, path, f"{head}\r\n")).status == 403, head
    here = f"127.0.0.1:{server.port}"
    own = request(body, kind, path, f"Origin: http://{here}\r\nSec-Fetch-Site: same-origin\r\n")
    own = own.replace(b"Host: 127.0.0.1", f"Host: {here}".encode())
    assert server.send(own).status not in (403, 404)


def test_no_other_host_may_read_answers(server):
    """Check that no answer allows pages of other hosts to read it."""
    for path in ("/page/config", "/page/", "/health"):
        head = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nOrigin: http://evil.example\r\n"
        reply = server.send(f"{head}Connection: close\r\n\r\n")
        assert reply.status == 200
        assert not [name for name in reply.headers if name.startswith("access-control")]


def test_an_upload_that_breaks_off_says_nothing(server):
    """Check that a client that leaves in the middle of an upload is no fault of the server."""
    before = len(server.lines)
    data = request(*multipart([("a.png", bytes(300_000))]), f"{API}/upload")
    with socket.create_connection(("127.0.0.1", server.port), 20) as connection:
        connection.sendall(data[:200_000])
        time.sleep(0.3)
    time.sleep(0.5)
    assert server.lines[before:] == []


def test_a_picture_that_is_gone_says_so(server):
    """Check that an upload which was removed in the meantime is told in words, once."""
    path, before = uploaded(server, png(250, 0, 0), "gone.png"), len(server.lines)
    Path(path).unlink()
    body = asked(server, path, "gone").body
    assert b"kept for 10 minutes; drop it again" in body
    assert server.lines[before:] == []


def test_old_files_are_removed(tmp_path):
    """Check that what was written before the time is removed at any depth, with folders that are
    empty and as old, and what is newer stays."""
    old, new = tmp_path / "a" / "old.png", tmp_path / "b" / "new.png"
    for path in (old, new):
        path.parent.mkdir()
        path.write_bytes(b"x")
    (tmp_path / "empty").mkdir()
    for path in (old, tmp_path / "empty"):
        os.utime(path, (1, 1))
    (tmp_path / "b" / "broken").symlink_to("nowhere")
    remove_old(tmp_path, 600)
    assert sorted(path.name for path in tmp_path.rglob("*")) == [
        "a", "b", "broken", "new.png",
    ]  # fmt: skip


def test_folders_of_killed_servers_are_removed(tmp_path, monkeypatch):
    """Check that the folder of a process that lives no more is removed when another begins, and
    that of a living one is not."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    with upload_folder() as mine:
        left = mine.with_name(mine.name.replace(f"-{os.getpid()}-", f"-{ended.pid}-"))
        left.mkdir()
        (left / "a.png").write_bytes(b"x")
        remove_left()
        assert mine.is_dir() and not left.exists()
    assert not list(tmp_path.iterdir())
