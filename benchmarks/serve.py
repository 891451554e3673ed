"""How long does `make serve` take to answer, and is every request answered?

    make export COMP=digits FROM=run, then
    .venv/bin/python -m benchmarks.serve --comp digits --source run

Works on any exported run or ensemble. A server is started as `make serve` starts it, on a free port
of this machine, with a process of its own. 200 pictures of the competition are sent, one in each
request over connections that stay open: first one after the other, then at higher concurrency. A
request is lost if it has no answer of status 200, and different if its answer, to the last digit,
is not that of the same picture sent alone. Latency is the client's, from the first byte sent to the
last one received; client and server share the machine's cores.
"""

import argparse
import http.client
import multiprocessing
import os
import platform
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path

import numpy as np

from pipeline.competition import load_data
from pipeline.config.project import Project
from pipeline.serve import serve

TIMEOUT = 120  # seconds for a server to start, and for an answer


@dataclass(frozen=True)
class Timed:
    """One request: its status, the answer and the seconds it took."""

    status: int
    body: bytes
    seconds: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--comp", required=True)
    parser.add_argument("--source", default="", help="run or ensemble; the newest export if empty")
    parser.add_argument("--requests", type=int, default=200)
    parser.add_argument("--concurrency", type=int, nargs="*", default=(1, 2, 4, 8))
    asked = parser.parse_args()
    port = _free_port()
    arguments = str(Path.cwd()), asked.comp, asked.source, port
    server = multiprocessing.get_context("spawn").Process(target=_serve, args=arguments)
    server.start()
    try:
        _await(port, server)
        pictures = _pictures(Project(Path.cwd()), asked.comp, asked.requests)
        measure(port, pictures[:20], 1)  # the first ones are slower
        alone, _ = measure(port, pictures, 1)
        rows = [_row(port, pictures, n, alone) for n in asked.concurrency]
    finally:
        server.terminate()
        server.join()
    print(
        f"{len(pictures)} requests of one picture, {os.cpu_count()} cores, {platform.machine()}\n"
    )
    print("| concurrency | p50 ms | p95 ms | p99 ms | requests/s | lost | different |")
    print("|---|---|---|---|---|---|---|")
    print("\n".join(rows))


def measure(port: int, pictures: list[bytes], concurrency: int) -> tuple[list[Timed], float]:
    """Send every picture, so many at a time; return the answers in order, and the seconds of it
    all."""
    started = time.perf_counter()
    with ThreadPoolExecutor(concurrency) as pool:
        parts = pool.map(lambda k: _send(port, pictures[k::concurrency]), range(concurrency))
        found: list[Timed | None] = [None] * len(pictures)
        for k, part in enumerate(parts):
            found[k::concurrency] = part
    return [one for one in found if one is not None], time.perf_counter() - started


def _send(port: int, pictures: list[bytes]) -> list[Timed]:
    """Send pictures one after the other over one connection."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT)
    found = []
    for picture in pictures:
        started = time.perf_counter()
        try:
            connection.request("POST", "/v1/predict", picture, {"Content-Type": "image/png"})
            answer = connection.getresponse()
            status, body = answer.status, answer.read()
        except (OSError, http.client.HTTPException):
            status, body = 0, b""
            connection.close()
        found.append(Timed(status, body, time.perf_counter() - started))
    connection.close()
    return found


def _row(port: int, pictures: list[bytes], concurrency: int, alone: list[Timed]) -> str:
    found, seconds = measure(port, pictures, concurrency)
    lost = sum(one.status != 200 for one in found)
    different = sum(one.body != other.body for one, other in zip(found, alone, strict=True))
    p50, p95, p99 = np.percentile([1000 * one.seconds for one in found], (50, 95, 99))
    rate = len(found) / seconds
    return (
        f"| {concurrency} | {p50:.1f} | {p95:.1f} | {p99:.1f} | {rate:.0f} | {lost} | {different} |"
    )


def _pictures(project: Project, comp: str, count: int) -> list[bytes]:
    """Return the files of so many pictures, from the first again where there are fewer."""
    data = load_data(project, comp)
    paths = [path for path in (*data.test.images, *data.train.images) if path.is_file()]
    return [path.read_bytes() for path in islice(cycle(paths), count)]


def _serve(root: str, comp: str, source: str, port: int) -> None:
    serve(Project(Path(root)), comp, source, port=port, say=print)


def _await(port: int, server: multiprocessing.process.BaseProcess) -> None:
    for _ in range(10 * TIMEOUT):
        if not server.is_alive():
            raise SystemExit("the server did not start; its own line says why")
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1)
            connection.request("GET", "/health")
            if connection.getresponse().status == 200:
                return
        except OSError:
            time.sleep(0.1)
    raise SystemExit("the server did not start in time")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


if __name__ == "__main__":
    main()
