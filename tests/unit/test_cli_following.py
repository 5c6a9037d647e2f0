"""When somebody who follows a task has seen it all."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

import msgspec
import pytest

from events import codec
from events.envelope import Recorded
from events.task import (
    ConfirmationRequested,
    Event,
    FailureKind,
    Status,
    TaskCancelled,
    TaskCompleted,
    TaskConfirmed,
    TaskFailed,
    TaskRetried,
    TaskStarted,
)
from pandar_daemon.cli.following import LAST_WORDS_SEC, SETTLE_SEC, Following, Output
from pandar_daemon.cli.rows import ForeignAnswer
from pandar_daemon.cli.sse import Message, Reader

NOW = datetime(2026, 1, 31, 12, 0, 0, tzinfo=UTC)
SOME = UUID(int=1)
STARTED = TaskStarted(execution_id=SOME, attempt=1, epoch=1, runner_id="r")
ASKED = ConfirmationRequested(
    confirmation_id=SOME, execution_id=SOME, gate="g", card={}, card_sha256="", expires_at=NOW
)


def happened(event: Event, position: int = 5) -> Message:
    """Return an event as the stream of a task carries it."""
    recorded = Recorded(
        position=position,
        stream="task-42",
        version=1,
        event_id=SOME,
        type=codec.name_of(event),
        schema_version=1,
        recorded_at=NOW,
        actor="user:7",
        project_id=1,
        command_id="c",
        correlation_id="c",
        causation_id=None,
        traceparent=None,
        data=codec.raw(codec.encode(event)),
    )
    return Message(str(position), recorded.type, msgspec.json.encode(recorded).decode())


def wrote(text: str, offset: int, end: int, attempt: int = 1) -> Message:
    """Return output as the stream of a task carries it."""
    data = msgspec.json.encode({"attempt": attempt, "offset": offset, "text": text}).decode()
    return Message(f"5.{attempt}.{end}", "output", data)


def followed(*messages: Message) -> Following:
    """Return the follower after these messages."""
    following = Following()
    for message in messages:
        following.take(message)
    return following


def failed(*, will_retry: bool) -> TaskFailed:
    """Return a failure without output."""
    return TaskFailed(
        execution_id=SOME,
        error="",
        kind=FailureKind.EXIT_CODE,
        from_status=Status.RUNNING,
        will_retry=will_retry,
    )


def test_a_running_task_is_waited_for() -> None:
    """However long it is silent."""
    following = followed(happened(STARTED), wrote("hi", 0, 2))
    assert following.ending is None
    assert following.patience_sec is None


@pytest.mark.parametrize(("end", "patience"), [(2, LAST_WORDS_SEC), (4, 0)])
def test_the_last_words_are_waited_for(end: int, patience: float) -> None:
    """The end is the end once all it wrote has come, or does not come any more."""
    completed = TaskCompleted(
        execution_id=SOME, exit_code=0, output_tail="", duration_sec=1, output_bytes=4
    )
    following = followed(happened(STARTED), wrote("x" * end, 0, end), happened(completed))
    assert following.ending is Status.COMPLETED
    assert following.patience_sec == patience


def test_bytes_that_are_no_text_count_as_they_were() -> None:
    """One byte shown as U+FFFD is one byte, though its text has three."""
    output = Following().take(wrote("\ufffd", 0, 1))
    assert isinstance(output, Output)
    assert (output.offset, output.end, len(output.data)) == (0, 1, 3)


def test_a_failure_that_is_tried_again_is_no_end() -> None:
    """An automatic retry is followed into its next attempt."""
    retried = TaskRetried(from_status=Status.RUNNING, attempt=2, not_before=NOW, automatic=True)
    assert followed(happened(failed(will_retry=True)), happened(retried)).ending is None
    assert followed(happened(failed(will_retry=False))).ending is Status.FAILED


def test_a_question_ends_it_unless_somebody_answered() -> None:
    """Following stops when it needs you, not when somebody else was quicker."""
    asked = followed(happened(STARTED), happened(ASKED))
    assert asked.ending is Status.WAITING_CONFIRMATION
    assert asked.patience_sec == SETTLE_SEC
    answered = followed(happened(ASKED), happened(TaskConfirmed(confirmation_id=SOME)))
    assert answered.ending is None


def test_a_task_cancelled_before_it_ran_has_nothing_to_say() -> None:
    """There is nothing to wait for."""
    following = followed(happened(TaskCancelled(from_status=Status.PENDING)))
    assert following.ending is Status.CANCELLED
    assert following.patience_sec == 0


@pytest.mark.parametrize("data", ["", "{}", "[]", '{"attempt":"x"}'])
@pytest.mark.parametrize("event", ["output", "task.started"])
def test_garbage_is_not_taken_for_a_message(event: str, data: str) -> None:
    """What is no message of ours is an error that says so."""
    with pytest.raises(ForeignAnswer):
        Following().take(Message("1", event, data))


def test_messages_are_read_from_lines() -> None:
    """Comments, several lines of data and a missing space are all fine."""
    reader = Reader("3")
    lines = [
        ": heartbeat",
        "id: 4",
        "",
        "retry: 1000",
        "id: 5",
        "event:x",
        "data: a",
        "data: b\r",
        "",
    ]
    messages = [message for line in lines if (message := reader.line(line))]
    assert messages == [Message("5", "x", "a\nb")]
    assert reader.last_id == "5"


def test_a_comment_moves_the_last_id_on() -> None:
    """A heartbeat brings a resuming client past events it may not see."""
    reader = Reader("3")
    assert reader.line("id: 9") is None
    assert reader.line("") is None
    assert reader.last_id == "9"
