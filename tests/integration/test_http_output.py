"""What attempts wrote, over HTTP: as JSON, text, ranges, lines, and as it comes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from events.task import Cut
from pandar_daemon.adapters.http.deps import Limits
from pandar_daemon.ports import Chunk
from tests.support.api import Api, Person, running_api

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


async def test_output_is_followed_to_its_end(api: Api) -> None:
    """Follow begins before the attempt does, carries all of it, and ends when it ends."""
    person = api.person()
    task = await person.task(await person.project(), auto_start=True)
    following = asyncio.create_task(person.call("GET", f"/tasks/{task}/output?follow=true"))
    work = await api.claim()
    for number in range(5):
        await api.write(work, Chunk(offset=2 * number, data=f"{number}\n".encode()))
    await api.finish(work, output_bytes=10)
    reply, body = await asyncio.wait_for(following, 30)
    assert (reply.status, body) == (200, "0\n1\n2\n3\n4\n")
    assert reply.content_type == "text/plain"


async def test_following_what_has_ended_is_reading(api: Api) -> None:
    """Follow of a finished attempt answers all of it, or its last lines, and ends."""
    person = api.person()
    task = await _ran(api, person, b"one\ntwo\nthree\n")
    whole = "one\ntwo\nthree\n"
    for query, expected in (("", whole), ("&tail=1", whole[8:]), ("&offset=4", whole[4:])):
        _, body = await person.call("GET", f"/tasks/{task}/output?follow=true{query}")
        assert body == expected


async def test_what_was_cut_is_said(api: Api) -> None:
    """A hole in the output is a line in text, and named in JSON."""
    person = api.person()
    task = await person.task(await person.project(), auto_start=True)
    work = await api.claim()
    await api.write(work, Chunk(offset=0, data=b"head\n"), Chunk(offset=100, data=b"tail\n"))
    await api.finish(work, output_bytes=105)
    _, text = await person.call("GET", f"/tasks/{task}/output?follow=true")
    assert text == "head\n\n[pandar: 95 bytes of output are not kept]\ntail\n"
    _, shown = await person.call("GET", f"/tasks/{task}/output")
    assert (shown["output"], shown["offset"]) == ("tail\n", 100)
    assert shown["cut"] == {"start": 5, "end": 100}
    _, first = await person.call("GET", f"/tasks/{task}/output?offset=0")
    assert (first["output"], first["next_offset"]) == ("head\n", 5)
    assert first["cut"] == shown["cut"]
    _, within = await person.call("GET", f"/tasks/{task}/output?offset=50")
    assert (within["output"], within["offset"], within["cut"]) == ("tail\n", 100, shown["cut"])


async def test_a_cut_far_from_what_is_shown_is_said(api: Api) -> None:
    """Its true beginning is told however far back it is, running or over."""
    person = api.person()
    task = await person.task(await person.project(), auto_start=True)
    work = await api.claim()
    end = 5_000_000
    cut = {"start": 300_000, "end": end - 10}
    await api.write(
        work,
        *(Chunk(offset=n * 60_000, data=b"h" * 60_000) for n in range(5)),
        Chunk(offset=end - 10, data=b"123456789\n"),
    )
    for over in (False, True):
        if over:
            await api.finish(work, output_bytes=end, cut=Cut(**cut))
        await api.settle(person)
        for query in ("", "?tail=1", "?offset=4000000", "?offset=300000"):
            shown = await person.get(f"/tasks/{task}/output{query}")
            assert (shown["cut"], shown["is_complete"]) == (cut, over)
            assert shown["output"] == "123456789\n"
    for query in ("?offset=0&length=1", f"?offset={end - 3}", f"?offset={end}"):
        assert (await person.get(f"/tasks/{task}/output{query}"))["cut"] == cut


async def test_output_by_range_tail_and_offset(api: Api) -> None:
    """Bytes come raw as 206 with their place; lines and slices as JSON or text."""
    person = api.person()
    task = await _ran(api, person, "ab€\ntwo\nthree".encode())
    await api.settle(person)
    await person.get(f"/tasks/{task}")
    reply, body = await person.call("GET", f"/tasks/{task}/output", headers={"Range": "bytes=6-8"})
    assert (reply.status, body) == (206, "two")
    assert reply.headers["Content-Range"] == "bytes 6-8/15"
    reply, body = await person.call("GET", f"/tasks/{task}/output", headers={"Range": "bytes=10-"})
    assert (reply.status, body) == (206, "three")
    for asked in ("bytes=900-", "bytes=5-2", "lines=1-2", "bytes=0-1,4-5"):
        await person.refused("GET", f"/tasks/{task}/output", 416, headers={"Range": asked})
    await api.settle(person)
    shown = await person.get(f"/tasks/{task}/output?tail=2")
    assert (shown["output"], shown["offset"], shown["next_offset"]) == ("two\nthree", 6, 15)
    assert shown["is_complete"] is True
    sliced = await person.get(f"/tasks/{task}/output?offset=0&length=4")
    assert (sliced["output"], sliced["next_offset"]) == ("ab", 2)
    text, body = await person.call(
        "GET", f"/tasks/{task}/output?tail=1", headers={"Accept": "text/plain"}
    )
    assert (text.content_type, body) == ("text/plain", "three")


async def test_ranges_know_the_end_of_what_is_complete(api: Api) -> None:
    """The last bytes can be had, and the whole length is told, once the attempt is over."""
    person = api.person()
    task = await person.task(await person.project(), auto_start=True)
    work = await api.claim()
    await api.write(work, Chunk(offset=0, data=b"0123456789"))
    path = f"/tasks/{task}/output"
    await person.refused("GET", path, 416, headers={"Range": "bytes=-5"})
    reply, body = await person.call("GET", path, headers={"Range": "bytes=2-3"})
    assert (body, reply.headers["Content-Range"]) == ("23", "bytes 2-3/*")
    await api.finish(work, output_bytes=10)
    await api.settle(person)
    await person.get(f"/tasks/{task}")
    for asked, expected, place in (
        ("bytes=-5", "56789", "5-9"),
        ("bytes=-50", "0123456789", "0-9"),
        ("bytes=7-", "789", "7-9"),
        ("bytes=2-3", "23", "2-3"),
    ):
        reply, body = await person.call("GET", path, headers={"Range": asked})
        assert (reply.status, body) == (206, expected)
        assert reply.headers["Content-Range"] == f"bytes {place}/10"
    for asked in ("bytes=10-", "bytes=-0", "bytes=-"):
        reply, _ = await person.call("GET", path, headers={"Range": asked})
        assert (reply.status, reply.headers["Content-Range"]) == (416, "bytes */10")


async def test_each_attempt_keeps_its_output(api: Api) -> None:
    """After a retry the first attempt's output can still be read (the origin lost it)."""
    person = api.person()
    task = await _ran_twice(api, person)
    for attempt, expected in ((1, "first\n"), (2, "second\n")):
        shown = await person.get(f"/tasks/{task}/output?attempt={attempt}")
        assert (shown["attempt"], shown["output"]) == (attempt, expected)
        assert shown["is_complete"] is True
    assert (await person.get(f"/tasks/{task}/output"))["output"] == "second\n"


async def _ran_twice(api: Api, person: Person) -> int:
    task = await person.task(await person.project(), auto_start=True)
    for text in (b"first\n", b"second\n"):
        work = await api.claim()
        await api.write(work, Chunk(offset=0, data=text))
        outcome = "cancelled" if text == b"first\n" else "completed"
        if outcome == "cancelled":
            await person.post(f"/tasks/{task}/cancel")
        await api.finish(work, output_bytes=len(text), outcome=outcome)
        if outcome == "cancelled":
            await person.post(f"/tasks/{task}/retry")
    await api.settle(person)
    return task


async def test_logs_are_lines_between_events(api: Api) -> None:
    """The log tells what happened and what was written, in order, with levels and pages."""
    person = api.person()
    task = await _ran(api, person, b"one\ntwo\n")
    await api.settle(person)
    found = await person.get(f"/tasks/{task}/logs?limit=4")
    assert [line["message"] for line in found["logs"]][3] == "one"
    assert (found["total"], found["has_more"]) == (6, True)
    rest = await person.get(f"/tasks/{task}/logs?limit=4&page=2")
    assert rest["logs"][0]["message"] == "two"
    assert (rest["has_more"], rest["logs"][0]["id"]) == (False, 5)
    assert (await person.get(f"/tasks/{task}/logs?level=ERROR"))["logs"] == []


async def test_a_client_that_reads_nothing_is_cut_off(
    database_url: str, nats_url: str, tmp_path: Path
) -> None:
    """A client that leaves its socket full is dropped, and holds nobody up meanwhile."""
    limits = Limits(write_sec=0.5)
    async with running_api(database_url, nats_url, tmp_path, limits=limits) as api:
        person = api.person()
        task = await person.task(await person.project(), auto_start=True)
        work = await api.claim()
        for number in range(256):
            await api.write(work, Chunk(offset=number * 65_536, data=b"x" * 65_536))
        reader, writer = await asyncio.open_connection("127.0.0.1", int(api.base_url[-5:]))
        request = f"GET /api/v1/tasks/{task}/output?follow=true&offset=0 HTTP/1.1\r\nHost: x\r\n"
        writer.write(f"{request}Authorization: Bearer {person.token}\r\n\r\n".encode())
        await reader.readline()
        registry = api.parts.metrics.registry
        async with asyncio.timeout(30):
            while registry.get_sample_value("pandar_http_streams") != 0:
                await person.get("/tasks?limit=1")
        writer.close()
