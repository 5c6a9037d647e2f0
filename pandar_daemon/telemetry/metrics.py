"""What Prometheus learns. Every label takes few values: templates, names of ours, never ids."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, cast

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)

from events.commands import ACTIONS, SCHEDULE_ACTIONS
from events.running import RUNNER_ACTIONS

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

_ACTIONS: Final = frozenset({*ACTIONS, *SCHEDULE_ACTIONS, *(f"run.{a}" for a in RUNNER_ACTIONS)})
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"})
_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_SIZES: Final = tuple(2.0**n for n in range(11))

# Series of creation times double the output and no chart needs them; the function lacks types.
cast("Callable[[], None]", disable_created_metrics)()


class Metrics:
    """The metrics of one process, in a registry of their own.

    Methods may be called from any place and never raise for a value of the documented type.
    """

    def __init__(self) -> None:
        """Begin at zero."""
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._head = 0
        self._log_metrics()
        self._work_metrics()
        self._edge_metrics()

    def _log_metrics(self) -> None:
        to = self.registry
        self._append_size = Histogram(
            "pandar_append_batch_size", "Commands appended together.", buckets=_SIZES, registry=to
        )
        self._append_sec = Histogram(
            "pandar_append_duration_seconds", "Time of one append.", buckets=_SECONDS, registry=to
        )
        self._log = Gauge("pandar_log_position", "Last position of the log.", registry=to)
        self._bus = Gauge("pandar_bus_position", "Last position on the bus.", registry=to)
        self._relayed = Counter("pandar_relay_published", "Events put on the bus.", registry=to)
        self._ahead = Gauge(
            "pandar_bus_ahead_events", "Events on the bus beyond the end of the log.", registry=to
        )
        self._diverged = Gauge(
            "pandar_bus_diverged", "1 while the bus ends with another history.", registry=to
        )
        self._projected = Gauge(
            "pandar_projection_position", "Last position applied.", ["model"], registry=to
        )
        self._lag = Gauge(
            "pandar_projection_lag_events", "Events not yet applied.", ["model"], registry=to
        )

    def _work_metrics(self) -> None:
        to = self.registry
        self._commands = Counter(
            "pandar_commands", "Commands answered.", ["action", "outcome"], registry=to
        )
        self._command_sec = Histogram(
            "pandar_command_duration_seconds",
            "Time from a command's arrival to its answer.",
            ["action"],
            buckets=_SECONDS,
            registry=to,
        )
        self._slots = Gauge("pandar_runner_slots", "Slots of this runner.", ["state"], registry=to)
        self._executions = Counter(
            "pandar_executions", "Executions this runner ended.", ["outcome"], registry=to
        )

        self._free = Gauge(
            "pandar_disk_free_bytes", "Free on the disk of the data directory.", registry=to
        )
        self._short = Gauge(
            "pandar_disk_short",
            "1 while less is free than is kept, and nothing begins.",
            registry=to,
        )
        self._cleared = Counter(
            "pandar_disk_entries_removed", "Files and folders of old tasks removed.", registry=to
        )

    def _edge_metrics(self) -> None:
        to = self.registry
        self._requests = Counter(
            "pandar_http_requests", "Requests answered.", ["method", "route", "status"], registry=to
        )
        self._request_sec = Histogram(
            "pandar_http_request_duration_seconds",
            "Time to the end of an answer.",
            ["method", "route"],
            buckets=_SECONDS,
            registry=to,
        )
        self.streams = Gauge("pandar_http_streams", "Open streams of clients.", registry=to)
        self._streamed = Counter(
            "pandar_events_streamed", "Events sent to HTTP clients.", registry=to
        )
        self._connected = Gauge("pandar_nats_connected", "1 while the bus is there.", registry=to)

    def command(self, action: str, outcome: str, seconds: float) -> None:
        """Count a command; ``outcome`` is ``ok``, ``error`` or the status it was refused with."""
        known = action if action in _ACTIONS else "unknown"
        self._commands.labels(known, outcome).inc()
        self._command_sec.labels(known).observe(seconds)

    def appended(self, count: int, seconds: float) -> None:
        """Tell of one append of ``count`` commands."""
        self._append_size.observe(count)
        self._append_sec.observe(seconds)

    def heads(self, *, log: int, bus: int | None = None) -> None:
        """Tell where log and bus end, as just seen."""
        self._head = max(self._head, log)
        self._log.set(log)
        if bus is not None:
            self._bus.set(bus)

    def out_of_step(self, *, ahead_by: int, diverged: bool) -> None:
        """Tell how far the bus is past the log, and whether it ends with another history.

        Either is an alarm: nothing is published until an operator says how to go on.
        """
        self._ahead.set(ahead_by)
        self._diverged.set(1 if diverged else 0)

    def relayed(self, count: int) -> None:
        """Count events put on the bus."""
        self._relayed.inc(count)

    def projected(self, model: str, position: int) -> None:
        """Tell how far a read model is; its lag goes on growing with the log while it stands."""
        self._head = max(self._head, position)
        self._projected.labels(model).set(position)
        self._lag.labels(model).set_function(lambda: max(0, self._head - position))

    def slots(self, *, free: int, busy: int) -> None:
        """Tell how many executions this runner could take, and has."""
        self._slots.labels("free").set(free)
        self._slots.labels("busy").set(busy)

    def executed(self, outcome: str) -> None:
        """Count an execution that ended: ``completed``, ``failed``, ``cancelled`` or ``lost``."""
        self._executions.labels(outcome).inc()

    def room(self, *, free: int, is_short: bool) -> None:
        """Tell how many bytes the disk has free, and whether that is too few to begin anything."""
        self._free.set(free)
        self._short.set(1 if is_short else 0)

    def cleared(self, count: int) -> None:
        """Count files and folders of tasks long over that were removed."""
        self._cleared.inc(count)

    def served(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count an HTTP request; ``route`` is the template, not the path."""
        known = method if method in _METHODS else "OTHER"
        self._requests.labels(known, route, str(status)).inc()
        self._request_sec.labels(known, route).observe(seconds)

    def streamed(self, count: int = 1) -> None:
        """Count events sent to clients of a stream."""
        self._streamed.inc(count)

    def connected(self, *, yes: bool) -> None:
        """Tell whether the bus is there."""
        self._connected.set(1 if yes else 0)

    def render(self) -> bytes:
        """Return everything in Prometheus's text format; serve it as `CONTENT_TYPE`."""
        return generate_latest(self.registry)

    def names(self) -> list[str]:
        """Return the name of every metric there is, as Prometheus shows it, sorted."""
        return sorted(
            f"{family.name}_total" if family.type == "counter" else family.name
            for family in self.registry.collect()
        )
