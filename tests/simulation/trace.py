"""What happened in a run, as lines, and their digest: two runs of a seed have the same."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import structlog
from structlog.types import EventDict


class Trace:
    """Collects lines; keeps them only if asked to."""

    def __init__(self) -> None:
        self.time: Callable[[], float] = lambda: 0.0
        self._hash = hashlib.sha256()
        self.lines: list[str] | None = None
        self.over = False

    def add(self, *words: object) -> None:
        """Note that something happened now."""
        if self.over:
            return
        line = f"{self.time():.6f} {' '.join(map(str, words))}"
        self._hash.update(line.encode())
        if self.lines is not None:
            self.lines.append(line)

    def digest(self) -> str:
        """Return the hash of all lines so far."""
        return self._hash.hexdigest()


@contextmanager
def logging_to(trace: Trace) -> Iterator[None]:
    """Send every log line into the trace."""

    def note(_logger: object, level: str, event: EventDict) -> EventDict:
        broke = sys.exc_info()[1] if event.get("exc_info") else None
        more = (event.get(key) for key in ("service", "reason", "error"))
        told = [each for each in (*more, broke and repr(broke)) if each is not None]
        trace.add("log", level, event.get("event"), *told)
        raise structlog.DropEvent

    before = structlog.get_config()
    structlog.configure(processors=[note], cache_logger_on_first_use=False)
    try:
        yield
    finally:
        structlog.configure(**before)
