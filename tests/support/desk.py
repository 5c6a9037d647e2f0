"""The side of Pandar that answers commands, as one process has it; a test may open several."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager

import msgspec
import pytest
from msgspec import Struct

from events import commands as do
from events import running as tell
from events import subjects
from events.envelope import Recorded
from events.ids import task_stream
from events.problem import Problem
from pandar_daemon.adapters.clock import SystemClock
from pandar_daemon.adapters.nats.connection import NatsConnection
from pandar_daemon.adapters.nats.wire import NatsWire
from pandar_daemon.adapters.postgres.grant_reads import PgGrantReads
from pandar_daemon.adapters.postgres.leases import PgLeases, PgNumbers, PgRejections
from pandar_daemon.adapters.postgres.work_queue import PgWorkQueue
from pandar_daemon.adapters.tokens import Tokens
from pandar_daemon.domain.refusals import Refusal
from pandar_daemon.ports import Headers, Message, Wire
from pandar_daemon.services.commands import Commands
from pandar_daemon.services.dispatcher import Dispatcher
from pandar_daemon.services.endings import Endings
from pandar_daemon.services.endpoint import Endpoint
from pandar_daemon.services.giving import Giver
from pandar_daemon.services.requests import Requests
from pandar_daemon.services.signals import Signals
from pandar_daemon.services.streams import Streams
from pandar_daemon.telemetry import Metrics
from tests.support.clock import ManualClock
from tests.support.log import Log, open_log, project_all
from tests.support.tokens import SECRET

AGENTS = frozenset({"claude"})
TTL_SEC = 3_600.0
OWNER = "user:ann"
RUNNER = "r1"


class Desk(Struct):
    """One process that answers, and what tests say to it.

    Who asks is named ``role:user``, for example ``viewer:vic`` or ``user:ann``.
    """

    log: Log
    clock: ManualClock
    tokens: Tokens
    streams: Streams
    commands: Commands
    dispatcher: Dispatcher
    endpoint: Endpoint

    def token(self, who: str) -> str:
        """Return a valid token."""
        role, _, user = who.partition(":")
        return self.tokens.mint(user, [role], 3_600)

    async def handle(self, subject: str, body: bytes, headers: Headers) -> bytes:
        """Return what a door would be answered."""
        lower = {name.lower(): value for name, value in headers.items()}
        return await self.endpoint.handle(Message(subject=subject, body=body, headers=lower))

    async def ask(
        self,
        who: str,
        action: str,
        command: do.Command | bytes = b"{}",
        *,
        target: int | None = None,
        project: int | None = None,
        cid: str | None = None,
        version: int | None = None,
    ) -> do.Accepted:
        """Return the answer to a command; raises the `Refusal`."""
        body = command if isinstance(command, bytes) else msgspec.json.encode(command)
        headers = {"Pandar-Token": self.token(who)}
        if cid is not None:
            headers["Pandar-Command-Id"] = cid
        if version is not None:
            headers["Pandar-Expected-Version"] = str(version)
        answer = await self.handle(subjects.command(action, project, target), body, headers)
        return msgspec.json.decode(answer, type=do.Accepted)

    async def project(self, who: str = OWNER) -> int:
        """Make a project and return its id."""
        return int((await self.ask(who, "project.create", do.CreateProject(name="p"))).id)

    async def task(self, project: int, *, who: str = OWNER, **fields: object) -> int:
        """File a task and return its id; it is queued unless the fields say otherwise."""
        return int((await self.ask(who, "task.create", filing(project, **fields))).id)

    async def run(
        self,
        action: str,
        command: do.Command,
        *,
        runner: str = RUNNER,
        cid: str | None = None,
        who: str = "runner:local",
    ) -> bytes:
        """Return the answer to what a runner says."""
        headers = {"Pandar-Token": self.token(who)}
        if cid is not None:
            headers["Pandar-Command-Id"] = cid
        return await self.handle(
            subjects.run(action, runner), msgspec.json.encode(command), headers
        )

    async def claim(
        self,
        slots: int = 1,
        *,
        wait_sec: float = 0.0,
        runner: str = RUNNER,
        cid: str | None = None,
    ) -> list[tell.Assignment]:
        """Return what a runner is given."""
        claim = tell.Claim(slots=slots, wait_sec=wait_sec)
        answer = await self.run("claim", claim, runner=runner, cid=cid)
        return msgspec.json.decode(answer, type=tell.Assignments).items

    async def renew(self, *work: tell.Assignment, runner: str = RUNNER) -> list[tell.LeaseState]:
        """Return what became of leases."""
        renew = tell.Renew(leases=[held(each) for each in work])
        answer = await self.run("renew", renew, runner=runner)
        states = msgspec.json.decode(answer, type=tell.Renewed).leases
        return [states[each.execution_id] for each in work]

    async def finish(
        self, work: tell.Assignment, *, cid: str | None = None, **fields: object
    ) -> do.Accepted:
        """Report the end of an execution, a success unless the fields say otherwise."""
        report = finished(work, **fields)
        return msgspec.json.decode(await self.run("finish", report, cid=cid), type=do.Accepted)

    async def history(self, task: int) -> list[Recorded]:
        """Return the events of a task."""
        return await self.log.store.read_stream(task_stream(task))

    async def told(self, task: int) -> list[str]:
        """Return the types of a task's events."""
        return [event.type for event in await self.history(task)]

    async def settle(self) -> None:
        """Return once the read models show everything."""
        await project_all(self.log, up_to=(await self.log.store.head()).position)


def filing(project: int, **fields: object) -> do.CreateTask:
    """Return a task to file."""
    whole = {"name": "t", "command": "true", "project_id": project, **fields}
    return do.CreateTask(**whole)  # type: ignore[arg-type]


def held(work: tell.Assignment) -> tell.Held:
    """Return an assignment as its runner quotes it."""
    return tell.Held(task_id=work.task_id, execution_id=work.execution_id, epoch=work.epoch)


def finished(work: tell.Assignment, **fields: object) -> tell.FinishExecution:
    """Return the report of an end."""
    whole = {
        "task_id": work.task_id,
        "execution_id": work.execution_id,
        "epoch": work.epoch,
        "outcome": tell.Outcome.COMPLETED,
        "exit_code": 0,
        **fields,
    }
    return tell.FinishExecution(**whole)  # type: ignore[arg-type]


async def problem(asked: Awaitable[object]) -> Problem:
    """Return what a request is refused with; fails when it is not."""
    with pytest.raises(Refusal) as refused:
        await asked
    return refused.value.problem


@asynccontextmanager
async def desk(url: str, clock: ManualClock, *, wire: Wire | None = None) -> AsyncIterator[Desk]:
    """Yield a process on the log at ``url``; without a ``wire`` its hints go nowhere."""
    async with open_log(url) as log:
        streams = Streams(log.store, clock)
        commands = Commands(
            store=log.store,
            streams=streams,
            numbers=PgNumbers(log.database),
            rejections=PgRejections(log.database),
            signals=Signals(wire or NatsWire(NatsConnection("", SystemClock(), "none"))),
            clock=clock,
            lease_ttl_sec=TTL_SEC,
        )
        giver = Giver(store=log.store, streams=streams, clock=clock, lease_ttl_sec=TTL_SEC)
        dispatcher = Dispatcher(
            giver=giver,
            queue=PgWorkQueue(log.database, clock),
            clock=clock,
            lease_ttl_sec=TTL_SEC,
        )
        tokens = Tokens(secret=SECRET, clock=clock)
        endpoint = Endpoint(
            requests=Requests(tokens, clock, AGENTS),
            commands=commands,
            dispatcher=dispatcher,
            leases=PgLeases(log.database),
            grants=PgGrantReads(log.database, clock),
            clock=clock,
            metrics=Metrics(),
            streams=streams,
            endings=Endings(log.store),
            lease_ttl_sec=TTL_SEC,
        )
        yield Desk(log, clock, tokens, streams, commands, dispatcher, endpoint)
