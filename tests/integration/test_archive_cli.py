"""`pandar archive` beside a running daemon: files come, and nobody who reads notices."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import aiohttp
import asyncpg
import nats
import pytest
from nats.js.errors import NotFoundError

from tests.support.daemon import Program, Roles
from tests.support.narrow import narrow
from tests.support.servers import TestServers

WIDTH = 20
TASKS = 30


@pytest.fixture
async def roles(
    servers: TestServers, database_url: str, nats_url: str, tmp_path: Path
) -> AsyncIterator[Roles]:
    """Give processes on a log whose partitions have room for 20 events; stop them after."""
    await narrow(database_url, WIDTH)
    made = Roles(tmp_path, database_url, nats_url)
    yield made
    await made.stop()


async def lives(roles: Roles) -> None:
    """File tasks and cancel most of them, over HTTP."""
    _, token = await roles.run("token", "--role", "admin")
    headers = {"Authorization": f"Bearer {token.strip()}"}
    url = f"http://127.0.0.1:{roles.http_port}"
    async with aiohttp.ClientSession(url, headers=headers) as http:
        for n in range(TASKS):
            body = {"name": f"t{n}", "command": "true", "project_id": 1, "auto_start": False}
            async with http.post("/api/v1/tasks", json=body) as reply:
                assert reply.status == 201
                task = await reply.json()
            if n % 5:
                async with http.post(f"/api/v1/tasks/{task['id']}/cancel", json={}) as reply:
                    assert reply.status < 300


async def filled(nats_url: str, head: int) -> None:
    """Return once the stream of events is at the end of the log."""
    client = await nats.connect(nats_url, allow_reconnect=False)
    last = 0
    async with asyncio.timeout(60):
        while last < head:
            with suppress(NotFoundError):
                last = (await client.jetstream().stream_info("PANDAR_EVENTS_1")).state.last_seq
    await client.close()


async def archived(roles: Roles) -> list[dict[str, object]]:
    """Run ``pandar archive --json`` on everything that is over a second old."""
    code, printed = await roles.run("archive", "--older-than", "1s", "--json")
    assert code == 0, printed
    return list(json.loads(printed)["archived"])


async def test_events_are_shown_from_files(
    servers: TestServers, roles: Roles, database_url: str
) -> None:
    """`pandar events` shows all from 1 on; a lost stream and read models come from files too."""
    await roles.start("commands", "relay", "projector", "api")
    await lives(roles)
    admin = await asyncpg.connect(database_url)
    head = await admin.fetchval("SELECT position FROM log_head")

    code, printed = await roles.run("archive")
    assert (code, printed) == (0, "nothing to archive\n")
    await admin.execute("UPDATE events SET recorded_at = recorded_at - interval '40 days'")
    code, printed = await roles.run("archive", "--dry-run")
    assert (code, printed.splitlines()[0]) == (0, "would archive positions 1 to 20")
    code, printed = await roles.run("archive")
    assert code == 0
    assert "archived positions 21 to 40: events-000000000021-000000000040.json\n" in printed
    assert await admin.fetchval("SELECT archived_to()") == (head - 1) // WIDTH * WIDTH
    assert await admin.fetchval("SELECT count(*) FROM events") < head
    await admin.close()

    tail = await Program.start(
        *(
            "--url",
            f"http://127.0.0.1:{roles.http_port}",
            "events",
            "tail",
            "--from",
            "1",
            "--json",
        ),
        data=roles.data,
        name="tail",
        extra={"PANDAR_TOKEN": (await roles.run("token"))[1].strip()},
    )
    await tail.says(f'"position":{head},')
    await tail.kill()
    positions = [json.loads(line)["position"] for line in tail.printed.splitlines()]
    assert positions == list(range(1, head + 1))

    await roles.kill("relay")
    await servers.delete_streams()
    await roles.start("relay")
    await filled(servers.nats_url, head)
    code, printed = await roles.run("rebuild", "--all")  # their times were changed above
    assert code == 0, printed
    code, printed = await roles.run("verify", "--json")
    checks = {check["name"]: check for check in json.loads(printed.splitlines()[-1])["checks"]}
    assert (code, [name for name, check in checks.items() if not check["ok"]]) == (0, [])
    assert checks["archive"]["detail"].startswith(f"{(head - 1) // WIDTH} ranges")


async def test_verify_names_a_damaged_file(roles: Roles, database_url: str) -> None:
    """A flipped byte, a missing manifest and a broken chain are each found and named."""
    await roles.start("commands", "relay", "projector", "api")
    await lives(roles)
    admin = await asyncpg.connect(database_url)
    await admin.execute("UPDATE events SET recorded_at = recorded_at - interval '40 days'")
    assert len(await archived(roles)) >= 2
    folder = roles.data / "archive"
    data = folder / "events-000000000001-000000000020.jsonl.gz"
    changed = bytearray(data.read_bytes())
    changed[60] ^= 1
    data.write_bytes(changed)
    manifest = folder / "events-000000000021-000000000040.json"
    manifest.rename(folder / "elsewhere")
    code, printed = await roles.run("verify", "--json")
    checks = {check["name"]: check for check in json.loads(printed.splitlines()[-1])["checks"]}
    assert (code, checks["archive"]["ok"]) == (1, False)
    assert f"{data.name} is damaged" in checks["archive"]["detail"]
    assert f"{manifest.name} is missing" in checks["archive"]["detail"]
    await admin.close()
