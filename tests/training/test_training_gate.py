"""What an audit keeps from being trained on."""

import pytest

from pipeline.artifacts.findings import Audit, Finding
from pipeline.errors import PodiumError
from pipeline.folds import draft_shared
from pipeline.training.gate import audited_settings, check_audit
from pipeline.training.request import TrainRequest
from pipeline.training.train import train

BLOCKS = Finding("leak-name", "block", "file names tell the class of 42 rows", count=42)


def write_audit(tiny, *findings: Finding, **changes) -> None:
    """Write an audit of the competition as it is, but for `changes`."""
    data = tiny.data
    hashes = {"data_hash": data.hash, "folds_hash": draft_shared(data).hash} | changes
    facts = audited_settings(data.competition)
    Audit("tiny", findings=list(findings), facts=facts, **hashes).save(tiny.project.audit("tiny"))


def said(tiny) -> list[str]:
    lines: list[str] = []
    check_audit(tiny.data, draft_shared(tiny.data), lines.append)
    return lines


def test_without_an_audit_one_line_says_so(tiny):
    """Check the sentence where no audit was made."""
    assert said(tiny) == [
        "audit: none yet; make audit COMP=tiny looks for leaks, duplicates and bad pictures"
    ]


def test_a_sound_audit_says_nothing(tiny):
    """Check that an audit of the same data and folds without a blocking finding is silent."""
    write_audit(tiny, Finding("grey-pictures", "warn", "3 are grey"))
    assert said(tiny) == []


@pytest.mark.parametrize("what", ["data", "folds"])
def test_a_stale_audit_says_what_changed(tiny, what):
    """Check an audit of other data and of other folds."""
    write_audit(tiny, **{f"{what}_hash": "other"})
    assert said(tiny) == [
        f"audit: stale, the {what} changed since; make audit COMP=tiny looks again"
    ]


def test_settings_that_changed_are_told(tiny):
    """Check an audit made with another distance between duplicates."""
    write_audit(tiny)
    tiny.configure(duplicates={"distance": 3})
    assert said(tiny) == [
        "audit: stale, the settings changed since; make audit COMP=tiny looks again"
    ]


def test_a_blocking_finding_keeps_training_from_starting(tiny):
    """Check the refusal, that it leaves nothing behind, and that allowing the finding lifts it."""
    write_audit(tiny, BLOCKS)
    before = sorted(tiny.root.rglob("*"))
    request = TrainRequest("tiny", ["lenet"], only=[0])
    with pytest.raises(PodiumError) as refused:
        train(tiny.project, request, print)
    assert "audit.json: leak-name: file names tell the class of 42 rows; mend" in str(refused.value)
    assert "audit: {allow: [leak-name]}" in str(refused.value)
    assert [
        p for p in sorted(tiny.root.rglob("*")) if p not in before and "cache" not in str(p)
    ] == []
    tiny.configure(audit={"allow": ["leak-name"]})
    assert train(tiny.project, request, lambda line: None)[0].record["folds"]


def test_a_stale_blocking_finding_still_blocks(tiny):
    """Check that changed data asks for another audit rather than passing the gate."""
    write_audit(tiny, BLOCKS, data_hash="other")
    with pytest.raises(
        PodiumError, match=r"the data changed since, so make audit COMP=tiny must look"
    ):
        said(tiny)
