"""`pandar up` and `pandar serve`: roles on servers, from the first line to the last."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import structlog
from msgspec import Struct

from events import commands as do
from events import subjects
from pandar_daemon.adapters.embedded.data import DataDirectory
from pandar_daemon.adapters.embedded.errors import CannotStart
from pandar_daemon.adapters.embedded.ports import is_free
from pandar_daemon.adapters.embedded.servers import Servers
from pandar_daemon.adapters.postgres.migrate import migrate
from pandar_daemon.adapters.postgres.views import PgViews
from pandar_daemon.config import Settings
from pandar_daemon.domain.refusals import Refusal
from pandar_daemon.services.lifecycle import run_until, supervise
from pandar_daemon.wiring import confining, places
from pandar_daemon.wiring.parts import Parts, mint_token, parts
from pandar_daemon.wiring.places import Place
from pandar_daemon.wiring.roles import ROLES, Service, doors, services
from projections.models import MODELS

log = structlog.get_logger(__name__)

LOOK_SEC = 0.02
OWNER = "1"
OWNER_TOKEN_SEC = 30 * 24 * 3600.0


class Ready(Struct, frozen=True, kw_only=True):
    """Everything is up: where it is, and how long that took."""

    url: str
    token_file: Path
    data: Path
    nats_url: str
    seconds: float


async def up(settings: Settings, announce: Callable[[Ready], None], stop: asyncio.Event) -> None:
    """Run everything until ``stop`` is set, on servers of our own where no URL is given.

    Calls ``announce`` once all of it answers. Raises `CannotStart` when it cannot.
    """
    began = asyncio.get_running_loop().time()
    if not is_free(settings.http_port):
        raise CannotStart(
            f"PANDAR_HTTP_PORT={settings.http_port}: another program listens on this port; stop"
            " it, or choose another one"
        )
    async with Servers(settings) as servers:
        place = Place(
            database_url=servers.database_url,
            nats_url=servers.nats_url,
            api_url=_url(settings),
            nats_reader_url=servers.nats_reader_url,
        )
        await migrate(place.database_url)
        async with _keeping(servers), _announced(settings, place):
            await _run(
                settings,
                place,
                set(ROLES),
                stop,
                lambda: _ready(settings, place, began, announce),
                beside=lambda made: [("storage", lambda: _storing(servers, made))],
            )


async def serve(settings: Settings, roles: Collection[str], stop: asyncio.Event) -> None:
    """Run some roles until ``stop`` is set, on the servers given or running here already.

    A runner alone needs no database. Raises `ConfigError` when there are no servers, or their
    database is older than this release; one that is newer is fine.
    """
    database = set(roles) != {"runner"}
    place = places.given(settings, database=database)
    if database:
        await places.require_schema(place)
    await _run(settings, place, roles, stop, lambda: log.info("serve.ready", roles=sorted(roles)))


async def _run(
    settings: Settings,
    place: Place,
    roles: Collection[str],
    stop: asyncio.Event,
    announce: Callable[[], None],
    *,
    beside: Callable[[Parts], list[Service]] = lambda _: [],
) -> None:
    opened = asyncio.Semaphore(0)
    async with parts(settings, place, "pandar") as made, asyncio.TaskGroup() as group:
        if "runner" in roles:
            await confining.require(made.configuration.sandbox.level)
        wanted = [*beside(made), *services(made, roles, opened.release)]
        running = group.create_task(run_until(stop, wanted))
        announcing = group.create_task(_announce(made, roles, opened, announce))
        await running
        announcing.cancel()


async def _announce(
    made: Parts, roles: Collection[str], opened: asyncio.Semaphore, announce: Callable[[], None]
) -> None:
    await made.connection.wait_up()
    for _ in range(doors(roles)):
        await opened.acquire()
    if "commands" in roles:
        await _first_project(made)
    if {"api", "projector"} <= set(roles):
        await _served(made)
    announce()


async def _served(made: Parts) -> None:
    """Return once all read models are there: at the very first start they are made."""
    views = PgViews(made.database)
    while {at.model for at in await views.checkpoints() if at.live} < MODELS.keys():  # noqa: ASYNC110 - in Postgres
        await asyncio.sleep(LOOK_SEC)


async def _first_project(made: Parts) -> None:
    """Make project 1 for the owner of this installation, unless it is there."""
    if await made.store.read_stream("project-1"):
        return
    command = msgspec.json.encode(do.CreateProject(name="default"))
    try:
        await made.asker(OWNER, "admin").ask(
            subjects.command("project.create"), command, "first-project"
        )
    except Refusal as refusal:
        log.warning("project.not_made", reason=str(refusal))


async def _storing(servers: Servers, made: Parts) -> None:
    stalls = made.connection.stalls
    await servers.watch(lambda: stalls.longest_sec, stalls.forget)


@asynccontextmanager
async def _keeping(servers: Servers) -> AsyncIterator[None]:
    keeping = asyncio.create_task(supervise("servers", servers.run))
    try:
        yield
    finally:
        keeping.cancel()
        await asyncio.wait({keeping})


@asynccontextmanager
async def _announced(settings: Settings, place: Place) -> AsyncIterator[None]:
    places.announce(settings, place)
    try:
        yield
    finally:
        places.withdraw(settings)


def _url(settings: Settings) -> str:
    return f"http://{settings.host}:{settings.http_port}"


def _ready(
    settings: Settings, place: Place, began: float, announce: Callable[[Ready], None]
) -> None:
    token = mint_token(settings, OWNER, ["admin"], OWNER_TOKEN_SEC)
    announce(
        Ready(
            url=_url(settings),
            token_file=DataDirectory(settings.data).write("token", token),
            data=settings.data,
            nats_url=place.nats_url,
            seconds=asyncio.get_running_loop().time() - began,
        )
    )
