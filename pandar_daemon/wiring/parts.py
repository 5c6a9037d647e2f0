"""What roles are made of: one of each per process, shared by the roles it runs."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from pandar_daemon.adapters.agents.registry import Registry
from pandar_daemon.adapters.archive.folder import FileArchive
from pandar_daemon.adapters.clock import SystemClock
from pandar_daemon.adapters.embedded.data import DataDirectory
from pandar_daemon.adapters.nats.connection import NatsConnection
from pandar_daemon.adapters.nats.events import NatsEventStream
from pandar_daemon.adapters.nats.live import NatsLive
from pandar_daemon.adapters.nats.sender import NatsSender
from pandar_daemon.adapters.nats.wire import NatsWire
from pandar_daemon.adapters.near import NearDoor
from pandar_daemon.adapters.postgres.event_store import PgEventStore
from pandar_daemon.adapters.postgres.leases import PgLeadership
from pandar_daemon.adapters.postgres.pool import Database, pool
from pandar_daemon.adapters.tokens import Tokens
from pandar_daemon.config import ConfigError, Settings
from pandar_daemon.configuration import Configuration, default_path, load
from pandar_daemon.ports import Clock
from pandar_daemon.services.asking import Asker
from pandar_daemon.services.bell import Bell
from pandar_daemon.services.feed import Feed
from pandar_daemon.telemetry import Metrics
from pandar_daemon.wiring.agents import registry
from pandar_daemon.wiring.confining import chosen
from pandar_daemon.wiring.places import Place

TOKEN_SEC = 3600.0
CLOCK_SET_SEC = 5.0
"""A wall clock that moved so much against one that never jumps was set."""
GARBAGE_AFTER = (25_000, 20, 20)
"""How many new objects until cycles are looked for. A batch of events in hand is some 20,000, with
no cycle among them: Python's 700 would walk through them again and again, a third of its time."""


@dataclass(frozen=True, kw_only=True)
class Parts:
    """Connections, and the services every role may need."""

    settings: Settings
    clock: Clock
    metrics: Metrics
    tokens: Tokens
    database: Database
    connection: NatsConnection
    wire: NatsWire
    near: NearDoor
    live: NatsLive
    bell: Bell
    store: PgEventStore
    feed: Feed
    leadership: PgLeadership
    agents: Registry
    configuration: Configuration
    holder: str

    def asker(self, user: str, role: str) -> Asker:
        """Return an asker that speaks as one of Pandar's own services, or as its owner."""
        return Asker(self.near, own_token(self.tokens, self.clock, user, role))

    def event_stream(self) -> NatsEventStream:
        """Return the log on the bus; a server of our own need not keep it as safe as the log is."""
        return NatsEventStream(
            self.connection,
            replicas=self.settings.nats_replicas,
            lazily=self.settings.nats_url is None,
        )


@asynccontextmanager
async def parts(settings: Settings, place: Place, name: str) -> AsyncIterator[Parts]:
    """Yield the parts of one process, connected as far as the servers are up; end them after."""
    gc.set_threshold(*GARBAGE_AFTER)
    clock = SystemClock()
    connection = NatsConnection(place.nats_url, clock, name)
    keeping = asyncio.create_task(connection.run(), name="bus")
    wire, live = NatsWire(connection), NatsLive(connection)
    holder = f"{name}-{clock.new_id().hex}"
    bell = Bell(wire, holder)
    try:
        async with pool(place.database_url) as database:
            metrics = Metrics()
            store = PgEventStore(
                place.database_url,
                database,
                clock,
                committed=bell.ring,
                written=metrics.appended,
                archive=FileArchive(settings.archive_folder),
            )
            yield Parts(
                settings=settings,
                clock=clock,
                metrics=metrics,
                tokens=tokens(settings, clock),
                database=database,
                connection=connection,
                wire=wire,
                near=NearDoor(NatsSender(connection)),
                live=live,
                bell=bell,
                store=store,
                feed=Feed(live, store),
                leadership=PgLeadership(database),
                agents=registry(settings, clock),
                configuration=chosen(load(default_path(settings.data)), settings),
                holder=holder,
            )
    finally:
        keeping.cancel()
        with suppress(asyncio.CancelledError):
            await keeping


def tokens(settings: Settings, clock: Clock) -> Tokens:
    """Return what mints and verifies tokens; the secret is made at the first start (0600).

    Raises `ConfigError` for a secret file or JWKS that cannot be used.
    """
    try:
        return Tokens(
            secret=_secret(settings),
            clock=clock,
            jwks=settings.jwt_jwks,
            issuer=settings.jwt_issuer,
            audience=settings.jwt_audience,
        )
    except ValueError as error:
        raise ConfigError(str(error)) from error


def _secret(settings: Settings) -> bytes:
    if settings.jwt_secret_file is None:
        return DataDirectory(settings.data).secret("jwt.secret").encode()
    try:
        return Path(settings.jwt_secret_file).read_bytes().strip()
    except OSError as error:
        raise ConfigError(
            f"PANDAR_JWT_SECRET_FILE={settings.jwt_secret_file}: {error.strerror}"
        ) from error


def mint_token(settings: Settings, user: str, roles: Collection[str], ttl_sec: float) -> str:
    """Return a token of this installation; raises ``ValueError`` for an unknown role."""
    return tokens(settings, SystemClock()).mint(user, roles, ttl_sec)


def own_token(tokens: Tokens, clock: Clock, user: str, role: str) -> Callable[[], str]:
    """Return a source of valid tokens for one of our own services, minted anew every half hour.

    Also when somebody set the wall clock, by which tokens begin and end: the old one would not be
    valid yet, or no longer.
    """
    minted = ""
    minted_at, set_by = float("-inf"), 0.0

    def token() -> str:
        nonlocal minted, minted_at, set_by
        now = clock.boottime()
        wall = clock.now().timestamp() - now
        if now - minted_at > TOKEN_SEC / 2 or abs(wall - set_by) > CLOCK_SET_SEC:
            minted, minted_at, set_by = tokens.mint(user, [role], TOKEN_SEC), now, wall
        return minted

    return token
