"""The program in docs/howto/subscribe.md does what its page says."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from pandar_daemon.adapters.nats.events import NatsEventStream
from tests.support.bus import PATIENCE_SEC, connected, nats_process, recorded, renewal

pytestmark = pytest.mark.servers

PAGE = Path(__file__).parents[2] / "docs" / "howto" / "subscribe.md"


@asynccontextmanager
async def subscriber(folder: Path, *arguments: str) -> AsyncIterator[asyncio.StreamReader]:
    """Run the program of the page and give its output."""
    (program,) = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    script = folder / "subscribe.py"
    await asyncio.to_thread(script.write_text, program)
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(script), *arguments, cwd=folder, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        yield process.stdout
    finally:
        process.terminate()
        await process.wait()


async def positions(output: asyncio.StreamReader, count: int) -> list[int]:
    """Return the positions of the next lines, checking each line's fields."""
    found = []
    async with asyncio.timeout(PATIENCE_SEC):
        for _ in range(count):
            line = json.loads(await output.readline())
            assert line["event"]["n"] == line["position"]
            assert line["by"] == "user:zoë 100%"
            assert line["type"] == "dev.pandar.task.progressed.v1"
            found.append(line["position"])
    return found


async def test_every_event_of_the_task_is_printed_in_order(nats_url: str, tmp_path: Path) -> None:
    """Those already there, those that come, and none of another task."""
    async with connected(nats_url) as connection:
        stream = NatsEventStream(connection)
        await stream.open(1)
        await stream.publish([recorded(p, task=42 if p % 3 == 0 else 7) for p in range(1, 91)])
        async with subscriber(tmp_path, nats_url, "42") as output:
            assert await positions(output, 30) == list(range(3, 91, 3))
            await stream.publish([recorded(91, task=7), recorded(92), recorded(93)])
            assert await positions(output, 2) == [92, 93]
        async with subscriber(tmp_path, nats_url, "42", "91") as output:
            assert await positions(output, 2) == [92, 93]


@pytest.mark.fault
async def test_it_goes_on_after_the_server_was_killed(tmp_path: Path) -> None:
    """No event is missing and none is printed twice."""
    async with nats_process() as server, connected(server.url) as connection:
        stream = NatsEventStream(connection)
        await stream.open(1)
        await stream.publish([recorded(p) for p in range(1, 11)])
        async with subscriber(tmp_path, server.url, "42") as output:
            assert await positions(output, 10) == list(range(1, 11))
            async with renewal(connection) as renewed, asyncio.timeout(PATIENCE_SEC):
                await server.kill()
                await server.start()
                await renewed.wait()
            assert await stream.open(1) == 10
            await stream.publish([recorded(p) for p in range(11, 21)])
            assert await positions(output, 10) == list(range(11, 21))
