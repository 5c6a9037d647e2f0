"""Server-Sent Events, from lines to messages: the format alone, no connection."""

from __future__ import annotations

from msgspec import Struct


class Message(Struct, frozen=True):
    """One event of a stream; ``id`` is where to go on after it."""

    id: str
    event: str
    data: str


class Reader:
    """Takes lines, gives messages; ``last_id`` is what ``Last-Event-ID`` should say next time."""

    def __init__(self, last_id: str = "") -> None:
        self.last_id = last_id
        self._event, self._data = "", list[str]()

    def line(self, text: str) -> Message | None:
        """Return the message a line completes, if it completes one; its end of line is ignored."""
        text = text.rstrip("\r\n")
        if not text:
            return self._complete()
        field, _, value = text.partition(":")
        value = value.removeprefix(" ")
        match field:
            case "id":
                self.last_id = value
            case "event":
                self._event = value
            case "data":
                self._data.append(value)
            case _:
                pass
        return None

    def _complete(self) -> Message | None:
        event, data = self._event, self._data
        self._event, self._data = "", []
        return Message(self.last_id, event or "message", "\n".join(data)) if data else None
