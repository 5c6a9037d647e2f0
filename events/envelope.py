"""What every recorded event carries besides its own data."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from msgspec import Raw, Struct


class Recorded(Struct, frozen=True, kw_only=True):
    """One event as the log holds it; ``data`` is the JSON that was appended, byte for byte.

    ``position`` counts all events from 1 without a gap, in commit order; ``version`` counts the
    events of ``stream`` likewise. ``schema_version`` says which shape ``data`` has: decode it
    with `events.codec.decode`, which brings old shapes up to date.
    """

    position: int
    stream: str
    version: int
    event_id: UUID
    type: str
    schema_version: int
    recorded_at: datetime
    actor: str
    project_id: int | None
    command_id: str
    correlation_id: str
    causation_id: str | None
    traceparent: str | None
    data: Raw
