"""What whoever pushes from a box is shown, as git would show it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final

from events.calls import RefMove
from pandar_daemon.domain.gate_moves import described
from pandar_daemon.domain.harmless import visible

SHOWN_MAX: Final = 65_536
_STATUS: Final = re.compile(r"([ +\-*=!])\t([^\t:]*):([^\t]+)\t(.*)")
_ESCAPES: Final = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


def refused(why: str) -> bytes:
    """Return what is said of a push that was not done."""
    return f"{why}\nerror: nothing was pushed\n".encode()


def elsewhere(url: str, ours: str) -> str:
    """Return why nothing is pushed to another remote."""
    return (
        f"{visible(url)[:300]} is not the repository of this project ({ours}): Pandar pushes"
        " nowhere else"
    )


def not_forward(move: RefMove) -> str:
    """Return why git would refuse this."""
    name = move.ref.removeprefix("refs/heads/")
    return f"{name} is at {move.old[:12]}, which is no part of what is pushed (fetch first)"


def why(moves: Sequence[RefMove]) -> str:
    """Return what a push is for, in a line."""
    return f"a push from the sandbox: {title(moves)}"


def title(moves: Sequence[RefMove]) -> str:
    """Return a push in a line."""
    names = ", ".join(move.ref.removeprefix("refs/heads/") for move in moves)
    return f"push {names}"[:200]


def would_move(url: str, moves: Sequence[RefMove]) -> bytes:
    """Return what is said of a push that is only tried."""
    lines = [line for move in moves for line in described(move)]
    return "".join(f"{line}\n" for line in [f"To {url}", *lines]).encode()


def moved(output: str, moves: Sequence[RefMove]) -> list[RefMove]:
    """Return what was moved, by what ``git push --porcelain`` wrote."""
    done = {found[3] for found in _statuses(output) if found[1] not in "!="}
    return [move for move in moves if move.ref in done]


def summary(output: str) -> bytes:
    """Return what git writes for people, by what it writes for programs."""
    to = [line for line in output.split("\n") if line.startswith("To ")][:1]
    lines = [
        f" {found[1]} {found[4]:<19} {_short(found[2]) or '(delete)'} -> {_short(found[3])}"
        for found in _statuses(output)
    ]
    return complaints("\n".join([*to, *lines]))


def complaints(text: str) -> bytes:
    """Return text of a remote as it may be shown: nothing in it moves a cursor."""
    plain = _ESCAPES.sub("", text).replace("\r\n", "\n").replace("\r", "\n").strip("\n")
    return f"{visible(plain)[-SHOWN_MAX:]}\n".encode() if plain else b""


def _statuses(output: str) -> Iterator[re.Match[str]]:
    for line in output.split("\n"):
        found = _STATUS.fullmatch(line)
        if found is not None:
            yield found


def _short(ref: str) -> str:
    return ref[:12] if re.fullmatch(r"[0-9a-f]{40,64}", ref) else ref.removeprefix("refs/heads/")
