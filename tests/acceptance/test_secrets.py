"""Secrets of projects, on a whole Pandar: set, listed and removed, and found nowhere."""

from __future__ import annotations

import asyncio
import re
import secrets
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import aiohttp
import asyncpg
import msgspec
import nats
import pytest
from nats.aio.msg import Msg
from nats.js.errors import NotFoundError

from tests.acceptance.conftest import Pandar
from tests.support.daemon import Program

pytestmark = pytest.mark.servers

Json = dict[str, Any]
SEALED = re.compile(rb"v1\.[0-9a-f]{16}\.")


async def _project(http: aiohttp.ClientSession, name: str = "sealed") -> int:
    async with http.post("/api/v1/projects", json={"name": name}) as answer:
        return int((await answer.json())["id"])


async def _put(
    http: aiohttp.ClientSession, project: int, name: str, body: Json, **headers: str
) -> tuple[int, Json]:
    path = f"/api/v1/projects/{project}/secrets/{name}"
    async with http.put(path, json=body, headers=headers) as answer:
        return answer.status, dict(await answer.json())


async def _list(http: aiohttp.ClientSession, project: int) -> list[Json]:
    async with http.get(f"/api/v1/projects/{project}/secrets") as answer:
        assert answer.status == 200, await answer.text()
        return list((await answer.json())["items"])


async def _listed(http: aiohttp.ClientSession, project: int, position: str) -> list[Json]:
    path, headers = f"/api/v1/projects/{project}/secrets", {"Pandar-Min-Position": position}
    async with http.get(path, headers=headers) as answer:
        return list((await answer.json())["items"])


async def test_a_secret_is_set_listed_and_removed(http: aiohttp.ClientSession) -> None:
    """Who set it when is told; the value is not, by any answer."""
    project = await _project(http)
    value = secrets.token_hex(20)
    body = {"value": value, "description": "of the registry"}
    path = f"/api/v1/projects/{project}/secrets/NPM_TOKEN"
    async with http.put(path, json=body) as answer:
        assert answer.status == 200, await answer.text()
        assert value not in await answer.text()
        row, position = await answer.json(), answer.headers["Pandar-Position"]
    assert row["set_by"].startswith("user:")
    assert row["name"] == "NPM_TOKEN"
    assert (row["use"], row["description"]) == ("env", "of the registry")
    assert await _listed(http, project, position) == [row]
    async with http.delete(path) as answer:
        assert answer.status == 204
        gone = answer.headers["Pandar-Position"]
    assert await _listed(http, project, gone) == []
    async with http.delete(path) as answer:
        assert answer.status == 404


async def test_setting_it_again_is_answered_as_before(http: aiohttp.ClientSession) -> None:
    """The same request is one request; the same value once more changes nothing."""
    project = await _project(http)
    key = {"Idempotency-Key": str(uuid4())}
    first = await _put(http, project, "TOKEN", {"value": "one"}, **key)
    assert await _put(http, project, "TOKEN", {"value": "one"}, **key) == first
    assert await _put(http, project, "TOKEN", {"value": "one"}) == first
    status, _ = await _put(http, project, "TOKEN", {"value": "two"}, **key)
    assert status == 409
    status, other = await _put(http, project, "TOKEN", {"value": "two"})
    assert (status, other["set_at"] > first[1]["set_at"]) == (200, True)


@pytest.mark.parametrize(
    ("name", "body", "field"),
    [
        ("token", {"value": "x"}, "name"),
        ("1TOKEN", {"value": "x"}, "name"),
        ("A" * 65, {"value": "x"}, "name"),
        ("TOKEN", {"value": ""}, "value"),
        ("TOKEN", {"value": "v" * 65_537}, "value"),
        ("TOKEN", {"value": "é" * 32_769}, "value"),
        ("TOKEN", {"value": "a\0b"}, "value"),
        ("TOKEN", {"value": 7}, "value"),
        ("TOKEN", {}, "value"),
        ("TOKEN", {"value": "x", "use": "other"}, "use"),
        ("TOKEN", {"value": "x", "description": "d" * 1_001}, "description"),
        ("TOKEN", {"value": "two words", "use": "git"}, "value"),
        ("TOKEN", {"value": "x", "hunter2": 1}, "body"),
    ],
)
async def test_what_cannot_be_a_secret_is_refused(
    http: aiohttp.ClientSession, name: str, body: Json, field: str
) -> None:
    """By field, and without a word of what was sent."""
    status, problem = await _put(http, 1, name, body)
    assert (status, [error["field"] for error in problem["errors"]]) == (422, [field])
    for sent in ("hunter2", "two words", "vvvv", "éé"):
        assert sent not in msgspec.json.encode(problem).decode()


async def test_the_largest_secret_fits(http: aiohttp.ClientSession) -> None:
    """Of 65,536 bytes, however they are written in JSON."""
    project = await _project(http)
    for value in ("v" * 65_536, "é" * 32_768, "\x01" * 65_536):
        assert (await _put(http, project, "BIG", {"value": value}))[0] == 200


async def test_a_hundred_and_no_more(http: aiohttp.ClientSession) -> None:
    """Another one is refused, another value of one of them is not; one removed makes room."""
    project = await _project(http)
    done = [await _put(http, project, f"S{n}", {"value": f"v{n}"}) for n in range(100)]
    assert {status for status, _ in done} == {200}
    status, problem = await _put(http, project, "S100", {"value": "one too many"})
    assert (status, "has 100 secrets" in problem["detail"]) == (409, True)
    assert (await _put(http, project, "S7", {"value": "another"}))[0] == 200
    async with http.delete(f"/api/v1/projects/{project}/secrets/S8") as answer:
        assert answer.status == 204
    assert (await _put(http, project, "S100", {"value": "fits now"}))[0] == 200


async def test_one_credential_for_the_repository(http: aiohttp.ClientSession) -> None:
    """A second one is refused by the name of the first."""
    project = await _project(http)
    body = {"value": "ann:hunter2", "use": "git"}
    assert (await _put(http, project, "GIT_LOGIN", body))[1]["use"] == "git"
    status, problem = await _put(http, project, "GIT_OTHER", body)
    assert (status, "has GIT_LOGIN for its repository" in problem["detail"]) == (409, True)
    assert (await _put(http, project, "GIT_LOGIN", {**body, "value": "ann:3"}))[0] == 200


async def test_first_secrets_at_once_share_one_key(
    http: aiohttp.ClientSession, pandar: Pandar
) -> None:
    """Whoever comes second seals with the key of who came first."""
    project = await _project(http)
    sets = (_put(http, project, f"S{n}", {"value": "v"}) for n in range(6))
    answers = [status for status, _ in await asyncio.gather(*sets)]
    assert answers == [200] * 6
    rows = await _rows(pandar, f"project_secrets-{project}")
    assert [row["type"] for row in rows].count("secret.key_made") == 1


async def _rows(pandar: Pandar, stream: str) -> list[asyncpg.Record]:
    connection = await asyncpg.connect(_database_url(pandar))
    try:
        return list(await connection.fetch("SELECT type FROM events WHERE stream = $1", stream))
    finally:
        await connection.close()


def _database_url(pandar: Pandar) -> str:
    running = msgspec.json.decode((pandar.data / "running.json").read_bytes())
    return str(running["database_url"])


async def test_the_value_is_nowhere(http: aiohttp.ClientSession, pandar: Pandar) -> None:
    """In no table, no message of the bus, no log line, no event of the API, no file of data.

    As it was sent, and as hexadecimal and base64 would show it.
    """
    project = await _project(http)
    value = f"nowhere-{secrets.token_hex(16)}"
    async with _overheard(pandar) as heard:
        assert (await _put(http, project, "HIDDEN", {"value": value}))[0] == 200
        assert (await _put(http, project, "HIDDEN", {"value": value, value: 1}))[0] == 422
        assert (await _put(http, project, "hidden", {"value": value}))[0] == 422
        assert (await _put(http, 999_999, "HIDDEN", {"value": value}))[0] == 404
        printed = await _events(pandar)
    tables, streams = await _tables(pandar), await _streams(pandar)
    for place in (tables, streams, b"".join(heard)):
        assert SEALED.search(place)
    assert "secret.set" in printed
    assert not SEALED.search(printed.encode())
    files = [path.read_bytes() for path in pandar.data.rglob("*") if path.is_file()]
    for place in (tables, streams, *heard, printed.encode(), *files):
        for spelling in _spellings(value):
            assert spelling not in place


@asynccontextmanager
async def _overheard(pandar: Pandar) -> AsyncIterator[list[bytes]]:
    """Yield what is said on the bus meanwhile, on whatever subject."""
    bus = await nats.connect(pandar.nats_url)
    heard: list[bytes] = []

    async def hear(message: Msg) -> None:
        heard.append(f"{message.subject} {message.headers}".encode() + message.data)

    try:
        await bus.subscribe(">", cb=hear)
        await bus.flush()
        yield heard
        await bus.flush()
    finally:
        await bus.close()


def _spellings(value: str) -> list[bytes]:
    plain = value.encode()
    return [plain, plain.hex().encode(), *(b64encode(plain[n:])[:24] for n in range(3))]


async def _tables(pandar: Pandar) -> bytes:
    """Return every row of every table, as text."""
    connection = await asyncpg.connect(_database_url(pandar))
    try:
        names = await connection.fetch(
            "SELECT quote_ident(schemaname) || '.' || quote_ident(tablename) AS name"
            " FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"
        )
        found = [
            str(row["t"])
            for table in names
            for row in await connection.fetch(f"SELECT x::text AS t FROM {table['name']} x")  # noqa: S608
        ]
    finally:
        await connection.close()
    return "\n".join(found).encode()


async def _streams(pandar: Pandar) -> bytes:
    """Return every message of every stream, its subject and its headers too."""
    bus = await nats.connect(pandar.nats_url)
    found: list[str] = []
    try:
        jetstream = bus.jetstream()
        for info in await jetstream.streams_info():
            for sequence in range(max(1, info.state.first_seq), info.state.last_seq + 1):
                try:
                    message = await jetstream.get_msg(str(info.config.name), sequence)
                except NotFoundError:
                    continue
                found.append(f"{message.subject} {message.headers} {message.data!r}")
    finally:
        await bus.close()
    return "\n".join(found).encode()


async def _events(pandar: Pandar) -> str:
    """Return what ``pandar events tail`` prints of all that has happened, up to the secret."""
    program = await Program.start(
        *("events", "tail", "--from", "1", "--json"),
        data=pandar.data,
        name="tail",
        extra=pandar.environment,
    )
    try:
        await program.says('"name":"HIDDEN"')
    finally:
        await program.stop()
    return program.printed
