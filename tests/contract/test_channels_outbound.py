"""The guard of requests to addresses that users name, against real sockets of this machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import aiohttp
import pytest

from pandar_daemon.adapters.channels.outbound import ANSWER_MAX, Blocked, Guard
from pandar_daemon.adapters.resolving import Resolve
from pandar_daemon.domain.addresses import is_public
from tests.support.receiver import LOCAL, receiving

_REFUSED = """
127.0.0.1 127.255.255.254 0.0.0.0 10.0.0.1 172.16.0.1 172.31.255.255 192.168.1.1 100.64.0.1
169.254.1.1 169.254.169.254 192.0.0.1 192.0.2.1 192.88.99.1 198.18.0.1 198.51.100.1 203.0.113.1
224.0.0.1 239.255.255.255 240.0.0.1 255.255.255.255
:: ::1 fe80::1 fe80::1%eth0 fec0::1 fc00::1 fd00:ec2::254 ff02::1 100::1 2001:db8::1
::ffff:127.0.0.1 ::ffff:10.0.0.1 ::ffff:169.254.169.254 ::ffff:8.8.8.8
::127.0.0.1 ::10.0.0.1 64:ff9b::7f00:1 64:ff9b::a9fe:a9fe 2002:7f00:1:: 2002:a00:1::
2001:0:7f00:1:: localhost example.org
"""
REFUSED = _REFUSED.split()
PUBLIC = ["8.8.8.8", "172.32.0.1", "2606:4700::1111", "64:ff9b::808:808", "2002:808:808::1"]


def names(hosts: Mapping[str, Sequence[str]]) -> Resolve:
    """Return what resolves these hosts and no others."""

    async def resolve(host: str, _port: int) -> Sequence[str]:
        if host not in hosts:
            raise OSError(host)
        return hosts[host]

    return resolve


@pytest.mark.parametrize("address", REFUSED)
def test_what_is_not_public(address: str) -> None:
    """Every class of address that means this machine, its networks, or nobody; and no address."""
    assert not is_public(address)


@pytest.mark.parametrize("address", PUBLIC)
def test_what_is_public(address: str) -> None:
    """Addresses of others, NAT64's form of them included."""
    assert is_public(address)


@pytest.mark.parametrize(
    "url",
    [
        "https://127.0.0.1:{port}/",
        "https://localhost:{port}/",
        "https://[::1]:{port}/",
        "https://[::ffff:127.0.0.1]:{port}/",
        "https://2130706433:{port}/",
        "https://0x7f000001:{port}/",
        "https://127.1:{port}/",
        "https://0:{port}/",
        "https://169.254.169.254/latest/meta-data/",
        "https://[fd00:ec2::254]/latest/meta-data/",
        "https://10.0.0.1/",
    ],
)
async def test_this_machine_is_not_called(url: str) -> None:
    """However it is written: nothing is sent."""
    async with receiving() as receiver:
        with pytest.raises((Blocked, aiohttp.InvalidURL)):
            await Guard().post(url.format(port=receiver.port), b"{}", {})
        assert receiver.calls == []


async def test_plain_http_is_for_allowed_hosts() -> None:
    """Elsewhere it is refused before anything is resolved."""
    guard = Guard(resolve=names({}))
    with pytest.raises(Blocked, match="plain http to example"):
        await guard.post("http://example.org/", b"{}", {})


async def test_an_allowed_host_is_called() -> None:
    """By its name or address; others on the same machine are not."""
    async with receiving() as receiver:
        guard = Guard([LOCAL, "hooks.corp"], names({LOCAL: [LOCAL], "hooks.corp": [LOCAL]}))
        for host in (LOCAL, "hooks.corp"):
            answer = await guard.post(f"http://{host}:{receiver.port}/in?a=1", b"{}", {"X-A": "b"})
            assert answer.status == 204
        with pytest.raises(Blocked):
            await guard.post(f"http://localhost:{receiver.port}/", b"{}", {})
        assert [call.path for call in receiver.calls] == ["/in?a=1"] * 2
        assert [call.headers["host"] for call in receiver.calls] == [
            f"{LOCAL}:{receiver.port}",
            f"hooks.corp:{receiver.port}",
        ]


async def test_a_name_is_resolved_once() -> None:
    """The address that was judged is dialled: a second answer is never asked for."""
    asked: list[str] = []

    async def rebinding(host: str, _port: int) -> Sequence[str]:
        asked.append(host)
        return ["10.0.0.1"] if len(asked) == 1 else [LOCAL]

    async with receiving() as receiver:
        with pytest.raises(Blocked):
            await Guard(resolve=rebinding).post(f"https://evil.example:{receiver.port}/", b"", {})
        assert asked == ["evil.example"]
        assert receiver.calls == []


async def test_of_mixed_addresses_only_public_ones_are_dialled() -> None:
    """A name that has both does not lead inside."""
    resolve = names({"mixed.example": [LOCAL, "8.8.8.8", "::1", "10.0.0.1"]})
    assert await Guard(resolve=resolve).addresses("mixed.example", 443) == ["8.8.8.8"]


async def test_redirects_are_not_followed() -> None:
    """They would lead past the guard."""
    async with receiving() as receiver:
        receiver.say(302, location=f"http://{LOCAL}:{receiver.port}/secret")
        answer = await Guard([LOCAL]).post(f"{receiver.url}/in", b"{}", {})
        assert answer.status == 302
        assert [call.path for call in receiver.calls] == ["/in"]


async def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy would resolve the name again, elsewhere."""
    async with receiving() as proxy, receiving() as receiver:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        await Guard([LOCAL]).post(f"{receiver.url}/in", b"{}", {})
        assert (len(proxy.calls), len(receiver.calls)) == (0, 1)


async def test_an_answer_is_read_up_to_a_limit() -> None:
    """However much comes, and however little of it is true."""
    async with receiving() as receiver:
        receiver.say(500, b"x" * (8 * ANSWER_MAX))
        answer = await Guard([LOCAL]).post(f"{receiver.url}/in", b"{}", {})
        assert len(answer.body) == ANSWER_MAX


async def test_an_answer_is_not_unpacked() -> None:
    """A small one could become a large one."""
    async with receiving() as receiver:
        receiver.say(200, b"not gzip at all", content_encoding="gzip")
        answer = await Guard([LOCAL]).post(f"{receiver.url}/in", b"{}", {})
        assert answer.body == b"not gzip at all"
