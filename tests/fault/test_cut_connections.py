"""Connections cut in the middle of a frame, or open and dead: every answer is true, once.

A proxy stands between all of the daemon and each server. The load asks NATS directly, and repeats
a command under its id until it is answered, as a careful client does.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from msgspec import Struct

from tests.support.proxy import Proxy, proxied
from tests.support.servers import TestServers
from tests.support.serving import Serving, Urls, serving

pytestmark = [pytest.mark.fault, pytest.mark.timeout(180)]

SEED = int(os.environ.get("PANDAR_CHAOS_SEED") or random.randrange(10**6))
CLIENTS = 8
CUTS = 8
"""So many times is each of the two links cut under the load."""
NATS_BYTES, POSTGRES_BYTES = 40_000, 80_000


class Links(Struct):
    """The daemon, and its ways to the servers."""

    daemon: Serving
    nats: Proxy
    postgres: Proxy


@asynccontextmanager
async def linked(servers: TestServers, database_url: str, data: Path) -> AsyncIterator[Links]:
    """Run the daemon behind the proxies; the seed decides after how many bytes they cut."""
    print(f"PANDAR_CHAOS_SEED={SEED}")  # noqa: T201 - pytest shows it with a failure
    dice = random.Random(SEED)
    direct = Urls(database_url, servers.nats_url)
    async with (
        proxied(database_url, dice) as postgres,
        proxied(servers.nats_url, dice) as nats,
        serving(direct, data, through=Urls(postgres.url, nats.url)) as daemon,
    ):
        yield Links(daemon, nats, postgres)


async def test_cut_in_the_middle_of_a_frame(
    servers: TestServers, database_url: str, nats_url: str, tmp_path: Path
) -> None:
    """Under load both links are cut anywhere, again and again: nothing is lost, nothing twice."""
    async with linked(servers, database_url, tmp_path) as links:

        async def client(number: int) -> None:
            n = 0
            while links.nats.cuts < CUTS or links.postgres.cuts < CUTS:
                await links.daemon.file(f"cut-{number}-{n}")
                n += 1

        await links.daemon.file("warm")
        links.nats.cut_every(NATS_BYTES)
        links.postgres.cut_every(POSTGRES_BYTES)
        await asyncio.gather(*(client(number) for number in range(CLIENTS)))
        links.nats.cut_every(0)
        links.postgres.cut_every(0)
        await links.daemon.file("after")
        assert len(links.daemon.acked) > CLIENTS
        await links.daemon.check()


async def test_open_and_dead(
    servers: TestServers, database_url: str, nats_url: str, tmp_path: Path
) -> None:
    """Connections that stay open and say nothing any more are noticed and replaced."""
    async with linked(servers, database_url, tmp_path) as links:
        await links.daemon.file_many("before", CLIENTS)
        await links.daemon.level()
        links.postgres.forget()
        links.nats.forget()
        await links.daemon.file_many("after", CLIENTS)
        await links.daemon.check()
