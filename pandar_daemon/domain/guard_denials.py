"""What is never acceptable, whoever asks and whoever would approve, as rules over runs."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Final

from pandar_daemon.domain.gate_paths import Place, deleted, resolved
from pandar_daemon.domain.gate_tables import names
from pandar_daemon.domain.gate_walk import Known
from pandar_daemon.domain.gate_writes import operands_of
from pandar_daemon.domain.shell_run import Run
from pandar_daemon.domain.shell_words import Word

DENIALS: Final[Mapping[str, str]] = {
    "denied.elevation": "runs as another user",
    "denied.delete": "deletes the root, a home, or folders outside the workspace",
    "denied.forced": "deletes whole folders without asking, which no task's command may",
    "denied.disk": "writes to a disk itself",
    "denied.power": "stops or restarts the machine",
    "denied.permissions": "opens up whole folders outside the workspace",
    "denied.fork_bomb": "starts itself without end",
    "denied.fetch_exec": "runs what it fetches from another machine",
}
"""Reason of each; ``denied.forced`` is for the command of a task alone."""

_POWER: Final = names(
    "shutdown reboot halt poweroff telinit kexec systemctl-reboot pm-suspend pm-hibernate"
)
_POWER_VERBS: Final = names(
    "reboot poweroff halt kexec suspend hibernate soft-reboot rescue emergency isolate"
)
_FETCHERS: Final = names(
    "curl wget aria2c http https httpie xh lynx links w3m nc ncat netcat socat telnet ftp tftp lftp"
    " fetch axel scp sftp rsync dig openssl gsutil ssh"
)
_BOMB: Final = re.compile(r"(?:function\s+)?([^\s(){}|&;$\"']{1,40})\s*\(\s*\)\s*[{(]")
_LISTS: Final = frozenset({"-l", "--list", "-L"})
_OUTSIDE: Final = frozenset(
    {"destructive_fs.root", "outside_workspace.write", "outside_workspace.system"}
)
_WRITES_OUTSIDE: Final = _OUTSIDE | {"outside_workspace.temporary"}


def denials(run: Run, place: Place, known: Known, rules: Collection[str]) -> Iterator[str]:
    """Yield what one run is denied for; ``rules`` are those of the gates it touches."""
    texts = [word.text for word in run.arguments]
    if "unclassified.elevation" in rules:
        yield "denied.elevation"
    if "destructive_fs.disk" in rules and not _LISTS.intersection(texts):
        yield "denied.disk"
    if _is_power(run.name, texts):
        yield "denied.power"
    if "destructive_fs.permissions" in rules and _OUTSIDE.intersection(rules):
        yield "denied.permissions"
    if _deletes(run, place, known, rules):
        yield "denied.delete"


def _is_power(name: str, texts: Sequence[str]) -> bool:
    if name in {"systemctl", "loginctl"}:
        verb = next((text for text in texts if not text.startswith("-")), "")
        return verb in _POWER_VERBS
    return name in _POWER or (name == "init" and texts[:1] in (["0"], ["6"], ["1"]))


def _deletes(run: Run, place: Place, known: Known, rules: Collection[str]) -> bool:
    if run.name in {"rm", "mv", "shred", "srm", "unlink"} and "destructive_fs.root" in rules:
        return True
    if run.name == "find" and _find_deletes(run):
        return any(_is_far(word, place, known) for word in _starts(run))
    return "destructive_fs.recursive" in rules and bool(_OUTSIDE.intersection(rules))


def _find_deletes(run: Run) -> bool:
    texts = [word.text for word in run.arguments]
    removes = any(text.rpartition("/")[2] in {"rm", "shred", "unlink"} for text in texts)
    return "-delete" in texts or (
        removes and any(text.startswith(("-exec", "-ok")) for text in texts)
    )


def _starts(run: Run) -> Iterator[Word]:
    for word in operands_of([run.words[0], *(w for w in run.arguments if w.text not in _LINKS)]):
        if word.text in {"(", "!"}:
            return
        yield word


_LINKS: Final = frozenset({"-L", "-P", "-H"})


def _is_far(word: Word, place: Place, known: Known) -> bool:
    """Tell whether what a word names is the home, or lies outside, or holds the workspace."""
    for path in resolved(word, known) or []:
        rule = deleted(path, place)
        if rule in _OUTSIDE and place.workspace not in place.absolute(path):
            return True
    return False


def is_fork_bomb(text: str) -> bool:
    """Tell whether a function of the text calls itself twice at a time."""
    for match in _BOMB.finditer(text):
        name = re.escape(match[1])
        body = text[match.end() : match.end() + 200]
        if re.search(rf"(?<![^\s;|&{{(]){name}\s*(?:\|&?|&)\s*{name}(?![^\s;|&}})])", body):
            return True
    return False


def executes_fetched(command: Sequence[tuple[Run, Collection[str]]]) -> bool:
    """Tell whether a text brings something from another machine, and runs it.

    Each run is given with the rules it touches.
    """
    fetchers = [run for run, rules in command if _fetches(run, rules)]
    named = {w.text.rpartition("/")[2] for run in fetchers for w in run.arguments}
    named |= {r.target.text.rpartition("/")[2] for run in fetchers for r in run.redirects}
    return bool(fetchers) and any(_executes(run, rules, named) for run, rules in command)


def _fetches(run: Run, rules: Collection[str]) -> bool:
    return run.name in _FETCHERS and any(rule.startswith("network_egress.") for rule in rules)


def _executes(run: Run, rules: Collection[str], fetched: Collection[str]) -> bool:
    """Tell whether a run executes what comes from elsewhere than the command's own text."""
    if "unclassified.stdin" in rules:
        return True
    if "unclassified.script" in rules:
        return any(not w.known or w.text.rpartition("/")[2] in fetched for w in run.words)
    return "unclassified.inline_code" in rules and not all(word.known for word in run.words)
