"""Secrets of users, made unreadable for all but this installation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from pandar_daemon.adapters.sealing.siv import SivKey

VERSION: Final = "s1."
_PURPOSE: Final = b"pandar sealed channels"


class AesSealer:
    """`Sealer` with AES-SIV: the same text is sealed the same way every time.

    The owner is bound to it: sealed for one, it cannot be used as another's.
    """

    def __init__(self, secrets: Sequence[bytes]) -> None:
        """Seal with the first of the installation's secrets; read what any of them sealed."""
        self._keys = [SivKey(secret, _PURPOSE) for secret in secrets]

    def seal(self, text: str, owner: str) -> str:
        """Return a text only `unseal` with the same owner can read; always the same one."""
        return VERSION + self._keys[0].seal(text.encode(), owner)

    def unseal(self, sealed: str, owner: str) -> str:
        """Return what was sealed; raises ``ValueError`` for anything else."""
        if not sealed.startswith(VERSION) or not sealed.isascii():
            raise ValueError("not sealed by Pandar")
        for key in self._keys:
            try:
                return key.unseal(sealed.removeprefix(VERSION), owner).decode()
            except ValueError:
                continue
        raise ValueError("sealed by another installation, or for somebody else")
