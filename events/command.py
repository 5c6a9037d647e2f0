"""What all commands have in common."""

from __future__ import annotations

from msgspec import Struct


class Command(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of all commands."""
