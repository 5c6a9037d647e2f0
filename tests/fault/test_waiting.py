"""SIGKILL to everybody, in several orders, while agents wait for people: each decision counts once.

Decisions come before, while and after the victims are dead, some of them about agents that are
parked. What was approved happens exactly once, what was denied never.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import asyncpg
import msgspec
import pytest
from msgspec import Struct

from events import commands as do
from events import subjects
from events.commands import Decision
from pandar_daemon.adapters.clock import SystemClock
from pandar_daemon.config import Settings
from pandar_daemon.services.asking import Asker
from pandar_daemon.wiring.parts import tokens
from tests.support.agent_tasks import PUSH
from tests.support.chaos_collect import LOOK_SEC, SETTLE_SEC, Site, open_site
from tests.support.chaos_fleet import send
from tests.support.daemon import Program
from tests.support.history import Acked, History, violations
from tests.support.load import asking, insist
from tests.support.servers import TestServers

pytestmark = [pytest.mark.fault, pytest.mark.timeout(180)]

CORE = ("commands", "relay", "projector", "reaper", "scheduler")
SERVERS = ("nats", "postgres")
WHEN = ("before", "between", "after")
ORDERS = [
    ["runner"],
    ["nats", "core"],
    ["postgres", "runner"],
    ["runner", "nats", "core", "postgres"],
]
"""Who is killed, in turn; they come back in that order, but servers first."""
REACHED = """
SELECT count(DISTINCT stream) FROM events WHERE stream = ANY ($1) AND type = $2
"""


class Case(Struct, frozen=True, kw_only=True):
    """One task: what is decided about it, and when; parked in the meantime, or not."""

    decision: Decision
    when: str
    is_parked: bool = False

    @property
    def effects(self) -> int:
        """Return how often it may push."""
        return 1 if self.decision is Decision.APPROVE else 0

    @property
    def metadata(self) -> dict[str, object]:
        """Return its terms: lost after it heard its decision, it fails, and so is found."""
        parking = {"park_after_sec": 1} if self.is_parked else {}
        return {"agent": "demo", "on_lost": "fail", **parking}


CASES = [
    *(
        Case(decision=each, when=when)
        for each in (Decision.APPROVE, Decision.DENY)
        for when in WHEN
    ),
    Case(decision=Decision.APPROVE, when="between", is_parked=True),
    Case(decision=Decision.DENY, when="after", is_parked=True),
]


class Machine:
    """Two processes, the runner and all the rest, on servers that can be killed as well."""

    def __init__(self, data: Path, servers: TestServers, database_url: str, nats_url: str) -> None:
        self.data, self.database_url = data, database_url
        self._servers = servers
        self._programs: dict[str, Program] = {}
        self._extra = {
            "PANDAR_DATABASE_URL": database_url,
            "PANDAR_NATS_URL": nats_url,
            "PANDAR_LEASE_TTL_SEC": "2",
            "PANDAR_SLOTS": str(len(CASES)),
        }

    async def start(self, name: str) -> None:
        """Start a process or a server, again if it was killed."""
        if name == "nats":
            await self._servers.start_nats()
        elif name == "postgres":
            await self._servers.start_postgres()
        else:
            roles = CORE if name == "core" else ("runner",)
            chosen = [word for role in roles for word in ("--role", role)]
            program = await Program.start(
                "serve", *chosen, data=self.data, name=name, extra=self._extra
            )
            self._programs[name] = program
            await program.says("serve.ready")

    async def kill(self, name: str) -> None:
        """Kill it with SIGKILL; returns when it is gone."""
        if name == "nats":
            await self._servers.kill_nats()
        elif name == "postgres":
            await self._servers.kill_postgres()
        else:
            await self._programs[name].kill()

    def freeze(self, name: str) -> None:
        """Let a process hear nothing any more."""
        send(self._programs[name].process.pid, signal.SIGSTOP)

    async def stop(self) -> None:
        """Stop both processes in order."""
        for name in ("runner", "core"):
            await self._programs[name].stop()

    def pushed(self, task: int) -> int:
        """Return how often a task did what it had asked for."""
        file = self.data / "workspaces" / f"task-{task}" / "pushed.log"
        return len(file.read_text().splitlines()) if file.exists() else 0


@pytest.fixture
async def machine(
    servers: TestServers, database_url: str, nats_url: str, tmp_path: Path
) -> AsyncIterator[Machine]:
    """Run one."""
    running = Machine(tmp_path, servers, database_url, nats_url)
    await running.start("core")
    await running.start("runner")
    yield running
    await running.stop()


@pytest.fixture
async def owner(machine: Machine, nats_url: str) -> AsyncIterator[Asker]:
    """Ask as an administrator."""
    token = tokens(Settings(data=machine.data), SystemClock()).mint("1", ["admin"], 3_600)
    async with asking(nats_url, token) as asker:
        yield asker


async def file(owner: Asker, n: int, case: Case) -> do.Accepted:
    """File a task."""
    create = do.CreateTask(
        name=f"case {n}",
        prompt=f"[[ask:{PUSH}]] [[say:that was it]]",
        project_id=1,
        metadata=case.metadata,
    )
    body = msgspec.json.encode(create)
    return await insist(owner, subjects.command("task.create", 1), body, f"file-{n}")


async def decide(owner: Asker, task: do.Accepted, case: Case) -> do.Accepted:
    """Decide on it, again and again until that is answered."""
    body = msgspec.json.encode(do.ConfirmTask(decision=case.decision))
    subject = subjects.command("task.confirm", 1, int(task.id))
    return await insist(owner, subject, body, f"decide-{task.id}")


async def reached(database_url: str, tasks: Sequence[do.Accepted], kind: str) -> None:
    """Return once something has happened to all of these."""
    connection = await asyncpg.connect(database_url)
    streams = [task.stream for task in tasks]
    try:
        async with asyncio.timeout(SETTLE_SEC):
            while await connection.fetchval(REACHED, streams, kind) < len(streams):  # noqa: ASYNC110 - others work
                await asyncio.sleep(LOOK_SEC)
    finally:
        await connection.close()


async def settled(site: Site, machine: Machine) -> None:
    """Return once nothing more can happen."""
    async with asyncio.timeout(SETTLE_SEC):
        while await site.unsettled(lambda: list(machine.data.glob("spool/*"))):  # noqa: ASYNC110 - others work
            await asyncio.sleep(LOOK_SEC)


async def history(site: Site, answers: Sequence[do.Accepted], ids: Sequence[str]) -> History:
    """Return all there is to judge."""
    _, models = await site.models()
    told = [
        Acked(command_id=id_, stream=each.stream, position=each.position, version=each.version)
        for id_, each in zip(ids, answers, strict=True)
    ]
    return History(
        events=await site.events(),
        acked=told,
        bus=await site.bus(),
        models=models,
        receipts=await site.receipts(),
        stored_outputs=await site.outputs(),
    )


@pytest.mark.parametrize("victims", ORDERS, ids="-".join)
async def test_a_decision_counts_once_whoever_dies(
    machine: Machine, owner: Asker, nats_url: str, victims: list[str]
) -> None:
    """Whenever it is made."""
    tasks = [await file(owner, n, case) for n, case in enumerate(CASES)]
    about = list(zip(tasks, CASES, strict=True))
    await reached(machine.database_url, tasks, "task.confirmation_requested")
    parked = [task for task, case in about if case.is_parked]
    await reached(machine.database_url, parked, "task.parked")

    def decisions(when: str) -> list[asyncio.Task[do.Accepted]]:
        chosen = [decide(owner, task, case) for task, case in about if case.when == when]
        return [asyncio.create_task(each) for each in chosen]

    if "runner" in victims:
        machine.freeze("runner")  # what is decided before its death, it never hears
    made = {"before": decisions("before")}
    await asyncio.wait(made["before"])
    for victim in victims:
        await machine.kill(victim)
    made["between"] = decisions("between")
    for victim in sorted(victims, key=lambda each: each not in SERVERS):
        await machine.start(victim)
    made["after"] = decisions("after")

    answers = {when: await asyncio.gather(*each) for when, each in made.items()}
    async with open_site(machine.database_url, nats_url) as site:
        await settled(site, machine)
        counts = {(case, machine.pushed(int(task.id))) for task, case in about}
        assert counts == {(case, case.effects) for case in CASES}
        ends = {int(n): task.status for n, task in (await site.tasks()).items()}
        assert set(ends.values()) == {"completed"}
        said = [answer for when in WHEN for answer in answers[when]]
        ids = [f"file-{n}" for n in range(len(tasks))]
        ids += [f"decide-{answer.id}" for answer in said]
        assert violations(await history(site, [*tasks, *said], ids)) == []


async def test_what_was_done_is_not_done_again(
    machine: Machine, owner: Asker, nats_url: str
) -> None:
    """Killed when the approval was used, it is lost like any other: nobody tries it again."""
    create = do.CreateTask(
        name="hangs",
        prompt=f"[[ask:{PUSH}]] [[hang]]",
        project_id=1,
        metadata={"agent": "demo", "on_lost": "fail"},
    )
    subject, body = subjects.command("task.create", 1), msgspec.json.encode(create)
    task = await insist(owner, subject, body, "file-0")
    await reached(machine.database_url, [task], "task.confirmation_requested")
    answer = await decide(owner, task, Case(decision=Decision.APPROVE, when="before"))
    async with asyncio.timeout(SETTLE_SEC):
        while not machine.pushed(int(task.id)):  # noqa: ASYNC110 - another process works
            await asyncio.sleep(LOOK_SEC)
    await machine.kill("runner")
    await machine.start("runner")
    async with open_site(machine.database_url, nats_url) as site:
        await settled(site, machine)
        assert machine.pushed(int(task.id)) == 1
        (end,) = (await site.tasks()).values()
        assert end.status == "failed"
        ids = ["file-0", f"decide-{task.id}"]
        assert violations(await history(site, [task, answer], ids)) == []
