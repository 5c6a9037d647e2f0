"""One running ``pandar up`` for all acceptance tests of a worker."""

from __future__ import annotations

import asyncio
import json
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest

from tests.support.daemon import Program, free_port
from tests.support.servers import data_root


@dataclass
class Pandar:
    """A running Pandar and the token of its owner."""

    base_url: str
    token: str
    data: Path
    port: int
    nats_url: str
    nats_reader_url: str
    environment: dict[str, str]

    @property
    def headers(self) -> dict[str, str]:
        """Return the headers its owner sends."""
        return {"Authorization": f"Bearer {self.token}"}


@pytest.fixture(scope="session")
def pandar() -> Iterator[Pandar]:
    """Start ``pandar up`` on data and ports of its own; stop it in the end, leaving nothing."""
    data = Path(tempfile.mkdtemp(prefix="pandar-up-", dir=data_root()))
    port = free_port()
    extra = {"PANDAR_HTTP_PORT": str(port), "PANDAR_NATS_PORT": "0", "PANDAR_PG_PORT": "0"}
    loop = asyncio.new_event_loop()
    program = loop.run_until_complete(Program.start("up", data=data, name="up", extra=extra))
    try:
        loop.run_until_complete(program.says("^ready"))
        yield Pandar(
            base_url=f"http://127.0.0.1:{port}",
            token=(data / "token").read_text().strip(),
            data=data,
            port=port,
            nats_url=_announced(data, "nats_url"),
            nats_reader_url=_announced(data, "nats_reader_url"),
            environment=extra,
        )
        assert loop.run_until_complete(program.stop()) == 0, program.printed
    finally:
        loop.run_until_complete(program.kill())
        loop.close()
        shutil.rmtree(data, ignore_errors=True)


def _announced(data: Path, name: str) -> str:
    return str(json.loads((data / "running.json").read_text())[name])


@pytest.fixture
async def http(pandar: Pandar) -> AsyncIterator[aiohttp.ClientSession]:
    """Return a client of the owner; paths begin with ``/``."""
    async with aiohttp.ClientSession(pandar.base_url, headers=pandar.headers) as session:
        yield session
