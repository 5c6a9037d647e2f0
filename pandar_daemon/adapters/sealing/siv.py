"""AES-SIV (RFC 5297), the one cipher all that is sealed is sealed with.

It needs no nonce that could be used twice, and seals the same text the same way every time: so a
command that holds something sealed is the same command when it is sent again. All that gives away
is that two texts, sealed with one key for one context, are equal.
"""

from __future__ import annotations

import hashlib
import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV


class SivKey:
    """A key of AES-256-SIV, made of a secret for one purpose."""

    def __init__(self, secret: bytes, purpose: bytes) -> None:
        """Derive it by HMAC-SHA512: ``secret`` is random, of at least 32 bytes of entropy."""
        self._cipher = AESSIV(hmac.digest(secret, purpose, hashlib.sha512))

    def seal(self, data: bytes, *context: str) -> str:
        """Return base64url that only `unseal` with the same context can read."""
        sealed = self._cipher.encrypt(data, [part.encode() for part in context])
        return urlsafe_b64encode(sealed).rstrip(b"=").decode()

    def unseal(self, sealed: str, *context: str) -> bytes:
        """Return what was sealed; raises ``ValueError`` for anything else."""
        if not sealed.isascii():
            raise ValueError("not sealed by Pandar")
        data = urlsafe_b64decode(sealed + "=" * (-len(sealed) % 4))
        try:
            return self._cipher.decrypt(data, [part.encode() for part in context])
        except InvalidTag:
            raise ValueError("sealed with another key, or for something else") from None
