"""The archiver: takes old, finished ranges of the log to files, one whole partition after another.

Each step leaves the log complete, whatever happens next; whoever is killed begins its range again::

    write     data file: written beside its place, flushed, renamed
    seal      manifest, with the hash of the data file and of the manifest before it: the same
    check     both read back from the disk and compared with the table, event by event
    retire    one transaction: the range is recorded as archived, and its partition replaced by the
              rows of streams that go on

A file without a record is nobody's: it is written over by the next try. Readers look at the record
and at the table in one statement, so they find each event in the one place or the other.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from datetime import datetime
from itertools import zip_longest
from typing import Final

import structlog
from msgspec import Struct

from events.envelope import Recorded
from pandar_daemon.ports.archive import ArchivableLog, Archive, Archived, ArchiveUnreadable, Span

log = structlog.get_logger(__name__)

STEPS: Final = ("write", "check", "retire")

Progress = Callable[[str, int, int], None]
"""Told what is done (one of `STEPS` and the range), how far that is and how far it goes."""


class Done(Struct, frozen=True, kw_only=True):
    """A range that went to files; ``kept`` events, of all such ranges, stay in the table."""

    archived: Archived
    kept: int


class Archiver:
    """One of these works at a time: see who opens the `ArchivableLog`."""

    def __init__(self, log_: ArchivableLog, archive: Archive, progress: Progress) -> None:
        """Take ranges from ``log_`` to ``archive``; report to ``progress``."""
        self._log = log_
        self._archive = archive
        self._progress = progress

    async def due(self, before: datetime) -> list[Span]:
        """Return the ranges that would be archived."""
        return await self._log.finished(before)

    async def run(self, before: datetime) -> list[Done]:
        """Archive every finished range whose events are all from before a time.

        Raises `ArchiveUnreadable` when what was written cannot be read back as it was, and
        ``ConnectionError`` while the log is too busy: what was done before stays done.
        """
        return [await self._one(span) for span in await self.due(before)]

    async def _one(self, span: Span) -> Done:
        known = await self._log.archived()
        previous = known[-1].sha256 if known else None
        manifest = await self._archive.write(span, self._counted("write", span), previous)
        self._tell("write", span, span.count)
        archived = await self._archive.seal(manifest)
        await self._check(archived)
        self._tell("retire", span, 0)
        kept = await self._log.retire(archived)
        self._tell("retire", span, span.count)
        log.info("archive.retired", first=span.first, last=span.last, kept=kept)
        return Done(archived=archived, kept=kept)

    async def _counted(self, step: str, span: Span) -> AsyncIterator[list[Recorded]]:
        async for batch in self._log.events(span):
            self._tell(step, span, batch[0].position - span.first)
            yield batch

    async def _check(self, archived: Archived) -> None:
        table = _each(self._counted("check", archived.span))
        async for batch in self._archive.events(archived):
            wanted = [await anext(table, None) for _ in batch]
            for found, stored in zip_longest(batch, wanted):
                if found != stored:
                    raise ArchiveUnreadable(f"{archived.manifest}: {found} differs from the log")
        if await anext(table, None) is not None:
            raise ArchiveUnreadable(f"{archived.manifest} ends before its range does")

    def _tell(self, step: str, span: Span, done: int) -> None:
        self._progress(f"{step} {span.first} to {span.last}", done, span.count)


async def _each(batches: AsyncIterator[list[Recorded]]) -> AsyncIterator[Recorded]:
    async for batch in batches:
        for event in batch:
            yield event
