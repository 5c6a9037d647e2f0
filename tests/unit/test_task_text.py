"""Which letters of the words searched for an index is asked for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pandar_daemon.adapters.postgres.task_orders import Arguments
from pandar_daemon.adapters.postgres.task_text import Text

WORDS = st.lists(st.from_regex("[a-z0-9]{3,12}", fullmatch=True), min_size=1, max_size=8)


def asked(text: str) -> tuple[list[str], list[str]]:
    """Return what the index is asked for, and what is looked for in what it finds."""
    values = Arguments()
    conditions = list(Text(text).sought(values))
    patterns = [str(value).strip("%") for value in values]
    return (
        [p for p, c in zip(patterns, conditions, strict=True) if not c.startswith("CASE")],
        [p for p, c in zip(patterns, conditions, strict=True) if c.startswith("CASE")],
    )


@pytest.mark.parametrize(
    ("text", "index", "after"),
    [
        ("log", ["log"], []),
        ("login", ["login"], []),
        ("database", ["dat", "tab", "ase"], ["database"]),
        ("refund database", ["ref", "fun", "und", "dat", "tab", "ase"], ["refund", "database"]),
        ("one letter refund", ["one", "let", "ter", "ref", "und"], ["letter", "refund"]),
        (
            "alpha bravo delta gamma",
            ["alp", "bra", "del", "gam"],
            ["alpha", "bravo", "delta", "gamma"],
        ),
    ],
)
def test_a_word_is_asked_for_by_three_letters_spread_over_it(
    text: str, index: list[str], after: list[str]
) -> None:
    """Three times for one or two words, less for more; short ones as they are."""
    assert asked(text) == (index, after)


@given(WORDS)
def test_nothing_that_has_the_words_is_missed(words: list[str]) -> None:
    """What the index is asked for is part of a word, and each word is asked for or looked for."""
    index, after = asked(" ".join(words))
    assert all(any(part in word for word in words) for part in index)
    assert {*words} <= {*index, *after}
    assert len(index) <= max(6, len(words))
