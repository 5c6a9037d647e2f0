"""What Codex says of a tool call in its own protocol, in the words of `events.calls`."""

from __future__ import annotations

import hashlib
import shlex
from typing import Final

from events.calls import DIFF_MAX, LIST_MAX, TEXT_MAX, CallKind, ToolCall
from pandar_daemon.adapters.agents.jsonrpc import Params
from pandar_daemon.adapters.agents.shapes import as_json, cut, cut_list, items, mapping, text
from pandar_daemon.domain.hearing import Called, CallStatus

TITLE_MAX: Final = 2_000
WORD_MAX: Final = 1_000
OUTPUT_MAX: Final = 100_000
ITEMS_MAX: Final = 200
"""Items of a session that are kept; the oldest is forgotten first."""
_SHELLS: Final = frozenset({"bash", "sh", "zsh"})
_STATUS: Final = {
    "inProgress": CallStatus.RUNNING,
    "completed": CallStatus.DONE,
    "failed": CallStatus.FAILED,
    "declined": CallStatus.FAILED,
}
_MORE: Final = ("networkApprovalContext", "grantRoot", "permissions")
"""What a request may ask for beyond the call itself."""


class Items:
    """The calls of a session, by the id of their item."""

    def __init__(self) -> None:
        self._known: dict[str, ToolCall] = {}

    def tell(self, item: Params) -> Called | None:
        """Take note of an item; return what is heard of it, ``None`` when it is no call."""
        call = call_of(item)
        if call is None:
            return None
        name = cut(text(item.get("id")), WORD_MAX)
        self._known.pop(name, None)
        self._known[name] = call
        if len(self._known) > ITEMS_MAX:
            del self._known[next(iter(self._known))]
        status = _STATUS.get(text(item.get("status")), CallStatus.RUNNING)
        return Called(call_id=name, call=call, status=status, output=_output(item))

    def asked(self, params: Params) -> ToolCall:
        """Return the call an approval is asked for: what the request says, or the item did."""
        name = cut(text(params.get("itemId")), WORD_MAX)
        more = {key: params[key] for key in _MORE if params.get(key)}
        known = self._known.get(name, ToolCall())
        if command := text(params.get("command")):
            known = _command(command, text(params.get("cwd")))
        return _with(known, more, params) if more or params.get("kind") == "writeStdin" else known


def _with(call: ToolCall, more: Params, params: Params) -> ToolCall:
    """Return a call that asks for more than it seems to: as JSON, and the host it names."""
    if params.get("kind") == "writeStdin":
        more = {**more, "kind": "writeStdin", "reason": text(params.get("reason"))}
    host = text(mapping(more.get("networkApprovalContext")).get("host"))
    return ToolCall(
        kind=call.kind,
        tool=call.tool,
        title=call.title or cut(text(params.get("reason")), TITLE_MAX),
        command=call.command,
        cwd=call.cwd,
        paths=call.paths,
        hosts=cut_list([host], LIST_MAX, WORD_MAX),
        diff=call.diff,
        diff_sha256=call.diff_sha256,
        input=cut(as_json(more), TEXT_MAX),
    )


def call_of(item: Params) -> ToolCall | None:  # noqa: PLR0911 - a table
    """Return the call an item is; ``None`` for one that calls no tool."""
    match item.get("type"):
        case "commandExecution":
            return _command(text(item.get("command")), text(item.get("cwd")))
        case "fileChange":
            return _changes(items(item.get("changes")))
        case "mcpToolCall":
            name = f"{text(item.get('server'))}.{text(item.get('tool'))}"
            return _tool(CallKind.OTHER, name, item.get("arguments"))
        case "dynamicToolCall":
            return _tool(CallKind.OTHER, text(item.get("tool")), item.get("arguments"))
        case "webSearch":
            return _tool(CallKind.FETCH, "web_search", {"query": item.get("query")})
        case "imageView":
            path = cut_list([text(item.get("path"))], LIST_MAX, WORD_MAX)
            return ToolCall(kind=CallKind.READ, tool="view_image", title="View image", paths=path)
        case _:
            return None


def consented(params: Params) -> ToolCall:
    """Return what an MCP server wants consent for."""
    said = {key: params[key] for key in ("serverName", "message") if key in params}
    return _tool(CallKind.OTHER, text(params.get("serverName")), said)


def _unwrapped(command: str) -> str:
    """Return what is inside the shell Codex runs every command in."""
    try:
        words = shlex.split(command)
    except ValueError:
        return command
    if len(words) != 3 or words[0].rpartition("/")[2] not in _SHELLS or words[1] != "-lc":  # noqa: PLR2004
        return command
    return words[2]


def _command(command: str, cwd: str) -> ToolCall:
    command = _unwrapped(command)
    return ToolCall(
        kind=CallKind.EXECUTE,
        tool="shell",
        title=cut(command, TITLE_MAX),
        command=cut(command, TEXT_MAX),
        cwd=cut(cwd, WORD_MAX),
    )


def _tool(kind: CallKind, name: str, given: object) -> ToolCall:
    tool = cut(name, WORD_MAX)
    return ToolCall(kind=kind, tool=tool, title=tool, input=cut(as_json(given), TEXT_MAX))


def _changes(changes: list[object]) -> ToolCall:
    """Return the change of files; Codex writes the hunks, and new files as they are."""
    told = [mapping(change) for change in changes]
    whole = "".join(_diff(change) for change in told)
    named = [text(change.get("path")) for change in told]
    named += [text(mapping(change.get("kind")).get("move_path")) for change in told]
    paths = cut_list(named, LIST_MAX, WORD_MAX)
    return ToolCall(
        kind=CallKind.EDIT,
        tool="apply_patch",
        title=cut("Change " + ", ".join(paths), TITLE_MAX),
        paths=paths,
        diff=cut(whole, DIFF_MAX),
        diff_sha256=hashlib.sha256(whole.encode()).hexdigest(),
    )


def _diff(change: Params) -> str:
    path = cut(text(change.get("path")), WORD_MAX)
    kind = mapping(change.get("kind"))
    body = text(change.get("diff"))
    if kind.get("type") in ("add", "delete") and not body.startswith("@@"):
        mark = "+" if kind["type"] == "add" else "-"
        body = "".join(f"{mark}{line}\n" for line in body.splitlines())
    old = "/dev/null" if kind.get("type") == "add" else path
    new = "/dev/null" if kind.get("type") == "delete" else text(kind.get("move_path")) or path
    return f"--- {old}\n+++ {cut(new, WORD_MAX)}\n{body}" + ("" if body.endswith("\n") else "\n")


def _output(item: Params) -> str:
    error = text(mapping(item.get("error")).get("message"))
    return cut(text(item.get("aggregatedOutput")) or error, OUTPUT_MAX)
