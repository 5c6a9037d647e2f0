"""Secrets in an answer, however it is cut."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pandar_daemon.adapters.egress.masking import Mask

KEY = "abcabcabd"


def masked(parts: list[bytes], *secrets: str) -> bytes:
    """Return what comes out of a mask."""
    mask = Mask(secrets)
    return b"".join(map(mask.feed, parts)) + mask.flush()


@given(st.lists(st.sampled_from([b"abc", b"ab", b"abd", b"a", b"x", KEY.encode()]), max_size=12))
def test_it_does_not_matter_where_a_text_is_cut(parts: list[bytes]) -> None:
    """No secret comes out, the length stays, and all else is as it was."""
    whole = b"".join(parts)
    found = masked(parts, KEY)
    assert KEY.encode() not in found
    assert found == whole.replace(KEY.encode(), b"*" * len(KEY))


def test_nothing_is_held_back_without_need() -> None:
    """An event of a stream comes when it is sent."""
    mask = Mask([KEY])
    assert mask.feed(b"data: 1\n\n") == b"data: 1\n\n"
    assert mask.feed(b"data: abc") == b"data: "
    assert mask.feed(b"x") == b"abcx"


def test_a_word_of_a_header_is_a_secret_too() -> None:
    """The key alone, as well as with its scheme; what is too short is none."""
    assert masked([b"Bearer secret-key, or secret-key"], "Bearer secret-key") == (
        b"*" * 17 + b", or " + b"*" * 10
    )
    assert masked([b"short short"], "short") == b"short short"
    assert not Mask(["short"]).hides
