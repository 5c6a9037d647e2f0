"""Where Postgres and NATS are: given by URL, running here already, or to be started."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
from msgspec import Struct

from pandar_daemon.adapters.embedded.data import DataDirectory
from pandar_daemon.adapters.embedded.errors import CannotStart
from pandar_daemon.adapters.embedded.servers import Servers
from pandar_daemon.adapters.postgres.migrate import pending
from pandar_daemon.config import ConfigError, Settings

RUNNING = "running.json"


class Place(Struct, frozen=True, kw_only=True):
    """The two servers' URLs, passwords included: never to be logged.

    ``api_url`` is known only of a `pandar up` that runs, ``nats_reader_url`` (for programs of
    others: it may read and ask) only of an embedded NATS.
    """

    database_url: str
    nats_url: str
    api_url: str = ""
    nats_reader_url: str = ""


def given(settings: Settings, *, database: bool = True) -> Place:
    """Return the place the settings name, or a `pandar up` on this machine announced.

    Without ``database`` the URL of NATS is enough. Raises `ConfigError` when there is none.
    """
    if settings.nats_url and (settings.database_url or not database):
        return Place(database_url=settings.database_url or "", nats_url=settings.nats_url)
    running = _running(settings)
    if running is not None:
        return running
    raise ConfigError(
        "set PANDAR_DATABASE_URL and PANDAR_NATS_URL, or start `pandar up` on this data directory"
    )


def announce(settings: Settings, place: Place) -> None:
    """Tell other commands on this machine where the servers of a running `pandar up` are."""
    DataDirectory(settings.data).write(RUNNING, msgspec.json.encode(place).decode())


def withdraw(settings: Settings) -> None:
    """Take the announcement back."""
    (settings.data / RUNNING).unlink(missing_ok=True)


def is_embedded_running(data: Path) -> bool:
    """Tell whether a Pandar holds this data directory now.

    Raises `CannotStart` for one that cannot be used at all.
    """
    if not (data / RUNNING).exists() and not (data / "owner.lock").exists():
        return False
    directory = DataDirectory(data)
    try:
        directory.check_unowned()
    except CannotStart:
        return True
    return False


def announced(data: Path) -> Place | None:
    """Return where the `pandar up` that runs on ``data`` said its servers are, ``None`` for none.

    Raises `ConfigError` while it is still starting, and `CannotStart` as `is_embedded_running`.
    """
    if not is_embedded_running(data):
        return None
    try:
        return msgspec.json.decode((data / RUNNING).read_bytes(), type=Place)
    except (FileNotFoundError, msgspec.MsgspecError):
        raise ConfigError(f"Pandar on {data} is still starting: try again") from None


def _running(settings: Settings) -> Place | None:
    found = announced(settings.data)
    if found is None:
        return None
    return Place(
        database_url=settings.database_url or found.database_url,
        nats_url=settings.nats_url or found.nats_url,
    )


@asynccontextmanager
async def somewhere(settings: Settings, *, migrated: bool = True) -> AsyncIterator[Place]:
    """Yield the servers given or running; else start our own for as long as this lasts.

    Raises `ConfigError` where there is no data yet or, with ``migrated``, of an older release.
    """
    if (settings.database_url and settings.nats_url) or is_embedded_running(settings.data):
        place = given(settings)
        if migrated:
            await require_schema(place)
        yield place
        return
    if migrated and not settings.database_url and not (settings.data / "postgres").is_dir():
        raise ConfigError(f"there is no data in {settings.data}: `pandar up` makes it")
    async with Servers(settings) as servers:
        place = Place(database_url=servers.database_url, nats_url=servers.nats_url)
        if migrated:
            await require_schema(place)
        yield place


async def require_schema(place: Place) -> None:
    """Return when the database is as new as this release, or newer; else raise `ConfigError`."""
    missing = await pending(place.database_url)
    if missing:
        raise ConfigError(f"the database lacks {', '.join(missing)}: run `pandar migrate` first")
