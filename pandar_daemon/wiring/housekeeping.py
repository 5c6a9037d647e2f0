"""Who keeps the disk of a runner's data directory tidy, and never full."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct

from pandar_daemon.adapters.disk.folders import DataFolders
from pandar_daemon.services.retention import Retention
from pandar_daemon.services.room import Room
from pandar_daemon.services.runner import Runner
from pandar_daemon.wiring.parts import Parts


class Housekeeping(Struct, frozen=True):
    """The services beside a runner."""

    room: Room
    retention: Retention
    folders: DataFolders


def housekeeping(parts: Parts, runner: Callable[[], Runner]) -> Housekeeping:
    """Return them; ``runner`` is called when they run."""
    folders = DataFolders(parts.settings.data.absolute())
    terms = parts.configuration.workspaces
    room = Room(
        folders=folders,
        watched=lambda: runner().executions,
        reserve_bytes=terms.reserve_mb * 2**20,
        clock=parts.clock,
        metrics=parts.metrics,
    )
    retention = Retention(
        folders=folders,
        terms=terms,
        ask=lambda task_ids: runner().ended(task_ids),
        in_hand=lambda: {each.task_id for each in runner().executions},
        clock=parts.clock,
        metrics=parts.metrics,
    )
    return Housekeeping(room, retention, folders)
