"""The roles of a daemon, each a list of named services in the order in which they are stopped."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from typing import Final

import structlog

from pandar_daemon.adapters.http.app import serving
from pandar_daemon.adapters.http.deps import Deps, Limits
from pandar_daemon.adapters.http.probes import probing
from pandar_daemon.adapters.nats.diffs import NatsDiffs
from pandar_daemon.adapters.nats.outputs import NatsOutputs
from pandar_daemon.adapters.nats.queue import QueueDoor
from pandar_daemon.adapters.nats.service import ServiceDoor
from pandar_daemon.adapters.postgres.confirmation_reads import PgConfirmationReads
from pandar_daemon.adapters.postgres.grant_reads import PgGrantReads
from pandar_daemon.adapters.postgres.leases import PgLeases, PgNumbers, PgRejections
from pandar_daemon.adapters.postgres.project_reads import PgProjectReads
from pandar_daemon.adapters.postgres.secret_reads import PgSecretReads
from pandar_daemon.adapters.postgres.task_reads import PgTaskReads
from pandar_daemon.adapters.postgres.usage_reads import PgUsageReads
from pandar_daemon.adapters.postgres.views import PgViews
from pandar_daemon.adapters.postgres.work_queue import PgWorkQueue
from pandar_daemon.adapters.process.spool import FileSpools
from pandar_daemon.ports import Handler
from pandar_daemon.services.arrivals import Arrivals
from pandar_daemon.services.asking import Asker
from pandar_daemon.services.commands import Commands
from pandar_daemon.services.dispatcher import Dispatcher
from pandar_daemon.services.endings import Endings
from pandar_daemon.services.endpoint import Endpoint
from pandar_daemon.services.giving import Giver, Terms
from pandar_daemon.services.granter import Granter
from pandar_daemon.services.lifecycle import Run
from pandar_daemon.services.pacing import Pacing
from pandar_daemon.services.projector import Projector
from pandar_daemon.services.reaper import Reaper
from pandar_daemon.services.relay import Relay
from pandar_daemon.services.requests import Requests
from pandar_daemon.services.runner import Runner
from pandar_daemon.services.scheduler import Scheduler
from pandar_daemon.services.signals import Signals
from pandar_daemon.services.streams import Streams
from pandar_daemon.services.tail import Tail
from pandar_daemon.telemetry import never_log
from pandar_daemon.wiring.configured import gates_of
from pandar_daemon.wiring.confining import host_of, house_of
from pandar_daemon.wiring.doors import openings
from pandar_daemon.wiring.housekeeping import housekeeping
from pandar_daemon.wiring.notifying import clicks, notifier, telling
from pandar_daemon.wiring.parts import Parts, own_token
from pandar_daemon.wiring.vaults import vault

log = structlog.get_logger(__name__)

ROLES: Final = (
    *("api", "runner", "notifier", "scheduler", "reaper"),
    *("commands", "projector", "relay"),
)
"""Every role, in the order in which they are stopped: who asks before who answers."""

Service = tuple[str, Run]
LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "[::1]"})


def services(parts: Parts, roles: Collection[str], ready: Callable[[], None]) -> list[Service]:
    """Return the services of these roles; ``ready`` is called when their doors are open."""
    makers: dict[str, Callable[[], list[Service]]] = {
        "api": lambda: _api(parts, ready),
        "runner": lambda: _runner(parts),
        "scheduler": lambda: _scheduler(parts),
        "reaper": lambda: _reaper(parts),
        "commands": lambda: _commands(parts, ready),
        "projector": lambda: _projector(parts),
        "relay": lambda: _relay(parts),
        "notifier": lambda: _notifier(parts),
    }
    made = [service for role in ROLES if role in roles for service in makers[role]()]
    return [*made, *_metrics(parts), ("bell", parts.bell.run)]


def _metrics(parts: Parts) -> list[Service]:
    settings, port = parts.settings, parts.settings.metrics_port
    if port is None:
        return []

    async def serve() -> None:
        async with probing(parts.metrics, parts.wire, settings.host, port) as bound:
            log.info("metrics.listening", port=bound)
            await asyncio.get_running_loop().create_future()

    return [("metrics", serve)]


def doors(roles: Collection[str]) -> int:
    """Return how often ``ready`` will be called: once by each door of these roles."""
    return ("api" in roles) + 2 * ("commands" in roles)


def _api(parts: Parts, ready: Callable[[], None]) -> list[Service]:
    tail = Tail(parts.feed, parts.store)
    stream = parts.event_stream()
    told = telling(parts)
    deps = Deps(
        clock=parts.clock,
        sender=parts.near,
        store=parts.store,
        tasks=PgTaskReads(parts.database, parts.clock),
        projects=PgProjectReads(parts.database),
        usage=PgUsageReads(parts.database),
        grants=PgGrantReads(parts.database, parts.clock),
        confirmations=PgConfirmationReads(parts.database),
        notifications=told.reads,
        sealer=told.sealer,
        secrets=PgSecretReads(parts.database),
        vault=vault(parts.settings),
        allowed_hosts=told.options.allowed,
        opened=clicks(parts, told).opened,
        public_url=parts.settings.public_url or parts.configuration.approvals.public_url or "",
        outputs=NatsOutputs(parts.connection, replicas=parts.settings.nats_replicas),
        diffs=NatsDiffs(parts.connection, replicas=parts.settings.nats_replicas),
        wire=parts.wire,
        tail=tail,
        verifier=parts.tokens,
        own_token=own_token(parts.tokens, parts.clock, "api", "system"),
        metrics=parts.metrics,
        agents=frozenset(parts.agents.names),
        gates_of=gates_of(parts.configuration),
        hosts=_hosts(parts.settings.host),
        limits=Limits(
            requests_per_minute=parts.configuration.limits.requests_per_minute,
            failures_per_minute=parts.configuration.limits.failures_per_minute,
        ),
        bus_position=stream.position,
        bus_event=lambda head, n: stream.stored(head.epoch, after=n - 1, limit=1),
        stalled_sec=lambda: parts.connection.stalls.longest_sec,
    )

    async def serve() -> None:
        async with serving(deps, parts.settings.host, parts.settings.http_port):
            ready()
            await asyncio.get_running_loop().create_future()

    return [("http", serve), ("tail", tail.run)]


def _hosts(host: str) -> frozenset[str]:
    """Return the names a loopback server answers to; elsewhere its names are not ours to know."""
    return LOOPBACK if host in LOOPBACK else frozenset()


def _commands(parts: Parts, ready: Callable[[], None]) -> list[Service]:
    settings = parts.settings
    streams = Streams(parts.store, parts.clock)
    dispatcher = Dispatcher(
        giver=Giver(
            store=parts.store,
            streams=streams,
            clock=parts.clock,
            lease_ttl_sec=settings.lease_ttl_sec,
            terms=Terms(parts.configuration.rules_for, parts.configuration.confines_for),
        ),
        queue=PgWorkQueue(parts.database, parts.clock),
        clock=parts.clock,
        lease_ttl_sec=settings.lease_ttl_sec,
    )
    endpoint = Endpoint(
        requests=Requests(
            parts.tokens,
            parts.clock,
            frozenset(parts.agents.names),
            gates_of(parts.configuration),
        ),
        commands=Commands(
            store=parts.store,
            streams=streams,
            numbers=PgNumbers(parts.database),
            rejections=PgRejections(parts.database),
            signals=Signals(parts.wire),
            clock=parts.clock,
            lease_ttl_sec=settings.lease_ttl_sec,
            confirmations_max=parts.configuration.limits.confirmations_per_task,
        ),
        dispatcher=dispatcher,
        grants=PgGrantReads(parts.database, parts.clock),
        leases=PgLeases(parts.database),
        clock=parts.clock,
        metrics=parts.metrics,
        streams=streams,
        endings=Endings(parts.store),
        lease_ttl_sec=settings.lease_ttl_sec,
        pace=Pacing(parts.clock, parts.configuration.limits.commands_per_minute),
    )
    arrivals = Arrivals(parts.live, PgProjectReads(parts.database), streams, dispatcher)
    queue = QueueDoor(parts.connection, parts.clock, replicas=settings.nats_replicas)
    return [
        ("dispatcher", dispatcher.run),
        ("near", lambda: parts.near.serve(endpoint.handle, lambda: None)),
        ("service", lambda: ServiceDoor(parts.connection).serve(endpoint.handle, ready)),
        ("queue", lambda: _serve_queue(queue, endpoint.handle, ready)),
        ("arrivals", arrivals.run),
        ("streams", lambda: streams.follow(parts.live)),
        ("log", parts.store.run),
    ]


async def _serve_queue(queue: QueueDoor, handler: Handler, ready: Callable[[], None]) -> None:
    await queue.serve(handler, ready)


def _projector(parts: Parts) -> list[Service]:
    projector = Projector(
        parts.store, parts.feed, PgViews(parts.database), seen=parts.metrics.projected
    )
    return [("projector", projector.run)]


def _relay(parts: Parts) -> list[Service]:
    relay = Relay(
        store=parts.store,
        stream=parts.event_stream(),
        told=parts.live,
        leadership=parts.leadership,
        bell=parts.bell,
        clock=parts.clock,
        metrics=parts.metrics,
        holder=parts.holder,
    )
    return [("relay", relay.run)]


def _reaper(parts: Parts) -> list[Service]:
    reaper = Reaper(
        leases=PgLeases(parts.database),
        queue=PgWorkQueue(parts.database, parts.clock),
        leadership=parts.leadership,
        wire=parts.wire,
        asker=parts.asker("reaper", "system"),
        clock=parts.clock,
        holder=parts.holder,
        lease_ttl_sec=parts.settings.lease_ttl_sec,
    )
    return [("reaper", reaper.run)]


def _notifier(parts: Parts) -> list[Service]:
    return [("notifier", notifier(parts).run)]


def _scheduler(parts: Parts) -> list[Service]:
    scheduler = Scheduler(
        queue=PgWorkQueue(parts.database, parts.clock),
        leadership=parts.leadership,
        asker=parts.asker("scheduler", "system"),
        clock=parts.clock,
        holder=parts.holder,
    )
    granter = Granter(
        grants=PgGrantReads(parts.database, parts.clock),
        leadership=parts.leadership,
        asker=parts.asker("granter", "system"),
        clock=parts.clock,
        holder=parts.holder,
    )
    return [("scheduler", scheduler.run), ("granter", granter.run)]


def _runner(parts: Parts) -> list[Service]:
    settings = parts.settings
    given = settings.runner_token
    asker = Asker(parts.near, lambda: given) if given else parts.asker("local", "runner")
    keeper = housekeeping(parts, lambda: runner)
    never_log(parts.agents.secrets)
    runner = Runner(
        data=settings.data,
        slots=settings.slots,
        lease_ttl_sec=settings.lease_ttl_sec,
        folders=keeper.folders,
        host=host_of(settings.data),
        house=house_of(parts.configuration, settings),
        spools=FileSpools(settings.data / "spool"),
        outputs=NatsOutputs(parts.connection, replicas=settings.nats_replicas),
        diffs=NatsDiffs(parts.connection, replicas=settings.nats_replicas),
        agents=parts.agents,
        wire=parts.wire,
        asker=asker,
        clock=parts.clock,
        metrics=parts.metrics,
        path=settings.task_path,
        prices=parts.configuration.prices,
        has_room=lambda: not keeper.room.is_short,
        beside=(keeper.room.run, keeper.retention.run),
        vault=vault(settings),
        openings=openings(parts),
        known=parts.agents.secrets,
    )
    return [("runner", runner.run)]
