"""One trace, from the HTTP request to the last event on the bus."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import aiohttp
import nats

from events import subjects
from tests.acceptance.conftest import Pandar
from tests.support.api import Person
from tests.support.up import ENDS

PATIENCE_SEC = 30.0


async def headers_of(nats_url: str, task: int) -> dict[str, dict[str, str]]:
    """Return the headers of each event of a task by its type, once it has ended."""
    found: dict[str, dict[str, str]] = {}
    client = await nats.connect(nats_url)
    try:
        subject = subjects.events_of_task(None, task)
        stream = await client.jetstream().subscribe(subject, ordered_consumer=True)
        while not found.keys() & ENDS:
            message = await stream.next_msg(timeout=PATIENCE_SEC)
            assert message.headers is not None
            type_ = message.headers["ce-type"].removeprefix("dev.pandar.").removesuffix(".v1")
            found[type_] = message.headers
    finally:
        await client.close()
    return found


async def test_one_trace_from_request_to_end(pandar: Pandar) -> None:
    """The caller's trace id is in the headers of every event, the runner's reports included."""
    trace = uuid4().hex
    sent = {"traceparent": f"00-{trace}-b7ad6b7169203331-01"}
    body = {"name": "traced", "command": "echo traced", "project_id": 1}
    async with aiohttp.ClientSession() as session:
        owner = Person(session, pandar.base_url, pandar.token)
        task = int((await owner.post("/tasks", body, headers=sent))["id"])
    async with asyncio.timeout(PATIENCE_SEC):
        headers = await headers_of(pandar.nats_url, task)
    assert {"task.created", "task.started", "task.completed"} <= headers.keys()
    traces = {type_: each["traceparent"].split("-")[1] for type_, each in headers.items()}
    assert traces == dict.fromkeys(headers, trace)
