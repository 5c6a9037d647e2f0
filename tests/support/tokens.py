"""Tokens in order and out of it, and a check that a refusal gives nothing away."""

from __future__ import annotations

import hmac
import json
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from typing import Any

import pytest
from joserfc import jws
from joserfc.jwk import ECKey, RSAKey

from pandar_daemon.adapters.tokens import Tokens
from pandar_daemon.domain.refusals import Unauthenticated
from tests.support.clock import ManualClock

SECRET = b"0123456789abcdef0123456789abcdef"
START = ManualClock().now()


def claims(**changed: Any) -> dict[str, Any]:  # noqa: ANN401
    """Return claims that are in order but for the given ones; ``None`` leaves one out."""
    whole = {"user_id": 7, "type": "access", "exp": START.timestamp() + 1_800, **changed}
    return {name: value for name, value in whole.items() if value is not None}


def text(data: bytes) -> str:
    """Return base64url without padding."""
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def signed(payload: object, *, secret: bytes = SECRET, **header: object) -> str:
    """Return a token signed by HMAC, whatever its header and payload say."""
    parts = [{"alg": "HS256", **header}, payload]
    head = ".".join(text(json.dumps(part).encode()) for part in parts)
    return f"{head}.{text(hmac.digest(secret, head.encode(), 'sha256'))}"


def issued(key: RSAKey | ECKey, payload: Mapping[str, object], **header: object) -> str:
    """Return a token of an outside issuer."""
    alg = "RS256" if isinstance(key, RSAKey) else "ES256"
    head = {"alg": alg, "kid": key.kid, **header}
    return jws.serialize_compact(head, json.dumps(payload), key, [alg])


async def why(tokens: Tokens, token: str) -> str:
    """Return why a token is refused, having checked that nothing of it is repeated."""
    with pytest.raises(Unauthenticated) as refused:
        await tokens.verify(token)
    said = str(refused.value)
    assert not any(part and part in said for part in token.split(".") if len(part) > 8)
    assert refused.value.problem.status == 401
    return said
