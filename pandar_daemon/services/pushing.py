"""A push: found out in the box, looked at in quarantine, decided, and then done outside.

::

    words ─▶ what is wanted ─▶ commits taken out ─▶ what exactly would move ─▶ judged, asked
             (in the box)      (checked, outside)   (seen from the commits)          │
                                      the remote ◀── these commits, from these ◀─────┘
                                                     old values, or nothing

An approval is used up by the record of the call, before anything moves: what fails then is not
tried again by itself. Once the remote is being written to, nobody's going away stops it.
"""

from __future__ import annotations

import asyncio
import posixpath
import shlex
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import structlog
from msgspec import Struct

from events.calls import TEXT_MAX, CallKind, RefMove, ToolCall
from events.running import ReportPush
from events.task import PushedRef
from pandar_daemon.domain import push_texts as texts
from pandar_daemon.domain.push import NotPushed, Push, parse
from pandar_daemon.domain.push_plan import Wanted, planned
from pandar_daemon.domain.refusals import Refusal
from pandar_daemon.domain.remotes import is_local, is_same, protocol_of
from pandar_daemon.ports import Box, Clock, Ending, Inquire, Order, Show
from pandar_daemon.services.errand import Told
from pandar_daemon.services.git import Git
from pandar_daemon.services.git_access import Admission
from pandar_daemon.services.line import Line
from pandar_daemon.services.quarantine import Looked, Quarantine, Remote, quarantine
from pandar_daemon.services.source import Source

log = structlog.get_logger(__name__)

PATHS_MAX: Final = 50
"""Files of a push that are named one by one."""
FORESEE_SEC: Final = 60.0
"""What it may take to say what a push would do that nobody has begun."""
REFUSED: Final = 1
"""What git ends with when something was not pushed."""


class Site(Struct, frozen=True, kw_only=True):
    """The repository of one execution: ``url`` is the project's, ``own`` the task's branch.

    ``objects`` is a folder of objects that are the remote's already, ``base`` the branch the task
    began at, empty for the one the remote names its own. ``box`` is that of the task, without
    doors. ``admit`` returns what to get in with, raising ``OSError`` when it cannot be had;
    ``redact`` takes secrets out of what is shown.
    """

    url: str
    own: str = ""
    base: str = ""
    protected: tuple[str, ...] = ()
    objects: str = ""
    box: Box | None = None
    admit: Callable[[], Awaitable[Admission]]
    redact: Callable[[bytes], bytes] = bytes


class Seen(Struct, frozen=True, kw_only=True):
    """A push that was looked at: what its words are, the call it is, where its commits are."""

    push: Push
    call: ToolCall
    source: Source
    found: Quarantine


class Pushing:
    """The pushes of one execution, one at a time; quarantines are made in ``folder``."""

    def __init__(
        self, site: Site, git: Git, folder: Path, *, inquire: Inquire, line: Line, clock: Clock
    ) -> None:
        self._site = site
        self._git = git
        self._folder = folder
        self._inquire = inquire
        self._line = line
        self._clock = clock
        self._turn = asyncio.Lock()
        self._moving: asyncio.Task[Ending] | None = None

    @property
    def url(self) -> str:
        """The project's repository."""
        return self._site.url

    async def push(self, order: Order, show: Show) -> Ending:
        """Do what a ``git push`` in the box says, as far as that is allowed."""
        async with self._turn:
            try:
                return await self._push(order, show)
            except (NotPushed, OSError, Refusal) as error:
                await show.error(self._site.redact(texts.refused(str(error))))
                return Ending(exit_code=REFUSED)

    async def close(self) -> None:
        """Return when nothing is being moved any more."""
        if self._moving is not None:
            await asyncio.wait({self._moving})

    async def foresee(self, order: Order) -> ToolCall | None:
        """Return the call that a push would ask about; ``None`` when it would not ask."""
        try:
            async with asyncio.timeout(FORESEE_SEC), self._looked_at(order) as seen:
                moves = seen is not None and seen.call.moves and not seen.push.has("dry-run")
                return seen.call if seen is not None and moves else None
        except (NotPushed, OSError, Refusal) as error:
            log.info("push.unforeseen", reason=str(error))
            return None

    async def _push(self, order: Order, show: Show) -> Ending:
        async with self._looked_at(order) as seen:
            if seen is None:
                return Ending(argv=order.argv)  # a folder of the box: nothing leaves
            if not seen.call.moves:
                await show.error(b"Everything up-to-date\n")
                return Ending()
            if seen.push.has("dry-run"):
                await show.error(texts.would_move(self._site.url, seen.call.moves))
                return Ending()
            permission = await self._inquire(seen.call, texts.why(seen.call.moves))
            if not permission.allowed:
                raise NotPushed(permission.text)
            self._moving = asyncio.create_task(self._move(seen, show))
            return await self._to_the_end(self._moving)

    @asynccontextmanager
    async def _looked_at(self, order: Order) -> AsyncIterator[Seen | None]:
        """Yield what a push would do, as long as it is in quarantine; nothing for a folder."""
        push = parse(order.argv)
        folder = posixpath.normpath(posixpath.join(order.cwd, *push.folders))
        source = Source(self._git, self._site.box, folder, push)
        local = await source.look(self._site.own)
        if not is_same(source.url, self._site.url):
            if not is_local(source.url):
                raise NotPushed(texts.elsewhere(source.url, self._site.url))
            yield None
            return
        remote = await self._remote()
        place = self._folder / str(self._clock.new_id())
        async with quarantine(
            self._git, place, remote, objects=self._site.objects, box=self._box(place)
        ) as found:
            known = await found.references()
            wanted = planned(push, local, known, self._site.own)
            looked = await self._look(found, source, wanted, known) if wanted else []
            _check_forced(wanted, [each.move for each in looked])
            call = self._call(order, looked)
            yield Seen(push=push, call=call, source=source, found=found)

    async def _remote(self) -> Remote:
        admitted = await self._site.admit()
        return Remote(
            url=self._site.url,
            protocol=protocol_of(self._site.url),
            environment=admitted.environment,
            settings=admitted.settings,
        )

    def _box(self, place: Path) -> Box | None:
        """Return what confines whoever looks at commits: nothing but them is there."""
        box, objects = self._site.box, self._site.objects
        if box is None:
            return None
        return Box(
            level=box.level,
            writable=(str(place),),
            readable=(objects,) if objects else (),
            limits=box.limits,
        )

    async def _look(
        self, found: Quarantine, source: Source, wanted: Sequence[Wanted], known: dict[str, str]
    ) -> list[Looked]:
        own, base = self._site.own, self._site.base or found.default
        protected = [each for each in (base, found.default, *self._site.protected) if each]
        at_hand = await found.fetch(known, [*(each.ref for each in wanted), f"refs/heads/{base}"])
        objects = list(dict.fromkeys(each.new for each in wanted if each.new))
        if objects:
            await found.take(await source.pack(objects, at_hand))
        return [await found.look(each, known, own=own, protected=protected) for each in wanted]

    def _call(self, order: Order, looked: Sequence[Looked]) -> ToolCall:
        command = shlex.join(["git", *order.argv])[:TEXT_MAX]
        paths = list(dict.fromkeys(path for each in looked for path in each.paths))[:PATHS_MAX]
        host = urlsplit(self._site.url).hostname if "://" in self._site.url else None
        return ToolCall(
            kind=CallKind.EXECUTE,
            tool="git",
            title=texts.title([each.move for each in looked]),
            command=command,
            cwd=order.cwd[:1_000],
            paths=paths,
            hosts=[host] if host else [],
            input=self._site.url,
            moves=[each.move for each in looked],
        )

    async def _to_the_end(self, moving: asyncio.Task[Ending]) -> Ending:
        """Return how it ended; cancelled, only when it has."""
        try:
            return await asyncio.shield(moving)
        except asyncio.CancelledError:
            await asyncio.wait({moving})
            raise

    async def _move(self, seen: Seen, show: Show) -> Ending:
        call = seen.call
        told = await seen.found.push(call.moves, seen.push.options)
        moved = texts.moved(told.output.decode(errors="replace"), call.moves)
        if moved:
            await self._report(call, moved)
            await seen.source.moved({move.ref: move.new for move in moved})
        await self._show(seen.push, told, show)
        log.info("task.pushed", refs=[move.ref for move in moved], exit_code=told.exit_code)
        return Ending(exit_code=REFUSED if told.exit_code is None else told.exit_code)

    async def _show(self, push: Push, told: Told, show: Show) -> None:
        lines = told.output.decode(errors="replace")
        redact = self._site.redact
        await show.error(redact(texts.complaints(told.complaint)))
        if push.has("porcelain"):
            await show.output(redact(texts.complaints(lines)))
        else:
            await show.error(redact(texts.summary(lines)))

    async def _report(self, call: ToolCall, moved: Sequence[RefMove]) -> None:
        held = self._line.held
        report = ReportPush(
            task_id=held.task_id,
            execution_id=held.execution_id,
            epoch=held.epoch,
            remote=self._site.url,
            refs=[PushedRef(ref=move.ref, old=move.old, new=move.new) for move in moved],
            commits=sum(move.commits for move in moved),
            call_sha256=call.sha256,
        )
        try:
            await self._line.insist("pushed", report)
        except Refusal as refusal:  # the execution is over
            log.warning("push.unrecorded", reason=str(refusal))


def _check_forced(wanted: Sequence[Wanted], moves: Sequence[RefMove]) -> None:
    """Raise `NotPushed` for what git would refuse: it loses commits, and is not to be forced."""
    for each, move in zip(wanted, moves, strict=True):
        tag = move.ref.startswith("refs/tags/") and move.old
        if (move.forced or tag) and not each.force:
            raise NotPushed(texts.not_forward(move))
