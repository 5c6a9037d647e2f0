"""Three nats-servers that keep every stream together, each of which a test may kill."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from itertools import permutations as pairs
from pathlib import Path
from typing import Any

import nats
import nats.errors

from tests.support.daemon import free_port
from tests.support.nats_process import NatsProcess
from tests.support.proxy import Proxy

SIZE = 3
_PINGS = 'ping_interval: "1s", ping_max: 2'
"""While a member believes that another is there, it sends it what is for that one's clients."""
PATIENCE_SEC = 60.0
_LOOK_SEC = 0.05

Json = dict[str, Any]
Is = Callable[[Json], bool]


class NatsCluster:
    """Starts them, tells who leads a stream, and brings back whoever was killed."""

    def __init__(self, folder: Path) -> None:
        ports = {f"nats-{number}": free_port() for number in range(1, SIZE + 1)}
        self._ways = {pair: Proxy(f"nats://127.0.0.1:{ports[pair[1]]}") for pair in pairs(ports, 2)}
        self._ports = ports
        self.members = {name: NatsProcess(folder / name) for name in ports}

    @property
    def url(self) -> str:
        """Return the URLs of all members, as Pandar is told them."""
        return ",".join(member.url for member in self.members.values())

    async def start(self) -> None:
        """Start all; returns when they have a leader among them."""
        for way in self._ways.values():
            await way.open()
        for name, member in self.members.items():
            member.store.mkdir()
            routes = ", ".join(f'"{way.url}"' for (a, _), way in self._ways.items() if a == name)
            listen = f'name: c, listen: "127.0.0.1:{self._ports[name]}", no_advertise: true'
            member.cluster = f"cluster {{ {listen}, pool_size: -1, {_PINGS}, routes: [{routes}] }}"
        await asyncio.gather(*(member.start() for member in self.members.values()))
        await self.has_leader()

    def part(self, member: NatsProcess) -> None:
        """Let nothing pass between a member and the others; clients reach all of them."""
        for pair, way in self._ways.items():
            if member.name in pair:
                way.hush()

    def join(self) -> None:
        """Let all pass between all again, and what waited first."""
        for way in self._ways.values():
            way.speak()

    async def has_leader(self) -> None:
        """Return once JetStream answers."""
        await self._answer("INFO")

    async def leader_of(self, stream: str) -> NatsProcess:
        """Return the member that leads a stream, once one does."""
        return self.members[(await self._led(stream))["cluster"]["leader"]]

    async def led_by_another(self, stream: str, than: NatsProcess) -> None:
        """Return once a stream has another leader."""
        await self._led(stream, lambda told: told["cluster"]["leader"] != than.name)

    async def holds(self, stream: str, last: int) -> None:
        """Return once a stream has its message of this number."""
        await self._led(stream, lambda told: told["state"]["last_seq"] >= last)

    async def in_step(self, stream: str) -> None:
        """Return once every member has all of a stream."""
        await self._led(stream, _are_current)

    async def _led(self, stream: str, is_so: Is = lambda _: True) -> Json:
        """Return what a stream is, once it has a leader, as it may not at times, and it is so."""
        return await self._answer(
            f"STREAM.INFO.{stream}",
            lambda told: bool(told["cluster"].get("leader")) and is_so(told),
        )

    async def _answer(self, about: str, is_so: Is = lambda _: True) -> Json:
        """Return what the API says, once it says no error and it is so."""
        async with asyncio.timeout(PATIENCE_SEC):
            while "error" in (told := await self._told(about)) or not is_so(told):  # noqa: ASYNC110 - others work
                await asyncio.sleep(_LOOK_SEC)
            return told

    async def _told(self, about: str) -> Json:
        """Return what the API says; an error of our own while nobody leads."""
        client = await nats.connect(self.url.split(","))
        try:
            answer = await client.request(f"$JS.API.{about}", timeout=1.0)
        except (nats.errors.TimeoutError, nats.errors.NoRespondersError):
            return {"error": "no answer"}
        else:
            told: Json = json.loads(answer.data)
            return told
        finally:
            await client.close()

    async def stop(self) -> None:
        """End all."""
        await asyncio.gather(*(member.stop() for member in self.members.values()))
        for way in self._ways.values():
            await way.close()


def _are_current(told: Json) -> bool:
    others = told["cluster"].get("replicas", [])
    return len(others) == SIZE - 1 and all(one["current"] for one in others)
