"""The control door, against honest programs and hostile ones."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from pandar_daemon.adapters.control import client, server
from pandar_daemon.adapters.control.messages import ORDER_MAX, PIECE_MAX
from pandar_daemon.adapters.control.server import CONNECTIONS_MAX, ControlDoors
from pandar_daemon.adapters.control.shims import REAL, SHIMS
from pandar_daemon.ports import Control, Ending, Order, Show
from tests.support.waiting import until

CLIENT = str(Path(client.__file__))


class Desk:
    """What is ordered, and how it ends."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.ordered: list[Order] = []
        self.gone: list[Order] = []
        self.ending = Ending(exit_code=0)
        self.held: asyncio.Event | None = None
        self.out = self.err = self.kept = b""

    async def order(self, order: Order, show: Show) -> Ending:
        """See `ports.Orders`."""
        self.ordered.append(order)
        try:
            if self.held is not None:
                await self.held.wait()
        except asyncio.CancelledError:
            self.gone.append(order)
            raise
        if order.tool == "broken":
            raise RuntimeError("a fault of ours")
        await show.output(self.out)
        await show.error(self.err)
        await show.file(self.kept)
        return self.ending

    async def run(
        self, *words: str, real: str = "", path: str = "/usr/bin:/bin"
    ) -> tuple[int, bytes, bytes]:
        """Run the client; return its exit code and what it wrote."""
        argv = ["-I", "-S", CLIENT, str(self.path), real, *words]
        started = await asyncio.create_subprocess_exec(
            sys.executable,
            *argv,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd="/",
            env={"PATH": path},
        )
        async with asyncio.timeout(20):
            out, err = await started.communicate()
        assert started.returncode is not None
        return started.returncode, out, err

    def connect(self) -> socket.socket:
        """Return a connection to the door."""
        made = socket.socket(socket.AF_UNIX)
        made.settimeout(10)
        made.connect(str(self.path))
        return made


def door_at(path: Path) -> socket.socket:
    """Return a listening socket."""
    made = socket.socket(socket.AF_UNIX)
    made.bind(str(path))
    made.listen(2048)
    return made


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    """Serve a door."""
    control: Control = ControlDoors()
    made = Desk(tmp_path / "control")
    async with control.serving(door_at(made.path), made.order):
        yield made


async def test_an_order(desk: Desk) -> None:
    """Its words arrive, and what comes of it is shown."""
    desk.out, desk.err, desk.ending = b"a" * 200_000, b"oh\xff", Ending(exit_code=3)
    assert await desk.run("gh", "pr", "create", "ž \n") == (3, b"a" * 200_000, b"oh\xff")
    assert desk.ordered == [Order(tool="gh", argv=("pr", "create", "ž \n"), cwd="/")]


async def test_what_is_to_be_run_in_the_box(desk: Desk) -> None:
    """It becomes that, with the environment, and a file that was shown."""
    desk.kept = b"kept" * 20_000
    desk.ending = Ending(
        argv=("-c", 'printf %s "$A"; cat "$1"', "sh", "{file}"), environment={"A": "b"}
    )
    code, out, _ = await desk.run("git", real="/bin/sh")
    assert (code, out) == (0, b"b" + desk.kept)
    desk.ending = Ending(argv=("sh", "-c", 'echo "$PATH"; exit 7'))
    code, out, _ = await desk.run("pandar-secret", path=f"{SHIMS}:/usr/bin:/bin")
    assert (code, out) == (7, f"{REAL}:/usr/bin:/bin\n".encode())


async def test_a_fault_of_ours(desk: Desk) -> None:
    """Is said to be one; the door goes on."""
    code, _, err = await desk.run("broken")
    assert (code, b"fault" in err) == (server.FAILED, True)
    assert (await desk.run("git"))[0] == 0


async def test_nobody_there(tmp_path: Path) -> None:
    """A closed door is said to be closed."""
    code, _, err = await Desk(tmp_path / "none").run("git", "push")
    assert (code, b"cannot be asked" in err) == (126, True)


HOSTILE = {
    "nothing": b"",
    "half a length": b"\0\0",
    "garbage": os.urandom(4096),
    "too long": (ORDER_MAX + 1).to_bytes(4, "big") + b"x",
    "no JSON": b"\0\0\0\2xx",
    "no order": b"\0\0\0\2[]",
    "another order": (body := b'{"tool":"../x","argv":[]}') and len(body).to_bytes(4, "big") + body,
    "no text": (bad := b'{"tool":"git","argv":["\\ud800"]}') and len(bad).to_bytes(4, "big") + bad,
    "nested": (deep := b"[" * 100_000) and len(deep).to_bytes(4, "big") + deep,
}


@pytest.mark.parametrize("said", HOSTILE)
async def test_what_is_no_order_is_hung_up_on(desk: Desk, said: str) -> None:
    """And others are served as before."""
    with desk.connect() as hostile:
        hostile.sendall(HOSTILE[said])
        hostile.shutdown(socket.SHUT_WR)
        assert await asyncio.to_thread(hostile.recv, 10) == b""
    assert desk.ordered == []
    assert (await desk.run("git"))[0] == 0


def test_the_client_knows_where_shims_are() -> None:
    """It imports nothing of ours, so it says so itself."""
    assert (client.SHIMS, client.REAL) == (SHIMS, REAL)


async def test_who_says_nothing_is_hung_up_on(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """After some seconds."""
    monkeypatch.setattr(server, "ORDER_SEC", 0.05)
    with desk.connect() as silent:
        assert await asyncio.to_thread(silent.recv, 10) == b""


async def test_who_goes_away_wants_nothing_more(desk: Desk) -> None:
    """What it ordered is given up; also when it says more than an order."""
    desk.held = asyncio.Event()
    body = json.dumps({"tool": "git", "argv": ["push"]}).encode()
    for more in (b"", b"and more"):
        made = desk.connect()
        made.sendall(len(body).to_bytes(4, "big") + body + more)
        if not more:
            await until(lambda: desk.ordered)
            made.close()
        await until(lambda: len(desk.gone) == len(desk.ordered) and desk.gone)
        desk.gone.clear()
        desk.ordered.clear()


def _descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def test_a_thousand_connections(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many are served as there are places; the others wait, and the honest one is served."""
    monkeypatch.setattr(server, "ORDER_SEC", 0.2)
    flood = [desk.connect() for _ in range(1_000)]
    try:
        assert _descriptors() < 1_000 + CONNECTIONS_MAX + 200
        for each in flood[:500]:
            each.sendall(b"\0")
        for each in flood[500:]:
            each.close()
        assert (await desk.run("git"))[0] == 0
    finally:
        for each in flood:
            each.close()


async def test_who_does_not_read_holds_up_nobody(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is hung up on; what it ordered ends all the same."""
    monkeypatch.setattr(server, "READ_SEC", 0.05)
    desk.out = b"x" * PIECE_MAX * 100
    body = json.dumps({"tool": "git"}).encode()
    with desk.connect() as deaf:
        deaf.sendall(len(body).to_bytes(4, "big") + body)
        await until(lambda: desk.ordered)
        desk.out = b""
        assert (await desk.run("git"))[0] == 0


async def test_the_end_hangs_up(tmp_path: Path) -> None:
    """Whoever waits is told that there is nobody, and what was ordered is given up."""
    desk = Desk(tmp_path / "control")
    desk.held = asyncio.Event()
    door = door_at(desk.path)
    async with ControlDoors().serving(door, desk.order):
        running = asyncio.create_task(desk.run("git", "push"))
        await until(lambda: desk.ordered)
    code, _, err = await running
    assert (code, b"hung up" in err, len(desk.gone)) == (126, True, 1)
    assert door.fileno() == -1
