"""The edge of the HTTP API: tokens, headers, probes, garbage and parts that are away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from pandar_daemon.adapters.http.deps import Limits
from tests.support.api import Api, Person, running_api
from tests.support.servers import TestServers
from tests.support.tokens import claims, signed

GOOD = {"name": "t", "command": "true", "project_id": 1}


@pytest.fixture
async def api(database_url: str, nats_url: str, tmp_path: Path) -> AsyncIterator[Api]:
    """Return a running API with project 1 of user 1."""
    limits = Limits(failures_per_minute=1_000)
    async with running_api(database_url, nats_url, tmp_path, limits=limits) as running:
        await running.person().project()
        yield running


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
        assert status.split()[1] in {b"400", b"401", b"431"}
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
