"""Odd pictures, made by code: one file per kind, and what is to be said of each."""

import io
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageCms

WIDTH, HEIGHT = 96, 72
HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(64)
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 12345\n"
PDF = b"%PDF-1.7\n1 0 obj\n<< /Type /Catalog >>\nendobj\n%%EOF\n"
XMP = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF '
    'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description '
    'xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"/></rdf:RDF></x:xmpmeta>'
)


@dataclass(frozen=True)
class Odd:
    """A kind of odd picture.

    `write`: its bytes, or what makes it at a path. `findings`: the names that an audit lists it
    under, beside those of all. `fault`: what its reason begins with, where it cannot be used.
    `differs`: training's pixels are not those of Pillow, which one of the findings says. `within`:
    the mean difference of both decoders otherwise.
    """

    file: str
    write: bytes | Callable[[Path], object]
    findings: tuple[str, ...] = ()
    fault: str = ""
    differs: bool = False
    within: float = 0.0

    @property
    def expected(self) -> set[str]:
        return {"unreadable-pictures"} if self.fault else set(self.findings)

    def make(self, folder: Path) -> Path:
        path = folder / self.file
        if isinstance(self.write, bytes):
            path.write_bytes(self.write)
        else:
            self.write(path)
        return path


def smooth(width: int = WIDTH, height: int = HEIGHT, seed: int = 0) -> Image.Image:
    """Return a picture of coloured clouds."""
    small = np.random.default_rng(seed).integers(20, 236, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)


def encoded(picture: Image.Image, form: str, **options) -> bytes:
    """Return the bytes of a picture as Pillow writes it."""
    out = io.BytesIO()
    picture.save(out, form, **options)
    return out.getvalue()


def jpeg(picture: Image.Image | None = None, **options) -> bytes:
    return encoded(picture or smooth(), "JPEG", **{"quality": 95, **options})


def png(picture: Image.Image | None = None, **options) -> bytes:
    return encoded(picture or smooth(), "PNG", **options)


def by_opencv(suffix: str, pixels: np.ndarray) -> bytes:
    return cv2.imencode(suffix, pixels)[1].tobytes()


def film(form: str, **options) -> bytes:
    frames = [smooth(seed=seed) for seed in (1, 2)]
    return encoded(smooth(), form, save_all=True, append_images=frames, **options)


def see_through(share: float) -> Image.Image:
    """Return a picture whose upper `share` is see-through, above colours of its own."""
    opacity = np.full((HEIGHT, WIDTH), 255, np.uint8)
    opacity[: round(share * HEIGHT)] = 0
    picture = smooth().convert("RGBA")
    picture.putalpha(Image.fromarray(opacity))
    return picture


def ramp(top: int) -> np.ndarray:
    """Return values from 0 to `top`, (HEIGHT, WIDTH) uint16."""
    return np.linspace(0, top, WIDTH * HEIGHT).reshape(HEIGHT, WIDTH).astype(np.uint16)


def turned(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def chunk(kind: bytes, content: bytes) -> bytes:
    """Return a chunk of a PNG with its checksum."""
    return struct.pack(">I", len(content)) + kind + content + _crc(kind + content)


def _crc(content: bytes) -> bytes:
    return struct.pack(">I", zlib.crc32(content))


def promising(side: int) -> bytes:
    """Return a PNG whose header promises side x side pixels, with hardly any in it."""
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    parts = (b"IHDR", header), (b"IDAT", zlib.compress(bytes(3000))), (b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


def interlaced() -> bytes:
    """Return a grey PNG of 8 x 8 px in the seven passes of Adam7, which Pillow cannot write."""
    pixels = np.arange(64, dtype=np.uint8).reshape(8, 8) * 3 + 20
    steps = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2)]
    rows = b""
    for x, y, dx, dy in [*steps, (0, 1, 1, 2)]:
        rows += b"".join(b"\0" + line.tobytes() for line in pixels[y::dy, x::dx])
    header = struct.pack(">IIBBBBB", 8, 8, 8, 0, 0, 0, 1)
    parts = (b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


def spoiled(data: bytes, at: int, value: int | None = None) -> bytes:
    """Return the bytes with one changed: flipped, or set to `value`."""
    out = bytearray(data)
    out[at] = out[at] ^ 0x55 if value is None else value
    return bytes(out)


def wrong_checksum(kind: bytes) -> bytes:
    """Return a PNG in which the first chunk of a kind has a checksum that is not its own."""
    data = png()
    start = data.index(kind)
    (length,) = struct.unpack(">I", data[start - 4 : start])
    return spoiled(data, start + 4 + length)


def as_ycck() -> bytes:
    """Return a JPEG of four channels whose Adobe marker says that they are YCCK."""
    data = jpeg(smooth().convert("CMYK"))
    return spoiled(data, data.index(b"Adobe") + 11, 2)


def without_adobe() -> bytes:
    """Return a CMYK JPEG without the marker of Adobe."""
    data = jpeg(smooth().convert("CMYK"))
    start = data.index(b"Adobe") - 4
    (length,) = struct.unpack(">H", data[start + 2 : start + 4])
    return data[:start] + data[start + 2 + length :]


def not_inverted() -> bytes:
    """Return a CMYK JPEG that stores its inks as they are, which readers take for inverted."""
    return jpeg(Image.fromarray(255 - np.asarray(smooth().convert("CMYK")), "CMYK"))


def grey() -> Image.Image:
    return smooth().convert("L")


def flat(level: int, spread: int = 0) -> Image.Image:
    """Return a picture of one level, or of two that are `spread` apart, in halves."""
    pixels = np.full((HEIGHT, WIDTH, 3), level, np.uint8)
    pixels[HEIGHT // 2 :] += np.uint8(spread)
    return Image.fromarray(pixels)


def deep_colours() -> np.ndarray:
    """Return a picture of 16 bits, (h, w, 3) uint16 BGR."""
    return np.asarray(smooth())[..., ::-1].astype(np.uint16) * 257


def _faulty() -> dict[str, Odd]:
    """Return the kinds that cannot be used."""
    progressive, film_bytes = jpeg(progressive=True), film("GIF")
    html, svg = b"<!DOCTYPE html>\n<html><h1>404</h1></html>", b'<?xml version="1.0"?>\n<svg></svg>'
    convert = "which cannot be decoded here: convert it"
    return {
        "missing": Odd("a.png", lambda path: None, fault="missing"),
        "link to nowhere": Odd(
            "a.png",
            lambda path: path.symlink_to("nowhere.png"),
            fault="missing (a link that leads nowhere)",
        ),
        "folder": Odd("a.png", Path.mkdir, fault="not a file"),
        "empty": Odd("a.png", b"", fault="an empty file"),
        "one byte": Odd("a.png", b"\xff", fault="not an image"),
        "text": Odd("a.png", b"a cat, sitting\n", fault="not an image"),
        "html": Odd("a.jpg", html, fault="not an image (an HTML page)"),
        "json": Odd("a.jpg", b'{"error": "denied"}', fault="not an image (JSON)"),
        "git lfs": Odd("a.jpg", LFS, fault="not an image (a Git LFS pointer: git lfs pull)"),
        "svg": Odd("a.png", svg, fault=f"an SVG drawing, {convert}"),
        "pdf": Odd("a.png", PDF, fault=f"a PDF, {convert}"),
        "zip": Odd("a.png", b"PK\x03\x04" + bytes(40), fault="not an image (a zip archive)"),
        "heic": Odd("a.jpg", HEIC, fault=f"a HEIC picture, {convert}"),
        "tga": Odd(
            "a.jpg", encoded(smooth(), "TGA"), fault=f"a TGA picture of mode RGB, {convert}"
        ),
        "cut jpeg": Odd("a.jpg", jpeg()[:1900], fault="truncated"),
        "cut progressive jpeg": Odd(
            "a.jpg", progressive[: len(progressive) // 2], fault="truncated"
        ),
        "jpeg cut in its header": Odd("a.jpg", jpeg()[:90], fault="broken (a JPEG"),
        "jpeg without its end": Odd("a.jpg", jpeg()[:-2], fault="truncated"),
        "cut png": Odd("a.png", png()[:2000], fault="truncated"),
        "png without its end": Odd("a.png", png()[:-12], fault="broken (a PNG"),
        "png, checksum of pixels": Odd("a.png", wrong_checksum(b"IDAT"), fault="broken (a PNG"),
        "png, checksum of header": Odd("a.png", wrong_checksum(b"IHDR"), fault="broken (a PNG"),
        "png of 60,000 px a side": Odd("a.png", promising(60_000), fault="too large"),
        "png of 12,000 px a side": Odd("a.png", promising(12_000), fault="truncated"),
        "png of 2^20 + 1 px": Odd("a.png", png(Image.new("L", (2**20 + 1, 1))), fault="broken"),
        "cut gif": Odd("a.gif", film_bytes[: len(film_bytes) // 2], fault="broken (a GIF"),
        "float tiff": Odd("a.tif", _float_tiff(), fault=f"a TIFF picture of mode F, {convert}"),
        "float tiff in colour": Odd("a.tif", _float_colours(), fault="a TIFF that cannot"),
    }


def _float_tiff() -> bytes:
    return encoded(Image.fromarray(ramp(200).astype(np.float32)), "TIFF")


def _float_colours() -> bytes:
    return by_opencv(".tif", (deep_colours() / 65535).astype(np.float32))


def _whole() -> dict[str, Odd]:
    """Return the kinds that are whole files of usual colours."""
    names = {"jpg": jpeg(), "png": png()}
    return {
        "jpeg": Odd("a.jpg", names["jpg"]),
        "progressive jpeg": Odd("a.jpg", jpeg(progressive=True)),
        "jpeg with garbage behind": Odd("a.jpg", jpeg() + b"garbage" * 30),
        "jpeg with a flipped byte": Odd("a.jpg", spoiled(jpeg(), -900), within=0.5),
        "interlaced png": Odd("a.png", interlaced(), ("tiny-pictures", "grey-pictures")),
        "png, checksum of its end": Odd("a.png", spoiled(png(), -1)),
        "black": Odd("a.png", png(flat(0)), ("constant-pictures", "grey-pictures")),
        "white": Odd("a.jpg", jpeg(flat(255)), ("constant-pictures", "grey-pictures")),
        "nearly black": Odd(
            "a.png", png(flat(2, 1)), ("nearly-constant-pictures", "grey-pictures")
        ),
        "1 x 1 px": Odd(
            "a.png",
            png(Image.new("RGB", (1, 1), (9, 90, 9))),
            ("tiny-pictures", "constant-pictures"),
        ),
        "8 x 8 px": Odd("a.png", png(smooth(8, 8)), ("tiny-pictures",)),
        "2000 x 10 px": Odd("a.png", png(smooth(2000, 10)), ("tiny-pictures", "long-pictures")),
        "4.1 megapixels": Odd("a.jpg", jpeg(smooth(2050, 2000)), ("huge-pictures",), within=0.1),
        "grey jpeg": Odd("a.jpg", jpeg(grey()), ("grey-pictures",)),
        "equal channels": Odd("a.png", png(grey().convert("RGB")), ("grey-pictures",)),
        "grey with opacity": Odd("a.png", png(grey().convert("LA")), ("grey-pictures",)),
        "half see-through": Odd("a.png", png(see_through(0.5)), ("see-through-pictures",)),
        "all see-through": Odd("a.png", png(see_through(1)), ("see-through-pictures",)),
        "see-through webp": Odd(
            "a.webp",
            encoded(see_through(0.5), "WEBP", lossless=True, exact=True),
            ("see-through-pictures",),
        ),
        "see-through tiff": Odd(
            "a.tif", encoded(see_through(0.5), "TIFF"), ("see-through-pictures",), differs=True
        ),
        "see-through gif": Odd(
            "a.gif", encoded(see_through(0.5), "GIF"), ("see-through-pictures",), differs=True
        ),
        "palette": Odd("a.png", png(smooth().quantize(16))),
        "palette with a hole": Odd(
            "a.png", png(smooth().quantize(16), transparency=3), ("see-through-pictures",)
        ),
        "one bit": Odd("a.png", png(smooth().convert("1")), ("grey-pictures",)),
        "bmp": Odd("a.bmp", encoded(smooth(), "BMP")),
        "ppm": Odd("a.ppm", encoded(smooth(), "PPM")),
        "avif": Odd("a.avif", encoded(smooth(), "AVIF"), within=0.5),
        "jpeg 2000": Odd("a.jp2", encoded(smooth(), "JPEG2000")),
        "colour profile": Odd("a.jpg", jpeg(icc_profile=_srgb()), ("colour-profiles",)),
        "png named .jpg": Odd("a.jpg", names["png"], ("misnamed-pictures",)),
        "png named .JPG": Odd("A.JPG", names["png"], ("misnamed-pictures",)),
        "jpeg named .png": Odd("a.png", names["jpg"], ("misnamed-pictures",)),
        "upper-case suffix": Odd("A.JPG", names["jpg"]),
        "a name of many letters": Odd("ein Bär, naïve 猫 (1).png", names["png"]),
    }


def _srgb() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def _deep_films_and_turns() -> dict[str, Odd]:
    """Return the kinds with more bits, frames, inks or turns than usual."""
    deep, turn, many = ("deep-pictures",), ("rotated-pictures",), ("films-and-pages",)
    grey_deep, inks = ("deep-pictures", "grey-pictures"), ("cmyk-pictures",)
    black = (*grey_deep, "constant-pictures")
    turns = {f"exif {k}": Odd("a.jpg", jpeg(exif=turned(k)), turn, within=0.5) for k in range(2, 9)}
    webp = encoded(smooth(), "WEBP", lossless=True, exif=turned(6))
    return {
        "16 bits, small values": Odd("a.png", by_opencv(".png", ramp(255)), black, differs=True),
        "16 bits, all values": Odd(
            "a.png", by_opencv(".png", ramp(65535)), grey_deep, differs=True
        ),
        "16 bits, colours": Odd("a.png", by_opencv(".png", deep_colours()), deep),
        "16 bits, tiff": Odd("a.tif", by_opencv(".tif", deep_colours()), deep),
        "pages": Odd("a.tif", film("TIFF"), many),
        "gif film": Odd("a.gif", film("GIF"), many),
        "webp film": Odd("a.webp", film("WEBP", lossless=True), many),
        "png film": Odd("a.png", film("PNG"), many),
        "png film, cut": Odd("a.png", film("PNG")[:-500], many),
        "mpo": Odd("a.jpg", film("MPO", quality=95), many),
        "cmyk jpeg": Odd("a.jpg", jpeg(smooth().convert("CMYK")), inks, within=2.0),
        "cmyk jpeg without adobe": Odd("a.jpg", without_adobe(), inks, within=2.0),
        "ycck jpeg": Odd("a.jpg", as_ycck(), inks, within=2.0),
        "cmyk not inverted": Odd(
            "a.jpg", not_inverted(), (*inks, "constant-pictures", "grey-pictures"), within=2.0
        ),
        "cmyk tiff": Odd("a.tif", encoded(smooth().convert("CMYK"), "TIFF"), inks),
        "lab tiff": Odd(
            "a.tif",
            encoded(smooth().convert("LAB"), "TIFF"),  # Pillow embeds the profile
            (*inks, "colour-profiles"),
            differs=True,
        ),
        **turns,
        "exif broken": Odd("a.jpg", jpeg(exif=b"Exif\0\0MM\0*\xff\xff\xff\xff" + bytes(8))),
        "exif 9": Odd("a.jpg", jpeg(exif=turned(9))),
        "turn in the xmp": Odd("a.jpg", jpeg(xmp=XMP.encode())),
        "turned png": Odd("a.png", png(exif=turned(6)), turn),
        "turned webp": Odd("a.webp", webp, turn),
        "turned tiff": Odd("a.tif", encoded(smooth(), "TIFF", exif=turned(6)), turn),
        "turned avif": Odd("a.avif", encoded(smooth(), "AVIF", exif=turned(6)), turn, differs=True),
    }


KINDS = {**_faulty(), **_whole(), **_deep_films_and_turns()}
