"""Diffs that can be applied, in bounded time."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pandar_daemon.adapters.agents.unified import TEXT_MAX, unified

TEXTS = st.lists(st.sampled_from("abcd"), max_size=40).map("\n".join)
HUNK = re.compile(r"@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@")


def applied(diff: str, old: str) -> str:
    """Return what a diff makes of a text, checking all it says of that text."""
    source, made, at = old.split("\n"), [], 0
    for line in diff.replace("\n\\ No newline at end of file\n", "").split("\n")[2:]:
        if found := HUNK.fullmatch(line):
            begin = int(found[1]) - (0 if found[2] == "0" else 1)
            made += source[at:begin]
            at = begin
        elif line[:1] == "+":
            made.append(line[1:])
        elif line[:1] in ("-", " "):
            assert source[at] == line[1:]
            made += [line[1:]] if line[0] == " " else []
            at += 1
    return "\n".join([*made, *source[at:]])


@given(TEXTS, TEXTS)
def test_can_be_applied(old: str, new: str) -> None:
    """The diff makes the new text of the old one; equal texts have none."""
    old, new = old + "\nend\n", new + "\nend\n"
    diff = unified("f", old, new)
    assert applied(diff, old) == new if diff else old == new


@pytest.mark.parametrize("size", [300, 2_000])
def test_can_be_applied_when_it_is_coarse(size: int) -> None:
    """Where the smallest change is too dear to find, a larger one is shown."""
    old = "begin\n" + "a\n" * size + "end\n"
    new = "begin\n" + "a\nb\n" * size + "end\n"
    assert applied(unified("f", old, new), old) == new


def test_shows_a_little_context() -> None:
    """Three lines around a change, and where it is."""
    old = "".join(f"{n}\n" for n in range(1, 21))
    diff = unified("a.txt", old, old.replace("10\n", "ten\n"))
    assert diff == ("--- a.txt\n+++ a.txt\n@@ -7,7 +7,7 @@\n 7\n 8\n 9\n-10\n+ten\n 11\n 12\n 13\n")


@pytest.mark.parametrize(
    ("old", "new", "diff"),
    [
        (None, "", "--- /dev/null\n+++ f\n"),
        (None, "x\n", "--- /dev/null\n+++ f\n@@ -0,0 +1 @@\n+x\n"),
        ("x\n", "", "--- f\n+++ f\n@@ -1 +0,0 @@\n-x\n"),
        ("x\n", "x\n", ""),
        ("x", "x\n", "--- f\n+++ f\n@@ -1 +1 @@\n-x\n\\ No newline at end of file\n+x\n"),
    ],
)
def test_shows_the_edges(old: str | None, new: str, diff: str) -> None:
    """New and emptied files, and a missing end of line, as diff tools have them."""
    assert unified("f", old, new) == diff


def test_does_not_compare_films() -> None:
    """Of very large texts sizes and hashes are told, so that no two look alike."""
    one, two = (unified("f", "a" * TEXT_MAX, "b" * TEXT_MAX + end) for end in "xy")
    assert "too large to show: 2,000,000 characters, SHA-256 " in one
    assert one != two
