"""Confirmations: the first decision wins, whoever races, and every wait has an end."""

from __future__ import annotations

from datetime import timedelta

import msgspec

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


def _asked_and_denied(count: int) -> list[did.TaskEvent]:
    events = s.running()
    for number in range(1, count + 1):
        denied = did.TaskDenied(confirmation_id=s.confirmation(number), by="ann")
        events += [s.asked(number), denied]
    return events


def test_an_attempt_that_asks_too_often_is_denied_and_nobody_is_asked() -> None:
    """The hundredth request is made, the next one denied in the moment it is made."""
    given(_asked_and_denied(99)).when(s.ask(100)).then([s.asked(100)])
    denied = did.TaskDenied(
        confirmation_id=s.confirmation(101),
        reason="this attempt has asked 100 times, and may not ask more often",
    )
    after, happened = given(_asked_and_denied(100)).after(s.ask(101))
    assert happened == [s.asked(101), denied]
    assert after.task.status is Status.RUNNING
    assert after.task.pending is None


def test_an_attempt_that_goes_on_asking_is_ended() -> None:
    """Twice as many is no use to anybody."""
    given(_asked_and_denied(199)).when(s.ask(200)).then(
        [
            s.asked(200),
            did.TaskDenied(
                confirmation_id=s.confirmation(200),
                reason="this attempt has asked 100 times, and may not ask more often",
            ),
        ]
    )
    _, happened = given(_asked_and_denied(200)).after(s.ask(201))
    assert happened[2] == did.CancelRequested(reason="it went on asking after 100 times")


def test_a_task_that_a_denial_cancels_is_cancelled_by_this_one_too() -> None:
    """Its ``on_deny`` holds, whoever denies."""
    cancels = [*s.running(on_deny="cancel"), *_asked_and_denied(100)[len(s.running()) :]]
    _, happened = given(cancels).after(s.ask(101))
    assert isinstance(happened[-1], did.CancelRequested)


def test_the_next_attempt_may_ask_again_and_a_parked_one_goes_on_counting() -> None:
    """What counts is an attempt, with all that it was parked for."""
    again = [*_asked_and_denied(100), s.failed(), s.retried(2), s.started(2)]
    given(again).when(s.ask(101, by=2)).then([s.asked(101, by=2)])
    assert given(_asked_and_denied(7)).task.asked == 7
    on = msgspec.structs.replace(s.started(2), resumes=s.execution(1))
    assert given([*s.resuming(), on]).task.asked == 1


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
