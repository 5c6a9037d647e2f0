"""The demo agent's sessions, kept as files in its home."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
from msgspec import Struct

from pandar_daemon.adapters.agents.demo_script import Step
from pandar_daemon.adapters.agents.jsonrpc import Params


class Session(Struct):
    """What was said so far, and the steps that are left, beginning with one not yet done."""

    session_id: str
    cwd: str
    left: list[Step] = []
    updates: list[Params] = []
    turns: int = 0


class Sessions:
    """All sessions under a home."""

    def __init__(self, home: Path) -> None:
        self._folder = home / ".demo-agent"

    def begin(self, cwd: str) -> Session:
        """Return a new session, kept."""
        self._folder.mkdir(parents=True, exist_ok=True)
        session = Session(f"demo-{os.urandom(8).hex()}", cwd)
        self.keep(session)
        return session

    def load(self, session_id: str) -> Session:
        """Return a session that was kept; raises ``OSError`` or ``ValueError`` without one."""
        if not session_id.removeprefix("demo-").isalnum():
            raise ValueError("that is no session of mine")
        return msgspec.json.decode(self._path(session_id).read_bytes(), type=Session)

    def keep(self, session: Session) -> None:
        """Write a session: all of it, or nothing."""
        fresh = self._path(session.session_id).with_suffix(".new")
        fresh.write_bytes(msgspec.json.encode(session))
        fresh.replace(self._path(session.session_id))

    def _path(self, session_id: str) -> Path:
        return self._folder / f"{session_id}.json"
