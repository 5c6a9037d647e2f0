"""Tool calls for tests: the workspace is ``/srv/site``, the task's home ``/srv/home``."""

from __future__ import annotations

from events.calls import CallKind, GateRule, Rules, ToolCall
from pandar_daemon.domain.gates import touched

WORKSPACE = "/srv/site"
HOME = "/srv/home"


def command(text: str, *, cwd: str = WORKSPACE) -> ToolCall:
    """Return the call of an agent that wants to run a command."""
    return ToolCall(kind=CallKind.EXECUTE, tool="Bash", title=text[:100], command=text, cwd=cwd)


def change(kind: CallKind, *paths: str, diff: str = "") -> ToolCall:
    """Return the call of an agent that wants to change files."""
    return ToolCall(kind=kind, tool="Edit", paths=list(paths), diff=diff, cwd=WORKSPACE)


def rules_touched(call: ToolCall | str, *own: GateRule) -> list[str]:
    """Return the rules a call touches, in alphabetical order."""
    call = command(call) if isinstance(call, str) else call
    found = touched(call, Rules(own=list(own)), WORKSPACE, HOME)
    return sorted({touch.rule for touch in found})
