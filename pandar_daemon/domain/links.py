"""Approval links: a secret text of which only the SHA-256 is ever kept, or leaves this process.

Whoever has the text decides one confirmation, as one approver, once. So it stands in no log, and
the form that decides proves that it came from the page: a program that follows or posts whatever
addresses it finds decides nothing.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Iterable
from typing import Final
from uuid import UUID

IDS: Final = 4
"""How many UUIDv7 make a text: each has 74 random bits, the text keeps 256."""
_SHAPE: Final = re.compile(r"[A-Za-z0-9_-]{43}")
_FORM: Final = b"pandar approval form "


def secret(ids: Iterable[UUID]) -> str:
    """Return a text nobody can guess, made of `IDS` fresh ids."""
    digest = hashlib.sha256(b"".join(each.bytes for each in ids)).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def is_secret(text: str) -> bool:
    """Tell whether a text may be one at all."""
    return _SHAPE.fullmatch(text) is not None


def sha256(token: str) -> str:
    """Return the hash by which a text is known, in hex."""
    return hashlib.sha256(token.encode()).hexdigest()


def address(public_url: str, token: str) -> str:
    """Return where a browser finds the page of a link."""
    return f"{public_url.rstrip('/')}/a/{token}"


def form_proof(token: str, card_sha256: str) -> str:
    """Return what the page's form carries, good for this link and this card alone."""
    return hmac.new(token.encode(), _FORM + card_sha256.encode(), "sha256").hexdigest()


def is_form_proof(text: str, token: str, card_sha256: str) -> bool:
    """Tell, in a time that tells nothing, whether a text is that proof."""
    return hmac.compare_digest(text.encode(), form_proof(token, card_sha256).encode())
