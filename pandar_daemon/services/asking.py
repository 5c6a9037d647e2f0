"""How Pandar's own services send commands: like everybody, with a token of theirs."""

from __future__ import annotations

from collections.abc import Callable

from pandar_daemon.ports import Sender


class Asker:
    """Asks as one service."""

    def __init__(self, sender: Sender, token: Callable[[], str]) -> None:
        """Send through ``sender`` with whatever ``token`` returns at that moment."""
        self._sender = sender
        self._token = token

    async def ask(
        self,
        subject: str,
        body: bytes,
        command_id: str,
        *,
        traceparent: str | None = None,
        timeout_sec: float = 10.0,
    ) -> bytes:
        """Return the answer; raises the `Refusal`, `Unavailable` when nobody answered in time."""
        headers = {"Pandar-Token": self._token(), "Pandar-Command-Id": command_id}
        if traceparent is not None:
            headers["traceparent"] = traceparent
        return await self._sender.ask(subject, body, headers=headers, timeout_sec=timeout_sec)
