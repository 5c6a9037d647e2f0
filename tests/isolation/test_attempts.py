"""Each attempt to leave the box fails, and each ordinary errand can be done in it."""

from __future__ import annotations

import pytest

from tests.isolation import inside
from tests.isolation.where import results, users

pytestmark = pytest.mark.xdist_group("isolation")

NAMES = (*inside.ATTEMPTS, *inside.ERRANDS)


@pytest.mark.parametrize("who", users())
@pytest.mark.parametrize("name", inside.ATTEMPTS)
def test_it_cannot(name: str, who: str) -> None:
    """Neither by its own account nor by what is found outside."""
    result = results(who, NAMES)[name]
    assert not result["done"], result["how"]
    assert result["outside"], "something outside was changed"


@pytest.mark.parametrize("who", users())
@pytest.mark.parametrize("name", inside.ERRANDS)
def test_it_can(name: str, who: str) -> None:
    """What tasks are there for."""
    result = results(who, NAMES)[name]
    assert result["done"], result["how"]


def test_nothing_is_left_out() -> None:
    """What was tried is what there is."""
    for who in users():
        assert set(results(who, NAMES)) == set(NAMES)
