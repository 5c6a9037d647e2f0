"""Which of its words name what a program writes, or what is gone after it ran."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Final

from pandar_daemon.domain.gate_tables import DELETES, OUTPUT_OPTIONS, WRITES_ALL, WRITES_LAST
from pandar_daemon.domain.shell_words import Word


def operands_of(words: Sequence[Word]) -> list[Word]:
    """Return the arguments that are no options."""
    found, only = [], False
    for word in words[1:]:
        if word.text == "--" and not only:
            only = True
        elif only or not word.text.startswith("-") or word.text == "-":
            found.append(word)
    return found


def written_by(words: Sequence[Word]) -> list[Word]:
    """Return the words that name what a program writes."""
    name = words[0].text.rpartition("/")[2] if words else ""
    found = list(_output_values(words))
    if name in WRITES_ALL:
        found += operands_of(words)
    elif name in WRITES_LAST:
        found += [word for word in operands_of(words)[-1:] if ":" not in word.text]
        found += _values(words, {"-t"})
    elif name in _WRITES:
        found += _WRITES[name](words)
    return found


def _from(first: int, last: int | None = None) -> Callable[[Sequence[Word]], Iterable[Word]]:
    return lambda words: operands_of(words)[first:last]


def _folders(words: Sequence[Word]) -> Iterator[Word]:
    return _values(words, {"-C", "-d", "--directory", "-B"})


def _dd(words: Sequence[Word]) -> Iterator[Word]:
    return (Word(w.text[3:], w.known) for w in words if w.text.startswith("of="))


def _tar(words: Sequence[Word]) -> list[Word]:
    return [*_folders(words), *_archive(words)]


def _archive(words: Sequence[Word]) -> list[Word]:
    """Return the archive that tar makes."""
    for word, following in pairwise(words[1:]):
        if re.fullmatch(
            r"-?[a-zA-Z]*[cru][a-zA-Z]*f|-?[a-zA-Z]*f[a-zA-Z]*[cru][a-zA-Z]*", word.text
        ):
            return [following]
    return list(_values(words, {"--file", "-f"})) if "--create" in {w.text for w in words} else []


def _sed_files(words: Sequence[Word]) -> list[Word]:
    """Return the operands of sed that are files: all, where its script is an option's value."""
    pairs = pairwise(words)
    values = {id(word) for before, word in pairs if before.text in {"-e", "-f", "--expression"}}
    files = [word for word in operands_of(words) if id(word) not in values]
    scripted = values or any(w.text.startswith(("--expression=", "--file=")) for w in words)
    return files if scripted else files[1:]


def _sed(words: Sequence[Word]) -> list[Word]:
    changes = any(word.text.startswith(("-i", "--in-place")) for word in words)
    return _sed_files(words) if changes else []


def _in_place(words: Sequence[Word]) -> list[Word]:
    """Return the operands of what edits files where they are, its own code among them."""
    changes = any(re.match(r"-[a-zA-Z0]*i", word.text) for word in words[1:])
    return operands_of(words) if changes else []


def _git(words: Sequence[Word]) -> Iterator[Word]:
    texts = [word.text for word in words]
    verbs = set(texts[1:4])
    if verbs & {"clone", "init"}:
        yield from [w for w in operands_of(words)[1:] if "://" not in w.text and "@" not in w.text]
    elif "worktree" in verbs and "add" in texts:
        yield from operands_of(words)[2:3]
    if not verbs & {"status", "log", "diff", "show", "rev-parse", "ls-files", "branch", "blame"}:
        yield from _values(words, {"-C", "--git-dir", "--work-tree"})


_WRITES: Final[Mapping[str, Callable[[Sequence[Word]], Iterable[Word]]]] = {
    **dict.fromkeys(("chmod", "chown", "chgrp"), _from(1)),
    "mv": _from(-1),
    "zip": _from(0, 1),
    **dict.fromkeys(("uniq", "xxd", "split"), _from(1, 2)),
    **dict.fromkeys(("unzip", "make", "cmake", "ninja", "patch"), _folders),
    "tar": _tar,
    "sed": _sed,
    "git": _git,
    **dict.fromkeys(("perl", "ruby"), _in_place),
    "dd": _dd,
}


def _output_values(words: Sequence[Word]) -> Iterator[Word]:
    for word, following in pairwise([*words, Word("")]):
        option, equals, value = word.text.partition("=")
        if option in OUTPUT_OPTIONS and (equals or following.text[:1] in {"/", "~", ".", "$"}):
            yield Word(value, word.known) if equals else following


def _values(words: Sequence[Word], names: set[str]) -> Iterator[Word]:
    for word, following in pairwise([*words, Word("")]):
        option, equals, value = word.text.partition("=")
        if option in names:
            yield Word(value, word.known) if equals else following
        elif word.text[:2] in names and len(word.text) > 2:  # noqa: PLR2004 - glued to it
            yield Word(word.text[2:], word.known)


def deleted_by(words: Sequence[Word]) -> list[Word]:
    """Return the words that name what is gone after a program ran."""
    name = words[0].text.rpartition("/")[2] if words else ""
    if name not in DELETES:
        return []
    operands = operands_of(words)
    return operands[:-1] if name == "mv" else operands
