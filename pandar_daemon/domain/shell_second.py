"""A second reader of shell text, written by others: what it sees and ours does not is a doubt.

The gates rest on our own reader (`shell_words`). This one parses with tree-sitter's grammar of
bash and says only two things: whether it understood all of the text, and which programs it found
that ours did not. Why there are two: docs/adr/0014-two-readers.md.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

import tree_sitter_bash
from tree_sitter import Language, Node, Parser, Tree

from pandar_daemon.domain.shell_runs import ASSIGNMENT, KEYWORDS
from pandar_daemon.domain.shell_words import split

OPENERS_MAX: Final = 1_000
"""Brackets and pipes of one text; with more the parser's time grows faster than the text."""

_PARSER: Final = Parser(Language(tree_sitter_bash.language()))
_ASCII: Final = 0x80
_READ: Final = bytes(byte if byte < _ASCII else ord(".") for byte in range(0x100))
"""What the parser reads for each byte. It looks characters up in a table of 256 (`isdigit`): for
others it reads memory that is not its own, and for some of them the process ends there. To a shell
all of these are parts of words, as a dot is."""
_BARE: Final = re.compile(rb"[\w./+-]+")
_MARKS: Final = ("(", "{", "[", "|", "<<")


def doubts(text: str) -> Iterator[str]:
    """Yield the rules of what the second reader makes doubtful; nothing where both agree.

    Never raises; takes time in proportion to the length of the text.
    """
    if sum(map(text.count, _MARKS)) > OPENERS_MAX:
        yield "unclassified.nesting"
        return
    source = text.encode("utf-8", "replace")
    tree = _PARSER.parse(source.translate(_READ))
    if tree.root_node.has_error:
        yield "unclassified.unfinished"
    if any(name not in KEYWORDS for name in _names(tree, source) - _ours(text)):
        yield "unclassified.readers"


def _ours(text: str) -> set[str]:
    """Return what stands first in each command as our reader cuts it, and after keywords."""
    found: set[str] = set()
    for simple in split(text):
        for redirect in simple.redirects:
            found.add(redirect.target.text)
        for word in simple.words:
            found.add(word.text)
            if not (word.text in KEYWORDS or ASSIGNMENT.match(word.text)):
                break
    return found


def _names(tree: Tree, source: bytes) -> set[str]:
    return {_plain(source[node.start_byte : node.end_byte]) for node in _named(tree.root_node)}


def _plain(name: bytes) -> str:
    """Return a program's name as our reader has it, its quotes removed."""
    if _BARE.fullmatch(name):
        return name.decode()
    cut = split(name.decode("utf-8", "replace"))
    return cut[-1].words[0].text if cut and cut[-1].words else ""


def _named(root: Node) -> Iterator[Node]:
    """Yield every name of a program, wherever it stands."""
    cursor = root.walk()
    while True:
        node = cursor.node
        if node is not None and node.type == "command_name":
            yield node
        if cursor.goto_first_child() or cursor.goto_next_sibling():
            continue
        while cursor.goto_parent():
            if cursor.goto_next_sibling():
                break
        else:
            return
