"""What is shown and how far it is, from bytes cut anywhere."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pandar_daemon.domain.terminal import Terminal

CASES = [
    (b"plain\n\ttext", "plain\n\ttext", None),
    (b"a\x1b[31;1mred\x1b[0mb", "aredb", None),
    (b"\x1b]0;a title\x07shown", "shown", None),
    (b"\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link", None),
    (b"\x1b(Bx\x1b7y\x1b=z", "xyz", None),
    (b"nul\x00 bell\x07 del\x7f cr\r\n", "nul bell del cr\n", None),
    ("grüße 🐼".encode(), "grüße 🐼", None),
    (b"bad \xff\xfe utf", "bad \ufffd\ufffd utf", None),
    (b"half \xe2\x82", "half \ufffd", None),
    (b"\x1b]9;4;1;42\x07", "", 42),
    (b"\x1b]9;4;1;42\x1b\\", "", 42),
    (b"\x1b]9;4;2;7\x07x", "x", 7),
    (b"\x1b]9;4;4;100\x07", "", 100),
    (b"\x1b]9;4;1;10\x07\x1b]9;4;1;20\x07", "", 20),
    (b"\x1b]9;4;3;\x07", "", None),
    (b"\x1b]9;4;0\x07", "", None),
    (b"\x1b]9;4;1;101\x07", "", None),
    (b"\x1b]9;4;1;x\x07", "", None),
    (b"\x1b]9;4;1;5 never ended", "]9;4;1;5 never ended", None),
    (b"x\x1b", "x", None),
    (b"x\x1b[3", "x[3", None),
    (b"\x1b]broken\x1b[1mbold", "]brokenbold", None),
    (b"\x1b]" + b"y" * 5000 + b"\x07end", "]" + "y" * 5000 + "end", None),
]


def shown(*pieces: bytes) -> tuple[str, int | None]:
    """Return the tail and the progress after these pieces."""
    terminal = Terminal(4096)
    for piece in pieces:
        terminal.feed(piece)
    return terminal.tail(), terminal.progress


@pytest.mark.parametrize(("data", "text", "progress"), CASES)
def test_is_read_whole(data: bytes, text: str, progress: int | None) -> None:
    """Text comes out clean, and progress is heard."""
    assert shown(data) == (text[-4096:], progress)


@pytest.mark.parametrize(("data", "text", "progress"), CASES)
def test_is_read_byte_by_byte(data: bytes, text: str, progress: int | None) -> None:
    """The same comes out when every byte arrives alone."""
    assert shown(*(data[i : i + 1] for i in range(len(data)))) == shown(data)


PARTS = st.sampled_from(
    [
        b"\x1b",
        b"]",
        b"[",
        b"9;4;1;",
        b"50",
        b"\x07",
        b"\\",
        b"m",
        b"P",
        b"a",
        b"\xc3",
        b"\xa9",
        b" ",
    ]
)


@given(st.lists(PARTS, max_size=30), st.data())
def test_cuts_do_not_matter(parts: list[bytes], data: st.DataObject) -> None:
    """However a mess is cut, the result is that of the whole."""
    whole = b"".join(parts)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=8)))
    edges = [0, *cuts, len(whole)]
    pieces = [whole[a:b] for a, b in pairwise(edges)]
    assert shown(*pieces) == shown(whole)


def test_tail_keeps_the_last_characters() -> None:
    """Of much text the last characters are kept, however many bytes they have."""
    text, _ = shown(*("ä" * 1000).encode().splitlines(), *["é".encode()] * 4096)
    assert text == "é" * 4096


def test_memory_is_bounded_by_an_endless_sequence() -> None:
    """A sequence that never ends is text after all, and is not held back for ever."""
    terminal = Terminal(10)
    for _ in range(1000):
        terminal.feed(b"\x1b]" + b"z" * 100)
        terminal.feed(b"z" * 5000)
        assert len(terminal._held) <= 4099
    assert terminal.tail() == "z" * 10
