"""One line on stderr that says how far something is, where a person looks."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Self

from pandar_daemon.cli.harmless import one_line
from pandar_daemon.cli.output import err_look


class ProgressLine:
    """A context manager; without a terminal on stderr it says nothing, and remembers the same."""

    def __init__(self) -> None:
        self._shown = err_look().width is not None
        self.seen: list[str] = []
        self._percent = -1

    def __enter__(self) -> Self:
        return self

    def show(self, what: str, done: int, total: int) -> None:
        """Say that ``done`` of ``total`` of ``what`` is done; at most once for each percent."""
        if what not in self.seen:
            self.seen.append(what)
            self._percent = -1
        percent = 100 * done // total if total else 100
        if self._shown and percent != self._percent:
            self._percent = percent
            sys.stderr.write(f"\r\x1b[K{one_line(what)}  {percent}%  ({done:,} of {total:,})")
            sys.stderr.flush()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._shown and self.seen:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
