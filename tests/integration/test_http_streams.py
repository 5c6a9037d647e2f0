"""Live streams over HTTP: events and output, resumed without gap or duplicate."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from events.running import Outcome
from pandar_daemon.adapters.http.deps import Limits
from pandar_daemon.ports import Chunk
from tests.support.api import Api, Person, running_api
from tests.support.sse import Message

HEARTBEAT_SEC = 0.2


@pytest.fixture
async def api(database_url: str, nats_url: str, tmp_path: Path) -> AsyncIterator[Api]:
    """Return a running API whose streams beat five times a second."""
    limits = Limits(heartbeat_sec=HEARTBEAT_SEC, streams_per_user=3, membership_sec=0.0)
    async with running_api(database_url, nats_url, tmp_path, limits=limits) as running:
        yield running


async def _ran(api: Api, person: Person, text: bytes = b"hello\n") -> int:
    task = await person.task(await person.project(), auto_start=True)
    work = await api.claim()
    await api.write(work, Chunk(offset=0, data=text))
    await api.finish(work, output_bytes=len(text))
    return task


async def test_a_task_is_watched_from_its_beginning(api: Api) -> None:
    """A stream opened late tells the whole history first, then output and what follows."""
    person = api.person()
    task = await person.task(await person.project(), auto_start=True)
    work = await api.claim()
    async with person.stream(f"/tasks/{task}/stream") as stream:
        names = [(await stream.next()).name for _ in range(3)]
        assert names == ["task.created", "task.start_requested", "task.started"]
        await api.write(work, Chunk(offset=0, data=b"zw"), Chunk(offset=2, data=b"\xc3"))
        await api.write(work, Chunk(offset=3, data=b"\xb6i\n"))
        text = ""
        while not text.endswith("\n"):
            message = await stream.next()
            assert (message.name, message.data["attempt"]) == ("output", 1)
            text += message.data["text"]
        assert text == "zwöi\n"
        await api.finish(work, output_bytes=6)
        assert (await stream.next()).name == "task.completed"


async def _ran_twice(api: Api, person: Person) -> int:
    """Return a task that failed and was retried, with three chunks of output in each attempt."""
    metadata = {"max_retries": 1}
    project = await person.project()
    task = await person.task(project, auto_start=True, metadata=metadata)
    for outcome in (Outcome.FAILED, Outcome.COMPLETED):
        work = await api.claim()
        for offset, data in ((0, b"one\n"), (4, b"tw\xc3"), (7, b"\xb6\n\xe2")):
            await api.write(work, Chunk(offset=offset, data=data))
        await api.finish(work, output_bytes=10, outcome=outcome)
    return task


def _texts(messages: list[Message]) -> dict[int, str]:
    texts = dict[int, str]()
    for message in messages:
        if message.name == "output":
            attempt = message.data["attempt"]
            texts[attempt] = texts.get(attempt, "") + message.data["text"]
    return texts


async def test_whoever_stops_at_the_end_has_everything(api: Api) -> None:
    """Told late, every attempt's output comes before the event that ends it, to the last byte."""
    person = api.person()
    task = await _ran_twice(api, person)
    async with person.stream(f"/tasks/{task}/stream") as stream:
        first = await stream.until("task.failed")
        rest = await stream.until("task.completed")
    whole = "one\ntw\N{LATIN SMALL LETTER O WITH DIAERESIS}\n\N{REPLACEMENT CHARACTER}"
    assert _texts(first) == {1: whole}
    assert _texts(rest) == {2: whole}


async def test_live_too_the_end_waits_for_the_output(api: Api) -> None:
    """Output that arrives after the event of its attempt's end is sent before it."""
    person = api.person()
    task = await person.task(await person.project(), auto_start=True)
    work = await api.claim()
    async with person.stream(f"/tasks/{task}/stream") as stream:
        await stream.until("task.started")
        await api.finish(work, output_bytes=5)
        await api.write(work, Chunk(offset=0, data=b"late\n"))
        seen = await stream.until("task.completed")
    assert _texts(seen) == {1: "late\n"}


async def test_a_task_stream_resumes_exactly(api: Api) -> None:
    """Whatever message a client saw last, it gets each of the others once, in order."""
    person = api.person()
    task = await _ran_twice(api, person)
    async with person.stream(f"/tasks/{task}/stream") as stream:
        whole = await stream.until("task.completed")
    assert len({m.id for m in whole}) == len(whole)
    for number, seen in enumerate(whole[:-1]):
        async with person.stream(f"/tasks/{task}/stream", seen.id) as stream:
            assert await stream.until("task.completed") == whole[number + 1 :]
    async with person.stream(f"/tasks/{task}/stream", whole[-1].id) as stream:
        assert (await stream.heartbeat()).id == whole[-1].id


async def test_a_stream_without_output_resumes_exactly(api: Api) -> None:
    """Without output the same ids lead on to the same events."""
    person = api.person()
    task = await _ran_twice(api, person)
    async with person.stream(f"/tasks/{task}/stream") as stream:
        whole = await stream.until("task.completed")
    for number, seen in enumerate(whole[:-1]):
        rest = [m.data for m in whole[number + 1 :] if m.name != "output"]
        async with person.stream(f"/tasks/{task}/stream?output=false", seen.id) as stream:
            assert [m.data for m in await stream.until("task.completed")] == rest


async def test_events_resume_without_gap_or_duplicate(api: Api) -> None:
    """Clients that break off anywhere see together exactly what one that stays sees."""
    person = api.person()
    project = await person.project()
    begin = str(person.position)
    for number in range(40):  # more than the ring of the test's Tail holds
        await person.task(project, name=f"n{number}")
    end = person.position
    seen: list[int] = []
    last = begin
    while int(last) < end:
        async with person.stream("/events", last) as stream:
            for _ in range(min(7, end - int(last))):
                message = await stream.next()
                seen.append(int(message.id))
                last = message.id
    assert seen == list(range(int(begin) + 1, end + 1))


async def test_many_clients_see_the_same_order(api: Api) -> None:
    """Three clients of one user follow live; each gets every event once, in log order."""
    person = api.person()
    project = await person.project()
    begin = str(person.position)

    async def watch() -> list[int]:
        async with person.stream("/events", begin) as stream:
            return [int((await stream.next()).id) for _ in range(25)]

    watching = [asyncio.create_task(watch()) for _ in range(3)]
    await asyncio.gather(*(person.task(project) for _ in range(25)))
    expected = list(range(int(begin) + 1, int(begin) + 26))
    assert await asyncio.gather(*watching) == [expected] * 3


async def test_events_are_filtered_by_type_and_project(api: Api) -> None:
    """Only what fits the filters comes, and the id moves on over all the rest."""
    person = api.person()
    here, there = await person.project(), await person.project("q")
    async with person.stream(f"/events?project_id={here}&type=task.updated,member") as stream:
        await person.task(there)
        task = await person.task(here)
        await person.call("PUT", f"/tasks/{task}", json={"name": "new"})
        message = await stream.next()
        assert (message.name, message.data["stream"]) == ("task.updated", f"task-{task}")
        await person.task(there)
        while int((await stream.heartbeat()).id) < person.position:
            pass


async def test_strangers_see_nothing_until_they_belong(api: Api) -> None:
    """An open stream begins to tell of a project once its client is a member, and stops again."""
    owner, guest = api.person("1"), api.person("2")
    project = await owner.project()
    async with guest.stream("/events") as stream:
        await owner.task(project, name="hidden")
        while int((await stream.heartbeat()).id) < owner.position:
            pass  # it has passed by
        await owner.post(f"/projects/{project}/members", {"user": "2"})
        await owner.get("/projects")  # the read models have it
        shown = await owner.task(project, name="shown")
        while (message := await stream.next()).name != "task.created":
            pass
        assert message.data["data"]["name"] == "shown"
        await owner.call("DELETE", f"/projects/{project}/members/2")
        await owner.get("/projects")
        await owner.call("DELETE", f"/tasks/{shown}")
        while int((heartbeat := await stream.heartbeat()).id) < owner.position:
            pass
        assert heartbeat.data is None


async def test_a_stream_ends_with_its_token(api: Api) -> None:
    """Once the token has expired the stream ends instead of going on for ever."""
    person = api.person(ttl_sec=1.0)
    async with person.stream("/events") as stream:
        await stream.end()


async def test_a_position_from_the_future_is_refused(api: Api) -> None:
    """Last-Event-ID beyond the end, or garbage, is a 422 that names the header."""
    person = api.person()
    task = await person.task(await person.project())
    for path in ("/events", f"/tasks/{task}/stream"):
        for last in ("999999", "abc", "1.2", "-1"):
            headers = {"Last-Event-ID": last}
            problem = await person.refused("GET", path, 422, headers=headers)
            assert problem["errors"][0]["field"] == "Last-Event-ID"
    head = (await api.parts.store.head()).position
    problem = await person.refused("GET", "/events", 422, headers={"Last-Event-ID": "999999"})
    assert problem["detail"] == (
        f"Last-Event-ID: must be at most {head}, where the log ends"
        f" (so `pandar events tail --from` takes at most {head + 1})"
    )


async def test_streams_are_bounded_per_user(api: Api) -> None:
    """A user's fourth stream is refused with 429; others are not affected."""
    person, other = api.person("1"), api.person("2")
    async with person.stream("/events"), person.stream("/events"), person.stream("/events"):
        await person.refused("GET", "/events", 429)
        async with other.stream("/events"):
            pass
    async with asyncio.timeout(30):
        while not await _admitted(person):  # until the server has noticed that they left
            pass


async def _admitted(person: Person) -> bool:
    headers = {"Authorization": f"Bearer {person.token}"}
    url = f"{person.base_url}/api/v1/events"
    async with person.session.get(url, headers=headers) as reply:
        return reply.status == 200


async def test_stopping_ends_open_streams(database_url: str, nats_url: str, tmp_path: Path) -> None:
    """A server that stops ends its streams at once instead of waiting for their clients."""
    async with running_api(database_url, nats_url, tmp_path) as api:
        person = api.person()
        task = await person.task(await person.project())
        opened = person.stream("/events")
        stream = await opened.__aenter__()
        following = asyncio.create_task(person.call("GET", f"/tasks/{task}/output?follow=true"))
        async with person.stream("/events"):
            pass
    with pytest.raises((StopAsyncIteration, OSError, Exception)):
        await stream.next()
    following.cancel()
    await asyncio.wait({following})
