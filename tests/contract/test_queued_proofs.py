"""Proofs of queued commands: whom they speak for, and when they do not."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from joserfc.jwk import ECKey

from pandar_daemon.adapters.tokens import Tokens
from pandar_daemon.domain import proof
from pandar_daemon.domain.access import Principal
from pandar_daemon.domain.refusals import Unauthenticated
from tests.support.clock import ManualClock
from tests.support.tokens import SECRET, START, claims, issued, signed, why

SENT: dict[str, Any] = {"subject": "pandar.v1.queue.task.start._.4", "command_id": "c", "body": b""}


@pytest.fixture
def tokens(clock: ManualClock) -> Tokens:
    """Return tokens of our own only."""
    return Tokens(secret=SECRET, clock=clock)


async def test_a_proof_speaks_for_its_sender(tokens: Tokens, clock: ManualClock) -> None:
    """A queued command is its sender's, judged at the time it was queued."""
    sent = proof.prove(tokens.mint("7", ["user"], 60), **SENT)
    clock.advance(30 * 86_400)
    assert await tokens.verify_proof(sent, **SENT, at=START) == Principal("7")


async def _refused(tokens: Tokens, sent: str, *, at: datetime = START, **changed: Any) -> str:  # noqa: ANN401
    with pytest.raises(Unauthenticated) as refused:
        await tokens.verify_proof(sent, **{**SENT, **changed}, at=at)
    return str(refused.value)


async def test_a_proof_of_another_command_is_refused(tokens: Tokens) -> None:
    """Nothing of the command can be exchanged."""
    sent = proof.prove(tokens.mint("7", ["user"], 60), **SENT)
    for changed in ({"subject": "x"}, {"command_id": "d"}, {"body": b"{}"}, {"subject": "a\nb"}):
        assert "proof" in await _refused(tokens, sent, **changed)


async def test_a_proof_by_an_expired_token_is_refused(tokens: Tokens) -> None:
    """The token must have been valid when the command was queued."""
    sent = proof.prove(tokens.mint("7", ["user"], 60), **SENT)
    late = START + timedelta(seconds=60)
    assert await _refused(tokens, sent, at=late) == "the token has expired"
    early = START - timedelta(seconds=61)
    assert await _refused(tokens, sent, at=early) == "the token is not valid yet"


async def test_a_proof_needs_a_token_of_ours(tokens: Tokens) -> None:
    """An issuer's signature cannot be computed anew, so its tokens prove nothing here."""
    sent = proof.prove(issued(ECKey.generate_key("P-256", {"kid": "k"}), claims()), **SENT)
    assert await _refused(tokens, sent) == "queued commands need a token minted by pandar"


@pytest.mark.parametrize("kind", ["refresh", None])
async def test_a_proof_is_no_way_round_the_claims(tokens: Tokens, kind: str | None) -> None:
    """A refresh token proves nothing either."""
    assert "wrong type" in await _refused(tokens, proof.prove(signed(claims(type=kind)), **SENT))


@pytest.mark.parametrize("sent", ["", "a.b.c", "x", "e30.e30.e30", "é.b.c", "a.b." + "c" * 9_000])
async def test_garbage_is_no_proof(tokens: Tokens, sent: str) -> None:
    """What is no proof is refused like a bad one."""
    assert await _refused(tokens, sent)


async def test_a_forged_proof_is_refused(tokens: Tokens) -> None:
    """One who knows header and payload, but no signature, proves nothing."""
    forged = proof.prove(signed(claims(roles=["admin"]), secret=b"x" * 32), **SENT)
    assert "bad signature" in await _refused(tokens, forged)


async def test_a_proof_is_no_token(tokens: Tokens) -> None:
    """What lies in the queue opens no other door."""
    sent = proof.prove(tokens.mint("7", ["user"], 60), **SENT)
    assert await why(tokens, sent) == "the token has a bad signature"
