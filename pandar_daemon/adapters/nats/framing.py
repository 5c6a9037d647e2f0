"""A message as bytes, and its headers out of them.

nats-py looks at every header by itself; an event has eighteen. Here one pattern looks at them all,
and what does not fit it is left to nats-py.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from msgspec import Struct

_SUBJECT: Final = re.compile(r"[!-~]{1,1000}")
_LINES: Final = r"(?:[A-Za-z0-9-]+: [!-~](?:[ -~]*[!-~])?\r\n)+"
_HEADERS: Final = re.compile(_LINES)
_LINE: Final = re.compile(r"([A-Za-z0-9-]+): ([^\r]*)\r\n")
_BLOCK: Final = re.compile(rb"NATS/1\.0\r\n" + _LINES.encode() + rb"\r\n")
_VERSION: Final = "NATS/1.0\r\n"


class Frame(Struct, frozen=True):
    """What is written, and how much of it counts as payload: the headers do."""

    data: bytes
    payload_bytes: int


def framed(subject: str, reply: str, headers: Mapping[str, str], body: bytes) -> Frame | None:
    """Return the frame of a message; ``None`` for anything out of the ordinary.

    Ordinary are subjects of up to 1,000 characters and values of printable ASCII without spaces
    at their ends: nothing in them can end a line.
    """
    if not _SUBJECT.fullmatch(subject) or (reply and not _SUBJECT.fullmatch(reply)):
        return None
    to = f"{subject} {reply} " if reply else f"{subject} "
    if not headers:
        return Frame(b"".join((f"PUB {to}{len(body)}\r\n".encode(), body, b"\r\n")), len(body))
    lines = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
    if not _HEADERS.fullmatch(lines) or lines.count("\r\n") != len(headers):
        return None
    block = f"{_VERSION}{lines}\r\n"
    size = len(block) + len(body)
    control = f"HPUB {to}{len(block)} {size}\r\n{block}"
    return Frame(b"".join((control.encode(), body, b"\r\n")), size)


def headers_of(block: bytes) -> dict[str, str] | None:
    """Return the headers of a message; ``None`` for anything out of the ordinary.

    Of two with one name the last counts, as with nats-py.
    """
    if not _BLOCK.fullmatch(block):
        return None
    return dict(_LINE.findall(block[len(_VERSION) : -2].decode("ascii")))
