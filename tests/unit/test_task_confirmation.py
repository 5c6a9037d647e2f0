"""Confirmations: the first decision wins, whoever races, and every wait has an end."""

from __future__ import annotations

from datetime import timedelta

from events import commands as do
from events import running as tell
from events import task as did
from events.task import Status
from pandar_daemon.domain.refusals import Rejected
from pandar_daemon.domain.task_execution import card_sha256
from tests.support import stories as s
from tests.support.given import TASK_ID, given


def test_the_card_is_hashed_as_it_is_shown() -> None:
    """The request carries the card's hash, which does not depend on the order of its fields."""
    given(s.running()).when(s.ask()).then([s.asked()])
    assert s.asked().card_sha256 == card_sha256(dict(reversed(s.CARD.items())))


def test_a_decision_may_quote_card_and_id() -> None:
    """Quoting exactly what is pending changes nothing about the decision."""
    quoting = s.confirm(of=1, sha256=s.asked().card_sha256, reason="ok")
    given(s.waiting()).when(quoting).then(
        [did.TaskConfirmed(by="ann", confirmation_id=s.confirmation(1), reason="ok")]
    )


def test_another_card_is_not_approved() -> None:
    """A decision on a card that changed meanwhile is refused."""
    given(s.waiting()).when(s.confirm(sha256="0" * 64)).refuses(
        Rejected,
        "the request changed since you saw it: read the card again and decide on its hash",
        state="waiting_confirmation",
    )


def test_another_confirmation_is_not_approved() -> None:
    """A decision on a confirmation that is not pending is refused, naming the one that is."""
    given(s.waiting()).when(s.confirm(of=2)).refuses(
        Rejected,
        f"confirmation {s.confirmation(2)} is not pending; {s.confirmation(1)} is",
        state="waiting_confirmation",
    )


def test_the_first_decision_wins() -> None:
    """Repeating it is silent, contradicting it is refused with what was decided."""
    decided = [*s.waiting(), s.approved()]
    given(decided).when(s.confirm(of=1)).then_nothing()
    for late in (s.deny(), s.deny(of=1)):
        given(decided).when(late).refuses(
            Rejected,
            f"confirmation {s.confirmation(1)} was already decided by ann: approve",
            state="running",
        )


def test_the_outcome_is_told_while_the_next_one_waits() -> None:
    """A late decision on an earlier confirmation never decides the present one."""
    story = [*s.waiting(), s.approved(), s.asked(2)]
    given(story).when(s.deny(of=1)).refuses(
        Rejected,
        f"confirmation {s.confirmation(1)} was already decided by ann: approve",
        state="waiting_confirmation",
    )


def test_a_confirmation_is_asked_once() -> None:
    """A runner that repeats its request gets the one pending; a second one has to wait."""
    given(s.waiting()).when(s.ask()).then_nothing()
    given(s.waiting()).when(s.ask(2)).refuses(
        Rejected,
        f"cannot ask about task {TASK_ID} while it is waiting_confirmation",
        state="waiting_confirmation",
    )


def test_denial_lets_it_go_on() -> None:
    """The agent is told why, and goes on."""
    task, happened = given(s.waiting()).after(s.deny(reason="not on Friday"))
    assert happened == [
        did.TaskDenied(by="ann", confirmation_id=s.confirmation(1), reason="not on Friday")
    ]
    assert task.task.status is Status.RUNNING


def test_denial_ends_it_when_the_task_says_so() -> None:
    """With ``on_deny: cancel`` a denial cancels the task."""
    given(s.waiting(on_deny="cancel")).when(s.deny(reason="never")).then(
        [
            did.TaskDenied(by="ann", confirmation_id=s.confirmation(1), reason="never"),
            did.CancelRequested(reason="never", from_status=Status.RUNNING),
        ]
    )


def test_changes_need_words() -> None:
    """What is to be different must be said, and goes to the agent."""
    task = given(s.waiting())
    task.when(s.confirm(do.Decision.CHANGES, reason="smaller")).then(
        [did.ChangesRequested(by="ann", confirmation_id=s.confirmation(1), reason="smaller")]
    )
    task.when(s.confirm(do.Decision.CHANGES)).refuses(
        Rejected,
        "changes need a reason to pass on, and a live execution to receive it",
        state="waiting_confirmation",
    )


def test_expiry_is_a_denial() -> None:
    """Nobody decided in time: the agent goes on without, or the task ends if it says so."""
    expired = did.ConfirmationExpired(confirmation_id=s.confirmation(1))
    given(s.waiting()).when(s.expire(), at=s.DEADLINE).then([expired])
    given(s.waiting(on_deny="cancel")).when(s.expire(), at=s.DEADLINE).then(
        [expired, did.CancelRequested(reason="nobody decided in time")]
    )
    given([*s.waiting(), expired]).when(s.confirm()).refuses(
        Rejected, f"confirmation {s.confirmation(1)} was already decided: expired", state="running"
    )


def test_expiry_waits_for_the_deadline() -> None:
    """An early expiry is refused, one of another confirmation has nothing to do."""
    early = s.DEADLINE - timedelta(microseconds=1)
    given(s.waiting()).when(s.expire(), at=early).refuses(
        Rejected, "the confirmation has not expired yet", state="waiting_confirmation"
    )
    given(s.waiting()).when(s.expire(2), at=s.DEADLINE).then_nothing()


def test_it_may_end_while_it_waits() -> None:
    """A process that ends takes its open request with it, whatever its end."""
    ended = did.TaskCompleted(
        execution_id=s.execution(1),
        exit_code=0,
        output_tail="done\n",
        duration_sec=1.5,
        from_status=Status.WAITING_CONFIRMATION,
    )
    task, happened = given(s.waiting()).after(s.finish(tell.Outcome.COMPLETED))
    assert happened == [ended]
    assert task.task.pending is None
