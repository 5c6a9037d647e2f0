"""What a push touches, by what it moves and not by how it is spelled.

The branch of the task may go forward unasked; over what is there, away with it, or to any other
reference is asked about. Rules and patterns about commands see each move as the plainest command
that does it, such as ``git push origin +main``, besides the text that was typed.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence

from events.calls import RefMove, ToolCall
from pandar_daemon.domain.gate_rules import Touch, touch
from pandar_daemon.domain.shell_run import Run
from pandar_daemon.domain.shell_runs import runs

BRANCHES = "refs/heads/"


def of_moves(moves: Sequence[RefMove]) -> Iterator[Touch]:
    """Yield what moving references of a remote touches."""
    for move in moves:
        rule = _rule(move)
        if rule:
            yield touch(rule, _words(move))


def runs_of(call: ToolCall) -> list[Run]:
    """Return the simple commands of a call, those its moves amount to included."""
    plain = "\n".join(shlex.join(_words(move)) for move in call.moves)
    found = list(runs(call.command)) if call.command else []
    return [*found, *(runs(plain) if plain else [])]


def _rule(move: RefMove) -> str:
    if not move.new:
        return "git_push_protected.delete"
    if move.forced:
        return "git_push_protected.force"
    if move.protected:
        return "git_push_protected.branch"
    return "" if move.own else "git_push_protected.push"


def _words(move: RefMove) -> tuple[str, ...]:
    name = move.ref.removeprefix(BRANCHES)
    sign = "" if move.new else ":"
    return ("git", "push", "origin", f"{'+' if move.forced else ''}{sign}{name}")


def described(move: RefMove) -> Iterator[str]:
    """Yield the lines that tell people what a move does."""
    name, old, new = move.ref.removeprefix(BRANCHES), move.old[:12], move.new[:12]
    marks = [mark for mark, is_so in (("protected", move.protected), ("own", move.own)) if is_so]
    shown = f"{name} ({', '.join(marks)})" if marks else name
    if not new:
        yield f"{shown}: deleted, was {old}"
        return
    extent = f"{move.commits} new commits, {move.files} files"
    if not old:
        yield f"{shown}: made at {new}, {extent}"
    elif move.forced:
        yield f"{shown}: {old} is overwritten by {new}, {extent}"
    else:
        yield f"{shown}: {old} → {new}, {extent}"
    yield from (f"  {subject}" for subject in move.subjects)
