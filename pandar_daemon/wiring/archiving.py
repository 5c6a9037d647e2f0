"""`pandar archive`: old ranges of the log to files, beside a daemon at work or without one."""

from __future__ import annotations

from datetime import timedelta

from pandar_daemon.adapters.archive.folder import FileArchive
from pandar_daemon.adapters.clock import SystemClock
from pandar_daemon.adapters.postgres.archivable import archivable
from pandar_daemon.config import Settings
from pandar_daemon.ports.archive import Span
from pandar_daemon.services.archiver import Archiver, Done, Progress
from pandar_daemon.wiring.places import somewhere

__all__ = ["Done", "Span", "archive", "due_for_archive"]


async def archive(settings: Settings, older_than_sec: float, progress: Progress) -> list[Done]:
    """Archive every finished range whose events are all older than that; return what was done."""
    before = SystemClock().now() - timedelta(seconds=older_than_sec)
    async with somewhere(settings) as place, archivable(place.database_url) as log:
        return await Archiver(log, FileArchive(settings.archive_folder), progress).run(before)


async def due_for_archive(settings: Settings, older_than_sec: float) -> list[Span]:
    """Return the ranges `archive` would take; changes nothing."""
    before = SystemClock().now() - timedelta(seconds=older_than_sec)
    async with somewhere(settings) as place, archivable(place.database_url) as log:
        return await log.finished(before)
