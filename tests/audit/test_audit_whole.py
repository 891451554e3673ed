"""`make audit` from the command line: files, status, what is kept, what training then does."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from pipeline.artifacts.findings import Audit


def copied(tiny, pairs: list[tuple[int, int]]) -> None:
    """Make the second picture of each pair a copy of the first."""
    images = tiny.root / "data" / "tiny" / "images"
    for one, other in pairs:
        shutil.copy(images / f"{one:03d}.png", images / f"{other:03d}.png")


def torn(tiny) -> None:
    """Make folds that part a picture from its copy."""
    folds = tiny.folds()
    copied(tiny, [(0, int(np.flatnonzero(folds.fold != folds.fold[0])[0]))])


@pytest.fixture
def plain(tiny, monkeypatch):
    """Return the tiny competition, whose frozen features are not computed."""
    monkeypatch.setattr("pipeline.audit.likeness.frozen_features", lambda *arguments: None)
    return tiny


def audit_of(tiny) -> Audit:
    return Audit.load(tiny.project.audit("tiny"))


def test_a_sound_competition_passes(plain, podium):
    """Check status, files, and that training then says nothing of an audit."""
    result = podium(plain.root, "audit", "--comp", "tiny")
    assert (result.status, result.err) == (0, "")
    assert "next: read the page, then make folds COMP=tiny" in result.out
    runs = plain.project.runs("tiny")
    assert "<html" in (runs / "audit.html").read_text()
    found = audit_of(plain)
    assert found.data_hash == plain.data.hash and not found.blocking()
    names = [finding.name for finding in found.findings]
    assert len(set(names)) == len(names) > 30
    smoke = podium(plain.root, "train", "--comp", "tiny", "--arch", "lenet", "--only", "0")
    assert smoke.status == 0 and "audit" not in smoke.out


def test_what_blocks_ends_with_status_3(plain, podium):
    """Check the status, the refusal of training, and that allowing the finding lifts both."""
    torn(plain)
    result = podium(plain.root, "audit", "--comp", "tiny")
    assert result.status == 3
    assert "block" in result.out and "audit: {allow: [duplicates-across-folds]}" in result.out
    train = ("train", "--comp", "tiny", "--arch", "lenet", "--only", "0")
    refused = podium(plain.root, *train)
    assert refused.status == 2 and "duplicates-across-folds: clusters of duplicates" in refused.err
    plain.configure(audit={"allow": ["duplicates-across-folds"]})
    allowed = podium(plain.root, "audit", "--comp", "tiny")
    assert allowed.status == 0 and "nothing has changed since" in allowed.out
    assert podium(plain.root, *train).status == 0


def test_mended_folds_lift_the_block(plain, podium):
    """Check that folds made anew are audited anew, and pass."""
    torn(plain)
    assert podium(plain.root, "audit", "--comp", "tiny").status == 3
    assert podium(plain.root, "folds", "--comp", "tiny", "--fresh").status == 0
    stale = podium(plain.root, "train", "--comp", "tiny", "--arch", "lenet", "--only", "0")
    assert stale.status == 2 and "the folds changed since, so make audit" in stale.err
    result = podium(plain.root, "audit", "--comp", "tiny")
    assert result.status == 0 and "nothing has changed" not in result.out


def test_the_same_data_is_audited_once(plain, podium):
    """Check that a second audit keeps the findings, that FRESH=1 looks again, and that a changed
    picture does."""
    podium(plain.root, "audit", "--comp", "tiny")
    first = plain.project.audit("tiny").read_bytes()
    again = podium(plain.root, "audit", "--comp", "tiny")
    assert "nothing has changed since" in again.out
    assert plain.project.audit("tiny").read_bytes() == first
    fresh = podium(plain.root, "audit", "--comp", "tiny", "--fresh")
    assert "nothing has changed" not in fresh.out
    copied(plain, [(0, 1)])
    changed = podium(plain.root, "audit", "--comp", "tiny")
    assert "nothing has changed" not in changed.out
    assert audit_of(plain).named("exact-duplicates").count == 2


def test_bad_pictures_are_told_of_rather_than_fatal(plain, podium):
    """Check a competition with missing, empty and broken pictures, under each policy."""
    images = plain.root / "data" / "tiny" / "images"
    (images / "000.png").unlink()
    (images / "001.png").write_bytes(b"")
    (images / "045.png").write_text("<html>no such picture</html>")
    result = podium(plain.root, "audit", "--comp", "tiny")
    assert result.status == 3
    unreadable = audit_of(plain).named("unreadable-pictures")
    assert (unreadable.level, unreadable.count) == ("block", 3)
    for policy in ("drop", "predict-prior"):
        plain.configure(missing_images=policy)
        assert podium(plain.root, "audit", "--comp", "tiny").status == 0
        unreadable = audit_of(plain).named("unreadable-pictures")
        assert (unreadable.level, unreadable.count) == ("warn", 3), policy


def test_a_name_that_no_finding_has_is_refused(plain, podium):
    """Check a misspelt name under audit.allow: the nearest is proposed; one name needs no list."""
    plain.configure(audit={"allow": ["duplicate-across-fold"]})
    result = podium(plain.root, "audit", "--comp", "tiny")
    assert result.status == 2
    assert "audit.allow" in result.err and "did you mean duplicates-across-folds" in result.err
    assert not plain.project.audit("tiny").exists()
    plain.configure(audit={"allow": "leak-name"})
    assert plain.data.competition.audit.allow == ("leak-name",)


def test_the_list_of_copies_can_be_excluded(plain, podium):
    """Check that the list written leaves one of each, and stays as it is once it is named."""
    copied(plain, [(0, 1), (0, 2)])
    podium(plain.root, "audit", "--comp", "tiny")
    listed = plain.project.runs("tiny") / "duplicates-exact.txt"
    text = listed.read_text()
    listed.unlink()
    again = podium(plain.root, "audit", "--comp", "tiny")
    assert "nothing has changed" in again.out and listed.read_text() == text
    spared = [line for line in text.split() if line in ("000", "001", "002")]
    assert len(spared) in (2, 3)  # three where no label leads
    plain.configure(exclude=str(listed.relative_to(plain.root)))
    assert len(plain.data.train) == 42 - len(text.split())
    near = listed.with_name("duplicates-near.txt")
    for _ in range(2):  # neither list changes, or the rows left out would come back
        result = podium(plain.root, "audit", "--comp", "tiny", "--fresh")
        assert result.status == 0 and listed.read_text() == near.read_text() == text
        assert "rows to leave out" not in result.out  # they are left out already
    assert audit_of(plain).named("exact-duplicates").level == "fine"


def test_another_crop_is_audited_anew(plain, podium):
    """Check that what the YAML cuts off the pictures counts as a change."""
    podium(plain.root, "audit", "--comp", "tiny")
    plain.configure(crop={"kind": "sides", "top": 2})
    smoke = podium(plain.root, "train", "--comp", "tiny", "--arch", "lenet", "--only", "0")
    assert "audit: stale, the settings changed since" in smoke.out
    result = podium(plain.root, "audit", "--comp", "tiny")
    assert "nothing has changed" not in result.out


@pytest.mark.parametrize("task", ["multiclass", "multilabel"])
def test_every_task_is_audited(make_tiny, podium, monkeypatch, task):
    """Check both tasks with a competition that has no test table, and JSON without oddities."""
    monkeypatch.setattr("pipeline.audit.likeness.frozen_features", lambda *arguments: None)
    tiny = make_tiny(task=task, images=True)
    tiny.configure(tables={"test": None, "sample_submission": None})
    result = podium(tiny.root, "audit", "--comp", "tiny")
    assert (result.status, result.err) == (0, "")
    found = json.loads(tiny.project.audit("tiny").read_text())
    assert found["facts"]["rows"] == [42, 0]


def test_a_broken_record_is_named_and_made_anew(plain, podium):
    """Check that a damaged audit.json stops training with one line, and that audit mends it."""
    path = plain.project.audit("tiny")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("{")
    result = podium(plain.root, "train", "--arch", "lenet", "--comp", "tiny")
    assert result.status == 2 and "make audit writes it anew" in result.err
    assert podium(plain.root, "audit", "--comp", "tiny").status == 0
    assert audit_of(plain).data_hash == plain.data.hash


@pytest.mark.parametrize("what", ["all alike", "all black", "other folds"])
def test_data_that_cannot_be_dealt_is_audited_all_the_same(plain, podium, what):
    """Check that pictures which leave nothing to deal, and folds of other rows, are findings."""
    images = plain.root / "data" / "tiny" / "images"
    if what == "other folds":
        plain.folds()
        plain.edit("train", lambda table: table.iloc[1:])
    for path in images.glob("*.png") if what != "other folds" else ():
        if what == "all alike":
            shutil.copy(images / "059.png", path) if path.name != "059.png" else None
        else:
            Image.new("RGB", (16, 16)).save(path)
    result = podium(plain.root, "audit", "--comp", "tiny")
    assert result.status == 0 and "no-folds" in result.out
    found = audit_of(plain)
    if what != "other folds":
        assert found.named("exact-duplicates").count == 60
        assert "were joined" in found.named("no-folds").says
    else:
        assert "make folds FRESH=1" in found.named("no-folds").says
    if what == "all black":
        assert found.named("constant-pictures").count == 60


def test_unreadable_pictures_cannot_be_allowed(plain, podium):
    """Check that the remedy for bad pictures is a policy, and that no other is proposed."""
    (plain.root / "data" / "tiny" / "images" / "000.png").unlink()
    result = podium(plain.root, "audit", "--comp", "tiny")
    assert result.status == 3 and "allow:" not in result.out
    page = plain.project.audit("tiny").with_suffix(".html").read_text()
    assert "allow by name" not in page
    refused = podium(plain.root, "train", "--comp", "tiny", "--arch", "lenet")
    assert refused.status == 2 and "allow" not in refused.err
    plain.configure(audit={"allow": "unreadable-pictures"})
    result = podium(plain.root, "audit", "--comp", "tiny")
    assert result.status == 2 and "not a finding that can be allowed" in result.err
