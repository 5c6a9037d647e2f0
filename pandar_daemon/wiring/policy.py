"""`pandar policy try`: a policy of a file tried on the log, beside a daemon at work or without."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from msgspec import Struct

from pandar_daemon.adapters.clock import SystemClock
from pandar_daemon.config import Settings
from pandar_daemon.configuration import load
from pandar_daemon.domain.replaying import Totals, Tried, totals
from pandar_daemon.services.policy_trial import PolicyTrial, Progress
from pandar_daemon.wiring.parts import parts
from pandar_daemon.wiring.places import somewhere

__all__ = ["Totals", "Trial", "Tried", "try_policy"]


class Trial(Struct, frozen=True, kw_only=True):
    """What came of it: the sums, and each call."""

    totals: Totals
    calls: list[Tried]


async def try_policy(
    settings: Settings, file: Path, since_sec: float, project_id: int | None, progress: Progress
) -> Trial:
    """Judge the calls of the last ``since_sec`` seconds by what a file says; changes nothing.

    Raises `ConfigError` for a file that is not there, or cannot be used.
    """
    configuration = load(file, required=True)
    since = SystemClock().now() - timedelta(seconds=since_sec)
    async with somewhere(settings) as place, parts(settings, place, "policy") as made:
        trial = PolicyTrial(made.store, configuration, progress)
        calls = [call async for call in trial.calls(since, project_id)]
    return Trial(totals=totals(calls), calls=calls)
