"""Takes secrets out of bytes on their way, the same wherever these are cut.

What is found is a region of the text as it came, whatever else is found: where regions overlap, one
mark stands for all, named after the first. Of what shapes there are, those that begin within
another one are part of it. So the whole of a text and its pieces have the same regions.

Held back is what may be the beginning of a secret, and nothing else. A secret whose end is still
open (of a key, only the first characters say that it is one) is replaced at once, and what goes on
is left out as it comes: less than `HELD_MAX` bytes are ever kept.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from msgspec import Struct

from pandar_daemon.domain.secret_finder import MARK, Finder, Sought
from pandar_daemon.domain.secret_forms import Literal
from pandar_daemon.domain.secret_parts import BEFORE_MAX, Found, Rest

HELD_MAX: Final = 4_096
"""Bytes: more than any shape, and any piece of a known value, takes to be told from others."""


class Region(Struct):
    """A secret, by its place in the data; ``found_at`` is the anchor it was noticed by."""

    found_at: int
    start: int
    end: int
    sought: Sought
    rest: Rest | None

    @property
    def is_mark(self) -> bool:
        """Whether it is one that was taken out before: it stays."""
        return self.sought is MARK

    @property
    def is_known(self) -> bool:
        """Whether it is a value that is known."""
        return isinstance(self.sought, Literal)

    @property
    def mark(self) -> bytes:
        """What stands for it."""
        return b"[REDACTED:%s]" % self.sought.kind.encode()

    def moved(self, by: int) -> Region:
        """Return it by its place in data that lost so many bytes at their beginning."""
        return Region(self.found_at - by, self.start - by, self.end - by, self.sought, self.rest)


class Stream:
    """One flow of bytes; it uses the newest finder for what it has not let go."""

    def __init__(self, finder: Callable[[], Finder]) -> None:
        self._finder = finder
        self._clear()

    def _clear(self) -> None:
        self._data = b""
        self._scanned = 0  # before here all is told
        self._shown = 0  # before here all is put out
        self._covered = 0  # before here a mark that is put out stands for it
        self._regions: list[Region] = []
        self.is_holding = False

    @property
    def held(self) -> int:
        """How many bytes are kept, shown ones that are looked back at included."""
        return len(self._data)

    def feed(self, data: bytes) -> bytes:
        """Take what came next; return what can be shown of all that came."""
        self._data += data
        return self._go_on()

    def settle(self) -> bytes:
        """Return what is held back only just in case, as nothing came for a while.

        Should the rest of a secret come after all, that is not shown.
        """
        return self._go_on(hurry=True)

    def flush(self) -> bytes:
        """Return what is left: nothing more comes. What is fed next is another text."""
        shown = self._go_on(final=True)
        self._clear()
        return shown

    def _go_on(self, *, hurry: bool = False, final: bool = False) -> bytes:
        size = len(self._data)
        keep, hold = self._look(hurry=hurry, final=final)
        shown = self._put_out(hold)
        self.is_holding = max(self._shown, self._covered) < size
        self._forget(keep)
        return shown

    # --- what there is ---

    def _look(self, *, hurry: bool, final: bool) -> tuple[int, int]:
        """Find the regions; return from where on to look again, and not to show anything yet."""
        finder, data = self._finder(), self._data
        told = [self._extended(region, final=final) for region in self._regions]
        keep = hold = min((open_ for open_ in told if open_ is not None), default=len(data))
        hold = len(data) if hurry else hold
        near = list(self._regions)
        for at, _, sought in finder.hits(data, self._scanned):
            if at >= hold:
                break
            near = [region for region in near if region.end >= at] if near else near
            if near and _is_part(at, sought, near):
                continue
            result = sought.scan(data, at, final=final)
            if isinstance(result, Found):
                region = Region(at, result.start, result.end, sought, result.rest)
                self._regions.append(region)
                near.append(region)
                open_ = self._extended(region, final=final)
                if open_ is not None:
                    keep, hold = min(keep, open_), hold if hurry else min(hold, open_)
            elif result is not None:
                keep = min(keep, at)
                hold = hold if hurry and not result.firm else min(hold, result.hold)
        begun = None if final else finder.beginning(data, self._scanned)
        if begun is not None:
            keep = min(keep, begun.at)
            hold = hold if hurry and not begun.firm else min(hold, begun.hold)
        return keep, hold

    def _extended(self, region: Region, *, final: bool) -> int | None:
        """Let a region go on as far as it does; return where it is open, if that is unknown."""
        if region.rest is None:
            return None
        region.end, is_open = region.rest.extend(self._data, region.start, region.end, final=final)
        if not is_open:
            region.rest = None
        return region.end if is_open and region.end < len(self._data) else None

    # --- what is shown of it ---

    def _put_out(self, hold: int) -> bytes:
        """Return what is due before ``hold``."""
        out: list[bytes] = []
        at = max(self._shown, self._covered)
        for region in sorted(self._regions, key=lambda each: each.start):
            if region.start >= hold:
                break
            if region.is_mark:
                continue
            if region.start >= self._covered and region.end > at:
                out += (self._data[at : max(at, region.start)], region.mark)
            elif region.start >= self._covered:
                continue
            self._covered = max(self._covered, region.end)
            at = max(at, self._covered)
        out.append(self._data[at : max(at, hold)])
        self._shown = max(at, hold)
        return b"".join(out)

    def _forget(self, keep: int) -> None:
        """Drop what nothing can look at again; what is found from ``keep`` on is found anew."""
        cut = max(0, keep - BEFORE_MAX)
        self._regions = [
            region.moved(cut)
            for region in self._regions
            if region.found_at < keep and (region.end >= keep or region.rest is not None)
        ]
        self._data = self._data[cut:]
        self._scanned = keep - cut
        self._shown = max(0, self._shown - cut)
        self._covered = max(0, self._covered - cut)


def regions(finder: Finder, data: bytes) -> list[Region]:
    """Return the secrets in data that are complete, without the marks of earlier ones."""
    stream = Stream(lambda: finder)
    stream._data = data  # noqa: SLF001 - it is of this module
    stream._look(hurry=False, final=True)  # noqa: SLF001
    return [region for region in stream._regions if not region.is_mark]  # noqa: SLF001


def _is_part(at: int, sought: Sought, near: Sequence[Region]) -> bool:
    """Return whether it lies in a mark, or a shape in another one; or right behind a mark.

    What came right behind a mark was seen, and was no secret, when that was no mark yet.
    """
    is_shape = not isinstance(sought, Literal)
    for region in near:
        inside = region.start <= at < region.end
        if region.is_mark and (inside or (is_shape and sought is not MARK and at == region.end)):
            return True
        if inside and is_shape and not region.is_known:
            return True
    return False
