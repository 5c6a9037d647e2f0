"""What bad input gets over HTTP: a 4xx that names the field and the rule, and no effect."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from tests.support.api import Api, Json, running_api

GOOD = {"name": "t", "command": "true", "project_id": 1}
JSON = {"Content-Type": "application/json"}


@pytest.fixture
async def api(database_url: str, nats_url: str, tmp_path: Path) -> AsyncIterator[Api]:
    """Return a running API with project 1 of user 1."""
    async with running_api(database_url, nats_url, tmp_path) as running:
        await running.person().project()
        yield running


def _fields(problem: Json) -> list[str]:
    return [error["field"] for error in problem["errors"]]


async def test_every_bad_task_names_its_field(api: Api) -> None:
    """Each broken rule of a task is a 422 naming the field; none of them files anything."""
    person = api.person()
    bad: list[tuple[dict[str, object], str]] = [
        ({"name": ""}, "name"),
        ({"name": "x" * 201}, "name"),
        ({"name": 7}, "name"),
        ({"name": "a\x00b"}, "name"),
        ({"command": ""}, "command"),
        ({"command": "x" * 10_001}, "command"),
        ({"command": "sudo make install"}, "command"),
        ({"command": "ls; rm -rf /"}, "command"),
        ({"project_id": "1"}, "project_id"),
        ({"project_id": 0}, "project_id"),
        ({"project_id": 2**63}, "project_id"),
        ({"priority": "soon"}, "priority"),
        ({"description": "x" * 1001}, "description"),
        ({"scheduled_at": "2030-01-01T00:00:00"}, "scheduled_at"),
        ({"scheduled_at": "tomorrow"}, "scheduled_at"),
        ({"auto_start": "yes"}, "auto_start"),
        ({"unknown_field": 1}, "unknown_field"),
        ({"metadata": []}, "metadata"),
        ({"metadata": {"agent": "hal9000"}}, "metadata.agent"),
        ({"metadata": {"proxy_agent": 1}}, "metadata.proxy_agent"),
        ({"metadata": {"timeout_sec": -1}}, "metadata.timeout_sec"),
        ({"metadata": {"max_duration": -5}}, "metadata.max_duration"),
        ({"metadata": {"max_retries": -1}}, "metadata.max_retries"),
        ({"metadata": {"approval_policy": "maybe"}}, "metadata.approval_policy"),
        ({"metadata": {"gates": "all"}}, "metadata.gates"),
        ({"metadata": {"notify": ["nowhere"]}}, "metadata.notify"),
    ]
    for changes, field in bad:
        problem = await person.refused("POST", "/tasks", 422, json={**GOOD, **changes})
        assert any(name.startswith(field) for name in _fields(problem)), (changes, problem)
    assert (await person.get("/tasks"))["total"] == 0


async def test_harmless_commands_pass(api: Api) -> None:
    """Words in which the origin's denylist found ``su`` and ``nc`` are not dangerous."""
    person = api.person()
    for command in ("summarize the test suite", "fix the sync bug", "codex audit --fix"):
        await person.task(1, command=command)


async def test_missing_fields_are_all_named(api: Api) -> None:
    """An empty object is a 422 that names each required field."""
    problem = await api.person().refused("POST", "/tasks", 422, json={})
    assert sorted(_fields(problem)) == ["name", "project_id"]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b'{"name"', 400),
        (b"\xff\xfe", 400),
        (b"[" * 100_000, 400),
        (b'{"name": "\\ud800"}', 400),
        (b'{"a": 1} trailing', 400),
        (b"[]", 422),
        (b'"text"', 422),
        (b"null", 422),
        (b'{"name": "a", "name": "b", "command": "true", "project_id": 1}', 422),
    ],
)
async def test_malformed_bodies(api: Api, body: bytes, status: int) -> None:
    """What is no JSON is a 400, what is not an object with single keys a 422."""
    await api.person().refused("POST", "/tasks", status, data=body, headers=JSON)


async def test_other_media_are_refused(api: Api) -> None:
    """A form or plain text is a 415, whatever it holds."""
    person = api.person()
    await person.refused("POST", "/tasks", 415, data=GOOD)
    text = {"Content-Type": "text/plain"}
    await person.refused("POST", "/tasks", 415, data=msgspec.json.encode(GOOD), headers=text)


async def test_oversized_bodies_are_refused(api: Api) -> None:
    """A body over 1 MiB is a 413, and the connection serves the next request."""
    person, large = api.person(), io.BytesIO(b" " * (2**20 + 1))
    await person.refused("POST", "/tasks", 413, data=large, headers=JSON)
    assert (await person.get("/tasks"))["total"] == 0


async def test_ids_that_are_no_numbers(api: Api) -> None:
    """An id that is no number is a 422 naming ``id``; one that cannot exist a 404."""
    person = api.person()
    for text in ("abc", "1.5", "-1", "0x10", "%D9%A1", "%20", "1%3B"):
        problem = await person.refused("GET", f"/tasks/{text}", 422)
        assert _fields(problem) == ["id"]
        await person.refused("POST", f"/tasks/{text}/cancel", 422)
        await person.refused("GET", f"/projects/{text}", 422)
    for number in (0, 2**63, 10**30, 10**4000):
        await person.refused("GET", f"/tasks/{number}", 404)
        await person.refused("DELETE", f"/tasks/{number}", 404)


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("/tasks?limit=0", "limit"),
        ("/tasks?limit=101", "limit"),
        ("/tasks?limit=ten", "limit"),
        ("/tasks?page=0", "page"),
        ("/tasks?page=1&cursor=abc", "cursor"),
        ("/tasks?cursor=garbage", "cursor"),
        ("/tasks?status=done", "status"),
        ("/tasks?sort_by=command", "sort_by"),
        ("/tasks?sort_order=up", "sort_order"),
        ("/tasks?date_from=2026-01-01T00:00:00", "date_from"),
        ("/tasks?date_from=2026-01-02T00:00:00Z&date_to=2026-01-01T00:00:00Z", "date_to"),
        ("/tasks?projekt=1", "projekt"),
        ("/tasks?limit=1&limit=2", "limit"),
        ("/tasks/search", "q"),
        ("/tasks/search?q=", "q"),
        ("/tasks/search?q=%00", "q"),
        ("/tasks?search=%00", "search"),
        ("/tasks?created_by=%00", "created_by"),
        ("/tasks/recent?limit=-1", "limit"),
        ("/events?type=task.exploded", "type"),
        ("/events?project_id=x", "project_id"),
        ("/projects?page=x", "page"),
    ],
)
async def test_bad_parameters_are_named(api: Api, path: str, field: str) -> None:
    """A query parameter that breaks a rule, or is none of ours, is a 422 naming it."""
    problem = await api.person().refused("GET", path, 422)
    assert _fields(problem)[0].startswith(field)


async def test_bad_parameters_of_a_task_are_named(api: Api) -> None:
    """The same for what is asked of one task."""
    person = api.person()
    task = await person.task(1)
    for path, field in (
        ("?at=yesterday", "at"),
        ("?at=2026-01-01T00:00:00", "at"),
        ("?at=-1", "at"),
        ("/output?tail=-1", "tail"),
        ("/output?tail=1&offset=1", "tail"),
        ("/output?length=0", "length"),
        ("/output?follow=perhaps", "follow"),
        ("/output?attempt=0", "attempt"),
        ("/logs?level=LOUD", "level"),
        ("/logs?limit=201", "limit"),
        ("/executions?page=0", "page"),
        ("/timeline?after=-1", "after"),
    ):
        problem = await person.refused("GET", f"/tasks/{task}{path}", 422)
        assert _fields(problem) == [field], path


async def test_bad_headers_are_named(api: Api) -> None:
    """A malformed Idempotency-Key, If-Match or Pandar-Min-Position is a 422 naming it."""
    person = api.person()
    task = await person.task(1)
    for key in ("", "a b", "x" * 65, '"', "ü"):
        headers = {"Idempotency-Key": key}
        problem = await person.refused("POST", "/tasks", 422, json=GOOD, headers=headers)
        assert _fields(problem) == ["Idempotency-Key"]
    for tag in ("3", 'W/"3"', '"x"', '"1", "2"', '"99999999999999999999"'):
        change = {"name": "x"}
        problem = await person.refused(
            "PUT", f"/tasks/{task}", 422, json=change, headers={"If-Match": tag}
        )
        assert _fields(problem) == ["If-Match"]
    behind = {"Pandar-Min-Position": "soon"}
    problem = await person.refused("GET", "/tasks", 422, headers=behind)
    assert _fields(problem) == ["Pandar-Min-Position"]


async def test_bad_actions_are_named(api: Api) -> None:
    """Unknown actions and reasons that are too long are 422s, in one or in bulk."""
    person = api.person()
    task = await person.task(1)
    for body, field in (
        ({"action": "explode"}, "action"),
        ({}, "action"),
        ({"action": "cancel", "reason": "x" * 501}, "reason"),
        ({"action": "cancel", "force": True}, "force"),
    ):
        problem = await person.refused("POST", f"/tasks/{task}/action", 422, json=body)
        assert _fields(problem) == [field]
    for many, field in (
        ({"task_ids": [], "action": "cancel"}, "task_ids"),
        ({"task_ids": [1] * 51, "action": "cancel"}, "task_ids"),
        ({"task_ids": ["1"], "action": "cancel"}, "task_ids"),
        ({"task_ids": [1], "action": "confirm"}, "action"),
    ):
        problem = await person.refused("POST", "/tasks/bulk", 422, json=many)
        assert _fields(problem)[0].startswith(field)
    await person.refused("POST", f"/tasks/{task}/cancel?reason={'x' * 501}", 422)
    wrong = {"decision": "perhaps"}
    await person.refused("POST", f"/tasks/{task}/confirm", 422, json=wrong)
