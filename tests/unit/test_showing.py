"""What an execution shows, as it is kept: without secrets, and not late."""

from __future__ import annotations

from pandar_daemon.domain.redaction import Redactor
from pandar_daemon.services.showing import QUIET_SEC, Showing
from tests.support.clock import ManualClock

SECRET = b"correct-horse-battery"


class Screen:
    """What was shown, by one way of showing it."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.shown = b""
        redactor = Redactor({"K": SECRET.decode()})
        self.showing = Showing(redactor, self._show, self.clock.boottime)

    async def _show(self, data: bytes) -> None:
        assert data
        self.shown += data


async def test_a_prompt_is_shown_at_once() -> None:
    """Nothing in it can be the beginning of a secret."""
    screen = Screen()
    await screen.showing.feed(b"Go on? [y/N] ")
    assert screen.shown == b"Go on? [y/N] "


async def test_what_was_held_back_is_shown_when_nothing_comes_for_a_moment() -> None:
    """Not before; and all of it at the end."""
    screen = Screen()
    await screen.showing.feed(b"a c")
    await screen.showing.tick()
    assert screen.shown == b"a "
    screen.clock.advance(QUIET_SEC)
    await screen.showing.tick()
    assert screen.shown == b"a c"
    await screen.showing.feed(b"o")
    await screen.showing.close()
    assert screen.shown == b"a co"


async def test_the_beginning_of_a_secret_is_held_back_for_as_long_as_it_takes() -> None:
    """Until the rest comes, or cannot come any more."""
    screen = Screen()
    await screen.showing.feed(SECRET[:10])
    screen.clock.advance(3_600)
    await screen.showing.tick()
    assert screen.shown == b""
    await screen.showing.feed(SECRET[10:] + b".")
    assert screen.shown == b"[REDACTED:K]."
    await screen.showing.feed(SECRET[:10])
    await screen.showing.close()
    assert screen.shown == b"[REDACTED:K]." + SECRET[:10]
