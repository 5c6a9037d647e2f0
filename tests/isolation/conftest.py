"""One whole Pandar for all promises: it is what takes time."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import pytest

from events.confinement import Level
from pandar_daemon.wiring.confining import unheld
from tests.isolation.grounds import Grounds
from tests.support.api import Person
from tests.support.servers import data_root


@pytest.fixture(scope="session")
def grounds() -> Iterator[Grounds]:
    """Return a running Pandar; skips where tasks cannot be confined."""
    why = asyncio.run(unheld(Level.BWRAP))
    if why:
        pytest.skip(why)
    base = Path(tempfile.mkdtemp(prefix="pandar-promises-", dir=data_root())).resolve()
    try:
        made = Grounds(base)
        with made.running():
            yield made
    finally:
        shutil.rmtree(base, ignore_errors=True)


@pytest.fixture
async def owner(grounds: Grounds) -> AsyncIterator[Person]:
    """Return its owner."""
    async with aiohttp.ClientSession() as session:
        yield Person(session, grounds.up.base_url, grounds.up.token)
