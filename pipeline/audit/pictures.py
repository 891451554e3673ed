"""What is odd about single pictures: those that cannot be used, and those that show less than they
should. Each finding names them, the oddest first."""

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.artifacts.findings import Finding, Level
from pipeline.audit.picture_kinds import KINDS, Kind, Looks, note, pixels
from pipeline.competition import CompetitionData

LISTED = 60  # pictures of a finding that are named
EXAMPLES = 6  # of an oddity that all pictures have
SHARE, SURE = 0.1, 3.0  # difference of two shares that matters; its size in standard errors
QUANTILES = {"smallest": 0.0, "5%": 0.05, "median": 0.5, "95%": 0.95, "largest": 1.0}


@dataclass(frozen=True)
class _Pictures:
    """The pictures of both tables, training rows first; `looks` are those, (n,)."""

    data: CompetitionData
    looks: Looks

    @property
    def whole(self) -> np.ndarray:
        """Mark the pictures (n,) that can be used."""
        return self.looks["fault"] == ""

    @property
    def train(self) -> np.ndarray:
        """Mark the training rows (n,)."""
        return np.arange(len(self.looks)) < len(self.data.train)

    def item(self, place: int, title: str) -> dict[str, Any]:
        known = len(self.data.train)
        table, rows = ("train", self.data.train) if place < known else ("test", self.data.test)
        place -= 0 if place < known else known
        return _item(self.data, table, str(rows.ids[place]), rows.images[place], title)

    def counted(self, odd: np.ndarray, among: np.ndarray) -> str:
        """Say how many of the pictures `among` (n,) are `odd` (n,), for each table."""
        parts = {"training": self.train & among, "test": ~self.train & among}
        said = [f"{odd[p].sum():,} of {p.sum():,} {name}" for name, p in parts.items() if p.any()]
        return f"{' and '.join(said) or '0'} pictures"


def picture_findings(data: CompetitionData, looks: np.ndarray) -> list[Finding]:
    """Return what is odd about single pictures; what was looked for and not found is `fine`.

    Parameters
    ----------
    data : the competition
    looks : (n,) of dtype LOOK, at the pictures of its training, then its test rows
    """
    if len(looks) != len(data.train) + len(data.test):
        raise ValueError(f"{len(looks)} looks at {len(data.train) + len(data.test)} rows")
    all_pictures = _Pictures(data, looks)
    kinds = (*KINDS, _huge(data.competition.max_megapixels))
    return [
        _unreadable(all_pictures),
        *(_finding(all_pictures, kind) for kind in kinds),
        _grey(all_pictures),
        _mixed_forms(all_pictures),
        _mixed_sizes(all_pictures),
    ]


def _huge(megapixels: float) -> Kind:
    limit = megapixels * 1e6
    return Kind(
        "huge-pictures",
        f"pictures of more than {megapixels:g} megapixels",
        lambda looks: np.where(pixels(looks) > limit, pixels(looks), 0).astype(float),
        lambda look: f"{look['width']} x {look['height']} px",
        "They are shrunk once to max_megapixels, and the copies are decoded from then on: raise "
        "it where finer detail decides.",
        note,
    )


def _finding(all_pictures: _Pictures, kind: Kind) -> Finding:
    whole = all_pictures.whole
    oddness = np.where(whole, kind.odd(all_pictures.looks), 0.0)
    odd = oddness > 0
    level: Level = kind.level(all_pictures.looks[odd]) if odd.any() else "fine"
    return Finding(
        kind.name,
        level,
        f"{kind.what}: {all_pictures.counted(odd, whole)}",
        kind.why,
        int(odd.sum()),
        items=_listed(all_pictures, oddness, kind, LISTED if (odd < whole).any() else EXAMPLES),
    )


def _listed(
    all_pictures: _Pictures, oddness: np.ndarray, kind: Kind, most: int
) -> list[dict[str, Any]]:
    """Name the pictures that are odd, the oddest first, and in the order of their rows."""
    order = np.argsort(-oddness, kind="stable")[:most]
    looks = all_pictures.looks
    return [all_pictures.item(i, kind.title(looks[i])) for i in order.tolist() if oddness[i] > 0]


def _item(
    data: CompetitionData, table: str, name: str, path: os.PathLike[str], title: str
) -> dict[str, Any]:
    folder = data.competition.folder(data.project)
    file = os.path.relpath(path, folder)
    if file.startswith(os.pardir):
        file = os.fspath(path)
    return {"rows": [name], "table": table, "file": file, "title": title}


def _unreadable(all_pictures: _Pictures) -> Finding:
    """Name the pictures that cannot be used; under `drop`, those of rows that are not there too."""
    data, looks = all_pictures.data, all_pictures.looks
    bad = ~all_pictures.whole
    items = [all_pictures.item(i, str(looks["fault"][i])) for i in np.flatnonzero(bad).tolist()]
    rows = {"train": set(data.train.ids.tolist()), "test": set(data.test.ids.tolist())}
    gone = [one for one in data.absent if one.id not in rows[one.table]]
    items += [_item(data, one.table, one.id, one.image, one.reason) for one in gone]
    items.sort(key=lambda item: item["table"] != "train")
    reasons = Counter(item["title"] for item in items)
    policy = data.competition.missing_images
    refused = policy == "error"
    lost = f", and {len(gone):,} of rows that `drop` leaves out" if gone else ""
    return Finding(
        "unreadable-pictures",
        ("block" if refused else "warn") if items else "fine",
        f"pictures that cannot be used: {all_pictures.counted(bad, np.ones(len(bad), bool))}{lost}",
        "Nothing is trained until they are mended, or missing_images says drop or predict-prior."
        if refused
        else f"missing_images is {policy}: their rows are answered without looking at pixels, and "
        "not trained on; fetch them anew where you can.",
        len(items),
        items=items[:LISTED],
        table=_counts_table("reason", reasons.most_common()) if items else [],
    )


def _counts_table(header: str, counts: Sequence[tuple[str, int]]) -> list[list[str]]:
    return [[header, "pictures"], *([name, f"{count:,}"] for name, count in counts)]


def _grey(all_pictures: _Pictures) -> Finding:
    """Name the grey pictures; worse where some are, and their shares in both tables differ."""
    kind = Kind(
        "grey-pictures",
        "pictures without colour",
        lambda looks: looks["grey"].astype(float),
        lambda look: f"grey ({look['format']}, {look['mode']})",
        "Colour tells training from test here, or one source of pictures from another, and a "
        "network may learn it instead of the label: make all of them grey first if so."
        if _apart(all_pictures)
        else "They are used as three equal channels; where only some are grey, colour may tell "
        "their source.",
        lambda _: "warn" if _apart(all_pictures) else "note",
    )
    return _finding(all_pictures, kind)


def _apart(all_pictures: _Pictures) -> bool:
    """Whether the shares of grey pictures in both tables differ much, and by more than chance."""
    parts = [all_pictures.whole & part for part in (all_pictures.train, ~all_pictures.train)]
    if not all(part.any() for part in parts):
        return False
    grey = all_pictures.looks["grey"]
    one, other = (float(grey[part].mean()) for part in parts)
    pooled = float(grey[parts[0] | parts[1]].mean())
    error = np.sqrt(pooled * (1 - pooled) * sum(1 / part.sum() for part in parts))
    return abs(one - other) > max(SHARE, SURE * error)


def _mixed_forms(all_pictures: _Pictures) -> Finding:
    """Count the forms: format, colours and bits, for both tables."""
    looks, train, whole = all_pictures.looks, all_pictures.train, all_pictures.whole
    forms = np.array([_form(look) for look in looks], object)
    names = Counter(forms[whole].tolist()).most_common()
    table = [["form", "train", "test"]]
    for name, _ in names:
        here = whole & (forms == name)
        table.append([name, f"{(here & train).sum():,}", f"{(here & ~train).sum():,}"])
    usual = names[0][1] if names else 0
    return Finding(
        "mixed-forms",
        "note" if len(names) > 1 else "fine",
        f"forms of pictures (format, colours, bits): {len(names)}"
        + (f"; {names[0][0]} is that of {usual:,} of {whole.sum():,}" if names else ""),
        "Where forms go with a table or a class, compression and colour may tell more than the "
        "picture: look at the table.",
        int(whole.sum()) - usual,
        table=table if names else [],
    )


def _form(look: np.void) -> str:
    if not look["format"]:
        return f"read by OpenCV alone, {look['bits']} bits"
    bits = f", {look['bits']} bits" if look["bits"] != 8 else ""
    return f"{look['format']} {look['mode']}{bits}"


def _mixed_sizes(all_pictures: _Pictures) -> Finding:
    """Tell the quantiles of widths and heights of both tables."""
    looks, train, whole = all_pictures.looks, all_pictures.train, all_pictures.whole
    sizes = Counter(
        zip(looks["width"][whole].tolist(), looks["height"][whole].tolist(), strict=True)
    )
    table = [["pixels", *QUANTILES]]
    for name, part in (("training", whole & train), ("test", whole & ~train)):
        for side in ("width", "height") if part.any() else ():
            at = np.quantile(looks[side][part], list(QUANTILES.values()), method="inverted_cdf")
            table.append([f"{name} {side}", *(f"{value:,}" for value in at.tolist())])
    (width, height), usual = sizes.most_common(1)[0] if sizes else ((0, 0), 0)
    return Finding(
        "mixed-sizes",
        "note" if len(sizes) > 1 else "fine",
        f"sizes of pictures: {len(sizes):,}"
        + (f"; {usual:,} of {whole.sum():,} are {width} x {height} px" if sizes else ""),
        "All are scaled to image.size; where sizes go with a table or a class, sharpness may tell "
        "more than the picture.",
        int(whole.sum()) - usual,
        table=table if sizes else [],
    )
