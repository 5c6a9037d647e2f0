"""HTML as values: whatever is not `Html` already is escaped, so nothing of a user's is markup."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable
from typing import Final

from pandar_daemon.domain.harmless import unpiled, visible


class Html(str):
    """Text that is HTML."""

    __slots__ = ()


Child = str | Html | None
Value = str | int | bool | None

_VOID: Final = frozenset({"br", "input", "link", "meta"})
_NAMED: Final = re.compile(r"([⟨⟩])")
"""What `visible` writes round the name of a character, and what must not be named twice."""


def el(name: str, /, *children: Child | Iterable[Child], **attributes: Value) -> Html:
    """Return an element; ``None`` among children or values is nothing, ``True`` a bare attribute.

    A name of an attribute may end with ``_``, and has ``-`` where Python has ``_``.
    """
    opening = f"<{name}{''.join(map(_attribute, attributes, attributes.values()))}>"
    if name in _VOID:
        return Html(opening)
    return Html(f"{opening}{together(*children)}</{name}>")


def together(*children: Child | Iterable[Child]) -> Html:
    """Return these one after the other."""
    return Html("".join(_shown(child) for child in children))


def _shown(child: Child | Iterable[Child]) -> str:
    if child is None:
        return ""
    if isinstance(child, str):
        return child if isinstance(child, Html) else html.escape(harmless(child), quote=False)
    return "".join(map(_shown, child))


def _attribute(name: str, value: Value) -> str:
    shown = name.rstrip("_").replace("_", "-")
    if value is None or value is False:
        return ""
    return f" {shown}" if value is True else f' {shown}="{html.escape(harmless(str(value)))}"'


def harmless(text: str) -> str:
    """Return a text in which what shows nothing, or moves the rest, is named.

    Cards have been through this; what is not from a card, or from a card somebody else made, has
    not. Twice is the same as once.
    """
    pieces = _NAMED.split(text.replace("\r\n", "\n"))
    return unpiled("".join(piece if piece in "⟨⟩" else visible(piece) for piece in pieces))
