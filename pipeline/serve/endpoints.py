"""The HTTP interface: `POST /v1/predict`, `GET /v1/model`, `GET /health`; all else is JSON, too."""

from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import Any

import numpy as np
from fastapi import FastAPI, Request
from fastapi.responses import RedirectResponse, Response
from starlette.exceptions import HTTPException

from pipeline.deploy.answers import DONT_KNOW
from pipeline.serve.door import Door
from pipeline.serve.engine import Answered, Engine
from pipeline.serve.facts import described, may_refuse
from pipeline.serve.guard import json_bytes
from pipeline.serve.refusals import Refused
from pipeline.serve.uploads import read_uploads, shown_name

PAGE = "/page"
_REMEDIES = {
    404: "no such address here; POST /v1/predict, GET /v1/model, GET /health, or the page at /",
    405: "no such method here; POST /v1/predict, GET /v1/model, GET /health",
}


def make_app(engine: Engine, level: float, door: Door) -> FastAPI:
    """Return the application without its page; `level` is the confidence below which nothing is
    answered if a request says nothing else, and the `door` counts requests."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)

    @app.post("/v1/predict")
    async def predict(request: Request) -> Response:
        asked = _level(request, level, engine)
        kind = request.headers.get("content-type", "")
        uploads = await read_uploads(kind, _chunks(request), engine.limits)
        found = await engine.answer(uploads, asked)
        if len(found.faults) == len(uploads):  # nothing was answered at all
            raise found.faults[0] if len(uploads) == 1 else _all_broken(found)
        return _json({"confidence": asked, "pictures": replies(engine, found)})

    @app.get("/v1/model")
    async def model() -> Response:
        return _json(described(engine.model, level, engine.limits))

    @app.get("/health")
    async def health() -> Response:
        source = engine.model.model["source"]
        return _json({"status": "ok", "model": source, "requests": door.inside})

    @app.get("/", include_in_schema=False)
    async def start() -> Response:
        return RedirectResponse(f"{PAGE}/")

    @app.get("/favicon.ico", include_in_schema=False)
    async def icon() -> Response:
        return Response(status_code=204)

    _tell_errors(app)
    return app


def replies(engine: Engine, found: Answered) -> list[dict[str, Any]]:
    """Return what is told of each picture: no answer, and no probabilities, of one that cannot be
    used."""
    answers, classes = found.answers, engine.model.classes
    told = []
    for place, name in enumerate(found.names):
        broken = place in answers.notes
        probs = None if broken else dict(zip(classes, answers.probs[place].tolist(), strict=True))
        said = None if broken else _said(answers.labels[place], classes)
        told.append(
            {
                "name": shown_name(name),
                "answer": said if broken or answers.given[place] else DONT_KNOW,
                "given": bool(answers.given[place]) and not broken,
                "confidence": float(answers.confidence[place]),
                "probabilities": probs,
                "note": answers.notes.get(place, ""),
            }
        )
    return told


def _said(label: Any, classes: tuple[str, ...]) -> str | list[str]:
    """Return the answered class, or of several labels the list."""
    if np.ndim(label):
        return [classes[k] for k in np.flatnonzero(label)]
    return classes[int(label)]


def _level(request: Request, usual: float, engine: Engine) -> float:
    asked = request.query_params.get("confidence")
    if asked is None:
        return usual
    try:
        level = float(asked)
    except ValueError:
        level = -1.0
    if not 0 <= level <= 1 or (level and not may_refuse(engine.model)):
        got = shown_name(asked)[:40]
        raise Refused(422, f"confidence is {got!r}; give a number from 0 to 1, or leave it out")
    return level


async def _chunks(request: Request) -> AsyncIterator[bytes]:
    """Yield the body as it comes; a client that leaves early ends it."""
    more = True
    while more:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise Refused(400, "the connection was closed before all of the request was there")
        yield message.get("body", b"")
        more = message.get("more_body", False)


def _all_broken(found: Answered) -> Refused:
    first, count = found.faults[0], len(found.faults)
    return Refused(
        first.status, f"none of {count} pictures can be used; the first: {first.message}"
    )


def _tell_errors(app: FastAPI) -> None:
    """Have every error told as JSON, in one line, without path or traceback."""

    async def refused(request: Request, error: Exception) -> Response:
        assert isinstance(error, Refused)
        return _json(error.content, error.status, error.headers)

    async def other(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        text = _REMEDIES.get(error.status_code) or HTTPStatus(error.status_code).phrase
        told = Refused(error.status_code, text)
        return _json(told.content, told.status, dict(error.headers or {}))

    async def bug(request: Request, error: Exception) -> Response:
        told = Refused(500, "the server failed at this request; its terminal says why")
        return _json(told.content, told.status)

    app.add_exception_handler(Refused, refused)
    app.add_exception_handler(HTTPException, other)
    app.add_exception_handler(Exception, bug)


def _json(content: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(json_bytes(content), status, headers, "application/json")
