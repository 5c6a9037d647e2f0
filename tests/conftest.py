"""Servers, time and a host for all tests. Each pytest-xdist worker has servers of its own."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import structlog
from hypothesis import HealthCheck, settings

from pandar_daemon.adapters.process.host import Host
from tests.support.boxes import UNHELD, fault_here
from tests.support.clock import ManualClock
from tests.support.servers import TestServers

settings.register_profile("pandar", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("pandar")  # how long something takes depends on who else is working here


def pytest_configure(config: pytest.Config) -> None:
    """Find out once, for all workers, whether a box holds on this machine."""
    if not hasattr(config, "workerinput"):
        why = fault_here()
        if why:
            os.environ[UNHELD], os.environ["PANDAR_SANDBOX"] = why, "none"


def pytest_report_header() -> list[str]:
    """Say so where tasks cannot be confined: what is about that is skipped."""
    why = os.environ.get(UNHELD)
    return [f"NO BOX HOLDS HERE, tests of it are skipped: {why}"] if why else []


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test that asks for the servers, so that `make test-fast` leaves it out."""
    for item in items:
        if isinstance(item, pytest.Function) and "servers" in item.fixturenames:
            item.add_marker("servers")


@pytest.fixture(autouse=True)
def _logs_as_they_were() -> Iterator[None]:
    """Leave to the next test what this one found: some run commands, which set up their own log."""
    before = structlog.get_config()
    yield
    structlog.configure(**before)


@pytest.fixture(scope="session")
def servers() -> Iterator[TestServers]:
    """Return running Postgres and NATS servers, and the means to kill them."""
    running = TestServers()
    running.open()
    yield running
    running.close()


@pytest.fixture
async def database_url(servers: TestServers) -> AsyncIterator[str]:
    """Return the administrator's URL of a fresh, migrated database, dropped after the test."""
    url = await servers.create_database()
    yield url
    await servers.drop_database(url)


@pytest.fixture
async def empty_database_url(servers: TestServers) -> AsyncIterator[str]:
    """Return the administrator's URL of a fresh database without any table."""
    url = await servers.create_database(migrated=False)
    yield url
    await servers.drop_database(url)


@pytest.fixture
async def nats_url(servers: TestServers) -> AsyncIterator[str]:
    """Return the URL of a NATS without streams; what the test makes there is deleted after it."""
    await servers.start_nats()
    yield servers.nats_url
    await servers.delete_streams()


@pytest.fixture
def clock() -> ManualClock:
    """Return a clock that stands still until told otherwise."""
    return ManualClock()


@pytest.fixture
def cwd(tmp_path: Path) -> Path:
    """Return the folder trees run in."""
    folder = tmp_path / "work"
    folder.mkdir()
    return folder


@pytest.fixture
async def host(tmp_path: Path) -> AsyncIterator[Host]:
    """Return a host that kills all it started when the test is over."""
    made = Host(tmp_path / "data", grace_sec=0.3)
    yield made
    await made.sweep()
