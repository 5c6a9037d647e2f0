"""The NATS micro protocol (ADR-32): how a service names itself and counts what it did.

Written by hand because nats-py's own runs the requests of an endpoint one after the other, tells
callers the text of exceptions, and cancels requests when it stops.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from msgspec import Struct

_TYPE = "io.nats.micro.v1"


class Endpoint(Struct, kw_only=True):
    """One subject of a service and its counts since it was started; times in nanoseconds."""

    name: str
    subject: str
    queue_group: str
    num_requests: int = 0
    num_errors: int = 0
    last_error: str = ""
    processing_time: int = 0
    average_processing_time: int = 0

    def count(self, took_sec: float, error: str | None) -> None:
        """Count one finished request."""
        self.num_requests += 1
        self.processing_time += int(took_sec * 1e9)
        self.average_processing_time = self.processing_time // self.num_requests
        if error is not None:
            self.num_errors += 1
            self.last_error = error


class Micro(Struct, kw_only=True):
    """One instance of a service, and what it says of itself."""

    name: str
    id: str
    version: str
    description: str
    started: str  # RFC 3339
    endpoints: Sequence[Endpoint]

    def subjects(self, verb: str) -> list[str]:
        """Return where this instance is asked: as any service, by name, by name and id."""
        root = f"$SRV.{verb}"
        return [root, f"{root}.{self.name}", f"{root}.{self.name}.{self.id}"]

    def say(self, verb: str) -> bytes:
        """Return the answer to ``PING``, ``INFO`` or ``STATS``."""
        return {"PING": self._ping, "INFO": self._info, "STATS": self._stats}[verb]()

    def _ping(self) -> bytes:
        return self._encode("ping_response", {})

    def _info(self) -> bytes:
        endpoints = [
            {"name": e.name, "subject": e.subject, "queue_group": e.queue_group, "metadata": {}}
            for e in self.endpoints
        ]
        return self._encode(
            "info_response", {"description": self.description, "endpoints": endpoints}
        )

    def _stats(self) -> bytes:
        return self._encode(
            "stats_response", {"started": self.started, "endpoints": self.endpoints}
        )

    def _encode(self, kind: str, more: dict[str, object]) -> bytes:
        who = {"name": self.name, "id": self.id, "version": self.version, "metadata": {}}
        return msgspec.json.encode({"type": f"{_TYPE}.{kind}", **who, **more})
