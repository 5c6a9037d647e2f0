"""A notifier on a real log, with real channels to receivers on this machine."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

import msgspec
from msgspec import Struct

from events import codec, ids
from events import notification as noted
from events import notifying as do
from events import project as was
from events import task as did
from events.envelope import Recorded
from events.problem import Problem
from events.project import MemberRole
from events.task import Event, FailureKind, Json, Status
from pandar_daemon.adapters.channels.registry import ChannelOptions, Registry
from pandar_daemon.adapters.channels.sealing import AesSealer
from pandar_daemon.adapters.clock import SystemClock
from pandar_daemon.adapters.postgres.leases import PgLeadership
from pandar_daemon.adapters.postgres.notification_reads import PgCheckpoints, PgNotificationReads
from pandar_daemon.domain.channel import fingerprint, mask
from pandar_daemon.domain.refusals import Forbidden, Refusal
from pandar_daemon.ports import Headers
from pandar_daemon.services.asking import Asker
from pandar_daemon.services.feed import Feed
from pandar_daemon.services.notifier import Notifier
from tests.support.clock import ManualClock
from tests.support.desk import Desk, desk
from tests.support.log import SilentBus
from tests.support.receiver import LOCAL, Receiver
from tests.support.up import eventually

EXECUTION = UUID(int=7)
MASTER = b"a secret of this installation"
DAY = timedelta(days=1)


class LeapingClock(ManualClock):
    """A clock that runs as the machine's does, and leaps ahead when a test says so."""

    def __init__(self) -> None:
        self._machine = SystemClock()
        self._ahead = 0.0
        super().__init__(self._machine.now())

    def now(self) -> datetime:
        """Return the machine's time, and all leaps."""
        return self._machine.now() + timedelta(seconds=self._ahead)

    def boottime(self) -> float:
        """Return the machine's, and all leaps."""
        return self._machine.boottime() + self._ahead

    def new_id(self) -> UUID:
        """Return a fresh id."""
        return self._machine.new_id()

    def advance(self, seconds: float) -> None:
        """Leap."""
        self._ahead += seconds


class Told(Struct, frozen=True):
    """A notification as its stream has it."""

    notification: noted.NotificationCreated
    events: list[Event]

    def of(self, kind: type[Event]) -> list[Event]:
        """Return what happened to it of one kind."""
        return [event for event in self.events if isinstance(event, kind)]


@dataclass
class DeskLinks:
    """`Links` that keep whom they were issued for; watchers get none."""

    issued: list[tuple[int, UUID, str]] = field(default_factory=list)

    async def issue(self, task_id: int, confirmation_id: UUID, approver: str) -> str:
        """Return an address with a secret."""
        if approver.startswith("watcher"):
            raise Forbidden("task:manage")
        self.issued.append((task_id, confirmation_id, approver))
        return f"https://pandar.example.org/a/{approver}-{len(self.issued)}"

    def page(self, task_id: int) -> str:
        """Return an address without."""
        return f"https://pandar.example.org/tasks/{task_id}"


@dataclass
class DeskSender:
    """`Sender` that asks a desk, without a bus between.

    While `away` it answers as a daemon without its database does, and counts.
    """

    at: Desk
    away: bool = False
    refused: int = 0

    async def ask(
        self, subject: str, body: bytes, *, headers: Headers | None = None, timeout_sec: float = 5.0
    ) -> bytes:
        """Return the answer."""
        if self.away:
            self.refused += 1
            problem = Problem(type="urn:pandar:problem:unavailable", title="Away", status=503)
            raise Refusal(problem)
        async with asyncio.timeout(timeout_sec):
            return await self.at.handle(subject, body, headers or {})


@dataclass
class Newsroom:
    """A log in which things happen, and notifiers that tell of them."""

    at: Desk
    clock: LeapingClock
    links: DeskLinks
    sealer: AesSealer
    options: ChannelOptions
    sender: DeskSender

    # --- what happens ---

    async def add(self, stream: str, *events: Event, project_id: int | None = 1) -> list[Recorded]:
        """Let something happen."""
        await self.at.log.add(stream, *events, project_id=project_id)
        recorded = await self.at.log.store.read_stream(stream)
        return recorded[-len(events) :]

    async def project(self, owner: str = "olga", **members: MemberRole) -> None:
        """Make project 1."""
        joined = [was.MemberAdded(user=user, role=role) for user, role in members.items()]
        made = was.ProjectCreated(project_id=1, name="p", owner=owner)
        await self.add("project-1", made, *joined)

    async def task(self, number: int = 42, *, by: str = "ann", **metadata: object) -> None:
        """File a task, which runs."""
        created = did.TaskCreated(
            task_id=number,
            project_id=1,
            name=f"task {number}",
            command="",
            created_by=by,
            metadata=metadata,
            prompt="do it",
        )
        started = did.TaskStarted(execution_id=EXECUTION, attempt=1, epoch=1, runner_id="r")
        await self.add(f"task-{number}", created, started)

    async def complete(self, number: int = 42) -> None:
        """Let a task succeed."""
        done = did.TaskCompleted(
            execution_id=EXECUTION, exit_code=0, output_tail="", duration_sec=1.0
        )
        await self.add(f"task-{number}", done)

    async def fail(self, number: int = 42) -> None:
        """Let a task fail."""
        bad = did.TaskFailed(
            execution_id=EXECUTION,
            error="no",
            kind=FailureKind.AGENT,
            from_status=Status.RUNNING,
        )
        await self.add(f"task-{number}", bad)

    async def ask(self, number: int = 42, *, confirmation: int = 1, time: timedelta = DAY) -> UUID:
        """Let a task wait for a decision; return the confirmation."""
        asked = did.ConfirmationRequested(
            confirmation_id=UUID(int=confirmation),
            execution_id=EXECUTION,
            gate="git_push_protected",
            card={"command": "git push origin main"},
            card_sha256="0" * 64,
            expires_at=self.clock.now() + time,
        )
        await self.add(f"task-{number}", asked)
        return asked.confirmation_id

    async def decide(self, confirmation: UUID, number: int = 42, *, by: str = "olga") -> None:
        """Let somebody approve."""
        decided = did.TaskConfirmed(confirmation_id=confirmation, by=by)
        await self.add(f"task-{number}", decided)

    async def settings(self, user: str, *channels: str, **fields: object) -> None:
        """Change a user's settings, as the API does."""
        change = do.ChangeSettings(
            channels=[self._set(channel, f"user:{user}") for channel in channels],
            **fields,  # type: ignore[arg-type]
        )
        await self._change("notification.settings", f"user:{user}", change, ids.settings_id(user))

    async def project_settings(self, *channels: str, owner: str = "olga") -> None:
        """Change the project's settings, as the API does."""
        change = do.ChangeSettings(
            channels=[self._set(channel, "project:1") for channel in channels]
        )
        await self._change("notification.project_settings", f"user:{owner}", change, 1)

    async def _change(
        self, action: str, who: str, change: do.ChangeSettings, target: UUID | int
    ) -> None:
        await self.at.ask(who, action, msgspec.json.encode(change), target=target)  # type: ignore[arg-type]

    def _set(self, channel: str, owner: str) -> do.SetChannel:
        return do.SetChannel(
            sha256=fingerprint(channel),
            channel=mask(channel),
            sealed=self.sealer.seal(channel, owner),
        )

    # --- what is told ---

    def notifier(self, holder: str = "one") -> Notifier:
        """Return a notifier that has just started."""
        log = self.at.log
        return Notifier(
            store=log.store,
            feed=Feed(SilentBus(), log.store, poll_sec=0.01),
            reads=PgNotificationReads(log.database),
            checkpoints=PgCheckpoints(log.database),
            leadership=PgLeadership(log.database),
            asker=Asker(self.sender, lambda: self.at.token("system:notifier")),
            channels=Registry(self.options, self.clock),
            sealer=self.sealer,
            links=self.links,
            clock=self.clock,
            holder=holder,
        )

    @asynccontextmanager
    async def telling(self, holder: str = "one") -> AsyncIterator[asyncio.Task[None]]:
        """Run a notifier while the context lasts."""
        task = asyncio.create_task(self.notifier(holder).run())
        try:
            yield task
        finally:
            task.cancel()
            await asyncio.wait({task})
        assert task.cancelled()

    async def told(self) -> list[Told]:
        """Return every notification there is."""
        streams: dict[str, list[Event]] = {}
        for recorded in await self.at.log.everything():
            if ids.category_of(recorded.stream) == "notification":
                event = codec.decode(recorded)
                assert event is not None
                streams.setdefault(recorded.stream, []).append(event)
        return [
            Told(events[0], events)
            for events in streams.values()
            if isinstance(events[0], noted.NotificationCreated)
        ]

    async def happened(self, kind: type[Event], times: int = 1) -> list[Event]:
        """Return what happened of one kind to all notifications, once it did so often."""
        found: list[Event] = []

        async def look() -> bool:
            found[:] = [
                event
                for recorded in await self.at.log.everything()
                if (event := codec.decode(recorded)) is not None and isinstance(event, kind)
            ]
            return len(found) >= times

        await eventually(look)
        return found

    async def settled(self) -> None:
        """Return once the notifier has kept that it told of all there is."""
        await self.add("task-999", did.TaskUpdated(name="the end"))
        head = (await self.at.log.store.head()).position
        checkpoints = PgCheckpoints(self.at.log.database)

        async def reached() -> bool:
            self.clock.advance(4)
            await self.add("task-999", did.TaskUpdated(name="later"))
            return await checkpoints.position("notifier") >= head

        await eventually(reached)


def hook(receiver: Receiver, path: str = "/in") -> str:
    """Return the channel that calls a receiver."""
    return f"webhook:{receiver.url}{path}"


def titles(receiver: Receiver) -> list[str]:
    """Return what a receiver was told."""
    return [call.json["data"]["title"] for call in receiver.calls]


def notifications(receiver: Receiver) -> list[Json]:
    """Return every notification a receiver got."""
    return [one for call in receiver.calls for one in call.json["data"]["notifications"]]


@asynccontextmanager
async def newsroom(database_url: str, *receivers: Receiver) -> AsyncIterator[Newsroom]:
    """Yield a log, its read models kept up, and what it takes to tell of it."""
    clock = LeapingClock()
    options = ChannelOptions(secrets=(MASTER,), allowed=frozenset({LOCAL}))
    async with desk(database_url, clock) as at:
        projecting = asyncio.create_task(at.log.projector().run())
        try:
            yield Newsroom(at, clock, DeskLinks(), AesSealer((MASTER,)), options, DeskSender(at))
        finally:
            projecting.cancel()
            await asyncio.wait({projecting})
