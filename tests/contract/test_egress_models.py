"""The doors of models: what a box says goes on with the owner's key, which never comes back."""

from __future__ import annotations

import asyncio
from asyncio import StreamReader, StreamWriter
from collections.abc import Mapping

import pytest

from pandar_daemon.adapters.egress.bounds import Bounds
from pandar_daemon.adapters.egress.proxy import EgressProxy
from pandar_daemon.ports import Outward, Upstream
from tests.support.egress import Way, closed, served, way_out
from tests.support.receiver import LOCAL, receiving
from tests.support.tls import authority

KEY = "sk-of-the-owner-0123456789"
HERE = {LOCAL: [LOCAL], "model.test": [LOCAL]}


def outward(base_url: str, headers: Mapping[str, str] | None = None) -> Outward:
    """Return that a model is there, and nothing else."""
    given = {"X-Api-Key": KEY} if headers is None else headers
    return Outward(models={"model": Upstream(base_url=base_url, headers=given)})


async def post(way: Way, path: str, *headers: str, body: str = "{}") -> bytes:
    """Return what is answered to a POST of a box to its proxy."""
    lines = [f"POST {path} HTTP/1.1", "Host: 127.0.0.1:3128", "Connection: close", *headers]
    lines += [f"Content-Length: {len(body)}", "", body]
    return await way.say("\r\n".join(lines))


async def test_the_key_is_added_outside() -> None:
    """Whatever key the box says it has: by nobody else's account is anything called."""
    async with receiving() as receiver, way_out(outward(f"{receiver.url}/v1"), HERE) as way:
        receiver.say(200, b"hello")
        answer = await post(
            way,
            "/pandar/model/messages?beta=true&key=mine&alt=sse",
            "x-api-key: mine",
            "Authorization: Bearer mine",
            "X-Goog-Api-Key: mine",
            "Cookie: mine=mine",
            "Range: bytes=0-9",
            "Accept-Encoding: gzip",
            "anthropic-version: 1",
            body='{"a":1}',
        )
        assert answer.endswith(b"\r\n\r\nhello")
        (call,) = receiver.calls
        assert (call.path, call.body) == ("/v1/messages?beta=true&alt=sse", b'{"a":1}')
        assert call.headers["x-api-key"] == KEY
        assert call.headers["host"] == receiver.url.removeprefix("http://")
        assert call.headers["accept-encoding"] == "identity"
        assert call.headers["anthropic-version"] == "1"
        assert "mine" not in str(call.headers)
        assert "range" not in call.headers


async def test_a_client_may_take_the_proxy_for_a_proxy() -> None:
    """One that sends even local requests through it finds the model, too."""
    async with receiving() as receiver, way_out(outward(receiver.url), HERE) as way:
        for host in (LOCAL, "localhost"):
            await post(way, f"http://{host}:{way.port}/pandar/model/x", "A: b")
        assert [call.path for call in receiver.calls] == ["/x", "/x"]
        assert b"X-Pandar-Reason: address" in await way.get(f"http://{LOCAL}:{way.port}/")


@pytest.mark.parametrize(
    "path",
    [
        "/pandar/model/../admin",
        "/pandar/model/a/%2e%2e/%2E./admin",
        "/pandar/model/..%2fadmin",
        "/pandar/model/%252e%252e/admin",
        "/pandar/model/..\\admin",
        "/pandar/model/./x",
        "/pandar/other/x",
        "/pandar/",
        "/pandar",
        "/pandar/%6dodel/x",
        "/",
    ],
)
async def test_a_door_leads_where_its_url_says(path: str) -> None:
    """Not past it, and there are no others."""
    async with receiving() as receiver, way_out(outward(f"{receiver.url}/team/v1"), HERE) as way:
        answer = await post(way, path)
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert b"/pandar/model/" in answer or b"may not have" in answer
        assert receiver.calls == []


@pytest.mark.parametrize(
    ("path", "is_open"),
    [
        ("/v1/messages", True),
        ("/v1/messages?beta=true", True),
        ("/v1/models/x", True),
        ("/v1/messages/batches", False),
        ("/v1/messages%2fbatches", False),
        ("/v1/messages/", False),
        ("//v1/messages", False),
        ("/v1/files", False),
        ("/v1/models/../files", False),
        ("/", False),
        ("", False),
    ],
)
async def test_a_door_leads_to_what_calls_models(path: str, *, is_open: bool) -> None:
    """Not to files and results of others, for which the same key would do."""
    async with receiving() as receiver:
        open_paths = ("/v1/messages", "/v1/models/*")
        upstream = Upstream(base_url=receiver.url, headers={}, paths=open_paths)
        async with way_out(Outward(models={"model": upstream}), HERE) as way:
            answer = await post(way, f"/pandar/model{path}")
            assert answer.startswith(b"HTTP/1.1 204 ") is is_open, answer
        assert len(receiver.calls) == is_open


async def test_an_answer_comes_as_it_is_made() -> None:
    """Each event when it is sent, not when the answer is complete."""
    said, heard = asyncio.Event(), asyncio.Event()

    async def stream(reader: StreamReader, writer: StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
        writer.write(head + b"data: 1\n\n")
        await heard.wait()
        writer.write(b"data: 2\n\n")
        said.set()

    async with served(stream) as port, way_out(outward(f"http://{LOCAL}:{port}"), HERE) as way:
        reader, writer = await way.open()
        writer.write(b"GET /pandar/model/x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        await reader.readuntil(b"data: 1\n\n")
        assert not said.is_set()
        heard.set()
        assert b"data: 2\n\n" in await reader.read()
        await closed(writer)


async def test_a_request_goes_on_as_it_comes() -> None:
    """A server may hear the beginning before the end is said."""
    begun, answer = asyncio.Event(), b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

    async def listen(reader: StreamReader, writer: StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        assert await reader.readexactly(10) == b"5\r\nbegin\r\n"
        begun.set()
        await reader.readuntil(b"0\r\n\r\n")
        writer.write(answer)

    async with served(listen) as port, way_out(outward(f"http://{LOCAL}:{port}"), HERE) as way:
        reader, writer = await way.open()
        head = "POST /pandar/model/x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
        writer.write(f"{head}Transfer-Encoding: chunked\r\n\r\n5\r\nbegin\r\n".encode())
        await begun.wait()
        writer.write(b"3\r\nend\r\n0\r\n\r\n")
        assert (await reader.read()).endswith(b"\r\n\r\nok")
        await closed(writer)


async def test_a_client_may_ask_before_it_sends() -> None:
    """``Expect: 100-continue`` is the server's to answer."""

    async def polite(reader: StreamReader, writer: StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        await reader.readexactly(4)
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")

    async with served(polite) as port, way_out(outward(f"http://{LOCAL}:{port}"), HERE) as way:
        reader, writer = await way.open()
        head = "POST /pandar/model/x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
        writer.write(f"{head}Content-Length: 4\r\nExpect: 100-continue\r\n\r\n".encode())
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100 ")
        writer.write(b"body")
        assert (await reader.read()).startswith(b"HTTP/1.1 204 ")
        await closed(writer)


@pytest.mark.parametrize("headers", [{"X-Api-Key": KEY}, {"Authorization": f"Bearer {KEY}"}])
@pytest.mark.parametrize("size", [1, 7, 1_000])
async def test_the_key_never_comes_back(headers: Mapping[str, str], size: int) -> None:
    """Not from a server that says all it hears, cut anywhere, in heads, bodies or errors."""

    async def parrot(reader: StreamReader, writer: StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        assert KEY.encode() in head
        said = b"HTTP/1.1 401 no " + KEY.encode() + b"\r\nX-Heard: " + KEY.encode()
        writer.write(said + b"\r\nTransfer-Encoding: chunked\r\n\r\n")
        for at in range(0, len(head), size):
            part = head[at : at + size]
            writer.write(b"%x\r\n%b\r\n" % (len(part), part))
            await writer.drain()
        writer.write(b"0\r\n\r\n")

    async with served(parrot) as port:
        out = outward(f"http://{LOCAL}:{port}", headers)
        async with way_out(out, HERE) as way:
            reader, writer = await way.open()
            writer.write(b"GET /pandar/model/x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            body = b""
            answer = await reader.read()
            rest = answer.partition(b"\r\n\r\n")[2]
            while rest:
                length, _, rest = rest.partition(b"\r\n")
                body += rest[: int(length, 16)]
                rest = rest[int(length, 16) + 2 :]
            await closed(writer)
    assert KEY.encode() not in answer
    assert KEY.encode() not in body
    assert b"*" * len(KEY) in body
    assert b"accept-encoding: identity" in body


async def test_a_packed_answer_is_not_passed_on() -> None:
    """Nobody could see what is in it; the server was asked not to."""
    async with receiving() as receiver, way_out(outward(receiver.url), HERE) as way:
        receiver.say(200, b"\x1f\x8b", content_encoding="gzip")
        assert (await post(way, "/pandar/model/x")).startswith(b"HTTP/1.1 502 ")


async def test_redirects_are_the_box_s_own_affair() -> None:
    """They are not followed: the key stays with whom it is for."""
    async with receiving() as receiver, receiving() as other:
        async with way_out(outward(receiver.url), HERE) as way:
            receiver.say(307, location=f"{other.url}/x")
            answer = await post(way, "/pandar/model/x")
            assert answer.startswith(b"HTTP/1.1 307 ")
        assert other.calls == []


async def test_a_model_s_server_proves_who_it_is() -> None:
    """By a certificate for its name, of somebody the runner trusts."""
    known, stranger = authority("model.test"), authority("model.test")

    async def answer(reader: StreamReader, writer: StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    async def resolve(_host: str, _port: int) -> list[str]:
        return [LOCAL]

    proxy = EgressProxy(resolve=resolve, tls=known.client, bounds=Bounds())
    for server, host, status in (
        (known, "model.test", b"200"),
        (known, "other.test", b"502"),
        (stranger, "model.test", b"502"),
    ):
        async with served(answer, tls=server.server) as port:
            out = outward(f"https://{host}:{port}")
            async with way_out(out, proxy=proxy) as way:
                said = await post(way, "/pandar/model/x")
                assert said.startswith(b"HTTP/1.1 " + status), said
                assert status == b"200" or b"could not prove who it is" in said


async def test_a_key_that_cannot_be_sent_is_not_shown() -> None:
    """It is the owner's mistake, and told without it."""
    async with receiving() as receiver:
        out = outward(receiver.url, {"X-Api-Key": f"{KEY}\nX: y"})
        async with way_out(out, HERE) as way:
            answer = await post(way, "/pandar/model/x")
            assert answer.startswith(b"HTTP/1.1 502 ")
            assert b"characters that cannot be sent" in answer
            assert KEY.encode() not in answer
        assert receiver.calls == []


async def test_a_server_that_is_not_there_is_no_secret() -> None:
    """It is told like any other, without the key."""
    async with served(_nobody) as port:
        pass
    async with way_out(outward(f"http://{LOCAL}:{port}"), HERE) as way:
        answer = await post(way, "/pandar/model/x")
        assert answer.startswith(b"HTTP/1.1 502 ")
        assert KEY.encode() not in answer


async def _nobody(_reader: StreamReader, _writer: StreamWriter) -> None:
    """Serve nothing."""
