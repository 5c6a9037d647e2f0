"""Which texts are sentences and no commands, and what such a sentence still may not say.

A sentence that somebody files as a command harms nobody: there is no program of its first word.
But a command may stand in one, behind a line break, a semicolon, in backticks; those are commands
and judged as such. And it may tell an agent to run something: what nobody should ever run is a
doubt, unless the sentence only talks about it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final

from pandar_daemon.domain.gate_arguments import SPECIAL
from pandar_daemon.domain.gate_tables import HARMLESS, TOUCHES, names
from pandar_daemon.domain.gate_verbs import VERBS as TABLES
from pandar_daemon.domain.guard_words import (
    AGENTS,
    HEADS,
    MENTIONS,
    NOUNS,
    ORDERS,
    OTHERS,
    SMALL,
    STRONG,
    VERBS,
    WEAK,
)
from pandar_daemon.domain.shell_inner import INTERPRETERS, PYTHON
from pandar_daemon.domain.shell_run import Run
from pandar_daemon.domain.shell_runs import KEYWORDS
from pandar_daemon.domain.shell_words import Word
from pandar_daemon.domain.shell_wrappers import SHELLS, WRAPPERS

PROGRAMS: Final = (
    HARMLESS
    | TOUCHES.keys()
    | TABLES.keys()
    | SPECIAL.keys()
    | WRAPPERS.keys()
    | SHELLS
    | AGENTS
    | OTHERS
)
_WORD: Final = re.compile(
    r"[\"'(\[\u00bf\u00a1\u00ab\u201c\u2018]*([^\W\d_]+(?:['\u2019/-][^\W\d_]+)*)[\"')\].,:;!?\u2026\u201d\u00bb]*"
)
_TALK_ONLY: Final = re.compile(r"[-*\u2022#>]+|\(?\d{1,3}[.)]|[a-zA-Z][.)]|\[[ x]\]")
_MARKS: Final = "\"'`()[],.:;!?\u2018\u2019\u201c\u201d\u00bf\u00a1\u00ab\u00bb"
_OPTION: Final = re.compile(r"--?\w|/\w?\Z|~")
_APOSTROPHE: Final = re.compile(r"(?<=\w)'")
_SHELL_ONLY: Final = re.compile(r"\$[({\['\"]|\\|<<|[<>]\(")
_RISKY: Final = names(
    "rm dd chmod chown git find shred mkfs fdisk wipefs sudo curl wget gh mv kubectl"
)
_LOOKS_MAX: Final = 5
"""Commands within one sentence that are looked at."""


def is_sentence(run: Run) -> bool:
    """Tell whether what a shell would take for a command is somebody's sentence."""
    words = _words(run.written)
    if run.settings or not words or not run.written or not run.written[0].known:
        return False
    if any(letter.isalpha() and letter > "\x7f" for letter in words[0]):
        return "/" not in words[0]
    first = _WORD.fullmatch(words[0])
    if first is None:
        return False
    plain = [_plain(word) for word in words]
    if _begins(words, plain[0]):
        return True
    if is_program(first[1].lower()) or is_program(words[0]):
        return _talks_behind(words, plain) and all(word.known for word in run.written)
    return plain[0] in VERBS or _holds_together(words, plain)


def _begins(words: Sequence[str], name: str) -> bool:
    """Tell whether words begin with a capital, or a colon, as sentences do and commands do not."""
    first = words[0].lstrip("\"'([")
    capital = first[:1].isupper() and (first[1:].islower() or first[1:2] in {"", ":", ","})
    talks = capital or any(word.endswith(":") for word in words[:2])
    harmless = name in HARMLESS or name in NOUNS or name in _KILLERS or not is_program(name)
    return talks and harmless and not any(map(_OPTION.match, words))


_KILLERS: Final = frozenset({"kill", "if", "while", "until", "then", "else", "do"})


def _plain(word: str) -> str:
    return word.strip(_MARKS).lower()


def _holds_together(words: Sequence[str], plain: Sequence[str]) -> bool:
    """Tell whether there are words that make a sentence of the others; options need more."""
    small = [word for word in plain if len(word) > 1 and (word in SMALL or not word.isascii())]
    odd = any(map(_OPTION.match, words))
    enough = len(words) > 3 or len(small) > 1 or not WEAK.issuperset(small)  # noqa: PLR2004
    return len(words) > 1 and ((len(small) >= max(odd, 1) and enough) or _is_heading(words, plain))


def _is_heading(words: Sequence[str], plain: Sequence[str]) -> bool:
    """Tell whether plain words end in one that says what they are about, as a title does."""
    named = plain[-1] in HEADS and not any(map(is_program, plain[:-1]))
    return named and all(map(_WORD.fullmatch, words))


def is_mention(run: Run) -> bool:
    """Tell whether in a sentence it is no more than a name, which does nothing when it is run."""
    if len(run.written) != 1 or run.redirects:
        return False
    name = run.written[0].text
    return name in _SAY_ONLY or bool(_FILE.fullmatch(name)) or not any(map(str.isalnum, name))


_SAY_ONLY: Final = names("env export set declare printenv git npm docker kubectl gh aws source")
_FILE: Final = re.compile(r"(?!\.)(?:[\w-]+/)*[\w.-]+\.(?!sh\b|bash\b)\w+|(?:[\w-]+/)+")


def is_program(name: str) -> bool:
    """Tell whether a name is that of a program, or of a shell's own words, in any table."""
    return bool(
        name in PROGRAMS
        or name in KEYWORDS
        or name.startswith("mkfs")
        or PYTHON.match(name)
        or INTERPRETERS.match(name)
    )


def _words(sentence: Sequence[Word]) -> list[str]:
    """Return the words as people see them, marks of lists before them left out."""
    found = [part.replace("\u2019", "'") for word in sentence for part in word.text.split()]
    while found and (_TALK_ONLY.fullmatch(found[0]) or _is_picture(found[0])):
        del found[0]
    return found


def _is_picture(word: str) -> bool:
    return not word.isascii() and not any(map(str.isalnum, word))


def _talks_behind(words: Sequence[str], plain: Sequence[str]) -> bool:
    """Tell whether behind a program's name stand words as in a sentence, and nothing else."""
    if plain[0] in NOUNS and not ORDERS.intersection(plain[1:3]):
        within = 4
    else:
        within = 4 if plain[0] in HARMLESS else 2
    strong = [word in STRONG for word in plain[1 : within + 1] if word != "a" or within > 2]  # noqa: PLR2004
    odd = any(word.startswith(("-", "/", "~", ".", "$", "+")) for word in words[1:])
    odd |= any(word[0].isdigit() or word == "now" for word in words[1:2])
    return len(words) > 2 and any(strong) and not odd  # noqa: PLR2004 - a sentence


def neutral(text: str) -> str:
    """Return a text whose apostrophes no shell takes for quotes."""
    found = _APOSTROPHE.sub("\u2019", text)
    if found.count("'") % 2:
        found = found.replace("'", "\u2019")
    return found.replace('"', "\u201d") if found.count('"') % 2 else found


def is_talk(text: str, first: Run) -> bool:
    """Tell whether a text is somebody's talk: it begins so, and uses nothing only shells know."""
    return not _SHELL_ONLY.search(text) and is_sentence(first)


def commands_in(sentence: Sequence[Word]) -> Iterator[str]:
    """Yield the beginnings of commands that a sentence tells somebody to run."""
    words = [word.strip(_MARKS.replace(".", "")) for word in _words(sentence)]
    looked = 0
    for at, word in enumerate(words):
        name = word.rpartition("/")[2].lower()
        if at and looked < _LOOKS_MAX and (name in _RISKY or name.startswith("mkfs.")):
            looked += 1
            if name == "sudo" and not is_program(_plain("".join(words[at + 1 : at + 2]))):
                continue
            if not MENTIONS.intersection(before.lower() for before in words[:at]):
                yield " ".join([name, *words[at + 1 : at + 12]])
