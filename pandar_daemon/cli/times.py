"""Times as people read and write them: ``3 m ago``, ``2 m 3 s``, ``30d``."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final

_SECONDS: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
_SPAN = re.compile(r"(?:\d+[smhdw])+")
_PART = re.compile(r"(\d+)([smhdw])")
_STEPS: Final = (("d", 86_400, "h", 3_600), ("h", 3_600, "m", 60), ("m", 60, "s", 1))


def span(seconds: float) -> str:
    """Return a duration in at most two units: ``0.4 s``, ``12 s``, ``2 m 3 s``, ``3 d 1 h``."""
    if seconds < 10:  # noqa: PLR2004 - below ten seconds the tenths are worth a look
        return f"{max(seconds, 0.0):.1f} s"
    whole = int(seconds)
    for unit, size, minor, minor_size in _STEPS:
        if whole >= size:
            rest = whole % size // minor_size
            return f"{whole // size} {unit}" + (f" {rest} {minor}" if rest else "")
    return f"{whole} s"


def age(at: datetime | None, now: datetime) -> str:
    """Return how long ago, or how soon, in one unit: ``3 m ago``, ``in 2 h``; ``""`` for never."""
    if at is None:
        return ""
    seconds = int((now - at).total_seconds())
    if seconds == 0:
        return "now"
    unit, size = next((u, n) for u, n in reversed(_SECONDS.items()) if abs(seconds) >= n)
    if seconds < 0:
        return f"in {round(-seconds / size)} {unit}"
    return f"{seconds // size} {unit} ago"


def clock(at: datetime | None, now: datetime) -> str:
    """Return a time of day in UTC, with its date unless that is today."""
    if at is None:
        return ""
    there = at.astimezone(UTC)
    form = "%H:%M:%S" if there.date() == now.astimezone(UTC).date() else "%Y-%m-%d %H:%M:%S"
    return there.strftime(form)


def parse_span(text: str) -> int:
    """Return the seconds of ``90s``, ``15m``, ``12h``, ``30d``, ``1h30m``.

    Raises ``ValueError`` for anything else and for zero.
    """
    parts = _PART.findall(text) if _SPAN.fullmatch(text) else []
    seconds = sum(int(number) * _SECONDS[unit] for number, unit in parts)
    if not 0 < seconds < timedelta.max.total_seconds():
        raise ValueError("expected a time such as 90s, 15m, 12h or 30d")
    return seconds


def parse_when(text: str, now: datetime) -> datetime:
    """Return the instant of ``2026-01-31T09:00:00Z`` or, counted from ``now``, of ``+2h``.

    Raises ``ValueError``, also for a time without its zone: guessing it would be wrong by hours.
    """
    if text.startswith("+"):
        return now + timedelta(seconds=parse_span(text[1:]))
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        at = None
    if at is None or at.tzinfo is None:
        raise ValueError("expected a time with its zone, such as 2026-01-31T09:00:00Z, or +2h")
    return at.astimezone(UTC)
