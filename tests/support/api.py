"""The whole of Pandar but its runner, in this process, behind its HTTP API on a free port."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import msgspec

from events import commands as do
from events import running as tell
from events import subjects
from events.running import Assignment, Assignments, Outcome
from pandar_daemon.adapters.channels.sealing import AesSealer
from pandar_daemon.adapters.http.app import serving
from pandar_daemon.adapters.http.deps import Deps, Limits
from pandar_daemon.adapters.nats.diffs import NatsDiffs
from pandar_daemon.adapters.nats.events import NatsEventStream
from pandar_daemon.adapters.nats.outputs import NatsOutputs
from pandar_daemon.adapters.postgres.confirmation_reads import PgConfirmationReads
from pandar_daemon.adapters.postgres.grant_reads import PgGrantReads
from pandar_daemon.adapters.postgres.notification_reads import PgNotificationReads
from pandar_daemon.adapters.postgres.project_reads import PgProjectReads
from pandar_daemon.adapters.postgres.secret_reads import PgSecretReads
from pandar_daemon.adapters.postgres.task_reads import PgTaskReads
from pandar_daemon.adapters.postgres.usage_reads import PgUsageReads
from pandar_daemon.adapters.postgres.views import PgViews
from pandar_daemon.config import Settings
from pandar_daemon.ports import Chunk, OutputKey
from pandar_daemon.services.tail import Tail
from pandar_daemon.wiring.parts import Parts, own_token, parts
from pandar_daemon.wiring.places import Place
from pandar_daemon.wiring.vaults import vault
from projections.models import MODELS
from tests.support.daemon import for_tests
from tests.support.in_process import in_process
from tests.support.sse import Stream, events

Reply = aiohttp.ClientResponse
Json = Any
RUNNER = "test-runner"
PATIENCE_SEC = 30.0


@dataclass
class Person:
    """Somebody with a token, talking to the API."""

    session: aiohttp.ClientSession
    base_url: str
    token: str
    position: int = 0

    async def call(self, method: str, path: str, **options: Any) -> tuple[Reply, Json]:  # noqa: ANN401
        """Return the answer and its JSON (text when it is none); paths begin after /api/v1."""
        headers = {"Authorization": f"Bearer {self.token}", **options.pop("headers", {})}
        url = f"{self.base_url}/api/v1{path}"
        async with self.session.request(method, url, headers=headers, **options) as reply:
            body = await reply.read()
            if "Pandar-Position" in reply.headers:
                self.position = int(reply.headers["Pandar-Position"])
            is_json = "json" in reply.content_type
            return reply, msgspec.json.decode(body) if is_json and body else body.decode()

    async def get(self, path: str, **options: Any) -> Json:  # noqa: ANN401
        """Return the JSON of a read that sees this person's own last write; it must succeed."""
        headers = {"Pandar-Min-Position": str(self.position), **options.pop("headers", {})}
        reply, body = await self.call("GET", path, headers=headers, **options)
        assert reply.status == 200, body
        return body

    async def post(self, path: str, json: object = None, **options: Any) -> Json:  # noqa: ANN401
        """Return the JSON of a write that must succeed."""
        reply, body = await self.call("POST", path, json=json, **options)
        assert reply.status in {200, 201}, body
        return body

    async def refused(self, method: str, path: str, status: int, **options: Any) -> Json:  # noqa: ANN401
        """Return the problem a call is refused with, once checked to be a proper one."""
        reply, problem = await self.call(method, path, **options)
        assert reply.status == status, problem
        assert reply.content_type == "application/problem+json"
        assert problem["status"] == status
        assert problem["type"].startswith("urn:pandar:problem:")
        assert "Traceback" not in str(problem)
        return problem

    async def project(self, name: str = "p") -> int:
        """Make a project and return its id."""
        return int((await self.post("/projects", {"name": name}))["id"])

    async def task(self, project: int, **fields: object) -> int:
        """File a task and return its id; it is not started unless the fields say so."""
        body = {"name": "t", "command": "true", "project_id": project, "auto_start": False}
        return int((await self.post("/tasks", {**body, **fields}))["id"])

    @asynccontextmanager
    async def stream(self, path: str, last: str | None = None) -> AsyncIterator[Stream]:
        """Yield an open event stream."""
        headers = {"Authorization": f"Bearer {self.token}"}
        if last is not None:
            headers["Last-Event-ID"] = last
        url = f"{self.base_url}/api/v1{path}"
        async with self.session.get(url, headers=headers) as reply:
            assert reply.status == 200, await reply.text()
            yield events(reply.content)


@dataclass
class Api:
    """A running API and a runner's side to play by hand."""

    parts: Parts
    base_url: str
    session: aiohttp.ClientSession
    outputs: NatsOutputs
    _asked: int = 0
    _people: dict[str, Person] = field(default_factory=dict)

    def person(self, user: str = "1", *roles: str, ttl_sec: float = 3600.0) -> Person:
        """Return somebody with a fresh token."""
        token = self.parts.tokens.mint(user, roles or ["user"], ttl_sec)
        return Person(self.session, self.base_url, token)

    async def settle(self, person: Person) -> None:
        """Let a person's next read see all that has happened until now."""
        person.position = (await self.parts.store.head()).position

    async def claim(self) -> Assignment:
        """Take the next task as a runner, waiting for one."""
        async with asyncio.timeout(PATIENCE_SEC):
            while True:
                body = await self._ask("claim", tell.Claim(slots=1, wait_sec=5.0))
                given = msgspec.json.decode(body, type=Assignments)
                if given.items:
                    return given.items[0]

    async def write(self, work: Assignment, *chunks: Chunk) -> None:
        """Publish output of an execution as its runner."""
        key = OutputKey(project_id=work.project_id, task_id=work.task_id, attempt=work.attempt)
        await self.outputs.write(key, work.execution_id, chunks)

    async def finish(self, work: Assignment, *, output_bytes: int = 0, **fields: Any) -> None:  # noqa: ANN401
        """End an execution as its runner; successfully unless the fields say otherwise."""
        wanted = {"outcome": Outcome.COMPLETED, "exit_code": 0, **fields}
        ended = tell.FinishExecution(
            task_id=work.task_id,
            execution_id=work.execution_id,
            epoch=work.epoch,
            output_bytes=output_bytes,
            **wanted,
        )
        await self._ask("finish", ended)

    async def gate(self, work: Assignment, confirmation_id: Any, expires_at: Any) -> None:  # noqa: ANN401
        """Stop an execution at a gate as its runner."""
        asked = tell.AskConfirmation(
            task_id=work.task_id,
            execution_id=work.execution_id,
            epoch=work.epoch,
            confirmation_id=confirmation_id,
            gate="git_push_protected",
            card={"command": "git push"},
            expires_at=expires_at,
        )
        await self._ask("ask", asked)

    async def _ask(self, action: str, command: do.Command) -> bytes:
        self._asked += 1
        asker = self.parts.asker(RUNNER, "runner")
        body = msgspec.json.encode(command)
        return await asker.ask(subjects.run(action, RUNNER), body, f"{action}-{self._asked}")


@asynccontextmanager
async def running_api(
    database_url: str,
    nats_url: str,
    data: Path,
    *,
    limits: Limits | None = None,
    hosts: frozenset[str] = frozenset(),
    roles: tuple[str, ...] = ("commands", "relay", "projector"),
) -> AsyncIterator[Api]:
    """Run the roles behind the API, and the API with these limits, while the context lasts."""
    for_tests(data)
    settings = Settings(data=data)
    async with AsyncExitStack() as stack:
        made = await stack.enter_async_context(
            parts(settings, Place(database_url=database_url, nats_url=nats_url), "test")
        )
        await stack.enter_async_context(in_process(made, roles))
        if "projector" in roles:
            await _served(PgViews(made.database))
        deps = _deps(made, limits or Limits(), hosts)
        tailing = asyncio.create_task(deps.tail.run())  # type: ignore[attr-defined]
        stack.push_async_callback(_cancelled, tailing)
        port = await stack.enter_async_context(serving(deps, "127.0.0.1", 0))
        session = await stack.enter_async_context(aiohttp.ClientSession())
        yield Api(made, f"http://127.0.0.1:{port}", session, NatsOutputs(made.connection))


def _deps(made: Parts, limits: Limits, hosts: frozenset[str]) -> Deps:
    return Deps(
        clock=made.clock,
        sender=made.near,
        store=made.store,
        tasks=PgTaskReads(made.database, made.clock),
        projects=PgProjectReads(made.database),
        usage=PgUsageReads(made.database),
        grants=PgGrantReads(made.database, made.clock),
        confirmations=PgConfirmationReads(made.database),
        outputs=NatsOutputs(made.connection),
        diffs=NatsDiffs(made.connection),
        wire=made.wire,
        tail=Tail(made.feed, made.store, kept=16),
        verifier=made.tokens,
        own_token=own_token(made.tokens, made.clock, "api", "system"),
        metrics=made.metrics,
        agents=frozenset(made.agents.names),
        bus_position=NatsEventStream(made.connection).position,
        hosts=hosts,
        limits=limits,
        notifications=PgNotificationReads(made.database),
        sealer=AesSealer((b"test",)),
        secrets=PgSecretReads(made.database),
        vault=vault(made.settings),
    )


async def _served(views: PgViews) -> None:
    """Return once every read model is served."""
    async with asyncio.timeout(PATIENCE_SEC):
        while sum(at.live for at in await views.checkpoints()) < len(MODELS):
            pass


async def _cancelled(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait({task})
