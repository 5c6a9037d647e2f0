"""Channels, sealed: what is in the log is of use to nobody else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pandar_daemon.adapters.channels.sealing import AesSealer
from pandar_daemon.ports import Sealer

CHANNEL = "slack://xoxb-123-456-abcdef/#ops"
SEALER: Sealer = AesSealer((b"new", b"old"))


@given(st.text(), st.text())
def test_what_is_sealed_is_unsealed(text: str, owner: str) -> None:
    """Whatever it is, for whomever; and it is sealed the same way every time."""
    sealed = SEALER.seal(text, owner)
    assert SEALER.unseal(sealed, owner) == text
    assert SEALER.seal(text, owner) == sealed
    assert sealed.isascii()


def test_it_is_of_no_use_to_others() -> None:
    """Another user who reads the log cannot make it a channel of theirs."""
    sealed = SEALER.seal(CHANNEL, "user:ann")
    for owner in ("user:bob", "project:1", ""):
        with pytest.raises(ValueError, match="for somebody else"):
            SEALER.unseal(sealed, owner)
    with pytest.raises(ValueError, match="another installation"):
        AesSealer((b"other",)).unseal(sealed, "user:ann")


def test_a_renewed_secret_reads_what_the_old_one_sealed() -> None:
    """Nobody has to save settings again."""
    sealed = AesSealer((b"old",)).seal(CHANNEL, "user:ann")
    assert SEALER.unseal(sealed, "user:ann") == CHANNEL
    assert SEALER.seal(CHANNEL, "user:ann") != sealed


@given(st.text())
def test_anything_else_is_refused(text: str) -> None:
    """With one kind of error, whatever it is."""
    for forged in (text, f"s1.{text}", SEALER.seal(CHANNEL, "user:ann")[:-1]):
        with pytest.raises(ValueError):  # noqa: PT011 - there is nothing more to it
            SEALER.unseal(forged, "user:ann")


def test_what_was_sealed_by_earlier_releases_is_read() -> None:
    """The key and the form of what is stored already stay as they are."""
    stored = "s1.FLslA6cGxuzG9aQTnjQ38Ne83t_lTVUOZges26Z008y29NKCvP0KmnYCaKoKk0Am"
    assert AesSealer((b"old",)).seal(CHANNEL, "user:ann") == stored
