"""Secrets of users, made unreadable for all but this installation."""

from __future__ import annotations

import hashlib
import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

VERSION: Final = "s1."


class AesSealer:
    """`Sealer` with AES-SIV (RFC 5297): the same text is sealed the same way every time.

    So a command that seals something is the same command when it is sent again. The owner is bound
    to it: sealed for one, it cannot be used as another's.
    """

    def __init__(self, secrets: Sequence[bytes]) -> None:
        """Seal with the first of the installation's secrets; read what any of them sealed."""
        self._keys = [AESSIV(_key(secret)) for secret in secrets]

    def seal(self, text: str, owner: str) -> str:
        """Return a text only `unseal` with the same owner can read; always the same one."""
        sealed = self._keys[0].encrypt(text.encode(), [owner.encode()])
        return VERSION + urlsafe_b64encode(sealed).rstrip(b"=").decode()

    def unseal(self, sealed: str, owner: str) -> str:
        """Return what was sealed; raises ``ValueError`` for anything else."""
        if not sealed.startswith(VERSION) or not sealed.isascii():
            raise ValueError("not sealed by Pandar")
        body = sealed.removeprefix(VERSION)
        data = urlsafe_b64decode(body + "=" * (-len(body) % 4))
        for key in self._keys:
            try:
                return key.decrypt(data, [owner.encode()]).decode()
            except InvalidTag:
                continue
        raise ValueError("sealed by another installation, or for somebody else")


def _key(secret: bytes) -> bytes:
    return hmac.digest(secret, b"pandar sealed channels", hashlib.sha512)
