"""The file of findings: written and read alike, and what blocks."""

import pytest

from pipeline.artifacts.findings import Audit, Finding
from pipeline.errors import PodiumError

FOUND = Audit(
    "mine",
    "abc",
    "def",
    [
        Finding("leak-name", "block", "names tell", "rename", 3, items=[{"rows": ["a"]}]),
        Finding("grey-pictures", "note", "2 are grey", table=[["what", "n"], ["grey", "2"]]),
        Finding("duplicates-across-folds", "block", "1 pair", depends="folds"),
    ],
    {"version": 1},
)


def test_findings_come_back_as_they_were(tmp_path):
    """Check that an audit survives its file."""
    FOUND.save(tmp_path / "audit.json")
    assert Audit.load(tmp_path / "audit.json") == FOUND


def test_what_is_allowed_does_not_block():
    """Check which findings block, with none allowed, one and both."""
    names = [finding.name for finding in FOUND.blocking()]
    assert names == ["leak-name", "duplicates-across-folds"]
    assert [f.name for f in FOUND.blocking(["leak-name"])] == ["duplicates-across-folds"]
    assert FOUND.blocking(["leak-name", "duplicates-across-folds"]) == []
    assert FOUND.named("grey-pictures").count == 0 and FOUND.named("other") is None


def test_only_what_can_be_allowed_blocks(tmp_path):
    """Check that a finding which the YAML could not allow cannot block."""
    found = Audit("mine", "", "", [Finding("grey-pictures", "block", "2 are grey")])
    with pytest.raises(ValueError, match="MAY_BLOCK"):
        found.save(tmp_path / "audit.json")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"competition": "a", "data_hash": "", "folds_hash": "", "facts": {}, "findings": [{}]}',
        '{"competition": "a", "data_hash": "", "folds_hash": "", "facts": {}, "findings": 3}',
        '{"competition": "a", "data_hash": "", "folds_hash": "", "facts": {}, "findings": [3]}',
        '{"competition": "a", "data_hash": "", "folds_hash": "", "facts": null, "findings": []}',
        '{"competition": "a", "data_hash": "", "folds_hash": "", "facts": {}, "findings": '
        '[{"name": "leak-name", "level": "blok", "says": "x"}]}',
        '{"competition": "a", "data_hash": "", "folds_hash": "", "facts": {}, "findings": '
        '[{"name": "leak-name", "level": "block", "says": null}]}',
        '{"competition": "a", "data_hash": "", "folds_hash": "", "facts": {}, "findings": '
        '[{"name": 5, "level": "block", "says": "x"}]}',
        '{"competition": "a", "data_hash": "", "folds_hash": "", "facts": {}, "findings": '
        '[{"name": "leak-name", "level": "block", "says": "x", "items": [1]}]}',
        '{"competition": "a", "data_hash": "", "folds_hash": "", "facts": {}, "findings": '
        '[{"name": "leak-name", "level": "block", "says": "x", "table": 7}]}',
        '{"competition": "a", "data_hash": "", "folds_hash": "", "facts": {}, "findings": 5}',
    ],
)
def test_a_broken_file_is_named_with_its_remedy(tmp_path, text):
    """Check files that are no audit: one line with the file and what to do."""
    path = tmp_path / "audit.json"
    path.write_text(text)
    with pytest.raises(PodiumError, match=r"audit\.json: .*make audit writes it anew"):
        Audit.load(path)
