"""Why a followed task is silent: said once it has been, and again when the reason changes."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Final

from events.task import Status
from pandar_daemon.adapters.clock import SystemClock
from pandar_daemon.cli.api_client import Api
from pandar_daemon.cli.harmless import one_line
from pandar_daemon.cli.marks import reason_text
from pandar_daemon.cli.output import Unreachable
from pandar_daemon.cli.rows import HappenedRow, TaskRow, read
from pandar_daemon.cli.times import age

SILENT_SEC: Final = 1.0
"""How long nothing must have come before anybody wonders why."""
AGAIN_SEC: Final = 10.0
"""How often a waiting task is looked at: not every change of its reason is an event."""


class Waits:
    """Looks at a silent task and tells ``say`` why it is."""

    def __init__(self, api: Api, path: str, say: Callable[[str], None]) -> None:
        self._api, self._path, self._say = api, path, say
        self._told: tuple[str | None, int] | None = None

    async def look(self, position: int) -> float | None:
        """Say why the task waits, unless that was said; return the seconds to the next look.

        ``None`` when it does not wait: its next event tells. ``position`` is that of the last
        event seen. While the daemon is away nothing is known, and nothing said.
        """
        seen = {"Pandar-Min-Position": str(position)}
        try:
            row = read(TaskRow, await self._api.get(self._path, headers=seen))
            not_before = await self._not_before(row)
        except Unreachable:
            return AGAIN_SEC
        text = why(row, not_before, SystemClock().now())
        if text is None:
            return None
        reason = (row.status_reason, row.position)
        if reason != self._told:
            self._told = reason
            self._say(text)
        return AGAIN_SEC

    async def _not_before(self, row: TaskRow) -> datetime | None:
        """Return when it is tried again, which the event that said so knows."""
        if row.status_reason != "retry_at":
            return None
        after = {"after": str(row.position - 1), "limit": "1"}
        page = await self._api.get(f"{self._path}/timeline", after)
        for entry in page.get("items", []):
            at = read(HappenedRow, entry).data.get("not_before")
            if isinstance(at, str):
                return datetime.fromisoformat(at)
        return None


def why(row: TaskRow, not_before: datetime | None, now: datetime) -> str | None:
    """Return what a task waits for; ``None`` when it is not waiting."""
    reason = row.status_reason
    match row.status:
        case Status.PENDING:
            return _pending(row, not_before, now)
        case Status.RUNNING if reason in {"parked", "quota"}:
            return f"waits: {reason_text(reason)}"
        case Status.WAITING_CONFIRMATION:
            return f"needs you: {reason_text(reason)}: pandar task show {row.id}"
        case _:
            return None


def _pending(row: TaskRow, not_before: datetime | None, now: datetime) -> str:
    match row.status_reason:
        case None:
            return f"waits to be started: pandar task start {row.id}"
        case "queued":
            return "waits for a free runner"
        case "scheduled":
            return f"waits: scheduled {age(row.scheduled_at, now)}"
        case "retry_at":
            at = max(not_before, now) if not_before else None
            return f"waits: retry {age(at, now) or 'soon'}"
        case "blocked_key":
            key = one_line(str((row.metadata or {}).get("concurrency_key", "")))
            return f"waits its turn: another task holds the concurrency key {key}"
        case reason:
            return f"waits: {reason_text(reason)}"
