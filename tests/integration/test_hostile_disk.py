"""A disk that is full takes log lines, never services."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import structlog

from pandar_daemon.services.lifecycle import supervise
from pandar_daemon.telemetry.logs import configure_logs

FULL = Path("/dev/full")
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs /dev/full")


@pytest.fixture
def _logging_to_a_full_disk() -> Iterator[None]:
    """Let this process log to a file on a full disk."""
    before, root = structlog.get_config(), logging.getLogger()
    handlers, level = root.handlers[:], root.level
    full = FULL.open("w")
    configure_logs(full)
    yield
    structlog.configure(**before)
    root.handlers[:], root.level = handlers, level
    with suppress(OSError):
        full.close()


@pytest.mark.usefixtures("_logging_to_a_full_disk")
def test_a_line_that_cannot_be_written_is_lost() -> None:
    """Neither Pandar's own lines nor the libraries' raise."""
    for _ in range(1_000):
        structlog.get_logger().error("disk.full", text="x" * 1_000)
        logging.getLogger("aiohttp.server").error("x" * 1_000)


@pytest.mark.usefixtures("_logging_to_a_full_disk")
async def test_a_failed_service_is_started_again() -> None:
    """Its supervisor says so in vain, and goes on."""
    runs = iter([OSError("the disk is full")])
    again = asyncio.Event()

    async def serve() -> None:
        for error in runs:
            raise error
        again.set()
        await asyncio.get_running_loop().create_future()

    supervised = asyncio.create_task(supervise("test", serve))
    async with asyncio.timeout(30):
        await again.wait()
    supervised.cancel()
    await asyncio.wait({supervised})
