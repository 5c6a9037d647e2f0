"""Roles in one process, a client that never gives up, and what both must agree on in the end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import nats
from msgspec import Struct
from nats.aio.client import Client
from nats.js.errors import NoStreamResponseError

from events import commands as do
from events import subjects
from pandar_daemon.adapters.clock import SystemClock
from pandar_daemon.config import Settings
from pandar_daemon.domain.proof import prove
from pandar_daemon.domain.refusals import Refusal, Unavailable
from pandar_daemon.ports import CheckpointLost
from pandar_daemon.services.asking import Asker
from pandar_daemon.wiring.parts import tokens
from tests.support.chaos_collect import Site, open_site
from tests.support.daemon import Program
from tests.support.history import Acked, History, violations
from tests.support.load import PAUSE_SEC, asking
from tests.support.up import eventually

ROLES = ("commands", "relay", "projector", "reaper", "scheduler")
ANSWER_SEC = 1.0


class Urls(Struct, frozen=True):
    """Where the servers are."""

    database: str
    nats: str


class Serving(Struct):
    """A running daemon (in a process of its own, or in this one), who asks it, and the answers."""

    program: Program | None
    owner: Asker
    site: Site
    nats_url: str
    token: str
    acked: list[Acked] = []

    async def file(self, name: str, *, command: str = "") -> do.Accepted:
        """File a task, started if it has a command, however often that takes."""
        subject = subjects.command("task.create", 1)
        told = await insist(self.owner, subject, creation(name, command), name)
        self.acked.append(Acked(name, told.stream, told.position, told.version))
        return told

    async def leave(self, *names: str) -> None:
        """Leave the same commands in the queue, without deduplication by the bus."""
        subject = subjects.queued("task.create", 1)
        client = await nats.connect(self.nats_url)
        try:
            for name in names:
                body = creation(name)
                proof = prove(self.token, subject=subject, command_id=name, body=body)
                headers = {"Pandar-Command-Id": name, "Pandar-Proof": proof}
                await _stored(client, subject, body, headers)
        finally:
            await client.close()

    async def file_many(self, prefix: str, count: int) -> None:
        """File tasks, some at a time."""
        async with asyncio.TaskGroup() as group:
            for n in range(count):
                group.create_task(self.file(f"{prefix}-{n}"))

    async def level(self) -> None:
        """Return once bus and read models are where the log is."""
        await eventually(self._is_level)

    async def _is_level(self) -> bool:
        try:
            log, bus = len(await self.site.events()), len(await self.site.bus())
            return log == bus == (await self.site.models())[0]
        except (CheckpointLost, Unavailable):  # they are being made
            return False

    async def history(self) -> History:
        """Return all there is, once bus and read models are where the log is."""
        await self.level()
        _, models = await self.site.models()
        return History(
            events=await self.site.events(),
            acked=self.acked,
            receipts=await self.site.receipts(),
            bus=await self.site.bus(),
            models=models,
        )

    async def check(self) -> History:
        """Nothing answered is missing or there twice; bus and read models are what the log says."""
        history = await self.history()
        assert violations(history) == []
        created = [each for each in history.events if each.type == "task.created"]
        assert len(created) == len({acked.stream for acked in self.acked})
        return history


async def _stored(client: Client, subject: str, body: bytes, headers: dict[str, str]) -> None:
    """Publish until the stream says that it has it."""
    while True:
        try:
            await client.jetstream().publish(subject, body, headers=headers)
        except (NoStreamResponseError, TimeoutError):
            await asyncio.sleep(PAUSE_SEC)
        else:
            return


def creation(name: str, command: str = "") -> bytes:
    """Return the body of a command that files a task, started if it has a command."""
    create = do.CreateTask(
        name=name, command=command or "true", project_id=1, auto_start=bool(command)
    )
    return msgspec.json.encode(create)


async def insist(asker: Asker, subject: str, body: bytes, command_id: str) -> do.Accepted:
    """Ask, again and again under one id, until the answer is not "later"."""
    while True:
        try:
            answer = await asker.ask(subject, body, command_id, timeout_sec=ANSWER_SEC)
        except Refusal as refusal:
            if refusal.problem.status != 503:
                raise
            await asyncio.sleep(PAUSE_SEC)  # what a careful client does between tries
        else:
            return msgspec.json.decode(answer, type=do.Accepted)


@asynccontextmanager
async def serving(
    direct: Urls,
    data: Path,
    *,
    through: Urls | None = None,
    roles: Sequence[str] = ROLES,
    **extra: str,
) -> AsyncIterator[Serving]:
    """Run roles in a process that reaches the servers ``through`` proxies; we ask directly."""
    given = through or direct
    token = tokens(Settings(data=data), SystemClock()).mint("1", ["admin"], 3600)
    extra |= {"PANDAR_DATABASE_URL": given.database, "PANDAR_NATS_URL": given.nats}
    words = [word for role in roles for word in ("--role", role)]
    async with asking(direct.nats, token) as owner, open_site(direct.database, direct.nats) as site:
        program = await Program.start("serve", *words, data=data, name="serve", extra=extra)
        try:
            await program.says("serve.ready")
            yield Serving(program, owner, site, direct.nats, token)
        finally:
            await program.stop()
