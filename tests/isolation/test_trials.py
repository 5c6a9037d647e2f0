"""Boxes that use too much or will not end harm nobody else."""

from __future__ import annotations

import pytest

from tests.isolation.trials import TRIALS
from tests.isolation.where import results, users

pytestmark = [pytest.mark.xdist_group("isolation"), pytest.mark.timeout(300)]

NAMES = tuple(TRIALS)


@pytest.mark.parametrize("who", users())
@pytest.mark.parametrize("name", NAMES)
def test_it_is_harmless(name: str, who: str) -> None:
    """As root and as an ordinary user."""
    assert not results(who, NAMES, "tests.isolation.trials")[name]["wrong"]
