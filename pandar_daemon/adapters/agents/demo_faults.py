"""How the demo agent misbehaves, as real agents do at their worst."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable
from typing import Final

from pandar_daemon.adapters.agents import demo_steps
from pandar_daemon.adapters.agents.demo_script import Step
from pandar_daemon.adapters.agents.demo_steps import Doing, Talk, chunk, execute, permission


def do(talk: Talk, step: Step) -> Doing:
    """Do a step, of either sort."""
    yield from DOING[step.kind](talk, step.value)


def _withdraw(talk: Talk, value: str) -> Doing:
    number = talk.ask("session/request_permission", permission(execute(talk, value)))
    talk.tell("$/cancel_request", {"requestId": number})
    yield number


def _ask_many(talk: Talk, value: str) -> Doing:
    calls = [execute(talk, f"echo {n}") for n in range(int(value))]
    numbers = [talk.ask("session/request_permission", permission(call)) for call in calls]
    for number in numbers:  # noqa: UP028 - a list cannot be sent the answers
        yield number


def _flood(talk: Talk, value: str) -> Doing:
    for _ in range(int(value)):
        talk.update(chunk("agent_message_chunk", "x" * 1023 + "\n"))
    yield from ()


def _big_line(talk: Talk, value: str) -> Doing:
    left = int(value)
    while left > 0:
        talk.write(b"x" * min(left, 2**16))
        left -= 2**16
    talk.write(b"\n")
    yield from ()


def _garbage(talk: Talk, value: str) -> Doing:
    talk.write(b"this is {no JSON\n" * int(value or 1))
    yield from ()


def _fork(_talk: Talk, _value: str) -> Doing:
    subprocess.Popen(  # noqa: S602 - a daemon that somebody else has to find and kill
        "/bin/sleep 3600 & /bin/sleep 3600",
        shell=True,
        start_new_session=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    yield from ()


def _crash(_talk: Talk, _value: str) -> Doing:
    yield from ()
    os.kill(os.getpid(), signal.SIGKILL)


def _exit(_talk: Talk, _value: str) -> Doing:
    yield from ()
    os._exit(0)


def _hang(_talk: Talk, _value: str) -> Doing:
    yield from ()
    while True:
        signal.pause()


def _ignore(talk: Talk, _value: str) -> Doing:
    yield from ()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    talk.stubborn = True


def _nothing(_talk: Talk, _value: str) -> Doing:
    yield from ()


DOING: Final[dict[str, Callable[[Talk, str], Doing]]] = demo_steps.DOING | {
    "lie": _nothing,
    "twice": _nothing,
    "withdraw": _withdraw,
    "askmany": _ask_many,
    "flood": _flood,
    "bigline": _big_line,
    "garbage": _garbage,
    "fork": _fork,
    "crash": _crash,
    "exit": _exit,
    "hang": _hang,
    "ignore-cancel": _ignore,
}
"""Every step; two of them show only when the turn ends."""
