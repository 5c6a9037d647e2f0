"""What a TLS client says first, as far as it is in the clear: the name of whom it calls.

RFC 8446 §4.1.2 and RFC 6066 §3. A hello may be cut anywhere, and come in several records.
"""

from __future__ import annotations

from typing import Final

HELLO_MAX: Final = 16_384
"""Bytes a hello may have; the largest real ones have some two thousand."""
_RECORDS_MAX: Final = 16

_HANDSHAKE, _CLIENT_HELLO, _SERVER_NAME, _HOST_NAME = 22, 1, 0, 0
_TLS, _RECORD_HEAD, _MESSAGE_HEAD = 3, 5, 4


class NoHello(ValueError):
    """It is not what a TLS client says first."""


def server_name(data: bytes) -> str | None:
    """Return the name that is called, empty when none is said, ``None`` while more is to come.

    What follows a hello does not matter. Raises `NoHello`.
    """
    message, rest = b"", data
    for _ in range(_RECORDS_MAX):
        if not rest:
            return None
        _check_record(rest)
        end = _RECORD_HEAD + int.from_bytes(rest[3:_RECORD_HEAD], "big")
        message, is_whole, rest = message + rest[_RECORD_HEAD:end], len(rest) >= end, rest[end:]
        hello = _hello_in(message)
        if hello is not None:
            return _name_in(_Reader(hello))
        if not is_whole:
            return None
    raise NoHello


def _check_record(data: bytes) -> None:
    if data[0] != _HANDSHAKE or (len(data) > 1 and data[1] != _TLS):
        raise NoHello
    if len(data) >= _RECORD_HEAD and data[3:_RECORD_HEAD] == b"\0\0":
        raise NoHello


def _hello_in(message: bytes) -> bytes | None:
    """Return a hello once it is whole."""
    if message and message[0] != _CLIENT_HELLO:
        raise NoHello
    end = _MESSAGE_HEAD + int.from_bytes(message[1:_MESSAGE_HEAD], "big")
    if len(message) < _MESSAGE_HEAD:
        return None
    if end > HELLO_MAX:
        raise NoHello
    return message[_MESSAGE_HEAD:end] if len(message) >= end else None


def _name_in(hello: _Reader) -> str:
    hello.take(2 + 32)  # version, random
    for size in (1, 2, 1):  # session, ciphers, compression
        hello.block(size)
    if not hello.left:
        return ""
    extensions = _Reader(hello.block(2))
    while extensions.left:
        kind, body = extensions.number(2), extensions.block(2)
        if kind == _SERVER_NAME:
            return _host_name(_Reader(_Reader(body).block(2)))
    return ""


def _host_name(names: _Reader) -> str:
    kind, name = names.number(1), names.block(2)
    if kind != _HOST_NAME or names.left or not name.isascii():
        raise NoHello
    return name.decode().lower().removesuffix(".")


class _Reader:
    """Takes bytes from the front; raises `NoHello` where there are too few."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    @property
    def left(self) -> int:
        return len(self._data) - self._at

    def take(self, size: int) -> bytes:
        if size > self.left:
            raise NoHello
        self._at += size
        return self._data[self._at - size : self._at]

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def block(self, size: int) -> bytes:
        return self.take(self.number(size))
