"""What a task's stream means to somebody who follows it: what to print, and when to stop.

Pure: messages go in, text and an ending come out, however the stream is cut or resumed.
"""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec import Struct

from events import codec
from events.envelope import Recorded
from events.task import (
    ChangesRequested,
    ConfirmationExpired,
    ConfirmationRequested,
    Status,
    TaskCancelled,
    TaskCompleted,
    TaskConfirmed,
    TaskDeleted,
    TaskDenied,
    TaskFailed,
    TaskResumed,
    TaskRetried,
    TaskStarted,
)
from pandar_daemon.cli.rows import ForeignAnswer
from pandar_daemon.cli.sse import Message

LAST_WORDS_SEC: Final = 2.0
"""How long output is waited for that should still come when a task has ended."""
SETTLE_SEC: Final = 0.5
"""How long output is waited for when a task waits for somebody: nobody knows how much there is."""


class Output(Struct, frozen=True, kw_only=True):
    """The bytes ``[offset, end)`` an attempt wrote.

    ``data`` is them, or their text where they are no UTF-8: then its length differs.
    """

    attempt: int
    offset: int
    end: int
    data: bytes


class _Written(Struct, frozen=True):
    attempt: int
    offset: int
    text: str


def _output(message: Message) -> Output:
    written = msgspec.json.decode(message.data, type=_Written)
    data = written.text.encode()
    end = message.id.rpartition(".")[2]
    return Output(
        attempt=written.attempt,
        offset=written.offset,
        end=int(end) if end.isdecimal() else written.offset + len(data),
        data=data,
    )


class Following:
    """Follows one attempt after the other until the task ends or needs somebody."""

    def __init__(self) -> None:
        self.ending: Status | None = None
        self.position = 0
        self._attempt = 0
        self._reached = 0
        self._expected: int | None = None

    def take(self, message: Message) -> Output | Recorded:
        """Take note of a message and return what it holds; raises `ForeignAnswer`."""
        try:
            if message.event == "output":
                return self._wrote(_output(message))
            return self._happened(msgspec.json.decode(message.data, type=Recorded))
        except msgspec.MsgspecError as error:
            raise ForeignAnswer(f"not a message of a task's stream: {error}") from error

    def _wrote(self, output: Output) -> Output:
        self._attempt, self._reached = output.attempt, output.end
        return output

    def _happened(self, recorded: Recorded) -> Recorded:
        self.position = recorded.position
        match codec.decode(recorded):
            case TaskStarted(attempt=attempt):
                if attempt != self._attempt:
                    self._attempt, self._reached = attempt, 0
                self.ending = None
            case ConfirmationRequested():
                self.ending = Status.WAITING_CONFIRMATION
            case TaskCompleted(output_bytes=written):
                self.ending, self._expected = Status.COMPLETED, written
            case TaskFailed(output_bytes=written, will_retry=False):
                self.ending, self._expected = Status.FAILED, written
            case TaskCancelled(output_bytes=written):
                self.ending, self._expected = Status.CANCELLED, written
            case TaskDeleted():
                self.ending, self._expected = Status.CANCELLED, 0
            case TaskRetried() | TaskResumed():
                self.ending = None
            case TaskConfirmed() | TaskDenied() | ChangesRequested() | ConfirmationExpired():
                self.ending = None
            case _:
                pass
        return recorded

    @property
    def patience_sec(self) -> float | None:
        """Return how long to wait for the next message: ``None`` for ever, 0 not at all."""
        match self.ending:
            case None:
                return None
            case Status.WAITING_CONFIRMATION:
                return SETTLE_SEC
            case _ if self._expected is not None and self._reached >= self._expected:
                return 0
            case _:
                return LAST_WORDS_SEC
