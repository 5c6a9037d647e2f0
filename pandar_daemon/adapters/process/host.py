"""Process trees on this machine, each started and ended by a `guardian`."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import IO

from pandar_daemon.adapters.process import guardian
from pandar_daemon.adapters.process.ends import Ends, Failed, Theirs, open_ends
from pandar_daemon.adapters.process.guarded import TerminalProcess, failure, kill_tagged, scarce
from pandar_daemon.adapters.process.nursery import Nursery, raise_descriptor_limit
from pandar_daemon.adapters.process.request import Request
from pandar_daemon.adapters.process.search import Search
from pandar_daemon.adapters.sandbox.boxes import Boxes
from pandar_daemon.adapters.sandbox.enclosing import Enclosure
from pandar_daemon.ports import Spec

HOME_TAG = "PANDAR_RUNNER_HOME"
"""In the environment of every process: the data directory of the runner it belongs to."""

LATE_SEC = 2.0
"""What a guardian may take, beyond the grace, to kill its tree; then it is killed itself."""
START_SEC = 30.0
BIRTH_SEC = 10.0
"""What a nursery may take to fork a guardian; then it is replaced."""


class Stillborn(Exception):
    """The nursery is dead, or does not answer; certainly nothing was started."""


class Host:
    """Starts process trees for the one runner that owns a data directory.

    Each takes three descriptors of ours. The first start raises our limit of them as far as it may
    be; what is started keeps the limit we began with.
    """

    def __init__(self, data: Path, *, grace_sec: float = 3.0, boxes: Boxes | None = None) -> None:
        """Enclose what is to be boxed in one of ``boxes``; without them it is not started."""
        self._data = data.resolve()
        self._boxes = boxes
        self._grace_sec = grace_sec
        self._lock: IO[str] | None = None
        self._descriptor_limit: int | None = None
        self._search = Search()
        self._nursery: Nursery | None = None
        self._close_nursery: weakref.finalize[[], Host] | None = None

    async def start(self, spec: Spec) -> TerminalProcess:
        """Start it; raises ``OSError`` naming what could not be started."""
        tags = {guardian.EXECUTION_TAG: str(spec.execution_id), HOME_TAG: str(self._data)}
        enclosure = None if spec.box is None else self._enclose(spec, tags)
        try:
            return await self._start(spec, tags, enclosure)
        except BaseException:
            if enclosure is not None:
                enclosure.leave()
            raise

    def _enclose(self, spec: Spec, tags: Mapping[str, str]) -> Enclosure:
        if self._boxes is None:
            raise OSError(errno.ENOTSUP, "there is no sandbox on this machine", spec.argv[0])
        return self._boxes.enclose(spec, tags)

    async def _start(
        self, spec: Spec, tags: Mapping[str, str], enclosure: Enclosure | None
    ) -> TerminalProcess:
        request = self._request(spec, tags, enclosure).pack()
        async with asyncio.timeout(START_SEC):  # a command may stop its guardian at once
            process = await self._born(spec)
            try:
                await process.begin(spec, request, enclosure)
            except BaseException:
                process.forsake()
                raise
        return process

    async def sweep(self) -> int:
        """Kill what an earlier, killed incarnation of this runner left; return how many.

        Raises ``OSError`` when another runner is using the same data directory.
        """
        self._claim_data()
        self._retire(self._nursery)
        killed = await kill_tagged(f"{HOME_TAG}={self._data}")
        if self._boxes is not None:
            self._boxes.sweep()
        return killed

    def _request(self, spec: Spec, tags: Mapping[str, str], enclosure: Enclosure | None) -> Request:
        """Return what the guardian is to start: of a box no more than what makes it."""
        argv, cwd, environment = spec.argv, spec.cwd, {**spec.environment, **tags}
        direct = spec.direct
        if enclosure is not None:
            argv, cwd, environment, direct = enclosure.argv, "/", {**tags}, ()
        return Request(
            [os.fsencode(argument) for argument in argv],
            {os.fsencode(name): os.fsencode(value) for name, value in environment.items()},
            cwd=os.fsencode(cwd),
            until=spec.until,
            grace_sec=self._grace_sec,
            is_piped=spec.piped,
            is_boxed=enclosure is not None,
            direct=[os.fsencode(argument) for argument in direct],
        )

    async def _born(self, spec: Spec) -> TerminalProcess:
        """Return a new guardian, that knows of nothing to start yet."""
        try:
            try:
                return await self._bear(spec)
            except Stillborn:
                return await self._bear(spec)
        except Stillborn as error:
            raise ChildProcessError(errno.ECHILD, "no guardian was born", spec.argv[0]) from error
        except Failed as error:
            raise failure(error, spec) from None

    async def _bear(self, spec: Spec) -> TerminalProcess:
        nursery = self._nursery or self._open_nursery()
        ends, theirs = _open_ends(spec)
        try:
            async with asyncio.timeout(BIRTH_SEC):
                await nursery.bear(theirs)
                await ends.born()
        except (ConnectionError, EOFError, TimeoutError) as error:
            ends.close()
            self._retire(nursery)
            raise Stillborn from error
        except BaseException:
            ends.close()
            raise
        tag = f"{guardian.EXECUTION_TAG}={spec.execution_id}"
        return TerminalProcess(ends, self._search, tag=tag, patience_sec=self._grace_sec + LATE_SEC)

    def _open_nursery(self) -> Nursery:
        if self._descriptor_limit is None:
            self._descriptor_limit = raise_descriptor_limit()
        nursery = Nursery({HOME_TAG: str(self._data)}, self._descriptor_limit)
        self._nursery = nursery
        self._close_nursery = weakref.finalize(self, nursery.close)
        return nursery

    def _retire(self, nursery: Nursery | None) -> None:
        """Replace this one at the next start, unless that was done already."""
        if nursery is not None and nursery is self._nursery and self._close_nursery is not None:
            self._nursery = None
            self._close_nursery()

    def _claim_data(self) -> None:
        if self._lock is not None:
            return
        self._data.mkdir(parents=True, exist_ok=True)
        lock = (self._data / "runner.lock").open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            lock.close()
            msg = "another runner is using this data directory"
            raise OSError(error.errno, msg, str(self._data)) from error
        self._lock = lock


def _open_ends(spec: Spec) -> tuple[Ends, Theirs]:
    with scarce(spec):
        return open_ends(spec.rows, spec.columns)
