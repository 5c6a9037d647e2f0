"""Bytes to text without ever breaking a character that goes on."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pandar_daemon.adapters.http.stored_output import Piece, text_of, within
from pandar_daemon.ports import Chunk


@given(st.text(), st.lists(st.integers(min_value=4, max_value=9), min_size=1))
def test_pieces_of_any_length_join_to_the_whole(text: str, lengths: list[int]) -> None:
    """Reading on from ``next_offset`` in pieces of at least 4 bytes loses and breaks nothing."""
    data, offset, found, turn = text.encode(), 0, "", 0
    while offset < len(data):
        piece = data[offset : offset + lengths[turn % len(lengths)]]
        final = offset + len(piece) == len(data)
        shown, end = text_of(Piece(offset=offset, data=piece), final=final)
        assert end > offset
        found, offset, turn = found + shown, end, turn + 1
    assert found == text


@given(st.binary(max_size=64))
def test_any_bytes_are_text(data: bytes) -> None:
    """What is no UTF-8 becomes replacement characters, and nothing is raised."""
    text, end = text_of(Piece(offset=5, data=data), final=True)
    assert end == 5 + len(data)
    assert text == data.decode("utf-8", "replace")


def test_a_character_cut_in_two_is_left_for_later() -> None:
    """Two bytes of a three-byte character are not consumed while more may come."""
    assert text_of(Piece(offset=0, data=b"a\xe2\x82"), final=False) == ("a", 1)
    assert text_of(Piece(offset=0, data=b"a\xe2\x82"), final=True) == (
        "a\N{REPLACEMENT CHARACTER}",
        3,
    )


def test_chunks_are_trimmed_to_a_start() -> None:
    """Bytes before the start are left out, all of them if need be."""
    chunk = Chunk(offset=10, data=b"abc")
    assert within(chunk, 0) == chunk
    assert within(chunk, 11) == Chunk(offset=11, data=b"bc")
    assert within(chunk, 20).data == b""
