"""Events become commands: tell somebody, or take note that a confirmation waits no more.

The commands of one stream are sent in its order, those of different streams beside each other.
Sent again, after a crash, they are the same ones under the same ids, and do nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final
from uuid import UUID

import msgspec
import structlog
from msgspec import Struct

from events import codec, ids
from events import task as did
from events.command import Command
from events.envelope import Recorded
from events.notification import Resolution
from events.notifying import ResolveNotification
from events.task import Event
from pandar_daemon.domain.notify import Scene, announcements, kind_of, recipients
from pandar_daemon.domain.notify_subject import Open, Subject, approvers, closed
from pandar_daemon.ports import EventStore
from pandar_daemon.services.asking import Asker
from pandar_daemon.services.facts import Facts
from pandar_daemon.services.orders import insist

log = structlog.get_logger(__name__)

BESIDE: Final = 32
"""Streams whose commands are sent at the same time."""

_HEARD: Final = frozenset(
    name
    for name, event in codec.EVENTS.items()
    if name.startswith(("project.", "member.", "settings."))
    or event
    in {
        did.TaskCreated,
        did.TaskUpdated,
        did.ConfirmationRequested,
        did.ConfirmationEscalated,
        did.TaskConfirmed,
        did.TaskDenied,
        did.ChangesRequested,
        did.ConfirmationExpired,
        did.ConfirmationWithdrawn,
        did.CancelRequested,
        did.TaskCancelled,
        did.TaskCompleted,
        did.TaskFailed,
    }
)


class Job(Struct, frozen=True):
    """A command to be sent; ``target`` stands in its subject."""

    action: str
    target: UUID | None
    command: Command
    command_id: str


class Announcer:
    """Tells people of what comes after a position, and has to hear all of that."""

    def __init__(self, store: EventStore, asker: Asker, position: int) -> None:
        """Learn from ``store`` what was before; send through ``asker``."""
        self._facts = Facts(store, position)
        self._asker = asker

    async def tell(self, batch: Sequence[Recorded]) -> None:
        """Send what follows from the next events of the log; return when all of it is answered.

        Raises ``ConnectionError`` when the log is away: begin anew then, where all was told.
        """
        by_stream: dict[str, list[Job]] = {}
        for recorded in batch:
            event = _decoded(recorded) if recorded.type in _HEARD else None
            if event is not None:
                by_stream.setdefault(recorded.stream, []).extend(await self._jobs(recorded, event))
        limit = asyncio.Semaphore(BESIDE)
        sent = (self._send(jobs, limit) for jobs in by_stream.values() if jobs)
        for error in await asyncio.gather(*sent, return_exceptions=True):
            if error is not None:
                raise error

    async def _jobs(self, recorded: Recorded, event: Event) -> list[Job]:
        if ids.category_of(recorded.stream) != "task":
            self._facts.hear(recorded, event)
            return await self._announced(recorded, event)
        before = Subject(0)
        if not isinstance(event, did.TaskCreated):
            before = await self._facts.subject(int(ids.id_of(recorded.stream)))
        self._facts.hear(recorded, event)
        resolved = [
            job
            for one, outcome, by, reason in closed(before, event)
            for job in await self._resolved(before, one, outcome, by, reason)
        ]
        return resolved + await self._announced(recorded, event)

    async def _resolved(
        self, subject: Subject, one: Open, outcome: Resolution, by: str, reason: str
    ) -> list[Job]:
        """Return what tells everybody who was told of a confirmation that it waits no more."""
        command = ResolveNotification(outcome=outcome, by=by[:200], reason=reason[:500])
        jobs = []
        for told in one.told:
            project = await self._facts.project_at(subject.project_id, told.position)
            for user in approvers(subject.created_by, told.watchers, project):
                target = ids.notification_id(told.event_id, user)
                name = f"system-nd-{target.hex}"
                jobs.append(Job("notification.resolve", target, command, name))
        return jobs

    async def _announced(self, recorded: Recorded, event: Event) -> list[Job]:
        if kind_of(event) is None:
            return []
        scene = await self._scene(recorded, event)
        return [
            Job("notification.create", None, told, f"system-nc-{told.notification_id.hex}")
            for told in announcements(scene)
        ]

    async def _scene(self, recorded: Recorded, event: Event) -> Scene:
        scene = Scene(recorded=recorded, event=event)
        if ids.category_of(recorded.stream) == "task":
            subject = await self._facts.subject(int(ids.id_of(recorded.stream)))
            scene = msgspec.structs.replace(
                scene,
                subject=subject,
                project=await self._facts.project(subject.project_id),
                of_project=await self._facts.of_project(subject.project_id),
            )
        told = recipients(event, scene.subject, scene.project)
        settings = {user: await self._facts.of_user(user) for user in told}
        return msgspec.structs.replace(scene, settings=settings)

    async def _send(self, jobs: Sequence[Job], limit: asyncio.Semaphore) -> None:
        async with limit:
            for job in jobs:
                await insist(self._asker, job.action, job.target, job.command, job.command_id)


def _decoded(recorded: Recorded) -> Event | None:
    try:
        return codec.decode(recorded)
    except codec.CorruptEvent as error:
        log.error("notifier.unreadable_event", position=recorded.position, error=str(error))  # noqa: TRY400 - the text says it all
        return None
