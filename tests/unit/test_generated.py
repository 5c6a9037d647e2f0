"""What is made from the code is as the code would make it now."""

from __future__ import annotations

from tests import generate


def test_nothing_drifted() -> None:
    """Schemas, pages and goldens are what ``make generate`` would write."""
    files = generate.from_code()
    assert [str(path) for path in generate.differing(files)] == []


def test_nothing_is_left_over() -> None:
    """No schema or golden stands for something that is no more."""
    assert generate.strays(generate.from_code()) == []
