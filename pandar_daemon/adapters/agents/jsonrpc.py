"""JSON-RPC 2.0, one message a line, as bytes cut anywhere: no I/O, and memory is bounded.

What an agent writes is not trusted: any line comes out as a message or as `Garbage`. The member
``jsonrpc`` may be missing (Codex leaves it out).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

import msgspec
from msgspec import UNSET, Struct, UnsetType

LINE_MAX: Final = 16 * 2**20
"""Bytes of one message. Agents send whole files in one, but not films."""
ID_MAX: Final = 200
"""Digits or characters of a request's id."""
SHOWN_MAX: Final = 200
"""Bytes of a line that is garbage that are kept, to name it."""

METHOD_NOT_FOUND: Final = -32601

Id = int | str | None
Params = dict[str, object]
UNREADABLE: Final = (msgspec.MsgspecError, ValueError, RecursionError)
"""What reading or writing JSON of others can raise."""


class Request(Struct, frozen=True):
    """The other side wants an answer."""

    id: Id
    method: str
    params: Params

    @property
    def key(self) -> str:
        """Return its id as text: that of no other id is the same."""
        return msgspec.json.encode(self.id).decode()


class Notice(Struct, frozen=True):
    """The other side tells something."""

    method: str
    params: Params


class Answer(Struct, frozen=True):
    """What became of a request of ours."""

    id: Id
    result: object


class Failure(Struct, frozen=True):
    """A request of ours failed, or was not understood."""

    id: Id
    code: int
    message: str
    data: object = None


class Garbage(Struct, frozen=True):
    """A line that is no message; its beginning."""

    shown: str
    why: str


class TooLong(Struct, frozen=True):
    """A line longer than `LINE_MAX`; nothing can be read after it."""


Message = Request | Notice | Answer | Failure | Garbage | TooLong


class _Error(Struct, frozen=True):
    code: int = 0
    message: str = ""
    data: object = None


class _Envelope(Struct, frozen=True):
    id: Id | UnsetType = UNSET
    method: str | UnsetType = UNSET
    params: Any = None
    result: object = UNSET
    error: _Error | UnsetType | None = UNSET


_decode: Final = msgspec.json.Decoder(_Envelope).decode
_ESCAPE: Final = re.compile(
    rb"\\(?:(u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})"
    rb"|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)",
    re.DOTALL,
)


class Inbox:
    """The messages in what arrives; the same however it is cut."""

    def __init__(self, line_max: int = LINE_MAX) -> None:
        self._line_max = line_max
        self._held = bytearray()  # the beginning of a line whose end has not come
        self._overrun = False

    @property
    def unfinished(self) -> bool:
        """Whether a line has begun and not ended."""
        return bool(self._held.strip())

    @property
    def held_bytes(self) -> int:
        """How much is kept of a line that has not ended."""
        return len(self._held)

    def feed(self, data: bytes) -> Iterator[Message]:
        """Iterate over the messages that end in ``data``; empty lines are none.

        After `TooLong` there are no more.
        """
        begin = 0
        while not self._overrun:
            end = data.find(b"\n", begin)
            if len(self._held) + (end if end >= 0 else len(data)) - begin > self._line_max:
                self._overrun = True
                self._held.clear()
                yield TooLong()
            elif end < 0:
                self._held += data[begin:]
                return
            else:
                line = bytes(self._held) + data[begin:end]
                self._held.clear()
                begin = end + 1
                if line and not line.isspace():
                    yield message_in(line)


def message_in(line: bytes) -> Message:
    """Return what a line says."""
    try:
        envelope = _read(line)
    except UNREADABLE as error:
        return _garbage(line, _reason(error))
    if len(str(envelope.id)) > ID_MAX:
        return _garbage(line, "its id is too long")
    return _sorted(envelope) or _garbage(line, "it is neither a request nor an answer")


def _read(line: bytes) -> _Envelope:
    """Return the message; half of a surrogate pair, which JSON forbids, becomes U+FFFD.

    Programs in JavaScript write such halves where they cut a text inside an emoji.
    """
    try:
        return _decode(line)
    except msgspec.DecodeError:
        mended = _ESCAPE.sub(_whole, line)
        if mended == line:
            raise
        return _decode(mended)


def _whole(escape: re.Match[bytes]) -> bytes:
    return b"\\ufffd" if escape[2] else escape[0]


def _sorted(envelope: _Envelope) -> Message | None:
    params = envelope.params if isinstance(envelope.params, dict) else {}
    if isinstance(envelope.method, str):
        if envelope.id is UNSET:
            return Notice(envelope.method, params)
        return Request(envelope.id, envelope.method, params)
    if envelope.id is UNSET:
        return None
    if envelope.error:
        error = envelope.error
        return Failure(envelope.id, error.code, error.message, error.data)
    return Answer(envelope.id, envelope.result) if envelope.result is not UNSET else None


def _garbage(line: bytes, why: str) -> Garbage:
    return Garbage(line[:SHOWN_MAX].decode(errors="backslashreplace"), why)


def _reason(error: BaseException) -> str:
    return "it is nested too deeply" if isinstance(error, RecursionError) else str(error)


def request(number: int, method: str, params: object) -> bytes:
    """Return a request as a line."""
    return line({"jsonrpc": "2.0", "id": number, "method": method, "params": params})


def notice(method: str, params: object) -> bytes:
    """Return a notification as a line."""
    return line({"jsonrpc": "2.0", "method": method, "params": params})


def answer(to: Id, result: object) -> bytes:
    """Return the answer to a request as a line."""
    return line({"jsonrpc": "2.0", "id": to, "result": result})


def failure(to: Id, code: int, message: str) -> bytes:
    """Return the refusal of a request as a line."""
    return line({"jsonrpc": "2.0", "id": to, "error": {"code": code, "message": message}})


def line(message: Params) -> bytes:
    """Return a message as a line."""
    return msgspec.json.encode(message) + b"\n"
