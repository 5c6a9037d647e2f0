"""Which member of a cluster to be connected to: not for ever one that is apart from the others."""

from __future__ import annotations

import pytest

from pandar_daemon.adapters.nats.members import LOOK_SEC, STAY_MAX_SEC, STAY_SEC, Members
from pandar_daemon.domain.refusals import Unavailable
from tests.support.clock import ManualClock

URLS = ["nats://secret@one:4222", "nats://two:4222", "nats://u:p@three:4223"]
LED = b'{"type": "io.nats.jetstream.api.v1.account_info_response", "memory": 0, "streams": 3}'
LEADERLESS = b'{"error": {"code": 503, "err_code": 10008, "description": "unavailable"}}'


class Server:
    """Says the same again and again, and counts how often it was asked."""

    def __init__(self, said: bytes | None) -> None:
        self.said, self.asked = said, 0

    async def answer(self) -> bytes:
        """Return it; ``None`` is no answer in time."""
        self.asked += 1
        if self.said is None:
            raise Unavailable("no answer came in time")
        return self.said


@pytest.fixture
def clock() -> ManualClock:
    """Return a clock that stands still."""
    return ManualClock()


@pytest.fixture
def members(clock: ManualClock) -> Members:
    """Return three, one of which has just taken us in."""
    made = Members(URLS, clock)
    made.joined("one:4222")
    return made


async def left_after(members: Members, clock: ManualClock, server: Server) -> float:
    """Return for how long a member that knows no leader was stayed with."""
    members.joined("one:4222")
    began = clock.boottime()
    while not await members.is_apart(server.answer):
        clock.advance(0.5)
    return clock.boottime() - began


async def test_one_server_alone_is_never_asked(clock: ManualClock) -> None:
    """There is nowhere else to go."""
    alone, server = Members(URLS[:1], clock), Server(LEADERLESS)
    alone.joined("one:4222")
    clock.advance(STAY_MAX_SEC)
    assert not await alone.is_apart(server.answer)
    assert server.asked == 0
    assert alone.to_try() == URLS[:1]


async def test_it_is_asked_now_and_then(members: Members, clock: ManualClock) -> None:
    """A member that knows a leader is stayed with."""
    server = Server(LED)
    for _ in range(20):
        clock.advance(LOOK_SEC / 5)
        assert not await members.is_apart(server.answer)
    assert server.asked == 4
    assert members.to_try() == URLS


@pytest.mark.parametrize(
    "said",
    [None, LED, b"", b"[]", b'{"error": {"err_code": 10039}}', b'{"error": "no"}'],
    ids=["nothing", "led", "empty", "no object", "another error", "garbage"],
)
async def test_only_the_word_of_the_member_itself_counts(
    members: Members, clock: ManualClock, said: bytes | None
) -> None:
    """Silence and other errors say nothing about the cluster."""
    for _ in range(10):
        clock.advance(STAY_SEC)
        assert not await members.is_apart(Server(said).answer)


async def test_one_that_is_apart_is_left_once_for_the_others(
    members: Members, clock: ManualClock
) -> None:
    """The next connection is to another; the one after it may be to any."""
    assert await left_after(members, clock, Server(LEADERLESS)) == STAY_SEC
    assert members.to_try() == URLS[1:]
    assert members.to_try() == URLS


async def test_when_no_member_is_better_they_are_left_ever_later(
    members: Members, clock: ManualClock
) -> None:
    """Too few are left for a leader: going round helps nobody."""
    server = Server(LEADERLESS)
    stays = [await left_after(members, clock, server) for _ in range(9)]
    assert stays == [10.0, 20.0, 40.0, 80.0, 160.0, 320.0, 600.0, 600.0, 600.0]


async def test_one_that_knows_a_leader_ends_the_search(
    members: Members, clock: ManualClock
) -> None:
    """The next time begins with the shortest stay again."""
    await left_after(members, clock, Server(LEADERLESS))
    members.joined("two:4222")
    clock.advance(LOOK_SEC)
    assert not await members.is_apart(Server(LED).answer)
    assert await left_after(members, clock, Server(LEADERLESS)) == STAY_SEC
