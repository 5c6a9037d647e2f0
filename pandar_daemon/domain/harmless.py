"""Text of others, made so that it can be shown anywhere: what hides or deceives is named.

Names of tasks and branches, commands, output, errors: agents and repositories write them, and
people decide by what they see. A character that shows nothing, moves others, or ends a line where
none should end is shown as ``⟨U+202E⟩``; marks that pile up over a letter are counted. All doors
use this: terminals (`pandar_daemon.cli.harmless` knows their escape sequences as well), pages,
cards, mail, chats, logs.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

MARKS_MAX: Final = 4
"""Marks on one letter; no language writes more."""
_LINES: Final = frozenset("\n\t")
_BLANKS: Final = frozenset("\u115f\u1160\u2800\u3164\uffa0\u034f\u17b4\u17b5")
"""Letters and marks that show nothing."""
_BRACKETS: Final = frozenset("⟨⟩")
_VARIANTS: Final = (range(0x180B, 0x1810), range(0xE0100, 0xE01F0))
MARK: Final = (
    r"[\u0300-\u036f\u0483-\u0489\u0591-\u05bd\u064b-\u065f\u0e31\u0e34-\u0e3a\u0e47-\u0e4e"
    r"\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]"
)
"""A mark that stands over or under the letter before it, as a regular expression."""
_PILE: Final = re.compile(f"({MARK}{{{MARKS_MAX}}})({MARK}+)")
NAMED: Final = re.compile(r"(⟨(?:U\+[0-9A-F]{4,6}|[0-9]+ marks)⟩)")
"""What `visible` writes in place of something."""
_IN_JSON: Final = re.compile(r"[^\x00-\x7e]")


def visible(text: str) -> str:
    """Return text in which every character that shows nothing, or moves others, is named.

    ``⟨U+202E⟩`` stands for one; newlines, tabs and plain blanks stay. So do brackets of that kind
    not: a text cannot pretend to have had such a character.
    """
    if text.isascii() and text.replace("\n", "").replace("\t", "").isprintable():
        return text
    named = "".join(f"⟨U+{ord(c):04X}⟩" if deceives(c) else c for c in text)
    return unpiled(named)


def still_visible(text: str) -> str:
    """Return `visible` text of what may have been through it before: twice is the same as once."""
    parts = NAMED.split(text)
    return "".join(part if NAMED.fullmatch(part) else visible(part) for part in parts)


def deceives(character: str) -> bool:
    """Return whether a character shows nothing, moves others, or could be one of our own marks."""
    if character in _LINES or character == " ":
        return False
    category = unicodedata.category(character)
    if category[0] in "CZ" or character in _BLANKS or character in _BRACKETS:
        return True
    return any(ord(character) in variants for variants in _VARIANTS)


def unpiled(text: str) -> str:
    """Return text in which no letter bears more than `MARKS_MAX` marks: the others are counted."""
    return _PILE.sub(lambda pile: f"{pile[1]}⟨{len(pile[2])} marks⟩", text)


def one_line(text: str, limit: int) -> str:
    """Return visible text as one line of at most so many characters."""
    line = still_visible(" ".join(text[: 4 * limit].split()))
    return line if len(line) <= limit else line[: limit - 1] + "…"


def in_json(text: str) -> str:
    """Return a JSON document that means the same, with what deceives a reader escaped."""
    flat = _PILE.sub(lambda pile: pile[1] + _escaped(pile[2]), text)
    return _IN_JSON.sub(lambda found: _escaped(found[0]) if deceives(found[0]) else found[0], flat)


def _escaped(text: str) -> str:
    units = text.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))
