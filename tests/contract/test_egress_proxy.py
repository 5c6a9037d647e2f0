"""The proxy of boxes, over real sockets of this machine."""

from __future__ import annotations

import asyncio
import random
import ssl
from contextlib import suppress

import pytest
import structlog

from events.calls import CallKind, GateRule, Match, Rules
from pandar_daemon.adapters.egress.bounds import Bounds
from pandar_daemon.adapters.egress.tunnel import UNRECOGNISED
from pandar_daemon.ports import Outward
from tests.support.egress import People, Way, closed, door, echo, served, way_out
from tests.support.receiver import LOCAL, receiving
from tests.support.tls import authority
from tests.support.waiting import until

NAMES = {name: [LOCAL] for name in ("api.test", "other.test", "private.test")}
AUTO = Rules(policy="auto")
ASKS = Rules(policy="auto_with_gates")


def outward(*hosts: str, rules: Rules = AUTO) -> Outward:
    """Return that these hosts may be called, although they are on this machine."""
    return Outward(hosts=hosts, private_hosts=hosts, rules=rules)


async def test_a_listed_host_is_called() -> None:
    """In the clear, by its own name whatever the client calls it, with what it was sent."""
    async with receiving() as receiver:
        host = f"api.test:{receiver.port}"
        async with way_out(outward(host), NAMES) as way:
            receiver.say(200, b"hello")
            receiver.say(201, b"made")
            answer = await way.get(f"http://{host}/a%20b?c=d")
            assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
            assert answer.endswith(b"\r\n\r\nhello")
            text = f"POST http://{host}/x HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nbody"
            reader, writer = await way.open()
            writer.write(text.encode())
            assert b"201" in await reader.readuntil(b"\r\n\r\n")
            await closed(writer)
        first, second = receiver.calls
        assert (first.path, first.headers["host"]) == ("/a%20b?c=d", host)
        assert (second.path, second.body) == ("/x", b"body")
        assert way.blocked == []


async def test_a_connection_serves_many_requests() -> None:
    """One after another, those sent ahead included, each to whom it names."""
    async with receiving() as one, receiving() as two:
        hosts = [f"api.test:{one.port}", f"other.test:{two.port}"]
        async with way_out(outward(*hosts), NAMES) as way:
            one.say(200, b"first")
            two.say(200, b"second")
            texts = [f"GET http://{host}/ HTTP/1.1\r\nHost: x\r\n" for host in hosts]
            answer = await way.say(f"{texts[0]}\r\n{texts[1]}Connection: close\r\n\r\n")
            assert answer.index(b"first") < answer.index(b"second")
            assert [len(each.calls) for each in (one, two)] == [1, 1]


async def test_a_tunnel_carries_both_ways() -> None:
    """All bytes, also those after one side has said all."""
    data = bytes(range(256)) * 4_096

    async def late(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.read())

    async with served(late) as port:
        host = f"api.test:{port}"
        async with way_out(outward(host), NAMES) as way:
            reader, writer = await way.tunnel(host)
            writer.write(data)
            writer.write_eof()
            assert await reader.read() == data
            await closed(writer)


@pytest.mark.parametrize(
    "text", ["GET http://{0}/ HTTP/1.1\r\nHost: {0}", "CONNECT {0} HTTP/1.1\r\nHost: {0}"]
)
async def test_another_host_is_refused(text: str) -> None:
    """Without a lookup, with a text that says what to do; it is told once, however often tried."""
    async with way_out(outward("api.test"), NAMES) as way:
        for _ in range(3):
            answer = await way.say(text.format("evil.test:80") + "\r\n\r\n")
            assert answer.startswith(b"HTTP/1.1 403 Forbidden\r\n")
            assert b"X-Pandar-Reason: host\r\n" in answer
            assert b"evil.test:80 is not among the hosts this task may call" in answer
        await way.say(text.format("other.test:80") + "\r\n\r\n")
        assert way.lookups == []
    assert [(each.host, each.port) for each in way.blocked] == [
        ("evil.test", 80),
        ("other.test", 80),
    ]


@pytest.mark.parametrize("port", [22, 8080, 5432])
async def test_another_port_is_refused(port: int) -> None:
    """Where a pattern names none, 80 and 443 are meant."""
    async with way_out(outward("api.test"), NAMES) as way:
        answer = await way.get(f"http://api.test:{port}/")
        assert answer.startswith(b"HTTP/1.1 403 ")


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("127.0.0.1", "loopback"),
        ("::1", "loopback"),
        ("::ffff:127.0.0.1", "loopback"),
        ("10.1.2.3", "private"),
        ("100.64.0.1", "private"),
        ("169.254.169.254", "metadata"),
        ("169.254.1.1", "link-local"),
        ("fd00:ec2::254", "metadata"),
        ("64:ff9b::a9fe:a9fe", "metadata"),
        ("2002:7f00:1::", "loopback"),
        ("0.0.0.0", "unspecified"),  # noqa: S104 - it is refused
        ("224.0.0.1", "multicast"),
        ("240.0.0.1", "reserved"),
    ],
)
async def test_a_listed_name_leads_to_the_public_alone(address: str, kind: str) -> None:
    """Whatever its name server says."""
    async with way_out(Outward(hosts=("api.test",)), {"api.test": [address]}) as way:
        answer = await way.get("http://api.test/")
        assert answer.startswith(b"HTTP/1.1 403 ")
        assert b"X-Pandar-Reason: address\r\n" in answer
        assert f"api.test leads to no public address ({kind})".encode() in answer
    assert [(each.host, each.port) for each in way.blocked] == [("api.test", 80)]


@pytest.mark.parametrize("address", ["169.254.169.254", "fd00:ec2::254", "::", "224.0.0.1"])
async def test_no_exception_leads_to_credentials(address: str) -> None:
    """Hosts on private networks may be allowed, those that serve a machine's credentials not."""
    async with way_out(outward("api.test:80"), {"api.test": [address]}) as way:
        assert b"X-Pandar-Reason: address\r\n" in await way.get("http://api.test/")


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "localhost", "a.localhost"]
)
async def test_nobody_is_asked_about_this_machine(host: str) -> None:
    """Nobody could open it."""
    people = People()
    async with way_out(Outward(rules=ASKS), people=people) as way:
        assert b"X-Pandar-Reason: address\r\n" in await way.get(f"http://{host}/")
    assert people.asked == []


async def test_the_address_that_was_judged_is_dialled() -> None:
    """A name server that answers differently the next time is not asked a second time."""
    async with receiving() as receiver:
        host = f"api.test:{receiver.port}"
        async with way_out(outward(host), NAMES) as way:
            await way.get(f"http://{host}/")
            assert way.lookups == ["api.test"]


async def test_people_open_one_host() -> None:
    """This host and port, for all who wait and all who come later; they are asked once."""
    people = People()
    async with receiving() as receiver, receiving() as other:
        host = f"api.test:{receiver.port}"
        out = Outward(rules=ASKS, private_hosts=(host, f"api.test:{other.port}"))
        async with way_out(out, NAMES, people=people) as way:
            waiting = [asyncio.create_task(way.get(f"http://{host}/{n}")) for n in range(50)]
            await people.came.wait()
            assert way.lookups == []
            people.decide.set()
            answers = await asyncio.gather(*waiting)
            assert all(each.startswith(b"HTTP/1.1 204 ") for each in answers)
            assert (await way.get(f"http://{host}/late")).startswith(b"HTTP/1.1 204 ")
            (call,) = people.asked
            assert (call.kind, call.tool, call.hosts) == (CallKind.FETCH, "network", [host])
            assert len(receiver.calls) == 51
            people.allowed = False
            assert b"not today" in await way.get(f"http://api.test:{other.port}/")
    assert [each.port for each in way.blocked] == [other.port]


async def test_a_client_that_left_finds_the_answer_later() -> None:
    """Its question stays, and its connection is free."""
    people = People()
    async with receiving() as receiver:
        host = f"api.test:{receiver.port}"
        out = Outward(rules=ASKS, private_hosts=(host,))
        async with way_out(out, NAMES, people=people, bounds=Bounds(connections=1)) as way:
            _, writer = await way.open()
            writer.write(f"CONNECT {host} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
            await people.came.wait()
            await closed(writer)
            people.decide.set()
            while b"X-Pandar-Reason: busy" in (answer := await way.get(f"http://{host}/")):
                pass
            assert answer.startswith(b"HTTP/1.1 204 ")
            assert len(people.asked) == 1


async def test_whom_nobody_could_ask_can_be_asked_again() -> None:
    """A question that failed is none."""
    people = People(fault=OSError("no daemon"))
    people.decide.set()
    async with receiving() as receiver:
        host = f"api.test:{receiver.port}"
        out = Outward(rules=ASKS, private_hosts=(host,))
        async with way_out(out, NAMES, people=people) as way:
            assert b"X-Pandar-Reason: unasked" in await way.get(f"http://{host}/")
            people.fault = None
            assert (await way.get(f"http://{host}/")).startswith(b"HTTP/1.1 204 ")
            assert way.blocked == []


async def test_people_are_not_asked_without_end() -> None:
    """A program cannot wear them down with names."""
    people = People(allowed=False)
    people.decide.set()
    async with way_out(Outward(rules=ASKS), people=people, bounds=Bounds(questions=3)) as way:
        for n in range(5):
            assert b"HTTP/1.1 403 " in await way.get(f"http://host-{n}.test/")
    assert len(people.asked) == 3
    assert len(way.blocked) == 5


async def test_what_is_never_done_is_not_done_for_the_list() -> None:
    """A rule of the owner's that forbids a host comes before all lists."""
    rule = GateRule(name="no-evil", match=Match(hosts=["*.test"]))
    rules = Rules(policy="auto", denied=[rule])
    async with way_out(outward("api.test", rules=rules), NAMES) as way:
        assert (await way.get("http://api.test/")).startswith(b"HTTP/1.1 403 ")


REFUSED = [
    "GET / HTTP/1.1\r\nHost: api.test\r\n\r\n",
    "GET /pandar/nothing/x HTTP/1.1\r\nHost: api.test\r\n\r\n",
    "GET api.test HTTP/1.1\r\nHost: api.test\r\n\r\n",
    "GET https://api.test/ HTTP/1.1\r\nHost: api.test\r\n\r\n",
    "GET ftp://api.test/ HTTP/1.1\r\nHost: api.test\r\n\r\n",
    "GET http:/api.test/ HTTP/1.1\r\nHost: api.test\r\n\r\n",
    "GET http:///x HTTP/1.1\r\nHost: api.test\r\n\r\n",
    "GET http://user@api.test/ HTTP/1.1\r\nHost: api.test\r\n\r\n",
    "GET http://api.test\\@evil.test/ HTTP/1.1\r\nHost: api.test\r\n\r\n",
    "GET http://api.test#@evil.test/ HTTP/1.1\r\nHost: api.test\r\n\r\n",
    "GET http://api.test:99999/ HTTP/1.1\r\nHost: api.test\r\n\r\n",
    "GET http://2130706433/ HTTP/1.1\r\nHost: api.test\r\n\r\n",
    "CONNECT api.test HTTP/1.1\r\nHost: api.test\r\n\r\n",
    "CONNECT http://api.test:443 HTTP/1.1\r\nHost: api.test\r\n\r\n",
    "CONNECT 0x7f000001:80 HTTP/1.1\r\nHost: api.test\r\n\r\n",
    "OPTIONS * HTTP/1.1\r\nHost: api.test\r\n\r\n",
    "GET http://api.test/ HTTP/1.1\r\n\r\n",
    "GET http://api.test/ HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "GET http://api.test/ HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n",
    "GET http://api.test/ HTTP/1.1\r\nHost: a\r\nX : a\r\n\r\n",
    "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "\x16\x03\x01\x00\x05hello\r\n\r\n",
    "POST http://api.test/ HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
    "POST http://api.test/ HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
    "POST http://api.test/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
    (
        "POST http://api.test/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n"
        "Content-Length: 3\r\n\r\n0\r\n\r\n"
    ),
]


@pytest.mark.parametrize("text", REFUSED)
async def test_what_is_no_request_is_said_to_be_none(text: str) -> None:
    """In words, with the status of its fault, and without anything being called."""
    async with way_out(outward("api.test"), NAMES) as way:
        answer = await way.say(text)
        status = int(answer.split()[1])
        assert 400 <= status < 500 or status == 501, answer
        assert b"X-Pandar-Reason: malformed\r\n" in answer
        assert b"\r\n\r\nPandar: " in answer
        assert b"Traceback" not in answer
        assert way.lookups == []


async def test_anything_at_all_is_answered_or_left() -> None:
    """Requests with letters changed, lost and doubled: the proxy itself never fails."""
    dice = random.Random(7)
    async with way_out(outward("api.test"), bounds=Bounds(header_sec=0.5)) as way:
        with structlog.testing.capture_logs() as logs:
            for _ in range(300):
                text = bytearray(
                    dice.choice([*REFUSED, f"{dice.choice(REFUSED)}x"]).encode("latin-1")
                )
                for _ in range(dice.randint(1, 6)):
                    at = dice.randrange(len(text))
                    text[at : at + dice.randint(0, 2)] = dice.randbytes(dice.randint(0, 2))
                reader, writer = await way.open()
                writer.write(text)
                writer.write_eof()
                answer = b""
                with suppress(ConnectionError):
                    answer = await reader.read()
                await closed(writer)
                assert not answer or 400 <= int(answer.split()[1]) < 600, (text, answer)
                assert b"Traceback" not in answer
    assert [line for line in logs if line["log_level"] == "error"] == []


async def test_nobody_is_read_faster_than_the_other_side_takes() -> None:
    """What waits in between is bounded; then all of it comes."""
    total = 64 * 2**20
    sent = 0

    async def flood(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        blocked.set_result(writer.transport)
        while sent < total:
            writer.write(bytes(2**20))
            await writer.drain()
            sent += 2**20

    blocked: asyncio.Future[asyncio.WriteTransport] = asyncio.get_running_loop().create_future()
    async with served(flood) as port:
        host = f"api.test:{port}"
        async with way_out(outward(host), NAMES) as way:
            reader, writer = await way.tunnel(host)
            writer.transport.pause_reading()  # type: ignore[attr-defined]
            transport = await blocked
            looks: list[int] = []

            def stands_still() -> bool:
                looks.append(sent)
                return sent > 0 and looks[-20:] == 20 * [sent]

            await until(stands_still)
            assert transport.get_write_buffer_size() > 0
            assert sent < total / 2
            writer.transport.resume_reading()  # type: ignore[attr-defined]
            left = total
            while data := await reader.read(2**20):
                left -= len(data)
            assert left == 0
            await closed(writer)


async def test_nothing_is_smuggled() -> None:
    """What follows a body is a request of its own, and is judged as one."""
    async with receiving() as receiver:
        host = f"api.test:{receiver.port}"
        inner = "GET http://evil.test/ HTTP/1.1\r\nHost: evil.test\r\n\r\n"
        begin = f"POST http://{host}/a HTTP/1.1\r\nHost: x\r\n"
        async with way_out(outward(host), NAMES) as way:
            text = f"{begin}Content-Length: {len(inner)}\r\nConnection: close\r\n\r\n{inner}"
            await way.say(text)
            answer = await way.say(f"{begin}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n{inner}")
            assert b"evil.test:80 is not among the hosts" in answer
        assert [call.body for call in receiver.calls] == [inner.encode(), b""]


async def test_what_is_for_one_hop_stays_here() -> None:
    """Credentials for a proxy among it, and what the client says is for this hop."""
    async with receiving() as receiver:
        host = f"api.test:{receiver.port}"
        async with way_out(outward(host), NAMES) as way:
            receiver.say(200, b"ok", x_internal="1", connection="x-internal")
            answer = await way.say(
                f"GET http://{host}/ HTTP/1.1\r\nHost: x\r\nProxy-Authorization: Basic eA==\r\n"
                "Connection: close, x-hop\r\nX-Hop: 1\r\nX-Far: 2\r\nUpgrade: h2c\r\n\r\n"
            )
            assert b"x-internal" not in answer.lower()
        (call,) = receiver.calls
        assert {"proxy-authorization", "x-hop", "upgrade"}.isdisjoint(call.headers)
        assert call.headers["x-far"] == "2"


async def test_a_head_is_read_up_to_a_limit() -> None:
    """However it comes."""
    async with way_out(outward("api.test"), bounds=Bounds(header_bytes=1_000)) as way:
        text = "GET http://api.test/ HTTP/1.1\r\nHost: x\r\nX: " + 5_000 * "y"
        assert (await way.say(text)).startswith(b"HTTP/1.1 431 ")


async def test_a_head_is_awaited_up_to_a_limit() -> None:
    """One who says it letter by letter is told, one who says nothing is left."""
    async with way_out(outward("api.test"), bounds=Bounds(header_sec=0.05, keep_sec=0.05)) as way:
        assert (await way.say("GET http://api.test/ HT")).startswith(b"HTTP/1.1 408 ")
        assert await way.say("") == b""


async def test_connections_have_a_limit() -> None:
    """One too many is told so; when another ends there is room again."""
    async with served(echo) as port:
        host = f"api.test:{port}"
        async with way_out(outward(host), NAMES, bounds=Bounds(connections=2)) as way:
            tunnels = [await way.tunnel(host) for _ in range(2)]
            answer = await way.get(f"http://{host}/")
            assert answer.startswith(b"HTTP/1.1 503 ")
            assert b"at most" not in answer
            for _, writer in tunnels:
                await closed(writer)
            while b"X-Pandar-Reason: busy" in (answer := await way.get("http://evil.test/")):
                pass
            assert answer.startswith(b"HTTP/1.1 403 ")


@pytest.mark.parametrize(
    ("reply", "status"),
    [
        (b"", b"502"),
        (b"nonsense\r\n\r\n", b"502"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", b"502"),
        (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n", b"502"),
        (None, b"504"),
    ],
)
async def test_a_server_that_does_not_answer(reply: bytes | None, status: bytes) -> None:
    """Is not the client's fault."""

    async def odd(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        if reply is None:
            await reader.read()
        else:
            writer.write(reply)

    async with served(odd) as port:
        host = f"api.test:{port}"
        async with way_out(outward(host), NAMES, bounds=Bounds(idle_sec=0.2)) as way:
            answer = await way.get(f"http://{host}/")
            assert answer.startswith(b"HTTP/1.1 " + status), answer


async def test_a_server_that_is_not_there() -> None:
    """Neither by name nor by address."""
    async with served(echo) as port:
        pass
    host = f"api.test:{port}"
    async with way_out(outward(host, "lost.test"), NAMES) as way:
        for text in (f"GET http://{host}/", f"CONNECT {host}"):
            answer = await way.say(f"{text} HTTP/1.1\r\nHost: x\r\n\r\n")
            assert answer.startswith(b"HTTP/1.1 502 ")
            assert b"X-Pandar-Reason: unreachable" in answer
        assert b"lost.test cannot be looked up" in await way.get("http://lost.test/")
        assert way.blocked == []


async def test_an_answer_that_breaks_off_is_no_answer() -> None:
    """The client can tell that something is missing."""

    async def half(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")

    async with served(half) as port:
        host = f"api.test:{port}"
        async with way_out(outward(host), NAMES) as way:
            reader, writer = await way.open()
            writer.write(f"GET http://{host}/ HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
                await reader.readuntil(b"0\r\n\r\n")
            await closed(writer)


async def test_who_leaves_is_not_answered() -> None:
    """The server learns it: what nobody waits for need not be done."""
    left = asyncio.Event()

    async def thinking(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        came.set()
        try:
            await reader.read()
        finally:
            left.set()

    came = asyncio.Event()
    async with served(thinking) as port:
        host = f"api.test:{port}"
        async with way_out(outward(host), NAMES) as way:
            _, writer = await way.open()
            writer.write(f"GET http://{host}/ HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            await came.wait()
            await closed(writer)
            await left.wait()


async def test_silence_ends_a_tunnel() -> None:
    """On both sides."""
    async with served(echo) as port:
        host = f"api.test:{port}"
        async with way_out(outward(host), NAMES, bounds=Bounds(idle_sec=0.1)) as way:
            reader, writer = await way.tunnel(host)
            with suppress(ConnectionError):
                assert await reader.read() == b""
            await closed(writer)


async def shaken(way: Way, host: str, name: str | None, tls: ssl.SSLContext) -> str:
    """Return what a TLS client of a tunnel that names ``name`` gets."""
    reader, writer = await way.tunnel(host)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = tls.wrap_bio(incoming, outgoing, server_hostname=name)
    try:
        while True:
            try:
                client.do_handshake()
            except ssl.SSLWantReadError:
                writer.write(outgoing.read())
                data = await reader.read(65_536)
                incoming.write(data) if data else incoming.write_eof()
            else:
                return "connected"
    except ssl.SSLError as error:
        return str(error)
    finally:
        await closed(writer)


async def test_tls_goes_to_the_host_that_was_allowed() -> None:
    """Not, on the same machines, to another one that is named when it begins."""
    known = authority("api.test", "evil.test")
    known.client.check_hostname = False
    async with served(echo, tls=known.server) as port:
        host = f"api.test:{port}"
        bounds = Bounds(tls_ports=frozenset({port}))
        async with way_out(outward(host), NAMES, bounds=bounds) as way:
            assert await shaken(way, host, "api.test", known.client) == "connected"
            assert await shaken(way, host, "API.test", known.client) == "connected"
            assert way.blocked == []
            assert "unrecognized name" in await shaken(way, host, "evil.test", known.client)
            assert "unrecognized name" in await shaken(way, host, None, known.client)
            reader, writer = await way.tunnel(host)
            writer.write(b"SSH-2.0-x\r\n")
            assert await reader.read() == UNRECOGNISED
            await closed(writer)
    assert [each.host for each in way.blocked] == ["api.test"]


async def test_a_door_may_be_closed_by_whose_it_is() -> None:
    """When the process of a box ends, before its doors are done with."""
    made = door()
    async with way_out(outward("api.test"), at=made) as way:
        made.close()
        assert (await way.get("http://evil.test/")).startswith(b"HTTP/1.1 403 ")
    with pytest.raises(ConnectionError):
        await way.open()


async def test_nothing_is_left_of_a_box() -> None:
    """When it is over its door is closed, its connections too, and nobody waits for people."""
    people = People()
    async with served(echo) as port:
        host = f"api.test:{port}"
        out = Outward(hosts=(host,), private_hosts=(host,), rules=ASKS)
        async with way_out(out, NAMES, people=people) as way:
            reader, writer = await way.tunnel(host)
            asking = asyncio.create_task(way.get("http://asked.test/"))
            await people.came.wait()
        with pytest.raises(ConnectionError):
            await way.open()
        for ended in (reader.read(), asking):
            with suppress(ConnectionError):
                assert await ended == b""
        await closed(writer)
