"""Where a command's words go, and what its exit code says."""

from __future__ import annotations

import os
import sys
from enum import IntEnum
from typing import Final

import msgspec

from events.problem import Problem
from events.task import Status
from pandar_daemon.cli.harmless import harmless, one_line
from pandar_daemon.cli.look import Look, look_of
from pandar_daemon.domain.harmless import in_json


class Exit(IntEnum):
    """What a program may rely on."""

    OK = 0
    FAILED = 1
    USAGE = 2
    CANCELLED = 3
    WAITING = 4
    UNREACHABLE = 5
    REFUSED = 6
    INTERRUPTED = 130
    PIPE_CLOSED = 141


MEANING: Final = {
    Exit.OK: "it worked; a followed task completed",
    Exit.FAILED: "the thing itself failed: the task, a check, a server that could not start",
    Exit.USAGE: "the command line or the settings cannot be used; there is no token",
    Exit.CANCELLED: "the followed task was cancelled",
    Exit.WAITING: "the followed task waits for you: `pandar task confirm`",
    Exit.UNREACHABLE: "the daemon cannot be reached, or is not ready",
    Exit.REFUSED: "the daemon refused the request (4xx)",
    Exit.INTERRUPTED: "interrupted by Ctrl-C; nothing was undone, a followed task goes on",
    Exit.PIPE_CLOSED: "the reader of our output went away",
}

OF_STATUS: Final = {
    Status.COMPLETED: Exit.OK,
    Status.FAILED: Exit.FAILED,
    Status.CANCELLED: Exit.CANCELLED,
    Status.WAITING_CONFIRMATION: Exit.WAITING,
}
"""How following a task ends, by the state it ended in."""


class CliError(Exception):
    """Ends the command: one sentence and perhaps lines of detail on stderr, then ``code``."""

    def __init__(self, sentence: str, *details: str, code: Exit = Exit.FAILED) -> None:
        super().__init__(sentence)
        self.sentence, self.details, self.code = sentence, details, code


class Unreachable(CliError):
    """Nobody answers at the URL, or what answers is not ready."""

    def __init__(self, sentence: str, *details: str) -> None:
        super().__init__(sentence, *details, code=Exit.UNREACHABLE)


class Refused(CliError):
    """The daemon said no."""

    def __init__(self, problem: Problem) -> None:
        fields = [f"{error.field}: {error.rule}" for error in problem.errors]
        detail = "" if fields else problem.detail
        sentence = f"{problem.title}: {detail}" if detail else problem.title
        super().__init__(sentence, *fields, code=Exit.REFUSED)
        self.problem = problem


def out_look() -> Look:
    """Return how to write to stdout."""
    return look_of(sys.stdout, os.environ)


def err_look() -> Look:
    """Return how to write to stderr."""
    return look_of(sys.stderr, os.environ)


def say(text: str) -> None:
    """Write text to stdout at once, colours and nothing else that acts on a terminal.

    Raises ``BrokenPipeError`` when nobody reads any more.
    """
    sys.stdout.write(harmless(text, colour=True))
    sys.stdout.flush()


def say_json(document: object) -> None:
    """Write one JSON document on one line."""
    say(in_json(msgspec.json.encode(document).decode()) + "\n")


def note(text: str) -> None:
    """Write a remark for people to stderr, dimmed where there is colour."""
    dim, text = err_look().colour, harmless(text)
    sys.stderr.write(f"\x1b[2m{text}\x1b[0m\n" if dim else f"{text}\n")
    sys.stderr.flush()


def error_text(error: CliError, look: Look) -> str:
    """Return an error as one sentence and an indented line for each detail."""
    prefix = "\x1b[1;31mpandar:\x1b[0m" if look.colour else "pandar:"
    details = "".join(f"  {one_line(detail)}\n" for detail in error.details)
    return f"{prefix} {harmless(error.sentence).strip()}\n{details}"
