"""The description of the HTTP API is served, and real answers are as it says."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pandar_daemon.adapters.http import answers
from pandar_daemon.adapters.http.operations import OPERATIONS
from tests.support.api import Api, running_api
from tests.support.descriptions import keys

Json = Any


@pytest.fixture
async def api(database_url: str, nats_url: str, tmp_path: Path) -> AsyncIterator[Api]:
    """Return a running API with project 1 of user 1."""
    async with running_api(database_url, nats_url, tmp_path) as running:
        await running.person().project()
        yield running


def _is(body: Json, shape: Any) -> None:  # noqa: ANN401
    """Check that an answer has every field of its shape, of the right type, and no other."""
    assert keys(msgspec.to_builtins(msgspec.convert(body, shape))) == keys(body)


async def test_served_to_anybody(api: Api) -> None:
    """It needs no token, does not wait for a position, and tells which operations there are."""
    late = {"Pandar-Min-Position": "999999"}
    for path in ("/api/v1/openapi.json", "/api/v1/openapi.json/"):
        async with api.session.get(api.base_url + path, headers=late) as reply:
            assert reply.status == 200
            shown = await reply.json()
    assert shown["openapi"].startswith("3.1")
    assert "/api/v1/tasks/{id}" in shown["paths"]


async def test_nothing_near_it_is_open(api: Api) -> None:
    """Other methods and paths that resemble it need a token as before."""
    for method, path in (
        ("POST", "/api/v1/openapi.json"),
        ("GET", "/api/v1/openapi.json/x"),
        ("GET", "/api/v1/openapi.json%2F..%2Ftasks"),
        ("GET", "/api/v1//openapi.json"),
        ("GET", "/api/v1/tasks?/api/v1/openapi.json"),
    ):
        async with api.session.request(method, api.base_url + path) as reply:
            assert reply.status == 401, path


async def test_answers_have_the_described_shape(api: Api) -> None:
    """Every JSON answer about a task that ran, and its project, is what the description says."""
    person = api.person()
    task = await person.task(1, auto_start=True)
    work = await api.claim()
    await api.finish(work, outcome="failed", error="no", exit_code=3)
    await api.settle(person)
    await person.post("/projects/1/members", {"user": "2", "role": "viewer"})
    for name, of in OPERATIONS.items():
        method, path = name.split()
        if method == "GET" and of.security is None and of.answer is not None:
            number = task if path.startswith("/tasks") else 1
            path = path.replace("{id}", str(number)) + ("?q=t" if "search" in path else "")
            if "{" in path or path.endswith("/diff"):
                continue  # nothing of that kind is there; their own tests hold them to their shape
            _is(await person.get(path), of.answer)
    _is(await person.post(f"/tasks/{task}/retry"), answers.Task)
    bulk = {"task_ids": [task, 999], "action": "cancel"}
    _is(await person.post("/tasks/bulk", bulk), answers.BulkResult)
    _is(await person.post("/projects", {"name": "other"}), answers.Project)


async def test_pages_by_cursor_have_the_described_shape(api: Api) -> None:
    """A page that was asked for by a cursor is as described, too."""
    person = api.person()
    await person.task(1)
    await person.task(1)
    first = await person.get("/tasks?limit=1")
    _is(await person.get("/tasks", params={"cursor": first["next_cursor"]}), answers.TaskPage)


async def test_probes_have_the_described_shape(api: Api) -> None:
    """Probes answer as described."""
    for path, shape in (("/healthz", answers.Alive), ("/readyz", answers.Ready)):
        async with api.session.get(api.base_url + path) as reply:
            _is(await reply.json(), shape)
