"""Who may see an event, when many streams ask at once and the read models are behind."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import cast
from uuid import UUID

import pytest
from msgspec import Raw

from events.envelope import Recorded
from pandar_daemon.adapters.http import events
from pandar_daemon.adapters.http.deps import Deps, Limits
from pandar_daemon.adapters.http.events import Follower
from pandar_daemon.adapters.http.visibility import Membership
from pandar_daemon.domain.access import Principal, Role
from tests.support.clock import ManualClock

ANNA = Principal(user="anna", roles=frozenset({Role.USER}))
STREAMS = 50


class Projects:
    """Read models at a position one can move, that count how often they are asked for roles."""

    def __init__(self) -> None:
        self.at = 0
        self.looked = asyncio.Condition()
        self.looks = 0
        self.asked = 0

    async def position(self) -> int:
        """Return how far they are."""
        async with self.looked:
            self.looks += 1
            self.looked.notify_all()
        await asyncio.sleep(0)  # as a question to a database would, it lets others go on
        return self.at

    async def looked_at(self, *, times: int) -> None:
        """Return once somebody has looked so often how far they are."""
        async with self.looked:
            await self.looked.wait_for(lambda: self.looks >= times)

    async def roles(self, _user: str) -> dict[int, str]:
        """Return what everybody is: a member of project 1."""
        self.asked += 1
        return {1: "member"}


def needs(projects: Projects, **limits: float) -> Deps:
    """Return what `Membership` takes of all that a handler may use."""
    made = Limits(**limits)  # type: ignore[arg-type] # the counts among them are not given here
    return cast("Deps", SimpleNamespace(clock=ManualClock(), limits=made, projects=projects))


def recorded(position: int) -> Recorded:
    """Return an event of project 1."""
    return Recorded(
        position=position,
        stream="task-1",
        version=1,
        event_id=UUID(int=position),
        type="task.created",
        schema_version=1,
        recorded_at=datetime(2026, 1, 2, tzinfo=UTC),
        actor="user:1",
        project_id=1,
        command_id="c",
        correlation_id="c",
        causation_id=None,
        traceparent=None,
        data=Raw(b"{}"),
    )


async def test_of_all_streams_of_a_user_one_asks() -> None:
    """Fifty streams that need the same answer cost one look at the read models, not fifty."""
    projects = Projects()
    projects.at = 7
    membership = Membership(needs(projects))
    answers = await asyncio.gather(*(membership.sees(ANNA, 1, 7) for _ in range(STREAMS)))
    assert answers == [True] * STREAMS
    assert (projects.asked, projects.looks) == (1, 1)


async def test_an_answer_is_good_for_all_that_came_before_it() -> None:
    """Roles read at position 9 answer for events 7 and 9; event 10 needs newer ones."""
    projects = Projects()
    projects.at = 9
    membership = Membership(needs(projects))
    for position in (7, 9):
        assert await membership.sees(ANNA, 1, position)
    assert projects.asked == 1
    projects.at = 10
    assert await membership.sees(ANNA, 1, 10)
    assert projects.asked == 2


async def test_a_stream_waits_for_read_models_that_are_behind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """However long they take, the event is judged in the end: the stream is not broken off."""
    monkeypatch.setattr(events, "_BEHIND_SEC", 0.0)
    projects = Projects()
    made = needs(projects, min_position_sec=0.001)
    cursor = Follower(made, Membership(made), ANNA, "token")
    seeing = asyncio.create_task(cursor.sees(recorded(5)))
    looking = asyncio.create_task(projects.looked_at(times=3))
    await asyncio.wait({seeing, looking}, return_when=asyncio.FIRST_COMPLETED)
    assert not seeing.done()
    projects.at = 5
    assert await seeing
