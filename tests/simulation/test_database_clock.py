"""The clock that leases are judged by is set ahead: no healthy runner loses one."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest

from pandar_daemon.services.reaper import Reaper
from tests.simulation.log_server import LogServer
from tests.simulation.run import simulate
from tests.simulation.site import Rules

AT_SEC = (15.0, 21.3, 30.7)
LATER = timedelta(hours=3)


class _SetAhead(LogServer):
    """Postgres on a machine whose clock is set ahead, again and again."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        began = now()

        def shown() -> datetime:
            passed = (now() - began).total_seconds()
            return now() + sum(at <= passed for at in AT_SEC) * LATER

        super().__init__(shown)


class _Credulous(Reaper):
    """A reaper that believes every clock."""

    def _notice_jump(self, shown: float) -> None:
        """See nothing."""


def lost(seed: int, rules: Rules) -> int:
    """Return how many executions were lost, while nothing but the clock went wrong."""
    outcome = simulate(seed, faults=0, rules=rules)
    # Two clocks tell when things were: what a program did seems to come before its start.
    assert [line for line in outcome.wrong if ": before its start" not in line] == []
    return sum(event.type == "task.execution_lost" for event in outcome.history.events)


@pytest.mark.parametrize("seed", range(1, 4))
def test_no_execution_is_lost(seed: int) -> None:
    """The reaper sees the jump and lets everybody renew."""
    assert lost(seed, Rules(log=_SetAhead)) == 0


def test_who_believes_the_clock_loses_executions() -> None:
    """It is that look which saves them: without it the same runs lose some, or worse."""
    rules = Rules(log=_SetAhead, reaper=_Credulous)
    outcomes = [simulate(seed, faults=0, rules=rules) for seed in range(1, 4)]
    types = {event.type for outcome in outcomes for event in outcome.history.events}
    assert "task.execution_lost" in types
