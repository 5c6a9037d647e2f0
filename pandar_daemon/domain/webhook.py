"""Webhooks as the Standard Webhooks specification signs them, and what ours say.

    webhook-id         the message's id: the same one whenever the message is sent again
    webhook-timestamp  when this attempt was made, in seconds since 1970
    webhook-signature  ``v1,`` and base64 of HMAC-SHA256 over ``{id}.{timestamp}.{body}``; one for
                       each secret that is valid, separated by blanks

Every address has a secret of its own, made from one secret of the installation: who receives our
messages can check them, and forge none for anybody else.
"""

from __future__ import annotations

import hashlib
import hmac
from base64 import b64decode, b64encode
from collections.abc import Iterable
from typing import Final

PREFIX: Final = "whsec_"


def secret_of(master: bytes, url: str) -> str:
    """Return the secret for an address, as its owner configures it: ``whsec_…``."""
    key = hmac.digest(master, b"pandar webhook\n" + url.encode(), hashlib.sha256)
    return PREFIX + b64encode(key).decode()


def signed_headers(
    secrets: Iterable[str], message_id: str, timestamp: int, body: bytes
) -> dict[str, str]:
    """Return the headers of a message, signed with each of the secrets."""
    content = f"{message_id}.{timestamp}.".encode() + body
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(f"v1,{_signature(one, content)}" for one in secrets),
    }


def _signature(secret: str, content: bytes) -> str:
    key = b64decode(secret.removeprefix(PREFIX))
    return b64encode(hmac.digest(key, content, hashlib.sha256)).decode()
