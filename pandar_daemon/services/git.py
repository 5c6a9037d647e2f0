"""Our own git: run with an environment and a configuration made from nothing.

Outside a box it touches only repositories we made ourselves; a task's files, and folders people
work in, only inside one. Nothing it is given can make it run a helper: what it may speak is named
for each call, hooks, filters of others, prompts and background work are off.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from msgspec import Struct

from pandar_daemon.ports import Box, Clock, ProcessHost, Spec
from pandar_daemon.services import errand
from pandar_daemon.services.errand import Told

NAME: Final = "Pandar"
EMAIL: Final = "pandar@localhost"
COMPLAINT_MAX: Final = 600
"""Characters of what git complains of that people are told."""

_SETTINGS: Final[Mapping[str, str]] = {
    "core.hooksPath": "/dev/null",
    "core.fsmonitor": "false",
    "core.attributesFile": "/dev/null",
    "core.excludesFile": "/dev/null",
    "core.quotePath": "true",
    "core.bigFileThreshold": "8m",
    "gc.auto": "0",
    "maintenance.auto": "false",
    "submodule.recurse": "false",
    "fetch.recurseSubmodules": "false",
    "transfer.fsckObjects": "true",
    "transfer.unpackLimit": "1",
    # what old, honest histories have, and hosts take too
    "fetch.fsck.zeroPaddedFilemode": "ignore",
    "fetch.fsck.badTimezone": "ignore",
    "fetch.fsck.missingSpaceBeforeDate": "ignore",
    "http.lowSpeedLimit": "1000",
    "http.lowSpeedTime": "60",
    "credential.helper": "",
    "advice.detachedHead": "false",
}


class Unprepared(OSError):
    """What a task is to work on cannot be made ready; the text says why, and what to do."""


class Call(Struct, frozen=True, kw_only=True):
    """One run of a program, git or a script that runs it, in ``cwd``.

    ``given`` is its input, ``within_sec`` what it may take; ``limit`` the bytes of output kept.
    """

    argv: tuple[str, ...]
    cwd: str
    environment: Mapping[str, str] = {}
    settings: Mapping[str, str] = {}
    protocol: str = ""
    box: Box | None = None
    within_sec: float = 60.0
    limit: int = 2**24
    given: bytes = b""


class Git:
    """Runs git for one runner."""

    def __init__(self, host: ProcessHost, clock: Clock, *, home: Path, path: str) -> None:
        """Take ``home``, an empty folder, for its HOME, and ``path`` for its ``PATH``."""
        self._host = host
        self._clock = clock
        self._home = home
        self._path = path

    async def run(self, call: Call) -> Told:
        """Return what came of it; raises ``OSError`` when it cannot run, or takes too long."""
        spec = Spec(
            execution_id=self._clock.new_id(),
            argv=call.argv,
            cwd=call.cwd,
            environment=self._environment(call),
            piped=True,
            box=call.box,
        )
        try:
            async with asyncio.timeout(call.within_sec):
                return await errand.run(self._host, spec, call.given, limit=call.limit)
        except TimeoutError:
            what = " ".join(call.argv[:2])
            raise Unprepared(f"{what} took longer than {call.within_sec:g} s") from None

    def _environment(self, call: Call) -> dict[str, str]:
        return {
            "PATH": self._path,
            "HOME": str(self._home),
            "LC_ALL": "C.UTF-8",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": "/dev/null",
            "GIT_ATTR_NOSYSTEM": "1",
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_ASKPASS": "",
            "GIT_OPTIONAL_LOCKS": "0",
            "GIT_NO_LAZY_FETCH": "1",
            "GIT_ALLOW_PROTOCOL": call.protocol or "none",
            "GIT_AUTHOR_NAME": NAME,
            "GIT_AUTHOR_EMAIL": EMAIL,
            "GIT_COMMITTER_NAME": NAME,
            "GIT_COMMITTER_EMAIL": EMAIL,
            **as_environment({**_SETTINGS, **call.settings}),
            **call.environment,
        }


def as_environment(settings: Mapping[str, str]) -> dict[str, str]:
    """Return git settings as the environment that makes them."""
    found = {"GIT_CONFIG_COUNT": str(len(settings))}
    for nth, (key, value) in enumerate(settings.items()):
        found[f"GIT_CONFIG_KEY_{nth}"], found[f"GIT_CONFIG_VALUE_{nth}"] = key, value
    return found


def complaint(told: Told) -> str:
    """Return in few words what went wrong."""
    lines = [line.strip() for line in told.complaint.splitlines() if line.strip()]
    faults = [line for line in lines if line.startswith(("fatal:", "error:", "ERROR:"))]
    text = "; ".join(dict.fromkeys(faults or lines[-3:]))
    if not text:
        return f"git ended with {told.exit_code}"
    return text if len(text) <= COMPLAINT_MAX else f"{text[:COMPLAINT_MAX]}…"
