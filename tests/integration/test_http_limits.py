"""How many requests one may make: counted by user, else by address, answered 429 with a time."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from events import commands as do
from events import subjects
from pandar_daemon.adapters.http.deps import Limits
from pandar_daemon.domain.refusals import TooMany, Unavailable
from pandar_daemon.ports import Message
from pandar_daemon.services.pacing import Pacing
from tests.support.api import Api, Person, running_api
from tests.support.clock import ManualClock
from tests.support.desk import desk

pytestmark = pytest.mark.servers


@pytest.fixture
async def api(database_url: str, nats_url: str, tmp_path: Path) -> AsyncIterator[Api]:
    """Return an API of which little may be asked."""
    few = Limits(requests_per_minute=5, failures_per_minute=3)
    async with running_api(database_url, nats_url, tmp_path, limits=few) as running:
        yield running


async def statuses(person: Person, path: str, count: int) -> list[int]:
    """Return the statuses of so many requests."""
    return [(await person.call("GET", path))[0].status for _ in range(count)]


async def test_a_user_who_asks_too_often_is_told_when_to_come_back(api: Api) -> None:
    """The sixth in a minute is a problem; somebody else, and the probes, are answered."""
    person = api.person("7")
    assert await statuses(person, "/tasks", 5) == [200] * 5
    problem = await person.refused("GET", "/tasks", 429)
    assert problem["type"] == "urn:pandar:problem:too-many"
    assert problem["detail"].startswith("at most 5 requests of one user a minute; ")
    reply, _ = await person.call("GET", "/tasks")
    assert 1 <= int(reply.headers["Retry-After"]) <= 12
    assert await statuses(api.person("8"), "/tasks", 1) == [200]
    for _ in range(10):
        async with api.session.get(f"{api.base_url}/healthz") as probe:
            assert probe.status == 200
    assert await statuses(api.person("9", "system"), "/tasks", 6) == [200] * 6


async def test_bad_tokens_are_counted_by_address_and_keep_nobody_else_out(api: Api) -> None:
    """The fourth in a minute is told so; a good token from there is as good as before."""
    stranger = Person(api.session, api.base_url, "garbage")
    assert await statuses(stranger, "/tasks", 4) == [401, 401, 401, 429]
    assert await statuses(api.person("7"), "/tasks", 1) == [200]


async def test_who_shows_no_token_is_counted_by_address(api: Api) -> None:
    """The description of the API, and the pages links lead to."""
    nobody = Person(api.session, api.base_url, "")
    assert await statuses(nobody, "/openapi.json", 5) == [200] * 5
    assert await statuses(nobody, "/openapi.json", 1) == [429]
    async with api.session.get(f"{api.base_url}/a/no-such-link") as page:
        assert page.status == 429
    assert await statuses(api.person("7"), "/tasks", 1) == [200]


async def test_an_open_stream_counts_once(api: Api) -> None:
    """However long it lasts."""
    person = api.person("7")
    async with person.stream("/events"):
        assert await statuses(person, "/tasks", 4) == [200] * 4
        await person.refused("GET", "/tasks", 429)


async def test_commands_over_the_bus_are_counted_by_user(
    database_url: str, clock: ManualClock
) -> None:
    """Pandar's own services are not; one that waits in the queue is given back, not refused."""
    async with desk(database_url, clock) as one:
        one.endpoint._pace = Pacing(clock, 3)
        for _ in range(3):
            await one.ask("user:7", "project.create", do.CreateProject(name="p"))
        with pytest.raises(TooMany) as refused:
            await one.ask("user:7", "project.create", do.CreateProject(name="p"))
        assert refused.value.retry_after_sec == 20
        for user in ("user:8", *["system:x"] * 5):
            await one.ask(user, "project.create", do.CreateProject(name="p"))
        clock.advance(20)
        await one.ask("user:7", "project.create", do.CreateProject(name="p"))

        token = {"pandar-token": one.token("user:7")}
        subject = subjects.command("project.create", None, None)
        asked = Message(subject=subject, body=b'{"name":"p"}', headers=token)
        request = await one.endpoint._requests.read(asked)
        with pytest.raises(Unavailable):
            one.endpoint._pace.check(request, queued=True)
