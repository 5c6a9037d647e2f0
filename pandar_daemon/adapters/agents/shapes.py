"""Reading JSON that may have any shape: what is not as expected counts as absent."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Final

import msgspec

from pandar_daemon.adapters.agents.jsonrpc import UNREADABLE

NUL_SHOWN: Final = "\u2400"
"""Stands for a NUL, which no command, path or database text can hold."""


def mapping(value: object) -> dict[str, object]:
    """Return an object; an empty one for anything else."""
    return value if isinstance(value, dict) else {}


def items(value: object) -> list[object]:
    """Return an array; an empty one for anything else."""
    return value if isinstance(value, list) else []


def text(value: object) -> str:
    """Return a string; an empty one for anything else."""
    return value if isinstance(value, str) else ""


def first_text(source: dict[str, object], names: Sequence[str]) -> str:
    """Return the first member of ``source`` among ``names`` that is a text and not empty."""
    return next((found for name in names if (found := text(source.get(name)))), "")


def count(value: object) -> int | None:
    """Return a number that can count something, as a whole one."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return int(value) if 0 <= value < 2**63 else None


def cut(whole: str, limit: int) -> str:
    """Return at most ``limit`` characters; what is cut says so, and whole texts stay distinct.

    ``limit`` is at least 200.
    """
    shown = whole.replace("\0", NUL_SHOWN)
    if len(shown) <= limit:
        return shown
    digest = hashlib.sha256(shown.encode()).hexdigest()
    mark = f"\n[cut: {len(shown):,} characters, SHA-256 {digest}]"
    return shown[: limit - len(mark)] + mark


def cut_list(names: Sequence[str], limit: int, name_max: int) -> list[str]:
    """Return at most ``limit`` different texts, in their order; the last may stand for the rest."""
    known = list(dict.fromkeys(cut(name, name_max) for name in names if name))
    if len(known) <= limit:
        return known
    rest = known[limit - 1 :]
    digest = hashlib.sha256("\0".join(rest).encode()).hexdigest()
    return [*known[: limit - 1], f"[and {len(rest):,} more, SHA-256 {digest}]"]


def as_json(value: object) -> str:
    """Return a value as JSON, its members in order: equal values are equal texts."""
    try:
        return msgspec.json.encode(value, order="sorted").decode()
    except UNREADABLE:
        return "unreadable"
