"""The read model of confirmations: pure, and of one mind with the rules."""

from __future__ import annotations

from uuid import UUID

from events import codec
from events import task as did
from events.calls import Scope
from events.ids import task_stream
from events.task import Status
from pandar_daemon.domain.task_state import Task, evolve, initial
from projections.base import Row, fold
from projections.confirmations import CONFIRMATIONS
from tests.support.lives import START, Chronicle, created, execution, random_lives, started

FIRST, SECOND = UUID(int=1), UUID(int=2)
CARD = {"command": "git push", "why": "a\x00b"}


def asks(confirmation_id: UUID = FIRST, **fields: object) -> did.ConfirmationRequested:
    """Return a request for consent."""
    given: dict[str, object] = {
        "gate": "git_push_protected",
        "card": CARD,
        "card_sha256": "5a",
        "expires_at": START,
        **fields,
    }
    return did.ConfirmationRequested(
        confirmation_id=confirmation_id,
        execution_id=execution(),
        **given,  # type: ignore[arg-type]
    )


def tables(*events: did.Event, actor: str = "user:ann") -> dict[str, list[Row]]:
    """Return all tables after these events of task 42."""
    told = Chronicle()
    told.add(task_stream(42), created(), started(), *events, actor=actor)
    return {name: list(rows.values()) for name, rows in fold(CONFIRMATIONS, told.recorded).items()}


def test_what_was_asked() -> None:
    """It waits, with all that decides about it, until its deadline."""
    found = tables(asks(quorum=2, on_timeout=did.OnTimeout.ESCALATE))
    [row] = found["confirmations"]
    assert (row["status"], row["gate"], row["card"]) == ("pending", "git_push_protected", CARD)
    assert (row["quorum"], row["on_timeout"], row["escalated"]) == (2, "escalate", False)
    assert (row["decided_by"], row["decided_at"], row["scope"]) == (None, None, None)
    [waits] = found["open_confirmations"]
    assert (waits["task_id"], waits["confirmation_id"]) == (42, FIRST)


def test_what_was_decided() -> None:
    """Each outcome keeps who, when and why, and nothing is open any more."""
    approved = did.TaskConfirmed(
        confirmation_id=FIRST, by="bob", reason="ok", scope=Scope.PATTERN, pattern="git *"
    )
    for event, outcome in (
        (approved, ("approved", "bob", "ok", "pattern", "git *")),
        (
            did.TaskDenied(confirmation_id=FIRST, by="bob", reason="no"),
            ("denied", "bob", "no", None, None),
        ),
        (
            did.ChangesRequested(confirmation_id=FIRST, by="bob", reason="a PR"),
            ("changes", "bob", "a PR", None, None),
        ),
        (did.ConfirmationExpired(confirmation_id=FIRST), ("expired", None, "", None, None)),
        (
            did.ConfirmationWithdrawn(confirmation_id=FIRST, reason="went on"),
            ("withdrawn", None, "went on", None, None),
        ),
    ):
        found = tables(asks(), event)
        [row] = found["confirmations"]
        shown = tuple(row[name] for name in ("status", "decided_by", "reason", "scope", "pattern"))
        assert shown == outcome
        assert row["decided_at"] is not None
        assert found["open_confirmations"] == []


def test_votes_and_links() -> None:
    """Who approved so far, and whose links there are; of a link the hash alone."""
    found = tables(
        asks(quorum=2),
        did.LinkIssued(confirmation_id=FIRST, approver="bob", token_sha256="ab"),
        did.ApprovalGiven(confirmation_id=FIRST, by="bob", reason="fine"),
    )
    [vote] = found["confirmation_votes"]
    assert (vote["user_id"], vote["reason"]) == ("bob", "fine")
    [link] = found["approval_links"]
    assert (link["token_sha256"], link["approver"]) == ("ab", "bob")
    assert found["confirmations"][0]["status"] == "pending"


def test_a_new_deadline() -> None:
    """After an escalation it waits on, until then."""
    later = START.replace(year=2027)
    found = tables(asks(), did.ConfirmationEscalated(confirmation_id=FIRST, expires_at=later))
    [row], [waits] = found["confirmations"], found["open_confirmations"]
    assert (row["escalated"], row["expires_at"], waits["expires_at"]) == (True, later, later)


def test_an_end_that_names_none() -> None:
    """What ends a waiting task ends what it waits for: cancelled by somebody, else withdrawn."""
    waiting = Status.WAITING_CONFIRMATION
    cancelled = did.CancelRequested(reason="enough", from_status=waiting)
    found = tables(asks(), cancelled)
    [end] = found["confirmation_ends"]
    assert (end["status"], end["by"], end["reason"]) == ("cancelled", "ann", "enough")
    assert found["open_confirmations"] == []
    ended = did.TaskCompleted(
        execution_id=execution(),
        exit_code=0,
        output_tail="",
        duration_sec=1.0,
        from_status=waiting,
    )
    [end] = tables(asks(), ended, actor="runner:r1")["confirmation_ends"]
    assert (end["status"], end["by"], end["reason"]) == ("withdrawn", None, "task completed")


def test_a_task_that_waits_for_nobody_ends_nothing() -> None:
    """A task without confirmations costs this read model not one row."""
    ended = did.TaskCompleted(
        execution_id=execution(), exit_code=0, output_tail="", duration_sec=1.0
    )
    assert all(rows == [] for rows in tables(ended).values())


def test_a_deleted_task_leaves_nothing() -> None:
    """Neither its confirmations nor their links."""
    found = tables(
        asks(),
        did.LinkIssued(confirmation_id=FIRST, approver="bob", token_sha256="ab"),
        did.TaskConfirmed(confirmation_id=FIRST, by="bob"),
        did.TaskDeleted(from_status=Status.RUNNING),
    )
    assert all(rows == [] for rows in found.values())


def test_what_is_open_is_what_the_rules_say() -> None:
    """After random lives, task by task: the pending confirmation, or none; and so is its row."""
    told, states = Chronicle(), dict[int, Task]()
    for task_id, event in random_lives(5, 120, steps=60):
        told.add(task_stream(task_id), event)
        states[task_id] = evolve(states.get(task_id, initial(task_id)), event)
    found = fold(CONFIRMATIONS, told.recorded)
    expected = {
        (task_id,): task.pending.confirmation_id
        for task_id, task in states.items()
        if task.pending is not None and not task.deleted
    }
    assert len(expected) > 5
    is_open = found["open_confirmations"]
    assert {key: row["confirmation_id"] for key, row in is_open.items()} == expected
    waits = {key for key, row in found["confirmations"].items() if _waits(key, row, found)}
    assert waits == {(task, of) for (task,), of in expected.items()}


def _waits(
    key: tuple[object, ...], row: Row, found: dict[str, dict[tuple[object, ...], Row]]
) -> bool:
    """Tell whether a row is pending, and nothing ended its task since: as readers do."""
    ends = [at for task, at in found["confirmation_ends"] if task == key[0]]
    asked = row["position"]
    return row["status"] == "pending" and not any(at > asked for at in ends)  # type: ignore[operator]


def test_all_of_its_events_are_read_back() -> None:
    """What it hears is there in this release."""
    assert {"task.confirmation_requested", "task.link_issued"} <= set(CONFIRMATIONS.handles)
    assert set(CONFIRMATIONS.handles) <= set(codec.EVENTS)
