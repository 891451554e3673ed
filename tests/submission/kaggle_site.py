"""A stand-in for kaggle.com that speaks the HTTP of its client 2.2.4, as a proxy of a local server.

Where KAGGLE_API_ENVIRONMENT is LOCALHOST, the client asks http://localhost/api/v1/SERVICE/METHOD,
by way of `http_proxy`, which is this server. A call can be told to fail before or after it did its
work: `site.fail("CreateSubmission", Fail(503, "busy"))`.
"""

import hashlib
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOKEN, SLUG = "KGAT_right", "plant-pathology"
DONE = {"status": "COMPLETE", "publicScore": "0.91234", "privateScore": ""}


@dataclass(frozen=True)
class Fail:
    """What a call does instead of its answer: a status and message, a closed connection (status 0),
    or a pause (`seconds`) and then its answer; `after`: when its work is done."""

    status: int = 0
    message: str = ""
    after: bool = False
    seconds: float = 0.0


@dataclass
class KaggleSite:
    """What the site has and what it was asked; `graded` is what a submission becomes when it has
    been listed `polls` times; where it is `late` no list shows any."""

    token: str = TOKEN
    polls: int = 1
    late: bool = False
    graded: dict[str, str] = field(default_factory=lambda: dict(DONE))
    faults: dict[str, list[Fail]] = field(default_factory=dict)
    blobs: dict[str, bytes] = field(default_factory=dict)
    submissions: list[dict[str, Any]] = field(default_factory=list)
    files: list[str] = field(default_factory=list)  # sha256 of what was submitted
    calls: list[str] = field(default_factory=list)
    page: int = 100
    port: int = 0

    def fail(self, method: str, *faults: Fail) -> None:
        self.faults[method] = list(faults)

    def count(self, method: str) -> int:
        return self.calls.count(method)

    def environment(self, token: str = TOKEN) -> dict[str, str]:
        """Return the variables that send the client here."""
        proxy = f"http://127.0.0.1:{self.port}"
        found = {"KAGGLE_API_ENVIRONMENT": "LOCALHOST", "KAGGLE_API_TOKEN": token}
        return found | {"http_proxy": proxy, "HTTP_PROXY": proxy, "no_proxy": "", "NO_PROXY": ""}

    def answer(self, method: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if body.get("competitionName", SLUG) != SLUG:
            return 404, {"code": 404, "message": "Competition not found"}
        return 200, getattr(self, f"_{method}")(body)

    def _StartSubmissionUpload(self, body: dict[str, Any]) -> dict[str, Any]:
        token = f"blob-{len(self.blobs)}"
        self.blobs[token] = b""
        return {"token": token, "createUrl": f"http://localhost/upload/{token}"}

    def _CreateSubmission(self, body: dict[str, Any]) -> dict[str, Any]:
        content, ref = self.blobs[body["blobFileTokens"]], 1000 + len(self.submissions)
        self.files.append(hashlib.sha256(content).hexdigest())
        known = {"description": body["submissionDescription"], "totalBytes": len(content)}
        new = {"ref": ref, "fileName": "x.csv", "date": "2026-01-01T00:00:00.000Z", "seen": 0}
        self.submissions.insert(0, new | known | {"status": "PENDING"})
        return {"message": f"Successfully submitted to {SLUG}", "ref": ref}

    def _ListSubmissions(self, body: dict[str, Any]) -> dict[str, Any]:
        size = min(body["pageSize"], self.page)
        shown = [] if self.late else self.submissions[size * (body["page"] - 1) :][:size]
        for one in shown:
            one["seen"] += 1
            if one["status"] == "PENDING" and one["seen"] > self.polls:
                one.update(self.graded)
        return {"submissions": [{k: v for k, v in s.items() if k != "seen"} for s in shown]}

    def _IntrospectToken(self, body: dict[str, Any]) -> dict[str, Any]:
        return {"active": body["token"] == self.token, "username": "somebody"}


def _handler(site: KaggleSite) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            method = self.path.rpartition("/")[2]
            body = json.loads(self._body())
            site.calls.append(method)
            fault = site.faults[method].pop(0) if site.faults.get(method) else None
            if method != "IntrospectToken" and not self._allowed():
                return self._reply(401, {"code": 401, "message": "Unauthenticated"})
            if fault and not fault.after and not fault.seconds:
                return self._fail(fault)
            time.sleep(fault.seconds if fault else 0)
            answer = site.answer(method, body)
            return self._fail(fault) if fault and fault.after else self._reply(*answer)

        def do_PUT(self) -> None:
            content, token = self._body(), self.path.rpartition("/")[2]
            site.calls.append("PUT")
            if site.faults.get("PUT"):
                return self._fail(site.faults["PUT"].pop(0))
            site.blobs[token] += content
            return self._reply(200, {})

        def _allowed(self) -> bool:
            return self.headers.get("Authorization") == f"Bearer {site.token}"

        def _body(self) -> bytes:
            if self.headers.get("Transfer-Encoding") == "chunked":
                found = b""
                while size := int(self.rfile.readline(), 16):
                    found += self.rfile.read(size)
                    self.rfile.readline()
                self.rfile.readline()
                return found
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))

        def _fail(self, fault: Fail) -> None:
            if fault.status:
                return self._reply(fault.status, {"code": fault.status, "message": fault.message})
            self.close_connection = True
            return self.connection.close()

        def _reply(self, status: int, content: dict[str, Any]) -> None:
            text = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    return Handler


@contextmanager
def serving(site: KaggleSite) -> Iterator[KaggleSite]:
    """Serve the site on a free port of this machine."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(site))
    server.daemon_threads = True
    site.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield site
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
