"""Points in time: always timezone-aware, always UTC, RFC 3339 on the wire."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from msgspec import Meta

Instant = Annotated[datetime, Meta(tz=True)]
"""An aware datetime; a naive one is refused when decoded."""


def to_utc(at: datetime) -> datetime:
    """Return ``at`` in UTC.

    Raises ``ValueError`` for a naive datetime: guessing its zone would move a schedule by hours.
    """
    if at.tzinfo is None:
        msg = "a time needs its zone, for example 2026-01-31T09:00:00Z"
        raise ValueError(msg)
    return at.astimezone(UTC)


def text(at: datetime) -> str:
    """Return ``at`` as RFC 3339 in UTC with microseconds and ``Z``: such texts sort as times do."""
    return to_utc(at).isoformat(timespec="microseconds").replace("+00:00", "Z")
