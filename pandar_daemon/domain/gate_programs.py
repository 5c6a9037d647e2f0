"""What one program with its arguments touches, as the tables say."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final

from pandar_daemon.domain.gate_arguments import SPECIAL
from pandar_daemon.domain.gate_clouds import CLOUD_READS, CLOUDS
from pandar_daemon.domain.gate_tables import (
    HARMLESS,
    INSTALLERS,
    RUNS_MORE,
    TASK_RUNNERS,
    TASK_WORDS,
    TOUCHES,
)
from pandar_daemon.domain.gate_verb import Verbs
from pandar_daemon.domain.gate_verbs import SCRIPT_RUNNERS, VERBS
from pandar_daemon.domain.shell_words import Word

_ONLY_ASKS: Final = (["--version"], ["-version"], ["--help"])
_SUFFIXES_MAX: Final = 20
"""Words of a command nobody knows that are looked at as the beginning of another."""


def rules_of(words: Sequence[Word]) -> Iterator[str]:
    """Yield the rules that running a program touches; none for ordinary work."""
    if not words or _is_test(words):
        return
    yield from _named(words[0].text.rpartition("/")[2], words)


def _is_test(words: Sequence[Word]) -> bool:
    """Tell whether it is a later part of ``[[ … && … ]]``, which is no program."""
    return bool(re.fullmatch(r"!|-[a-zA-Z]", words[0].text)) and words[-1].text == "]]"


def _named(name: str, words: Sequence[Word]) -> Iterator[str]:
    known = name in HARMLESS or name in TOUCHES or name in VERBS or name in SPECIAL
    if known and [word.text for word in words[1:]] in _ONLY_ASKS:
        return
    if name in SPECIAL:
        yield from SPECIAL[name](words)
    elif name in VERBS:
        yield from _verb(VERBS[name], name, words)
    elif name in TOUCHES:
        yield from TOUCHES[name].split()
        if name == "pandar-secret":
            yield from _perhaps(words[1:])
    elif name.startswith("mkfs"):
        yield "destructive_fs.disk"
    elif name not in HARMLESS:
        yield "unclassified.program"
        yield from _perhaps(words[1:])
    yield from _options(name, words[1:])
    if name in TASK_RUNNERS:
        tasks = [word.text for word in words[1:] if not word.text.startswith("-")]
        yield from _tasks(iter(tasks))
        if name in INSTALLERS and "install" in tasks:
            yield "outside_workspace.packages"


def _perhaps(words: Sequence[Word]) -> Iterator[str]:
    """Yield what the arguments of an unknown program touch, should it run them."""
    for i, word in enumerate(words[:_SUFFIXES_MAX]):
        name = word.text.rpartition("/")[2]
        if name in VERBS or name in SPECIAL or name in TOUCHES:
            yield from _named(name, words[i:])
            return


def _options(name: str, arguments: Sequence[Word]) -> Iterator[str]:
    if any(_is_among(RUNS_MORE.get(name, ()), word.text) for word in arguments):
        yield "unclassified.options"
    if name in TASK_RUNNERS and any(
        not word.known or "$(" in word.text or word.text in _STDIN for word in arguments
    ):
        yield "unclassified.options"


_STDIN: Final = frozenset({"-", "-f-", "/dev/stdin"})


def _is_among(beginnings: Sequence[str], argument: str) -> bool:
    """Tell whether an argument begins so; of a long option its own beginning is enough."""
    stated = argument.partition("=")[0]
    short = len(stated) > 3 and stated.startswith("--")  # noqa: PLR2004 - more than one letter
    return any(argument.startswith(b) or (short and b.startswith(stated)) for b in beginnings)


def _tasks(names: Iterator[str]) -> Iterator[str]:
    for name in names:
        for part in re.split(r"[^a-z]+", name.lower()):
            if part in TASK_WORDS:
                yield TASK_WORDS[part]


def _verb(table: Verbs, name: str, words: Sequence[Word]) -> Iterator[str]:
    at = table.options.skip(words, 1)
    if at is None:
        yield "unclassified.options"
        yield from _perhaps_verb(table, words)
        return
    operands = _operands(table, words, at)
    if not operands:
        yield from _without_verb(name)
        return
    if not operands[0].fixed:
        yield "unclassified.expansion"
        return
    yield from _looked_up(table, name, operands)
    if name == "go" and any(re.match(r"[\w-]+(?:\.[\w-]+)+/\S*@", w.text) for w in operands[1:]):
        yield "network_egress.install"
    if name in {"kubectl", "k"} and operands[0].text in {"get", "describe", "edit"}:
        yield from _cluster_secrets(words)
    if "--destroy" in {w.text for w in words} or "-destroy" in {w.text for w in words}:
        yield "infra_change.destroy"


def _operands(table: Verbs, words: Sequence[Word], at: int) -> list[Word]:
    """Return the first operands, up to an option behind which nobody knows what is one."""
    found: list[Word] = []
    while at < len(words) and len(found) < 4:  # noqa: PLR2004 - verbs are shorter
        after = table.options.skip(words, at)
        if after is None or after >= len(words):
            break
        found.append(words[after])
        at = after + 1
    return found


def _looked_up(table: Verbs, name: str, operands: Sequence[Word]) -> Iterator[str]:
    texts = [word.text for word in operands]
    if name in CLOUDS and _only_reads(table, texts):
        return
    for count in (3, 2, 1):
        verb = " ".join(texts[:count])
        if len(texts) < count or not (verb in table.rules or verb in table.plain):
            continue
        if count < len(texts) and not operands[count].fixed and _is_deeper(table, verb):
            yield "unclassified.expansion"
        if verb in table.rules:
            yield table.rules[verb]
        elif name in SCRIPT_RUNNERS:
            yield from _tasks(iter(texts))
        return
    if name in {"yarn", "pnpm"}:
        yield from _tasks(iter(texts))  # any other word is the name of a script
    else:
        yield table.other


def _is_deeper(table: Verbs, verb: str) -> bool:
    return any(known.startswith(f"{verb} ") for known in (*table.rules, *table.plain))


def _only_reads(table: Verbs, texts: Sequence[str]) -> bool:
    """Tell whether a verb of a cloud reads, as its last operands say; secrets are in tables."""
    if any(" ".join(texts[:count]) in table.rules for count in (1, 2, 3)):
        return False
    return any(re.match(rf"(?:{'|'.join(CLOUD_READS)})(?:-|\Z)", text) for text in texts[1:])


def _without_verb(name: str) -> Iterator[str]:
    if name in {"yarn", "bundle"}:
        yield "network_egress.install"


def _perhaps_verb(table: Verbs, words: Sequence[Word]) -> Iterator[str]:
    found = (table.rules[word.text] for word in words[1:_SUFFIXES_MAX] if word.text in table.rules)
    yield from found


def _cluster_secrets(words: Sequence[Word]) -> Iterator[str]:
    for word in words[2:]:
        if re.match(r"(?:.*,)?secrets?(?:[/,.].*)?\Z", word.text) or not word.fixed:
            yield "secrets_access.store"
