"""Groups that training and test table share."""

import pytest

from pipeline.audit.groups import NAME, group_findings


@pytest.mark.parametrize(("first", "level", "count"), [(21, "fine", 0), (5, "warn", 18)])
def test_groups_of_the_test_table_are_compared(tiny, first, level, count):
    """Check counts and level for test rows of other groups and of known ones."""
    tiny.edit("train", lambda t: t.assign(who=[f"g{i // 2}" for i in range(len(t))]))
    tiny.edit("test", lambda t: t.assign(who=[f"g{first + i // 3}" for i in range(len(t))]))
    tiny.configure(columns={"id": "id", "label": "label", "group": "who"})
    (found,) = group_findings(tiny.data)
    assert (found.name, found.level, found.count) == (NAME, level, count)
    if count:
        assert found.table[1] == ["g10", "3"] and len(found.table) == 7


def test_one_stray_row_is_a_note(make_tiny):
    """Check that fewer than a twentieth of the test rows are no more than a note."""
    tiny = make_tiny(test=40)
    tiny.edit("train", lambda t: t.assign(who=[f"g{i // 2}" for i in range(len(t))]))
    tiny.edit("test", lambda t: t.assign(who=["g3"] + [f"new{i}" for i in range(len(t) - 1)]))
    tiny.configure(columns={"id": "id", "label": "label", "group": "who"})
    (found,) = group_findings(tiny.data)
    assert (found.level, found.count) == ("note", 1)


def test_without_groups_in_both_tables_nothing_is_said(tiny):
    """Check a competition without groups, with groups in one table, and without a test table."""
    assert group_findings(tiny.data) == []
    tiny.edit("train", lambda t: t.assign(who=[f"g{i // 2}" for i in range(len(t))]))
    tiny.configure(columns={"id": "id", "label": "label", "group": "who"})
    assert group_findings(tiny.data) == []
    tiny.configure(tables={"test": None, "sample_submission": None})
    assert group_findings(tiny.data) == []
