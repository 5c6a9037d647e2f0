"""Acts of upkeep: migrate, rebuild, verify, doctor, and going on after a restored backup."""

from __future__ import annotations

import asyncio
import os
import platform
import shutil
from collections.abc import Callable

import asyncpg

from pandar_daemon.adapters.archive.folder import FileArchive
from pandar_daemon.adapters.disk.folders import DataFolders
from pandar_daemon.adapters.embedded import binaries
from pandar_daemon.adapters.embedded.errors import CannotStart
from pandar_daemon.adapters.nats.events import NatsEventStream
from pandar_daemon.adapters.postgres import migrate as migrations
from pandar_daemon.adapters.postgres.audit import PgLogAudit
from pandar_daemon.adapters.postgres.secret_reads import PgSecretReads
from pandar_daemon.adapters.postgres.views import PgViews
from pandar_daemon.config import ConfigError, Settings
from pandar_daemon.configuration import default_path, load
from pandar_daemon.domain.keeping import Keeping
from pandar_daemon.services.projector import Projector
from pandar_daemon.services.relay import agree
from pandar_daemon.services.unlocking import unlocking
from pandar_daemon.services.verification import Check, Progress, Verification, VerifyReport
from pandar_daemon.wiring.boxes import box_checks
from pandar_daemon.wiring.parts import Parts, parts
from pandar_daemon.wiring.places import is_embedded_running, somewhere
from pandar_daemon.wiring.vaults import sealed, vault
from projections.models import MODELS

__all__ = ["Check", "VerifyReport", "advance_epoch", "doctor", "migrate", "rebuild", "verify"]

_ADVANCE = "UPDATE log_head SET epoch = epoch + 1 RETURNING epoch"


async def migrate(settings: Settings) -> list[str]:
    """Apply what is missing and return the names of the migrations applied."""
    async with somewhere(settings, migrated=False) as place:
        return await migrations.migrate(place.database_url)


async def rebuild(
    settings: Settings, models: list[str], progress: Callable[[str, int, int], None]
) -> None:
    """Build read models anew beside those in use, all when none is named, and swap them.

    Raises ``ValueError`` naming a model there is none of.
    """
    unknown = sorted(set(models) - MODELS.keys())
    if unknown:
        raise ValueError(f"no read model {unknown[0]}; there are {', '.join(MODELS)}")
    async with somewhere(settings) as place, parts(settings, place, "rebuild") as made:
        projector = Projector(made.store, made.feed, PgViews(made.database))
        head = (await made.store.head()).position
        await projector.rebuild_all(
            models or list(MODELS), lambda name, at: progress(name, at, max(head, at))
        )


async def verify(settings: Settings, progress: Progress) -> VerifyReport:
    """Compare log, bus and read models; changes nothing."""
    async with somewhere(settings) as place, parts(settings, place, "verify") as made:
        async with asyncio.timeout(10):
            await made.connection.wait_up()
        views = PgViews(made.database)
        return await Verification(
            store=made.store,
            audit=PgLogAudit(made.database),
            bus=NatsEventStream(made.connection),
            views=views,
            served=views,
            progress=progress,
            archive=FileArchive(settings.archive_folder),
            secrets=lambda: unlocking(PgSecretReads(made.database), vault(settings, make=False)),
        ).run()


async def advance_epoch(settings: Settings) -> int:
    """Begin a new epoch of the log, whose stream is filled from the log; return its number.

    Raises `ConfigError` when the bus has nothing that the log has not.
    """
    async with somewhere(settings) as place, parts(settings, place, "epoch") as made:
        async with asyncio.timeout(10):
            await made.connection.wait_up()
        if await _agree(made):
            raise ConfigError("the bus has nothing that the log has not: no new epoch is needed")
        connection = await asyncpg.connect(place.database_url)
        try:
            return int(await connection.fetchval(_ADVANCE))
        finally:
            await connection.close()


async def _agree(made: Parts) -> bool:
    """Tell whether the relay would go on with this stream, as its end is in the log."""
    head = await made.store.head()
    stream = NatsEventStream(made.connection)
    last = await stream.position(head)
    return last <= head.position and await agree(made.store, stream, head.epoch, last)


async def doctor(settings: Settings) -> list[Check]:
    """Say what this machine offers and what is amiss."""
    running = is_embedded_running(settings.data)
    return [
        Check(name="python", ok=True, detail=platform.python_version()),
        _binary("postgres", settings),
        _binary("nats-server", settings),
        _disk(settings),
        *await box_checks(settings),
        Check(
            name="daemon",
            ok=True if running else None,
            detail=f"runs on {settings.data}" if running else f"does not run on {settings.data}",
        ),
        await sealed(settings),
    ]


def _binary(name: str, settings: Settings) -> Check:
    given = settings.database_url if name == "postgres" else settings.nats_url
    if given:
        return Check(name=name, ok=True, detail="a URL is given, none is started")
    find = binaries.postgres_bin if name == "postgres" else binaries.nats_server
    try:
        return Check(name=name, ok=True, detail=str(find(os.environ)))
    except CannotStart as error:
        return Check(name=name, ok=False, detail=str(error), hint="make setup installs it")


def _disk(settings: Settings) -> Check:
    place = settings.data
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free // 2**20
    reserve = _reserve_mb(settings)
    enough = free > reserve
    return Check(
        name="disk",
        ok=enough,
        detail=f"{free} MiB free on {place}, {reserve} of them kept; {_left_by_tasks(settings)}",
        hint="" if enough else "free some, or lower [workspaces] reserve_mb: no task begins",
    )


def _reserve_mb(settings: Settings) -> int:
    try:
        return load(default_path(settings.data)).workspaces.reserve_mb
    except ConfigError:  # the daemon says what is wrong with it
        return Keeping().reserve_mb


def _left_by_tasks(settings: Settings) -> str:
    """Return what tasks left there, as far as it can be read."""
    folders = DataFolders(settings.data.absolute())
    try:
        tasks = folders.tasks()
        used = sum(map(folders.used, tasks))
    except OSError as error:
        return f"folders of tasks cannot be read: {error.strerror}"
    return f"{len(tasks)} tasks have {used // 2**20} MiB"
