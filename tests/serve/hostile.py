"""A hundred requests that mean no good, or are badly made: the bytes, and the answers that fit."""

import io
import struct
import zipfile
import zlib
from dataclasses import dataclass

import numpy as np
from PIL import Image
from serving import multipart, request

OK, BAD, MANY, KIND, BROKEN = {200}, {400}, {413}, {415}, {415, 422}


@dataclass(frozen=True)
class Hostile:
    """A request as bytes, and the statuses that answer it well."""

    name: str
    data: bytes
    statuses: frozenset[int]


def hostile_requests() -> list[Hostile]:
    """Return all of them."""
    made = [*_no_pictures(), *_truncated(), *_bombs(), *_odd_pictures(), *_names()]
    made += [*_content_types(), *_multiparts(), *_protocol(), *_methods(), *_page()]
    return [Hostile(name, data, frozenset(statuses)) for name, data, statuses in made]


def encoded(form: str, side: int = 40, mode: str = "RGB", **options) -> bytes:
    """Return a picture of noise in a format of Pillow's."""
    noise = np.random.default_rng(0).integers(0, 255, (side, side, 3), dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(noise).convert(mode).save(out, form, **options)
    return out.getvalue()


def _no_pictures():
    svg = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'
    xxe = b'<?xml version="1.0"?><!DOCTYPE svg [<!ENTITY x SYSTEM "file:///etc/passwd">]>'
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("a.png", bytes(900_000))
    bodies = {
        "nothing": (b"", BAD),
        "one byte": (b"\xff", KIND),
        "rubbish": (np.random.default_rng(1).bytes(5000), KIND),
        "text": (b"hello " * 100, KIND),
        "an HTML page": (b"<html><script>alert(1)</script></html>", KIND),
        "JSON": (b'{"image": "aGVsbG8="}', KIND),
        "an SVG": (svg, KIND),
        "an SVG that reads a file": (xxe + b"<svg>&x;</svg>", KIND),
        "a PDF": (b"%PDF-1.7\n" + bytes(300), KIND),
        "a PDF with a JPEG inside": (b"%PDF-1.4\n" + encoded("JPEG"), KIND),
        "a zip bomb": (archive.getvalue(), KIND),
        "a gzip bomb": (zlib.compress(bytes(10**6), 9, 31), KIND),
        "a program": (b"\x7fELF" + bytes(500), KIND),
        "a script that is a GIF": (b"GIF89a/*" + bytes(80) + b"*/=1;alert(1)", {413, 422}),
        "signature alone, JPEG": (b"\xff\xd8\xff", BROKEN),
        "signature alone, PNG": (b"\x89PNG\r\n\x1a\n", BROKEN),
        "signature alone, TIFF": (b"II*\0", BROKEN),
        "a TIFF whose directory is far away": (b"II*\0\xff\xff\xff\xff", BROKEN),
        "more bytes than a picture has": (bytes(1_500_000), MANY),
        "more bytes than a request has": (bytes(4_000_000), MANY),
    }
    return [(name, request(body, "image/jpeg"), good) for name, (body, good) in bodies.items()]


def _truncated():
    for form in ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF"):
        whole = encoded(form)
        for share in (0.02, 0.3, 0.9):
            part = whole[: int(share * len(whole))]
            # Of some formats a decoder takes what is there and calls the rest grey.
            yield f"{form} cut at {share:.0%}", request(part, "image/png"), {200, 415, 422}


def _bombs():
    side = 50_000
    chunk = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    ihdr = b"IHDR" + chunk
    png = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + ihdr + struct.pack(">I", zlib.crc32(ihdr))
    jpeg = bytearray(encoded("JPEG"))
    at = jpeg.index(b"\xff\xc0")
    jpeg[at + 5 : at + 9] = struct.pack(">HH", side, side)
    tiff = b"II*\0\x08\0\0\0" + struct.pack("<H", 2)
    tiff += struct.pack("<HHII", 256, 4, 1, side) + struct.pack("<HHII", 257, 4, 1, side)
    webp = b"RIFF\x1e\0\0\0WEBPVP8X\x0a\0\0\0" + bytes(4) + b"\xff\x3f\0" * 2
    bmp = b"BM" + bytes(12) + struct.pack("<Iii", 40, side, -side) + bytes(20)
    gif = b"GIF89a" + struct.pack("<HH", 65_535, 65_535) + bytes(10)
    bombs = {"PNG": png, "JPEG": bytes(jpeg), "TIFF": tiff, "WebP": webp, "BMP": bmp, "GIF": gif}
    for name, data in bombs.items():
        yield f"a {name} of billions of pixels", request(data + bytes(50)), MANY
    plain, text = encoded("PNG"), zlib.compress(bytes(80_000_000), 9)
    ztxt = b"zTXtComment\0\0" + text
    ztxt = struct.pack(">I", len(ztxt) - 4) + ztxt + struct.pack(">I", zlib.crc32(ztxt))
    yield "a PNG with a bomb of text", request(plain[:33] + ztxt + plain[33:]), {200, 422}
    scans = encoded("JPEG", progressive=True)
    at = scans.rindex(b"\xff\xda")
    many = scans[:at] + scans[at:-2] * 300 + scans[-2:]
    yield "a JPEG of hundreds of scans", request(many), {422}


def _odd_pictures():
    frames = [Image.new("RGB", (30, 30), (10 * k, 0, 0)) for k in range(20)]
    animated = io.BytesIO()
    frames[0].save(animated, "GIF", save_all=True, append_images=frames[1:])
    deep = io.BytesIO()
    Image.fromarray(np.full((30, 30), 40_000, np.uint16)).save(deep, "PNG")
    exif = Image.Exif()
    exif[0x010E] = "<script>alert(1)</script>"
    odd = {
        "an animated GIF": animated.getvalue(),
        "a PNG of 16 bits": deep.getvalue(),
        "a JPEG in CMYK": encoded("JPEG", mode="CMYK"),
        "a palette with a transparent colour": encoded("PNG", mode="P", transparency=0),
        "grey with transparency": encoded("PNG", mode="LA"),
        "HTML in the EXIF": encoded("JPEG", exif=exif.tobytes()),
        "a single pixel": encoded("PNG", side=1),
        "a JPEG with a zip behind it": encoded("JPEG") + b"PK\x05\x06" + bytes(18),
        "bytes behind the end": encoded("PNG") + bytes(1000),
    }
    for name, data in odd.items():
        yield name, request(data, "image/gif"), OK


def _names():
    names = {
        "up and away": b"../../../../etc/passwd",
        "of a root": b"/etc/passwd",
        "of Windows": b"C:\\Windows\\win.ini",
        "with NUL": b"a\0b.png",
        "with a tab and a bell": b"a\tb\x07.png",
        "an emoji": "\N{GRINNING FACE}.png".encode(),
        "from right to left": "\u202egnp.exe".encode(),
        "10,000 characters": b"x" * 10_000,
        "not in UTF-8": b"\xff\xfe\xfd.png",
        "nothing": b"",
        "HTML": b"<img src=x onerror=alert(1)>.png",
        "a formula": b"=HYPERLINK(1).png",
    }
    for name, value in names.items():
        body, kind = multipart([(value, encoded("PNG"))])
        yield f"a name: {name}", request(body, kind), OK
    body, kind = multipart([(b"a\r\nX-Evil: 1\r\n\r\n.png", encoded("PNG"))])
    yield "a name: with new lines", request(body, kind), {200, 400, 415, 422}


def _content_types():
    picture = encoded("PNG")
    kinds = ["application/json", "text/html", "application/octet-stream", "", "multipart/mixed"]
    kinds += ["application/x-www-form-urlencoded", ";;;", "image", "\xff\xfe"]
    for kind in kinds:
        yield f"content type {kind!r}", request(picture, kind), KIND
    yield "a picture in JSON", request(b'{"a": 1}', "application/json"), KIND


def _multiparts():
    picture = encoded("PNG")
    body, kind = multipart([("a.png", picture)])
    inner, inner_kind = multipart([("b.png", picture)], "inner")
    nested, _ = multipart([("nested", f"Content-Type: {inner_kind}\r\n\r\n".encode() + inner)])
    field = b'--xXx\r\nContent-Disposition: form-data; name="x"\r\n\r\nhi\r\n--xXx--\r\n'
    head = b'--xXx\r\nContent-Disposition: form-data; filename="a"\r\nX: ' + b"y" * 200_000
    yield "no boundary", request(body, "multipart/form-data"), BAD
    yield "another boundary", request(body, "multipart/form-data; boundary=other"), BAD
    yield "a very long boundary", request(body, f"multipart/form-data; boundary={'b' * 300}"), BAD
    yield "cut short", request(body[:-20], kind), BAD
    yield "only its end", request(b"--xXx--\r\n", kind), BAD
    yield "rubbish as multipart", request(np.random.default_rng(2).bytes(999), kind), BAD
    yield "a field and no file", request(field, kind), {422}
    yield "multipart in multipart", request(nested, kind), KIND
    yield "a header of 200 kB in a part", request(head + b"\r\n\r\n", kind), BAD
    yield "an empty file", request(multipart([("a.png", b"")])[0], kind), {422}
    yield "too many files", request(multipart([("a.png", picture)] * 50)[0], kind), MANY
    yield "none usable of two", request(multipart([("a", b"x"), ("b", b"y")])[0], kind), KIND


def _protocol():
    picture = encoded("PNG")
    start = "POST /v1/predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: image/png\r\n"
    chunks = b"".join(
        b"%x\r\n%s\r\n" % (len(part), part)
        for part in (picture[k : k + 700] for k in range(0, len(picture), 700))
    )
    coded = (start + "Transfer-Encoding: chunked\r\n\r\n").encode()
    endless = b"%x\r\n%s\r\n" % (1_200_000, bytes(1_200_000))
    get = "GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    raw = {
        "1 GB declared": (start + "Content-Length: 1000000000\r\n\r\n", MANY),
        "1 GB declared and awaited": (
            start + "Content-Length: 1000000000\r\nExpect: 100-continue\r\n\r\n",
            MANY,
        ),
        "in chunks": (coded + chunks + b"0\r\n\r\n", OK),
        "in chunks without an end": (coded + endless, MANY),
        "a chunk of no length": (coded + b"zzzz\r\nhello\r\n", BAD),
        "a negative length": (start + "Content-Length: -5\r\n\r\n", BAD),
        "two lengths": (start + "Content-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef", BAD),
        "a head of 100 kB": (get + f"X: {'y' * 100_000}\r\n\r\n", {400, 431}),
        "an address of 100 kB": (f"GET /{'y' * 100_000} HTTP/1.1\r\nHost: x\r\n\r\n", {400, 431}),
        "no HTTP": (b"hello\r\n\r\n", BAD),
        "the start of TLS": (b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03" + bytes(100), BAD),
        "another host's name": ("GET /health HTTP/1.1\r\nHost: evil.example\r\n\r\n", BAD),
        "a way up": ("GET /v1/../../etc/passwd HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", {404}),
        "a file of the page": (
            "GET /page/gradio_api/file=/etc/passwd HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
            {403, 404},
        ),
        "a confidence that is none": (
            request(picture, path="/v1/predict?confidence=nan"),
            {422},
        ),
    }
    for name, (data, good) in raw.items():
        yield name, data.encode("latin-1") if isinstance(data, str) else data, good


def _page():
    path = "/page/gradio_api/upload"
    large = multipart([("a.png", bytes(4_000_000))])
    chunk = b"%x\r\n%s\r\n" % (len(large[0]), large[0])
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {large[1]}\r\n"
    coded = f"{head}Transfer-Encoding: chunked\r\n\r\n".encode()
    proxy = "GET /page/gradio_api/proxy=http://10.0.0.1/ HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    yield "an upload of the page, too large", request(*large, path), MANY
    yield "an upload of the page, too large, in chunks", coded + chunk, MANY
    yield (
        "an event of the page, too large, in chunks",
        coded.replace(b"upload", b"queue/join") + chunk,
        MANY,
    )
    yield "the page as a proxy", proxy.encode(), {400, 403, 404}


def _methods():
    for method in ("GET", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD", "FOO"):
        line = f"{method} /v1/predict HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
        yield f"{method} a prediction", line.encode(), {405}
    yield "POST the health", request(b"x", path="/health"), {405}
