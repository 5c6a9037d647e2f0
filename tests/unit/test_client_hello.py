"""The name a TLS client says first: from real hellos, cut and broken in every way."""

from __future__ import annotations

import ssl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pandar_daemon.domain.client_hello import HELLO_MAX, NoHello, server_name


def hello(name: str | None) -> bytes:
    """Return what this Python's TLS says first."""
    context = ssl.create_default_context()
    context.check_hostname = False
    outgoing = ssl.MemoryBIO()
    client = context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=name)
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


def in_records(data: bytes, size: int) -> bytes:
    """Return a hello in many records."""
    head, body = data[:3], data[5:]
    parts = [body[at : at + size] for at in range(0, len(body), size)]
    return b"".join(head + len(part).to_bytes(2, "big") + part for part in parts)


@pytest.mark.parametrize(("name", "found"), [("api.test", "api.test"), ("API.Test", "api.test")])
def test_a_name_is_found(name: str, found: str) -> None:
    """Whole, with what follows, and in several records."""
    data = hello(name)
    assert server_name(data) == found
    assert server_name(data + b"more") == found
    assert server_name(in_records(data, 100)) == found


def test_no_name_is_none() -> None:
    """An address is not said."""
    assert server_name(hello(None)) == ""
    assert server_name(hello("203.0.113.5")) == ""


def test_more_is_awaited() -> None:
    """At every place where it can be cut."""
    data = hello("api.test")
    assert {server_name(data[:at]) for at in range(len(data))} == {None}


@pytest.mark.parametrize(
    "data",
    [
        b"SSH-2.0-OpenSSH\r\n",
        b"GET / HTTP/1.1\r\n",
        b"\x16\x02\x00\x00\x01\x01",
        b"\x15\x03\x01\x00\x02\x02\x70",
        b"\x16\x03\x01\x00\x00\x16\x03\x01",
        b"\x16\x03\x01\x00\x05\x02\x00\x00\x01x",
        b"\x16\x03\x01\x00\x05\x01\xff\xff\xffx",
        b"\x16\x03\x01\x00\x05\x01\x00\x00\x01x",
        b"\x16\x03\x01\xff\xff\x01\x00\x40\x00" + HELLO_MAX * b"x",
        17 * b"\x16\x03\x01\x00\x01\x01",
    ],
)
def test_anything_else_is_no_hello(data: bytes) -> None:
    """It is known as soon as it can be."""
    with pytest.raises(NoHello):
        server_name(data)


@given(st.integers(0, 600), st.integers(0, 255))
def test_a_broken_hello_breaks_nothing(at: int, byte: int) -> None:
    """It has a name, another one, or is none."""
    data = bytearray(HELLO)
    data[at % len(data)] = byte
    try:
        server_name(bytes(data))
    except NoHello:
        return


HELLO = hello("api.test")
