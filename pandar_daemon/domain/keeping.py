"""How long what tasks leave on disk is kept, and what goes first when it is too much."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Annotated

from msgspec import Meta, Struct

from events.running import Ending

Days = Annotated[int, Meta(ge=0, le=3_650)]
Megabytes = Annotated[int, Meta(ge=0, le=2**30)]
MB = 2**20


class Keeping(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How long folders of tasks that ended stay, longer when they failed; how much room is kept.

    ``max_disk_mb`` is for all that tasks have on disk; ``reserve_mb`` stay free on the machine.
    """

    keep_days: Days = 14
    keep_failed_days: Days = 30
    max_disk_mb: Megabytes | None = None
    reserve_mb: Megabytes = 1_024

    def since(self, now: datetime, *, failed: bool = False) -> datetime:
        """Return since when a task must have been over for its folders to stay."""
        return now - timedelta(days=self.keep_failed_days if failed else self.keep_days)


def overdue(ended: Mapping[int, Ending], terms: Keeping, now: datetime) -> list[int]:
    """Return the tasks that ended so long ago that what they left goes, oldest first."""
    return [
        task_id
        for task_id in _oldest_first(ended)
        if ended[task_id].at < terms.since(now, failed=ended[task_id].failed)
    ]


def excess(ended: Mapping[int, Ending], used: Mapping[int, int], terms: Keeping) -> list[int]:
    """Return the tasks that go although their time has not come, for all take too much together.

    ``used`` has what each task takes, in bytes, those that go on too; only those in ``ended`` go,
    oldest first.
    """
    if terms.max_disk_mb is None:
        return []
    total, going = sum(used.values()), list[int]()
    for task_id in _oldest_first(ended):
        if total <= terms.max_disk_mb * MB:
            break
        if used.get(task_id):
            going.append(task_id)
            total -= used[task_id]
    return going


def _oldest_first(ended: Mapping[int, Ending]) -> list[int]:
    return sorted(ended, key=lambda task_id: (ended[task_id].at, task_id))
