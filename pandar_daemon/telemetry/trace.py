"""W3C Trace Context: the ``traceparent`` that goes from HTTP through the bus into the log."""

from __future__ import annotations

import re
from typing import Final
from uuid import UUID

from msgspec import Struct

_SHAPE: Final = re.compile(
    r"(?P<version>(?!ff)[0-9a-f]{2})"
    r"-(?P<trace>(?!0{32})[0-9a-f]{32})"
    r"-(?P<span>(?!0{16})[0-9a-f]{16})"
    r"-(?P<flags>[0-9a-f]{2})"
    r"(?P<more>-[\x21-\x7e]*)?"
)
_SAMPLED: Final = 1


class Traceparent(Struct, frozen=True, kw_only=True):
    """A place in a trace: 32 and 16 lower-case hexadecimal digits, neither all zero."""

    trace_id: str
    span_id: str
    flags: int = _SAMPLED

    @classmethod
    def parse(cls, text: str | None) -> Traceparent | None:
        """Return what a header says, ``None`` when it breaks the recommendation.

        A version above 00 is read as far as 00 goes, as the recommendation asks.
        """
        found = _SHAPE.fullmatch(text or "")
        if found is None or (found["version"] == "00" and found["more"]):
            return None
        return cls(trace_id=found["trace"], span_id=found["span"], flags=int(found["flags"], 16))

    @classmethod
    def new(cls, trace: UUID, span: UUID) -> Traceparent:
        """Return the root of a new, sampled trace, made of two fresh ids."""
        return cls(trace_id=trace.hex, span_id=_span(span))

    def child(self, span: UUID) -> Traceparent:
        """Return a place below this one in the same trace, sampled as it is."""
        return Traceparent(trace_id=self.trace_id, span_id=_span(span), flags=self.flags)

    def __str__(self) -> str:
        return f"00-{self.trace_id}-{self.span_id}-{self.flags & _SAMPLED:02x}"


def valid_traceparent(text: str | None) -> str | None:
    """Return a ``traceparent`` header as version 00 says it, ``None`` for what is none."""
    place = Traceparent.parse(text)
    return None if place is None else str(place)


def _span(fresh: UUID) -> str:
    return fresh.hex[16:]  # the half that is random, and never all zero, in a UUIDv7
