"""What comparisons note in the ledger, and what they leave alone."""

import pytest

from pipeline.config.project import Project
from pipeline.submission import Entry, Ledger, rows
from pipeline.submission.ledger import note_comparison

SAID = "image.size 64->96: +0.0120 ± 0.0040 keep"
HONEST = {"a": 0.8, "b": 0.812}


def entry(number: int, source: str, honest: str = "", **more: str) -> Entry:
    time = "2026-01-01T00:00:00+00:00"
    return Entry(number, time, f"{source}.csv", "ff", source, cv_honest=honest, **more)


@pytest.fixture
def ledger(tmp_path):
    """Return a function that writes a ledger of `tiny` and, after a note, reads it again."""
    project = Project(tmp_path)

    def noted(*entries: Entry, said: str = SAID) -> tuple[list[int], tuple[Entry, ...]]:
        if entries:
            Ledger(project.ledger("tiny"), entries).save()
        return note_comparison(project, "tiny", HONEST, said), rows(project, "tiny")

    return noted


def test_a_note_beside_the_users(ledger):
    """Check that the user's words stay, that the parent is the newest a before b, and that other
    rows stay as they are."""
    entries = (
        entry(1, "a", "0.8"),
        entry(2, "a", "0.8"),
        entry(3, "b", "0.812", note="my best; by hand"),
        entry(4, "a", "0.8"),
        entry(5, "c", "0.9"),
    )
    numbers, after = ledger(*entries)
    assert numbers == [3]
    assert after[2].note == f"my best; by hand; against a: {SAID}" and after[2].parent == "2"
    assert [row for row in after if row.number != 3] == [e for e in entries if e.number != 3]


def test_a_second_comparison_replaces_the_first(ledger):
    """Check that a new verdict takes the place of the old one, and of nothing that a user wrote."""
    mine = "against a: I would not have thought so"
    ledger(entry(1, "a"), entry(2, "b", note=mine))
    numbers, after = ledger(said=SAID.replace("keep", "noise"))
    assert numbers == [2]
    assert after[1].note == f"{mine}; against a: {SAID.replace('keep', 'noise')}"
    assert ledger()[1][1].note == f"{mine}; against a: {SAID}"


def test_a_semicolon_does_not_part_a_note(ledger):
    """Check that a value of the recipe with the mark between notes is replaced as a whole."""
    ledger(entry(1, "b"), said="a.b x; y->z: +0.1000 ± 0.0100 keep")
    assert ledger()[1][0].note == f"against a: {SAID}"


def test_rows_of_others_are_let_be(ledger):
    """Check that a row with another parent, and one of an earlier decision, are not noted; and that
    without a submission of a there is a note, but no parent."""
    entries = (
        entry(1, "a", "0.8"),
        entry(2, "c", "0.7"),
        entry(3, "b", "0.812", parent="2"),
        entry(4, "b", "0.79"),
        entry(5, "b", "0.812", parent="1"),
    )
    numbers, after = ledger(*entries)
    assert numbers == [5] and after[:4] == entries[:4] and after[4].parent == "1"
    numbers, after = ledger(entry(7, "b", "0.812"))
    assert numbers == [7] and after[0].parent == "" and SAID in after[0].note


def test_no_ledger_is_left_out(ledger, tmp_path):
    """Check that a competition without submissions gets neither a ledger nor its folder."""
    assert ledger() == ([], ())
    assert not list(tmp_path.iterdir())
