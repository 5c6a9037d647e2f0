"""Which of its words name what a program writes, or what is gone after it ran."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

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
    if not words:
        return []
    name, operands = words[0].text.rpartition("/")[2], operands_of(words)
    found = list(_output_values(words))
    if name in {"chmod", "chown", "chgrp"}:
        found += operands[1:]
    elif name in WRITES_ALL:
        found += operands
    elif name in WRITES_LAST:
        found += [w for w in operands[-1:] if ":" not in w.text] + list(_values(words, {"-t"}))
    elif name == "mv":
        found += operands[-1:]
    elif name == "sed" and any(w.text.startswith(("-i", "--in-place")) for w in words):
        found += _sed_files(words)
    elif name in {"tar", "unzip", "make", "cmake", "ninja", "patch"}:
        found += _values(words, {"-C", "-d", "--directory", "-B"})
    elif name == "git":
        found += _git_writes(words)
    elif name == "dd":
        found += [Word(w.text[3:], w.known) for w in words if w.text.startswith("of=")]
    return found


def _sed_files(words: Sequence[Word]) -> list[Word]:
    """Return the operands of sed that are files: all, where its script is an option's value."""
    pairs = zip(words, words[1:], strict=False)
    values = {id(word) for before, word in pairs if before.text in {"-e", "-f", "--expression"}}
    files = [word for word in operands_of(words) if id(word) not in values]
    scripted = values or any(w.text.startswith(("--expression=", "--file=")) for w in words)
    return files if scripted else files[1:]


def _git_writes(words: Sequence[Word]) -> Iterator[Word]:
    texts = [word.text for word in words]
    verbs = set(texts[1:4])
    if verbs & {"clone", "init"}:
        yield from [w for w in operands_of(words)[1:] if "://" not in w.text and "@" not in w.text]
    elif "worktree" in verbs and "add" in texts:
        yield from operands_of(words)[2:3]
    if not verbs & {"status", "log", "diff", "show", "rev-parse", "ls-files", "branch", "blame"}:
        yield from _values(words, {"-C", "--git-dir", "--work-tree"})


def _output_values(words: Sequence[Word]) -> Iterator[Word]:
    for word, following in zip(words, (*words[1:], Word("")), strict=True):
        option, equals, value = word.text.partition("=")
        if option in OUTPUT_OPTIONS and (equals or following.text[:1] in {"/", "~", ".", "$"}):
            yield Word(value, word.known) if equals else following


def _values(words: Sequence[Word], names: set[str]) -> Iterator[Word]:
    for word, following in zip(words, (*words[1:], Word("")), strict=True):
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
