"""What a checkpoint tells is read, whoever wrote it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pandar_daemon.domain.changes import (
    FILES_MAX,
    Changes,
    FileChange,
    read_changes,
    stat_text,
    summary,
    with_changes,
)

HEAD = b"\0".join([b"c" * 40, b"b" * 40, b"2", b"pandar/1-x", b""])


def told(*tokens: bytes) -> Changes:
    """Return what is read of a checkpoint that says this."""
    changes = read_changes(HEAD + b"".join(token + b"\0" for token in tokens))
    assert changes is not None
    return changes


def test_files_are_read() -> None:
    """Changed ones, one that is no text, one that was renamed, and those that were skipped."""
    changes = told(
        *(b"skip:huge\n", b"skip:", b"", b"1\t2\ta b", b"-\t-\timage"),
        *(b"0\t0\t", b"skip:old", b"1\t1\tnew", b"7\t0\tlast\tone"),
    )
    assert (changes.commits, changes.branch) == (2, "pandar/1-x")
    assert list(changes.files) == [
        FileChange(path="a b", insertions=1, deletions=2),
        FileChange(path="image"),
        FileChange(path="1\t1\tnew", insertions=0, deletions=0),
        FileChange(path="last\tone", insertions=7, deletions=0),
    ]
    assert (changes.count, changes.insertions, changes.deletions) == (4, 8, 2)
    assert list(changes.skipped) == ["huge\n", ""]


def test_what_is_no_checkpoint_is_nothing() -> None:
    """Whatever an agent had our git say."""
    for said in (b"", b"\0\0\0\0", b"c" * 40, b"main\0main\x001\0x\0", HEAD[1:]):
        assert read_changes(said) is None


@given(st.binary(max_size=200))
def test_anything_can_be_said(data: bytes) -> None:
    """It is read without an exception, and shown without a control character."""
    read_changes(data)
    shown = stat_text(told(data))
    assert all(line.isprintable() for line in shown.splitlines())


def test_without_end_is_cut() -> None:
    """Of very many files only the first are told, all are counted."""
    changes = told(*(b"1\t0\tf%d" % n for n in range(FILES_MAX + 5)), *[b"skip:x"] * 100)
    assert (len(changes.files), changes.count) == (FILES_MAX, FILES_MAX + 5)
    assert len(changes.skipped) == 20
    assert "… and 5 more files" in stat_text(changes)
    assert len(told(b"1\t0\t" + b"x" * 5_000).files[0].path) == 200


def test_a_card_tells_what_was_changed() -> None:
    """In a line, and harmless."""
    changes = Changes(commit="c" * 40, base="b" * 40, branch="a\x1b", count=1, insertions=3)
    assert summary(changes) == "1 file changed, +3 -0, 0 commits"
    card = with_changes({"gate": "x"}, changes)
    assert card == {"gate": "x", "branch": "a⟨U+001B⟩", "changed": summary(changes)}
