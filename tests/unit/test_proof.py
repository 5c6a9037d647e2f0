"""A proof speaks for one command, and is no token."""

from __future__ import annotations

from base64 import urlsafe_b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pandar_daemon.domain import proof
from pandar_daemon.domain.proof import BadProof

SECRET = b"s" * 32
SUBJECT, COMMAND, BODY = "pandar.v1.queue.task.start._.42", "c-1", b"{}"


def _text(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


INPUT = f"{_text(b'header')}.{_text(b'payload')}"
SIGNATURE = proof.sign(INPUT, SECRET)
TOKEN = f"{INPUT}.{_text(SIGNATURE)}"
PROOF = proof.prove(TOKEN, subject=SUBJECT, command_id=COMMAND, body=BODY)


def _covers(text: str, *, secret: bytes = SECRET, subject: str = SUBJECT,
            command_id: str = COMMAND, body: bytes = BODY) -> bool:  # fmt: skip
    parsed = proof.parse(text)
    signature = proof.sign(parsed.signing_input, secret)
    return parsed.covers(signature, subject=subject, command_id=command_id, body=body)


def test_a_proof_covers_its_command() -> None:
    """One who knows the secret can check it, from the proof and the message alone."""
    assert _covers(PROOF)


def test_a_proof_holds_no_token() -> None:
    """The token's signature is not in it, so nothing but the command can be done with it."""
    assert _text(SIGNATURE) not in PROOF
    assert PROOF.startswith(INPUT)
    assert PROOF != TOKEN


def test_a_proof_covers_nothing_else() -> None:
    """Another subject, command id, body or secret, and it is worth nothing."""
    assert not _covers(PROOF, subject=SUBJECT + "3")
    assert not _covers(PROOF, command_id="c-2")
    assert not _covers(PROOF, body=b"{ }")
    assert not _covers(PROOF, secret=b"t" * 32)
    assert not _covers(TOKEN)


def test_a_proof_cannot_be_moved_to_another_identity() -> None:
    """With another header or payload the key is another one."""
    mac = PROOF.rpartition(".")[2]
    assert not _covers(f"{_text(b'header')}.{_text(b'admin')}.{mac}")


@pytest.mark.parametrize("name", ["subject", "command_id"])
def test_names_cannot_run_into_each_other(name: str) -> None:
    """A line break in a name, which could shift the boundary between two, is refused."""
    names = {"subject": SUBJECT, "command_id": COMMAND, name: "a\nb"}
    with pytest.raises(BadProof):
        proof.prove(TOKEN, **names, body=BODY)


@pytest.mark.parametrize(
    "text", ["", "a", "a.b", "a.b.", ".b.c", "a..c", "a.b.c.d", "a.b.c=", "a.b.ü", "a.b.c\n"]
)
def test_what_is_no_proof_is_refused(text: str) -> None:
    """Only three parts of base64url are taken apart."""
    with pytest.raises(BadProof):
        proof.parse(text)


def test_a_huge_proof_is_refused() -> None:
    """Past 8 KiB nothing is computed."""
    with pytest.raises(BadProof, match="too long"):
        proof.parse("a.b." + "c" * 8_192)


@given(st.text())
def test_parsing_only_ever_refuses(text: str) -> None:
    """Any text is a proof or a `BadProof`."""
    try:
        assert proof.parse(text).mac
    except BadProof:
        return
