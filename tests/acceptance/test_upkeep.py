"""Rare, deliberate acts on the data, as commands of a person, while the daemon runs."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncIterator

import aiohttp
import nats
import pytest

from projections.models import MODELS
from tests.acceptance.conftest import Pandar
from tests.support.api import Json, Person
from tests.support.daemon import Program
from tests.support.up import Up, eventually, row_of_ended, up
from tests.support.waiting import until

pytestmark = [pytest.mark.servers, pytest.mark.timeout(180)]


@pytest.fixture
async def owner(pandar: Pandar) -> AsyncIterator[Person]:
    """Return the owner of the installation."""
    async with aiohttp.ClientSession() as session:
        yield Person(session, pandar.base_url, pandar.token)


async def run(pandar: Pandar, *arguments: str) -> tuple[int, str]:
    """Run a command beside the daemon; return its exit code and all it printed."""
    name = f"command-{arguments[0]}"
    program = await Program.start(*arguments, data=pandar.data, name=name, extra=pandar.environment)
    return await program.process.wait(), program.printed


async def file_until(owner: Person, enough: asyncio.Event) -> list[int]:
    """File tasks one after the other until told that it is enough."""
    tasks: list[int] = []
    while not enough.is_set():
        number = await owner.task(1, command="echo filed", auto_start=not len(tasks) % 20)
        tasks.append(number)
    return tasks


async def verified(printed: tuple[int, str]) -> None:
    """Assert that `pandar verify --json` found nothing."""
    code, text = printed
    assert code == 0, text
    assert json.loads(text)["ok"] is True


async def test_rebuild_beside_the_daemon(pandar: Pandar, owner: Person) -> None:
    """Every read model is made anew while tasks are filed, and nothing is missing after it."""
    before = await owner.task(1)
    enough = asyncio.Event()
    filing = asyncio.create_task(file_until(owner, enough))
    code, printed = await run(pandar, "rebuild", "--all")
    enough.set()
    tasks = await filing
    assert code == 0, printed
    assert all(name in printed for name in MODELS), printed
    assert len(tasks) > 1, "nothing was filed meanwhile"
    for task in (before, tasks[0], tasks[-1]):
        assert (await owner.get(f"/tasks/{task}"))["id"] == task
    await verified(await run(pandar, "verify", "--json"))


async def test_doctor_tells_programs_what_it_sees(pandar: Pandar) -> None:
    """One JSON object: well, and the daemon is found running."""
    code, printed = await run(pandar, "doctor", "--json")
    told = json.loads(printed)
    assert (code, told["ok"]) == (0, True)
    found = {check["name"]: check for check in told["checks"]}
    assert {"python", "postgres", "nats-server", "disk", "daemon"} <= found.keys()
    assert found["daemon"]["ok"] is True
    assert str(pandar.data) in found["daemon"]["detail"]
    assert {"bubblewrap", "landlock", "control groups", "sandbox"} <= found.keys()
    assert "bwrap" in found["sandbox"]["detail"]


async def test_migrate_may_be_repeated(pandar: Pandar, owner: Person) -> None:
    """On a schema that is there it applies nothing, however often, and disturbs nobody."""
    for _ in range(2):
        code, printed = await run(pandar, "migrate", "--json")
        assert (code, json.loads(printed)) == (0, {"applied": []})
    assert await owner.task(1)


# --- going on after a restored backup ---


async def run_task(running: Up, text: str) -> int:
    """Run a task to its end and return its id."""
    async with running.owner() as owner:
        task = await owner.task(1, command=f"echo {text}", auto_start=True)
        row = await row_of_ended(owner, task)
        assert (row["status"], row["output"].split()) == ("completed", [text])
        return task


async def lengths(running: Up) -> dict[str, int]:
    """Return the last sequence of each stream of events."""
    client = await nats.connect(running.nats_url)
    try:
        streams = await client.jetstream().streams_info()
    finally:
        await client.close()
    return {
        str(stream.config.name): stream.state.last_seq
        for stream in streams
        if str(stream.config.name).startswith("PANDAR_EVENTS_")
    }


async def readiness(running: Up) -> tuple[int, Json]:
    """Return what /readyz answers."""
    async with running.owner() as owner, owner.session.get(f"{running.base_url}/readyz") as reply:
        return reply.status, await reply.json()


async def names_the_remedy(running: Up) -> bool:
    """Return whether /readyz says that it is not ready, and which command helps."""
    status, told = await readiness(running)
    return status == 503 and "pandar epoch advance" in str(told["reasons"])


async def positions(running: Up) -> dict[str, float]:
    """Return how far log and bus are, as /metrics has it."""
    async with running.owner() as owner, owner.session.get(f"{running.base_url}/metrics") as reply:
        lines = [line.split() for line in (await reply.text()).splitlines()]
    wanted = {"pandar_log_position", "pandar_bus_position"}
    return {line[0]: float(line[1]) for line in lines if line[0] in wanted}


async def restored_from_a_backup(running: Up) -> int:
    """Bring Postgres, not the bus, back to before its last task; return the task it kept."""
    kept = await run_task(running, "kept")
    assert await running.stop() == 0
    backup = running.data.with_suffix(".backup")
    await asyncio.to_thread(shutil.copytree, running.data / "postgres", backup)
    await running.start()
    await run_task(running, "given-up")
    assert await running.stop() == 0
    await asyncio.to_thread(shutil.rmtree, running.data / "postgres")
    await asyncio.to_thread(backup.rename, running.data / "postgres")
    await running.start()
    return kept


async def test_epoch_is_advanced_after_a_restored_backup() -> None:
    """The relay stops and says so; one command later there is a new stream, equal to the log."""
    async with up() as running:
        kept = await restored_from_a_backup(running)
        await until(lambda: "relay.stream_ahead_of_log" in running.log)
        ahead = await lengths(running)
        assert ahead.keys() == {"PANDAR_EVENTS_1"}
        await eventually(lambda: names_the_remedy(running))
        found = await positions(running)
        assert found["pandar_bus_position"] > found["pandar_log_position"]

        code, printed = await running.run("epoch", "advance")
        assert (code, "--yes" in printed) == (2, True)
        code, printed = await running.run("epoch", "advance", "--yes", "--json")
        assert (code, json.loads(printed)) == (0, {"epoch": 2})

        after = await run_task(running, "afterwards")
        assert after > kept
        streams = await lengths(running)
        assert streams["PANDAR_EVENTS_1"] == ahead["PANDAR_EVENTS_1"], "the old one was touched"
        assert streams["PANDAR_EVENTS_2"] > 0
        status, told = await readiness(running)
        assert (status, told["bus_lag"]) == (200, 0), told
        async with running.owner() as owner:
            assert (await owner.get(f"/tasks/{kept}"))["status"] == "completed"
        await verified(await running.run("verify", "--json"))
