"""The page: one picture with all that is known of its answer, or many as a table."""

import asyncio
from collections.abc import Sequence
from html import escape
from itertools import count
from pathlib import Path

import gradio
from fastapi import FastAPI
from gradio.blocks import Block

from pipeline.artifacts.files import write_text
from pipeline.deploy.answers import DONT_KNOW
from pipeline.serve.archive import is_zip, unpacked
from pipeline.serve.endpoints import PAGE
from pipeline.serve.engine import Answered, Engine
from pipeline.serve.events import FILE, FILES, NUMBER, Events
from pipeline.serve.facts import may_refuse, promise, score_words, versions
from pipeline.serve.folder import KEPT_SECONDS
from pipeline.serve.refusals import Refused, megabytes
from pipeline.serve.table import safe_table
from pipeline.serve.uploads import Upload
from pipeline.serve.words import STYLE, answer_html, bars_html, fault_html, look_html, table_html

_TABLES = 64  # to download, that are kept on the disk
_GONE = f"it was kept for {KEPT_SECONDS // 60} minutes; drop it again"
_PROGRESS = gradio.Progress()  # Gradio finds it as a default
_SYSTEM = ("system-ui", "sans-serif")
_MONO = ("ui-monospace", "monospace")
_HEAD = '<meta name="color-scheme" content="light dark">'


def mount_page(app: FastAPI, engine: Engine, level: float, address: str, folder: Path) -> Events:
    """Put the page below `/page` of an application that is reached at `address`; uploads and tables
    to download lie in `folder`."""
    blocks = make_page(engine, level, address, folder)
    blocks.queue(max_size=engine.limits.requests, default_concurrency_limit=4)
    mounted = gradio.mount_gradio_app(
        app,
        blocks,
        PAGE,
        footer_links=[],
        run_history=False,
        show_error=False,
        max_file_size=engine.limits.request_bytes,
        ssr_mode=False,
        enable_monitoring=False,
        pwa=False,
        mcp_server=False,
        theme=gradio.themes.Default(font=_SYSTEM, font_mono=_MONO),
        css=STYLE,
        head=_HEAD,
    )
    return Events(mounted, _inputs(blocks), folder, engine.limits.batch)


def _inputs(blocks: gradio.Blocks) -> dict[int, tuple[str, ...]]:
    """Return the kinds of what each event of the page brings, by its number."""
    return {
        number: tuple(_kind(block) for block in event.inputs)
        for number, event in blocks.fns.items()
    }


def _kind(block: Block) -> str:
    if isinstance(block, gradio.File):
        return FILE if block.file_count == "single" else FILES
    if not isinstance(block, gradio.Slider):
        raise TypeError(f"{type(block).__name__}: events.py knows no kind of it")
    return NUMBER


def make_page(engine: Engine, level: float, address: str, folder: Path) -> gradio.Blocks:
    """Return the page's parts and what they do."""
    title = engine.model.model.get("title") or engine.model.model["source"]
    blocks = gradio.Blocks(analytics_enabled=False, title=title, fill_width=False)
    with blocks:
        gradio.Markdown(_introduction(engine, title))
        slider = gradio.Slider(
            0, 1, level, step=0.01, label=f'Below this confidence: "{DONT_KNOW}"',
            visible=may_refuse(engine.model), elem_id="level",
        )  # fmt: skip
        promised = gradio.Markdown(_plain(promise(engine.model, level)), elem_id="promise")
        with gradio.Tab("Picture"):
            _one(engine, slider)
        with gradio.Tab("Batch"):
            _many(engine, slider, folder)
        with gradio.Tab("About"):
            gradio.Markdown(_about(engine, address))
        slider.change(
            lambda value: _plain(promise(engine.model, value or 0.0)),
            slider,
            promised,
            show_progress="hidden",
            api_visibility="private",
        )
    return blocks


def _one(engine: Engine, slider: gradio.Slider) -> None:
    drop = gradio.File(label="Drop a picture here", elem_id="drop", height=140)
    answer = gradio.HTML(elem_id="answer")
    with gradio.Row():
        with gradio.Column(min_width=300):
            bars = gradio.HTML(elem_id="bars")
        with gradio.Column(min_width=300):
            seen = gradio.HTML(elem_id="seen")

    async def show(file: str | None, level: float | None) -> tuple[str, str, str]:
        if file is None:
            return "", "", ""
        try:
            upload = await asyncio.to_thread(_read, file, engine)
            return await _shown(engine, upload, level or 0.0)
        except Refused as refused:
            return fault_html(refused.message), "", ""

    gradio.on(
        [drop.change, slider.change],  # a slider is released by pointers alone
        show,
        [drop, slider],
        [answer, bars, seen],
        trigger_mode="always_last",
        api_visibility="private",
    )


async def _shown(engine: Engine, upload: Upload, level: float) -> tuple[str, str, str]:
    model = engine.model
    found = await engine.answer([upload], level)
    answer = answer_html(found, model.classes, model.separator)
    if found.faults:
        return answer, "", ""
    label = int(found.answers.labels[0]) if found.answers.labels.ndim == 1 else None
    look = await engine.look(upload.data, label)
    return answer, bars_html(found.answers.probs[0], model.classes), look_html(look)


def _many(engine: Engine, slider: gradio.Slider, folder: Path) -> None:
    label = f"Up to {engine.limits.batch:,} pictures, or a zip"
    drop = gradio.File(label=label, file_count="multiple", elem_id="drop-many", height=280)
    button = gradio.Button("Answer", variant="primary", elem_id="answer-many")
    said = gradio.HTML(elem_id="said-many")
    load = gradio.DownloadButton("Download as CSV", visible=False, elem_id="csv-many")

    numbers = count()

    async def show(
        files: list[str] | None, level: float | None, progress: gradio.Progress = _PROGRESS
    ) -> tuple[str, dict]:
        try:
            uploads = await asyncio.to_thread(_read_all, files or [], engine)
            total = len(uploads)
            found = await engine.answer(uploads, level or 0.0, lambda done: progress((done, total)))
        except Refused as refused:
            return f'<p role="alert">{escape(refused.message)}.</p>', gradio.update(visible=False)
        place = folder / f"table-{next(numbers) % _TABLES}"
        path = await asyncio.to_thread(_written, engine, found, place)
        table = table_html(found, engine.model.classes, engine.model.separator)
        return table, gradio.update(value=path, visible=True)

    button.click(show, [drop, slider], [said, load], api_visibility="private")


def _read(file: str, engine: Engine) -> Upload:
    """Return an upload of the page, which Gradio keeps as a file of its own."""
    path = Path(file)
    try:
        with open(path, "rb") as handle:
            return Upload(path.name, handle.read(engine.limits.request_bytes + 1))
    except FileNotFoundError:
        raise Refused(410, _GONE) from None


def _read_all(files: Sequence[str], engine: Engine) -> list[Upload]:
    """Return the pictures of uploads, and of the zips among them."""
    limits, found, total = engine.limits, [], 0
    for file in files:
        upload = _read(file, engine)
        uploads = unpacked(upload.data, limits) if is_zip(upload.data) else [upload]
        total += len(upload.data) + sum(len(one.data) for one in uploads if one is not upload)
        if total > 2 * limits.request_bytes:  # packed and unpacked
            most = megabytes(2 * limits.request_bytes)
            raise Refused(413, f"more than {most} in all; send fewer pictures at a time")
        found += uploads
        if len(found) > limits.batch:
            raise Refused(413, f"more than {limits.batch:,} pictures; send fewer at a time")
    if not found:
        raise Refused(400, "no picture; drop some first")
    return found


def _written(engine: Engine, found: Answered, folder: Path) -> str:
    """Write the table to download, and return its path."""
    path = folder / "predictions.csv"
    write_text(path, safe_table(engine.model, found))
    return str(path)


def _introduction(engine: Engine, title: str) -> str:
    model, score = engine.model, score_words(engine.model)
    honest = f" Honest score of what was exported: {score}." if score else ""
    what = f"{model.model['source']}: {len(model.classes):,} classes."
    return f"# {_plain(title)}\n\n{_plain(what + honest)}"


def _about(engine: Engine, address: str) -> str:
    model = engine.model
    packages = ", ".join(f"{name} {number}" for name, number in versions().items())
    return "\n\n".join(
        [
            f"Classes: {_plain(', '.join(model.classes))}",
            f"Networks: {len(model.networks)}; versions: {_plain(packages)}",
            f"By HTTP: `curl -F file=@picture.jpg {address}/v1/predict`; "
            "`GET /v1/model` and `GET /health` tell the rest.",
        ]
    )


def _plain(text: str) -> str:
    """Return a text that Markdown takes for nothing but text."""
    marked = "".join(
        f"\\{c}" if c in "\\`*_{}[]()#+-.!|~$" else c for c in escape(text, quote=False)
    )
    return " ".join(marked.split())
