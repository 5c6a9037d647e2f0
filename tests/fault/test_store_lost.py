"""nats-server loses its store, or comes back with an older one: the log is the truth.

Events are completed from the log until the stream equals it again. What only the bus held is gone,
as docs/howto/operate.md says: commands left in the queue and not yet done, answers to queued
commands, output. A command that was done is not done again, and still gets its first answer.
"""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from uuid import UUID

import nats
import nats.js.errors
import pytest
from msgspec import Struct
from structlog.testing import capture_logs

from events import subjects
from pandar_daemon.adapters.nats.jetstream import JetStream
from pandar_daemon.adapters.nats.outputs import NatsOutputs
from pandar_daemon.domain.refusals import Unavailable
from pandar_daemon.ports import Chunk, OutputKey
from tests.support.bus import connected
from tests.support.daemon import Program
from tests.support.load import all_over
from tests.support.nats_process import NatsProcess
from tests.support.servers import TestServers
from tests.support.serving import ROLES, Serving, Urls, serving
from tests.support.up import eventually

pytestmark = [pytest.mark.fault, pytest.mark.timeout(180)]

PRINTED = b"printed\n"


class Bus(Struct):
    """A nats-server and its store, with a copy of that at some time."""

    server: NatsProcess
    store: Path
    copy: Path

    async def keep_copy(self) -> None:
        """Copy the store as it is; the server is killed for that moment."""
        await self.server.kill()
        shutil.copytree(self.store / "jetstream", self.copy)
        await self.server.start()

    async def lose_while_down(self) -> None:
        """Kill the server and remove what it stored."""
        await self.server.kill()
        shutil.rmtree(self.store / "jetstream")
        await self.server.start()

    async def lose_while_running(self) -> None:
        """Remove what it stored under the running server, which is killed only later."""
        shutil.rmtree(self.store / "jetstream")

    async def roll_back(self) -> None:
        """Kill the server and give it the copy instead of what it stored since."""
        await self.server.kill()
        shutil.rmtree(self.store / "jetstream")
        self.copy.rename(self.store / "jetstream")
        await self.server.start()

    async def restart(self) -> None:
        """Kill the server and start it again."""
        await self.server.kill()
        await self.server.start()


LOSSES: dict[str, Callable[[Bus], Awaitable[None]]] = {
    "while down": Bus.lose_while_down,
    "while running": Bus.lose_while_running,
    "older copy": Bus.roll_back,
}


@pytest.fixture
async def bus(tmp_path: Path) -> AsyncIterator[Bus]:
    """Run a nats-server on a store of the test's own."""
    store = tmp_path / "bus"
    store.mkdir()
    server = NatsProcess(store)
    await server.start()
    yield Bus(server, store, tmp_path / "copy")
    await server.stop()


async def queue_is_empty(daemon: Serving) -> bool:
    """Return whether every command left in the queue is done."""
    client = await nats.connect(daemon.nats_url)
    try:
        info = await client.jetstream().stream_info(subjects.COMMANDS_STREAM)
    except nats.js.errors.NotFoundError:
        return False
    finally:
        await client.close()
    return info.state.messages == 0


@pytest.mark.parametrize("loss", LOSSES)
async def test_the_bus_is_made_from_the_log_again(
    servers: TestServers, database_url: str, bus: Bus, tmp_path: Path, loss: str
) -> None:
    """The stream equals the log again, and no command is done twice, whatever comes back."""
    urls = Urls(database_url, bus.server.url)
    async with serving(urls, tmp_path, roles=(*ROLES, "runner")) as daemon:
        await daemon.file_many("early", 20)
        await daemon.leave(*(f"queued-{n}" for n in range(5)))
        await eventually(lambda: queue_is_empty(daemon))
        await bus.keep_copy()
        printed = await daemon.file("printed", command="echo printed")
        await all_over(database_url, [printed.stream])
        await daemon.file_many("late", 20)
        before = await daemon.history()

        await LOSSES[loss](bus)
        await daemon.file_many("after", 20)
        if loss == "while running":
            await bus.restart()
        await daemon.leave("queued-0", "queued-later")
        await eventually(lambda: queue_is_empty(daemon))
        for name in ("queued-later", *(f"queued-{n}" for n in range(5))):
            await daemon.file(name)  # the first answer again, by the other door
        after = await daemon.check()
        assert after.events[: len(before.events)] == before.events
        stored = await daemon.site.outputs()
        assert set(stored.values()) <= {b"", PRINTED}, "output is gone whole, or there"
        code, said = await verified(daemon, tmp_path, urls)
        assert code == 0, said


async def verified(daemon: Serving, data: Path, urls: Urls) -> tuple[int, str]:
    """Run `pandar verify`."""
    extra = {"PANDAR_DATABASE_URL": urls.database, "PANDAR_NATS_URL": urls.nats}
    program = await Program.start("verify", "--json", data=data, name="verify", extra=extra)
    return await program.process.wait(), program.printed


async def test_a_lost_output_stream_is_made_again_and_said(
    nats_url: str, servers: TestServers
) -> None:
    """Whoever only reads notices too: the first question fails, and the second finds it empty."""
    key = OutputKey(project_id=1, task_id=1, attempt=1)
    async with connected(nats_url) as connection:
        outputs = NatsOutputs(connection)
        await outputs.write(key, UUID(int=1), [Chunk(offset=0, data=PRINTED)])
        assert await outputs.size(key) == len(PRINTED)
        await JetStream(connection).api(f"STREAM.DELETE.{subjects.OUTPUT_STREAM}", {})
        with capture_logs() as logs, pytest.raises(Unavailable):
            await outputs.size(key)
        assert [each["event"] for each in logs] == ["output.stream_lost"]
        assert await outputs.size(key) == 0
