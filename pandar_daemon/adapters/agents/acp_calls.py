"""What an ACP agent says of a tool call, in the words of `events.calls`: cut, never refused.

A call is told in pieces: each update replaces the fields it names, and a request for permission
may carry an id alone. So the pieces are kept, already bounded, until the call is forgotten.
"""

from __future__ import annotations

import hashlib
import re
import shlex
from collections.abc import Iterator
from typing import Final
from urllib.parse import urlsplit

from msgspec import Struct
from msgspec.structs import replace

from events.calls import DIFF_MAX, LIST_MAX, TEXT_MAX, CallKind, ToolCall
from pandar_daemon.adapters.agents.jsonrpc import Params
from pandar_daemon.adapters.agents.shapes import (
    as_json,
    cut,
    cut_list,
    first_text,
    items,
    mapping,
    text,
)
from pandar_daemon.adapters.agents.unified import unified
from pandar_daemon.domain.hearing import CallStatus

TITLE_MAX: Final = 2_000
WORD_MAX: Final = 1_000
OUTPUT_MAX: Final = 100_000
"""Characters of what a call gave back that are passed on."""
CALLS_MAX: Final = 200
"""Calls of a session whose pieces are kept; the oldest is forgotten first."""

_COMMAND: Final = ("command", "cmd", "script")
_CWD: Final = ("cwd", "workdir", "working_directory", "directory", "dir_path")
_PATHS: Final = ("file_path", "path", "abs_path", "absolute_path", "filePath", "notebook_path")
_INTENT: Final = ("description", "justification", "reason")
_URLS: Final = ("url", "uri")
_IDLE: Final = frozenset((*_COMMAND, *_CWD, *_INTENT, "timeout", "timeout_ms", "title"))
"""Members of a command's input that do not change what it does."""
_SHELL: Final = frozenset({"", "bash", "shell", "exec", "execute", "run_shell_command"})
_URL: Final = re.compile(r"\b[a-z][a-z0-9+.-]{1,20}://[^\s\"'<>]+", re.IGNORECASE)
_WHERE: Final = re.compile(
    r"^\[(?:in|current working directory) ([^\n]+?)\](?= \(| \[|$)", re.MULTILINE
)
_REMARK: Final = re.compile(r"\] \((.*)\)")
_STATUS: Final = {
    "pending": CallStatus.PENDING,
    "in_progress": CallStatus.RUNNING,
    "completed": CallStatus.DONE,
    "failed": CallStatus.FAILED,
}


class Input(Struct, frozen=True, kw_only=True):
    """What may be read from the input an agent gave its tool; what of it counts, the kind says.

    ``rest`` is what a command does not say, ``whole`` is all of it, both as JSON.
    """

    command: str = ""
    cwd: str = ""
    paths: list[str] = []
    hosts: list[str] = []
    addresses: list[str] = []
    rest: str = ""
    whole: str = ""
    intent: str = ""


class Change(Struct, frozen=True, kw_only=True):
    """What is read from the diffs of a call."""

    diff: str = ""
    sha256: str = ""
    paths: list[str] = []


class Told(Struct, frozen=True, kw_only=True):
    """All that is known of a call so far."""

    call_id: str
    kind: CallKind = CallKind.OTHER
    tool: str = ""
    title: str = ""
    status: CallStatus = CallStatus.PENDING
    input: Input = Input()
    change: Change = Change()
    places: list[str] = []
    output: str = ""
    note: str = ""
    where: str = ""
    by_title: bool = False

    @property
    def call(self) -> ToolCall:
        """Return it as a call; the input as JSON where nothing else says what it would do."""
        known, change = self.input, self.change
        if self.by_title and not known.whole:
            known = _by_title(self)
        shell = known.command if self._is_shell else ""
        named = [] if shell or self.kind is CallKind.OTHER else known.paths
        hosts = known.hosts + (known.addresses if self.kind is CallKind.FETCH else [])
        return ToolCall(
            kind=self.kind,
            tool=self.tool,
            title=cut(self.title, TITLE_MAX),
            command=shell,
            cwd=known.cwd if shell else "",
            paths=cut_list([*named, *change.paths, *self.places], LIST_MAX, WORD_MAX),
            hosts=[] if shell else cut_list(hosts, LIST_MAX, WORD_MAX),
            diff=change.diff,
            diff_sha256=change.sha256,
            input="" if change.diff else known.rest if shell else known.whole,
        )

    @property
    def intent(self) -> str:
        """Return why it is made, as far as the agent states that."""
        return self.input.intent or (_by_title(self).intent if self.by_title else "")

    @property
    def _is_shell(self) -> bool:
        """A tool of unknown kind is one only if its name says so."""
        unknown = self.kind is CallKind.OTHER and self.tool.lower() in _SHELL
        return unknown or self.kind is CallKind.EXECUTE


class Calls:
    """The calls of a session, by id."""

    def __init__(self, *, by_title: bool = False) -> None:
        self._by_title = by_title
        self._told: dict[str, Told] = {}

    def tell(self, update: Params) -> tuple[Told, bool]:
        """Take note of what is told of a call; return all that is known of it, and if it is new.

        A call without an id is not remembered.
        """
        call_id = cut(text(update.get("toolCallId")), WORD_MAX)
        before = self._told.pop(call_id, None)
        told = merged(before or Told(call_id=call_id, by_title=self._by_title), update)
        if call_id:
            self._told[call_id] = told
        if len(self._told) > CALLS_MAX:
            del self._told[next(iter(self._told))]
        return told, told != before


def merged(told: Told, update: Params) -> Told:
    """Return what is known after an update: it replaces what it names."""
    fresh: dict[str, object] = {"kind": _kind(update, told.kind)}
    if tool := _tool(update):
        fresh["tool"] = tool
    if title := text(update.get("title")):
        fresh["title"] = cut(title, TEXT_MAX)
    if status := _STATUS.get(text(update.get("status"))):
        fresh["status"] = status
    if given := update.get("rawInput"):
        fresh["input"] = _input(given)
    if (content := update.get("content")) is not None:
        fresh["change"] = _change(items(content))
        fresh["note"] = note = _texts(items(content))
        if _WHERE.search(note):
            fresh["where"] = note
    if output := _output(update):
        fresh["output"] = cut(told.output + output, OUTPUT_MAX)
    if (places := update.get("locations")) is not None:
        fresh["places"] = cut_list(list(_places(items(places))), LIST_MAX, WORD_MAX)
    return replace(told, **fresh)


def _kind(update: Params, before: CallKind) -> CallKind:
    stated = text(update.get("kind"))
    return CallKind(stated) if stated in set(CallKind) else before


def _tool(update: Params) -> str:
    """Return the name of the tool; Claude's adapter had it in ``_meta`` before ACP had a place."""
    claude = mapping(mapping(update.get("_meta")).get("claudeCode"))
    return cut(text(update.get("name")) or text(claude.get("toolName")), WORD_MAX)


def _input(given: object) -> Input:
    source = mapping(given)
    rest = {name: value for name, value in source.items() if name not in _IDLE}
    texts = [value for value in source.values() if isinstance(value, str)]
    return Input(
        command=cut(_command(source), TEXT_MAX),
        cwd=cut(first_text(source, _CWD), WORD_MAX),
        paths=_named(source),
        hosts=_hosts([text(source.get(name)) for name in _URLS]),
        addresses=_hosts([address for value in texts for address in _URL.findall(value)]),
        rest=cut(as_json(rest), TEXT_MAX) if rest else "",
        whole=cut(as_json(given), TEXT_MAX),
        intent=cut(first_text(source, _INTENT), TITLE_MAX),
    )


def _command(source: Params) -> str:
    """Return shell text; words are quoted as a shell needs them."""
    for name in _COMMAND:
        value = source.get(name)
        if words := [text(word) for word in items(value)]:
            return shlex.join(words)
        if isinstance(value, str) and value:
            return value
    return ""


def _named(source: Params) -> list[str]:
    named = [text(source.get(name)) for name in _PATHS]
    return cut_list(named, LIST_MAX, WORD_MAX)


def _hosts(addresses: list[str]) -> list[str]:
    return cut_list([_host(address) for address in addresses], LIST_MAX, WORD_MAX)


def _host(address: str) -> str:
    """Return the host of an address; what cannot be taken apart stands for itself."""
    try:
        return urlsplit(address).hostname or address
    except ValueError:
        return address


def _change(content: list[object]) -> Change:
    diffs = [mapping(each) for each in content if mapping(each).get("type") == "diff"]
    if not diffs:
        return Change()
    whole = "".join(_diff(each) for each in diffs)
    return Change(
        diff=cut(whole, DIFF_MAX),
        sha256=hashlib.sha256(whole.encode()).hexdigest(),
        paths=cut_list([text(each.get("path")) for each in diffs], LIST_MAX, WORD_MAX),
    )


def _diff(source: Params) -> str:
    added = mapping(source.get("_meta")).get("kind") == "add"
    old = None if added else source.get("oldText")
    path = cut(text(source.get("path")), WORD_MAX)
    return unified(path, old if isinstance(old, str) else None, text(source.get("newText")))


def _by_title(told: Told) -> Input:
    """Return what a title and the content say, of an agent that states no input."""
    where = _WHERE.search(told.where)
    intent = _REMARK.search(told.where)
    return Input(
        command=told.title,
        cwd=cut(where[1], WORD_MAX) if where else "",
        intent=cut(intent[1], TITLE_MAX) if intent else "",
    )


def _output(update: Params) -> str:
    """Return what a call gave back, as far as an update tells; a terminal's comes in pieces."""
    piece = mapping(mapping(update.get("_meta")).get("terminal_output_delta"))
    return text(update.get("rawOutput")) or text(piece.get("data"))


def _texts(content: list[object]) -> str:
    blocks = [mapping(mapping(each).get("content")) for each in content]
    return cut("\n".join(filter(None, (text(block.get("text")) for block in blocks))), OUTPUT_MAX)


def _places(locations: list[object]) -> Iterator[str]:
    return (text(mapping(place).get("path")) for place in locations)
