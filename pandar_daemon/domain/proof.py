r"""Proof that the bearer of a token sent one particular command, without the token itself.

A queued command lies on disk, where a bearer token must never be. Its sender takes the token's
signature as a key and sends ``<jwt header>.<jwt payload>.<HMAC of the command>`` instead. Whoever
knows the signing secret can compute that signature anew from header and payload, hence check the
HMAC; nobody else can turn a proof into a token, or into a proof of another command.

    key     = signature bytes of the JWT (HS256)
    message = subject "\n" command_id "\n" hex(SHA-256(body))
    proof   = jwt_header "." jwt_payload "." base64url(HMAC-SHA256(key, message))

A stolen proof can only repeat that very command, which its command id makes harmless.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Final

from msgspec import Struct

HEADER: Final = "Pandar-Proof"
PROOF_MAX: Final = 8_192
"""Bytes of a proof, as of a token."""

_SHAPE: Final = re.compile(r"(?P<input>[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+)\.(?P<last>[A-Za-z0-9_-]+)")


class BadProof(ValueError):
    """The text is no proof, or cannot be one; says why without repeating it."""


class Proof(Struct, frozen=True):
    """A proof taken apart: what the token's signature was over, and the command's HMAC."""

    signing_input: str
    mac: bytes

    def covers(self, signature: bytes, *, subject: str, command_id: str, body: bytes) -> bool:
        """Return whether this command was sent by one who knew the token with that signature."""
        return hmac.compare_digest(self.mac, _mac(signature, subject, command_id, body))


def prove(token: str, *, subject: str, command_id: str, body: bytes) -> str:
    """Return the proof to send with a queued command instead of ``token``.

    Raises `BadProof` when the token is no JWT, or a name holds a line break.
    """
    signing_input, signature = _halves(token)
    return f"{signing_input}.{_encode(_mac(signature, subject, command_id, body))}"


def parse(text: str) -> Proof:
    """Return a proof taken apart; raises `BadProof` for anything else."""
    if len(text) > PROOF_MAX:
        raise BadProof("the proof is too long")
    return Proof(*_halves(text))


def sign(signing_input: str, secret: bytes) -> bytes:
    """Return the HS256 signature of a JWT's ``header.payload``."""
    return hmac.digest(secret, signing_input.encode("ascii"), "sha256")


def _mac(signature: bytes, subject: str, command_id: str, body: bytes) -> bytes:
    if "\n" in subject or "\n" in command_id:
        raise BadProof("a subject or command id holds a line break")
    message = f"{subject}\n{command_id}\n{hashlib.sha256(body).hexdigest()}"
    return hmac.digest(signature, message.encode(), "sha256")


def _halves(text: str) -> tuple[str, bytes]:
    parts = _SHAPE.fullmatch(text)
    if parts is None or len(parts["last"]) % 4 == 1:
        raise BadProof("expected three parts of base64url")
    last = parts["last"]
    return parts["input"], urlsafe_b64decode(last + "=" * (-len(last) % 4))


def _encode(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode("ascii")
