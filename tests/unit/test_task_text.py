"""Which letters of the words searched for an index is asked for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pandar_daemon.adapters.postgres.task_orders import Arguments
from pandar_daemon.adapters.postgres.task_text import Text

WORDS = st.lists(st.from_regex("[a-z0-9]{3,12}", fullmatch=True), min_size=1, max_size=8)


def asked(text: str, frequent: dict[str, int] | None = None) -> tuple[list[str], list[str]]:
    """Return what the index is asked for, and what is looked for in what it finds."""
    values = Arguments()
    conditions = list(Text(text).sought(values, frequent or {}))
    patterns = [str(value).strip("%") for value in values]
    return (
        [p for p, c in zip(patterns, conditions, strict=True) if not c.startswith("CASE")],
        [p for p, c in zip(patterns, conditions, strict=True) if c.startswith("CASE")],
    )


@pytest.mark.parametrize(
    ("text", "index", "after"),
    [
        ("log", ["log"], []),
        ("LOG", ["LOG"], []),
        ("login", ["log", "gin", "ogi"], ["login"]),
        ("runs", ["run", "uns"], ["runs"]),
        ("database", ["dat", "tab", "bas"], ["database"]),
        ("refund database", ["ref", "dat", "fun", "tab", "bas"], ["refund", "database"]),
        ("one letter refund", ["one", "let", "ref", "tte", "fun"], ["letter", "refund"]),
        ("banana", ["ban", "nan", "ana"], ["banana"]),
        ("bananan", ["ban", "nan", "ana"], ["bananan"]),
        (
            "alpha bravo delta gamma extra sixth",
            ["alp", "bra", "del", "gam", "ext"],
            ["alpha", "bravo", "delta", "gamma", "extra", "sixth"],
        ),
    ],
)
def test_the_first_letters_of_each_word_are_asked_for(
    text: str, index: list[str], after: list[str]
) -> None:
    """While nothing is known of how frequent any are; neighbours, which share two, in need only."""
    assert asked(text) == (index, after)


def test_the_rarest_letters_are_asked_for_first() -> None:
    """The most frequent are left out, and so are neighbours of rarer ones."""
    frequent = {"dat": 90, "ata": 80, "tab": 70, "aba": 9, "bas": 60, "ase": 50, "run": 40}
    assert asked("database run", frequent) == (["aba", "run", "ase", "ata"], ["database"])
    assert asked("runs", {"run": 40}) == (["uns", "run"], ["runs"])
    assert asked("RUNS", {"run": 40}) == (["UNS", "RUN"], ["RUNS"])


def test_a_frequent_look_alike_is_not_gone_through() -> None:
    """Few tasks may have the rarest letters, and most of these another word: so three are asked."""
    assert asked("login", {"ogi": 30, "gin": 44, "log": 87}) == (["ogi", "gin", "log"], ["login"])


@given(WORDS, st.dictionaries(st.from_regex("[a-z0-9]{3}", fullmatch=True), st.integers(2, 100)))
def test_nothing_that_has_the_words_is_missed(words: list[str], frequent: dict[str, int]) -> None:
    """What the index is asked for is part of a word, and each word is asked for or looked for."""
    index, after = asked(" ".join(words), frequent)
    assert all(any(part in word for word in words) for part in index)
    assert {*words} <= {*index, *after}
    assert 1 <= len(index) <= 5
