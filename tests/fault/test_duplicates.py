"""Everything comes more than once, late, or in another order: commands, live events, reports."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

import aiohttp
import asyncpg
import msgspec
import nats
import nats.js.errors
import pytest
from nats.aio.msg import Msg

from events import commands as do
from events import running as tell
from events import subjects
from events.running import Assignment, Outcome
from pandar_daemon.domain.refusals import Refusal
from tests.support.api import RUNNER, Api, Person, running_api
from tests.support.daemon import Program, free_port
from tests.support.history import Acked
from tests.support.serving import ROLES, Serving, Urls, insist, serving
from tests.support.up import eventually

pytestmark = [pytest.mark.servers, pytest.mark.fault, pytest.mark.timeout(120)]

SEED = int(os.environ.get("PANDAR_CHAOS_SEED") or random.randrange(10**6))
COMMANDS = 12
TASKS = 12


@pytest.fixture
def dice() -> random.Random:
    """Return the dice of this run."""
    print(f"PANDAR_CHAOS_SEED={SEED}")  # noqa: T201 - pytest shows it with a failure
    return random.Random(SEED)


# --- commands ---


@asynccontextmanager
async def twins(database_url: str, nats_url: str, data: Path) -> AsyncIterator[Serving]:
    """Run all roles, and those that answer commands once more in another process."""
    urls = Urls(database_url, nats_url)
    extra = {"PANDAR_DATABASE_URL": database_url, "PANDAR_NATS_URL": nats_url}
    async with serving(urls, data) as daemon:
        other = await Program.start(
            "serve", "--role", "commands", data=data, name="other", extra=extra
        )
        try:
            await other.says("serve.ready")
            yield daemon
        finally:
            await other.stop()


async def results(nats_url: str, names: Sequence[str]) -> dict[str, do.Accepted]:
    """Return the stored answers to queued commands, once all are there."""
    client = await nats.connect(nats_url)
    found: dict[str, do.Accepted] = {}
    try:
        stream = client.jetstream()

        async def complete() -> bool:
            for name in names:
                try:
                    stored = await stream.get_last_msg(
                        subjects.RESULTS_STREAM, subjects.result(name)
                    )
                except nats.js.errors.NotFoundError:
                    return False
                assert stored.data is not None
                found[name] = msgspec.json.decode(stored.data, type=do.Accepted)
            return True

        await eventually(complete)
    finally:
        await client.close()
    return found


async def test_one_command_by_both_doors_at_once(
    database_url: str, nats_url: str, tmp_path: Path
) -> None:
    """Asked three times, queued twice, all at once and of two processes: done once, told alike."""
    async with twins(database_url, nats_url, tmp_path) as daemon:
        names = [f"twice-{n}" for n in range(COMMANDS)]
        leaving = asyncio.create_task(daemon.leave(*names, *names))
        told = await asyncio.gather(*(daemon.file(name) for name in names for _ in range(3)))
        await leaving
        stored = await results(nats_url, names)
        for n, name in enumerate(names):
            assert {each.stream for each in told[3 * n : 3 * n + 3]} == {stored[name].stream}
            assert {each.position for each in told[3 * n : 3 * n + 3]} == {stored[name].position}
        history = await daemon.check()
        assert len([each for each in history.events if each.type == "task.created"]) == COMMANDS


async def test_commands_repeated_in_any_order(
    database_url: str, nats_url: str, tmp_path: Path, dice: random.Random
) -> None:
    """However often and in whatever order they come, each is decided once, and for ever."""
    async with twins(database_url, nats_url, tmp_path) as daemon:
        tasks = [await daemon.file(f"task-{n}") for n in range(TASKS)]
        orders = [
            (verb, int(task.id), f"{verb}-{task.id}")
            for task in tasks
            for verb in ("start", "cancel", "retry")
            for _ in range(3)
        ]
        dice.shuffle(orders)
        first: dict[str, object] = {}
        for verb, task, name in orders:
            told = await decided(daemon, verb, task, name)
            assert first.setdefault(name, told) == told, "a repeated command got another answer"
            if isinstance(told, do.Accepted):
                daemon.acked.append(Acked(name, told.stream, told.position, told.version))
        await daemon.check()


async def decided(daemon: Serving, verb: str, task: int, name: str) -> object:
    """Return the answer to a command, or the problem it was refused with."""
    try:
        return await insist(daemon.owner, subjects.command(f"task.{verb}", 1, task), b"{}", name)
    except Refusal as refusal:
        return refusal.problem


# --- live events ---


@asynccontextmanager
async def echoing(nats_url: str, dice: random.Random) -> AsyncIterator[list[int]]:
    """Repeat live events late, twice and in another order; yield the positions repeated."""
    client = await nats.connect(nats_url)
    waiting: list[Msg] = []
    repeated: list[int] = []

    async def heard(msg: Msg) -> None:
        if "Echo" in (msg.headers or {}):
            return
        waiting.append(msg)
        dice.shuffle(waiting)
        for each in waiting[: dice.randrange(3)]:
            headers = {**(each.headers or {}), "Echo": "1"}
            await client.publish(each.subject, each.data, headers=headers)
            repeated.append(int(headers["Nats-Sequence"]))
        del waiting[5:]

    await client.subscribe(f"{subjects.LIVE_EVENTS}.>", cb=heard)
    await client.flush()
    try:
        yield repeated
    finally:
        await client.close()


async def test_live_events_repeated_and_reordered(
    database_url: str, nats_url: str, tmp_path: Path, dice: random.Random
) -> None:
    """Read models stay the fold of the log; a client of the stream sees each event once."""
    port = str(free_port())
    urls, roles = Urls(database_url, nats_url), (*ROLES, "api")
    async with (
        serving(urls, tmp_path, roles=roles, PANDAR_HTTP_PORT=port) as daemon,
        echoing(nats_url, dice) as repeated,
        aiohttp.ClientSession() as session,
    ):
        await daemon.file("first")
        await daemon.level()
        person = Person(session, f"http://127.0.0.1:{port}", daemon.token)
        async with person.stream("/events", "0") as stream:
            await daemon.file_many("live", 5 * TASKS)
            await daemon.check()
            last = (await daemon.site.events())[-1].position
            seen: list[int] = []
            while not seen or seen[-1] < last:
                seen.append((await stream.next()).data["position"])
        assert seen == list(range(1, last + 1))
        assert len(repeated) > TASKS, "nothing was repeated"


# --- what a runner says ---


@pytest.fixture
async def api(database_url: str, nats_url: str, tmp_path: Path) -> AsyncIterator[Api]:
    """Run everything but a runner, whose part is played by hand."""
    async with running_api(database_url, nats_url, tmp_path) as running:
        yield running


async def say(api: Api, action: str, command: do.Command, command_id: str) -> str:
    """Say something as the runner; return the answer, or the title it is refused with."""
    body = msgspec.json.encode(command)
    subject = subjects.run(action, RUNNER)
    try:
        return (await api.parts.asker(RUNNER, "runner").ask(subject, body, command_id)).decode()
    except Refusal as refusal:
        return refusal.problem.title


def reports(work: Assignment) -> tuple[list[do.Command], do.Command]:
    """Return what a runner says of an execution while it runs, and at its end."""
    mine = {"task_id": work.task_id, "execution_id": work.execution_id, "epoch": work.epoch}
    progress: list[do.Command] = [
        tell.ReportProgress(**mine, progress=percent)  # type: ignore[arg-type]
        for percent in (10, 50, 90)
    ]
    return progress, tell.FinishExecution(**mine, outcome=Outcome.COMPLETED, exit_code=0)  # type: ignore[arg-type]


async def test_reports_repeated_and_out_of_order(
    api: Api, database_url: str, dice: random.Random
) -> None:
    """One end, whatever is said again or too late; what came too late is kept, not applied."""
    person = api.person("1", "admin")
    task = await person.task(await person.project(), auto_start=True)
    work = await api.claim()
    progress, finish = reports(work)
    named = [("progress", each, f"progress-{n}") for n, each in enumerate(progress)]
    said = [each for each in named for _ in range(3)]
    dice.shuffle(said)
    told: dict[str, str] = {}
    for action, command, name in said:
        answer = await say(api, action, command, name)
        assert told.setdefault(name, answer) == answer

    ends = [say(api, "finish", finish, "finish") for _ in range(4)]
    others = [say(api, "finish", finish, str(uuid4())) for _ in range(3)]
    first, *answers = await asyncio.gather(*ends, *others)
    assert set(answers[:3]) == {first}
    for action, command, name in named:
        assert await say(api, action, command, name) == told[name], "the first answer is for ever"
        await say(api, action, command, f"late-{name}")
    await check_ended_once(api, person, database_url, task)


async def check_ended_once(api: Api, person: Person, database_url: str, task: int) -> None:
    """The task was completed once and nothing happened after it; what was late is in `rejected`."""
    connection = await asyncpg.connect(database_url)
    try:
        sql = "SELECT type FROM events WHERE stream = $1 ORDER BY version"
        kinds = [row["type"] for row in await connection.fetch(sql, f"task-{task}")]
        late = await connection.fetchval("SELECT count(*) FROM rejected")
    finally:
        await connection.close()
    assert kinds.count("task.completed") == 1
    assert kinds[-1] == "task.completed"
    assert late >= 3
    await api.settle(person)
    assert (await person.get(f"/tasks/{task}"))["status"] == "completed"
