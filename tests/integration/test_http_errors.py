"""What bad input gets over HTTP: a 4xx that names the field and the rule, and no effect."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from pandar_daemon.adapters.http.deps import Limits
from tests.support.api import Api, Json, Person, running_api
from tests.support.servers import TestServers
from tests.support.tokens import claims, signed

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
    assert sorted(_fields(problem)) == ["command", "name", "project_id"]


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
    for text in ("abc", "1.5", "-1", "0x10", "١", "%20", "1%3B"):
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
    for body, field in (
        ({"task_ids": [], "action": "cancel"}, "task_ids"),
        ({"task_ids": [1] * 51, "action": "cancel"}, "task_ids"),
        ({"task_ids": ["1"], "action": "cancel"}, "task_ids"),
        ({"task_ids": [1], "action": "confirm"}, "action"),
    ):
        problem = await person.refused("POST", "/tasks/bulk", 422, json=body)
        assert _fields(problem)[0].startswith(field)
    await person.refused("POST", f"/tasks/{task}/cancel?reason={'x' * 501}", 422)
    wrong = {"decision": "perhaps"}
    await person.refused("POST", f"/tasks/{task}/confirm", 422, json=wrong)


async def test_paths_and_methods(api: Api) -> None:
    """Unknown paths are 404, wrong methods 405 with Allow; both as problems."""
    person = api.person()
    await person.refused("GET", "/nothing", 404)
    reply, _ = await person.call("PATCH", "/tasks")
    assert (reply.status, sorted(reply.headers["Allow"].split(","))) == (405, ["GET", "POST"])
    assert reply.content_type == "application/problem+json"


async def test_tokens_that_are_not_good(api: Api) -> None:
    """Missing, foreign, expired, unsigned and other tokens are 401, on every path."""
    good = api.person()
    secret = (api.parts.settings.data / "jwt.secret").read_bytes().strip()
    bad = [
        "",
        "garbage",
        good.token + "x",
        signed(claims(), secret=b"x" * 32),
        signed(claims(exp=1), secret=secret),
        signed(claims(), secret=secret, alg="none"),
        signed(claims(), secret=secret, alg="none").rpartition(".")[0] + ".",
        signed(claims(type="refresh"), secret=secret),
    ]
    for token in bad:
        person = Person(api.session, api.base_url, token)
        for path in ("/tasks", "/tasks/1", "/events", "/nothing"):
            reply, problem = await person.call("GET", path)
            assert (reply.status, problem["status"]) == (401, 401), (token, path)
            assert reply.headers["WWW-Authenticate"].startswith("Bearer")
            assert not token or token not in str(problem)
        reply, _ = await person.call("POST", "/tasks", json=GOOD)
        assert reply.status == 401
    reply, _ = await good.call("GET", "/tasks", headers={"Authorization": f"Basic {good.token}"})
    assert reply.status == 401
    person = Person(api.session, api.base_url, "")
    reply, _ = await person.call("GET", f"/tasks?access_token={good.token}")
    assert reply.status == 401


async def test_viewers_may_only_read(api: Api) -> None:
    """A token with the viewer role cannot write even in its own project."""
    viewer = api.person("1", "viewer")
    problem = await viewer.refused("POST", "/tasks", 403, json=GOOD)
    assert "task:write" in problem["detail"]
    assert (await viewer.get("/tasks"))["total"] == 0


async def test_every_answer_carries_its_headers(api: Api) -> None:
    """Request id, security headers and no word of the software, on success and on errors."""
    person = api.person()
    for path in ("/tasks", "/tasks/abc", "/nothing"):
        reply, _ = await person.call("GET", path, headers={"X-Request-ID": "mine-1"})
        assert reply.headers["X-Request-ID"] == "mine-1"
        assert reply.headers["X-Content-Type-Options"] == "nosniff"
        assert reply.headers["Server"] == "pandar"
        assert "no-cache" in reply.headers["Cache-Control"]
        assert "Access-Control-Allow-Origin" not in reply.headers
    reply, _ = await person.call("GET", "/tasks", headers={"X-Request-ID": "not a\ttoken"})
    assert reply.headers["X-Request-ID"] != "not a\ttoken"


async def test_the_trace_reaches_the_log(api: Api) -> None:
    """The caller's trace and request id stand in the event's envelope."""
    person = api.person()
    trace = "0af7651916cd43dd8448eb211c80319c"
    headers = {"traceparent": f"00-{trace}-b7ad6b7169203331-01", "X-Request-ID": "req-7"}
    _, row = await person.call("POST", "/tasks", json=GOOD, headers=headers)
    event = (await api.parts.store.read_stream(f"task-{row['id']}"))[0]
    assert (event.traceparent or "").startswith(f"00-{trace}-")
    assert event.correlation_id == "req-7"


async def test_bytes_that_are_no_http(api: Api) -> None:
    """Garbage, endless headers and lying lengths get a 400 at most, and harm nobody."""
    port = int(api.base_url.rpartition(":")[2])
    for garbage in (
        b"\x16\x03\x01 TLS\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /api/v1/tasks HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 40_000 + b"\r\n\r\n",
        b"POST /api/v1/tasks HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
        b"POST /api/v1/tasks HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n",
    ):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(garbage)
        status = await asyncio.wait_for(reader.readline(), 30)
        assert status.split()[1] in {b"400", b"401"}
        writer.close()
        await writer.wait_closed()
    assert (await api.person().get("/tasks"))["total"] == 0


async def test_other_hosts_are_refused(database_url: str, nats_url: str, tmp_path: Path) -> None:
    """With a list of host names a request under another name is a 400; probes answer any."""
    hosts = frozenset({"127.0.0.1", "[::1]"})
    async with running_api(database_url, nats_url, tmp_path, hosts=hosts) as api:
        person = api.person()
        await person.get("/projects")
        await person.refused("GET", "/projects", 400, headers={"Host": "evil.example:8000"})
        async with api.session.get(f"{api.base_url}/healthz", headers={"Host": "pod"}) as reply:
            assert reply.status == 200


async def test_probes(api: Api) -> None:
    """Alive, ready with both lags, and metrics with routes as templates."""
    person = api.person()
    await person.get(f"/tasks/{await person.task(1)}")
    async with api.session.get(f"{api.base_url}/healthz") as reply:
        assert reply.status == 200
    async with api.session.get(f"{api.base_url}/readyz") as reply:
        ready = await reply.json()
    assert (reply.status, ready["status"], ready["reasons"]) == (200, "ready", [])
    assert ready["projection_lag"] >= 0
    assert ready["bus_lag"] >= 0
    async with api.session.get(f"{api.base_url}/metrics") as reply:
        text = await reply.text()
    assert 'route="/api/v1/tasks/{id}"' in text
    forwarded = {"X-Forwarded-For": "203.0.113.7"}
    async with api.session.get(f"{api.base_url}/metrics", headers=forwarded) as reply:
        assert reply.status == 401


async def test_without_the_daemon_writes_are_503(
    database_url: str, nats_url: str, tmp_path: Path
) -> None:
    """With nobody to answer commands a write is a 503 at once, to be tried again."""
    async with running_api(database_url, nats_url, tmp_path, roles=("relay", "projector")) as api:
        reply, problem = await api.person().call("POST", "/projects", json={"name": "p"})
        assert (reply.status, problem["status"]) == (503, 503)
        assert reply.headers["Retry-After"] == "1"


async def test_a_database_that_is_away_is_a_503(
    servers: TestServers, database_url: str, nats_url: str, tmp_path: Path
) -> None:
    """While Postgres is away reads are 503, readyz says why, healthz is well; then all is well."""
    limits = Limits(min_position_sec=30.0)
    async with running_api(database_url, nats_url, tmp_path, limits=limits) as api:
        person = api.person()
        await person.project()
        await servers.stop_postgres()
        reply, problem = await person.call("GET", "/tasks")
        assert (reply.status, problem["status"]) == (503, 503)
        async with api.session.get(f"{api.base_url}/readyz") as reply:
            ready = await reply.json()
        assert reply.status == 503
        assert any("postgres" in reason for reason in ready["reasons"])
        async with api.session.get(f"{api.base_url}/healthz") as reply:
            assert reply.status == 200
        await servers.start_postgres()
        async with asyncio.timeout(30):
            while (await person.call("GET", "/projects"))[0].status != 200:
                pass
