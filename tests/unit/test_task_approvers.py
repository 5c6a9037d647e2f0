"""Who may decide on a confirmation, how many of them, until when, and by which link."""

from __future__ import annotations

import hashlib
from datetime import timedelta

import pytest
from msgspec.structs import replace

from events import commands as do
from events import task as did
from events.calls import Scope
from events.commands import Decision
from events.running import Decided
from events.task import Status
from pandar_daemon.domain.refusals import NotFound, Rejected
from pandar_daemon.domain.resuming import resume_of
from tests.support import stories as s
from tests.support.agent_stories import CONFIRMATION, parked, resumed, task_of, waiting, working
from tests.support.given import given

SECRET = "made-up"
LINK = do.IssueLink(
    confirmation_id=CONFIRMATION,
    approver="bob",
    token_sha256=hashlib.sha256(SECRET.encode()).hexdigest(),
)
ISSUED = did.LinkIssued(
    confirmation_id=CONFIRMATION, approver="bob", token_sha256=LINK.token_sha256
)
LINKED = [*waiting(), ISSUED]


# --- several of them -------------------------------------------------------------------------


def voting(**fields: object) -> list[did.TaskEvent]:
    """Return a task that two have to approve."""
    return [*working(), replace(s.asked(), quorum=2, **fields)]


def vote(by: str) -> did.ApprovalGiven:
    """Return that somebody approved, and somebody else has to, too."""
    return did.ApprovalGiven(confirmation_id=CONFIRMATION, by=by)


def test_so_many_have_to_approve() -> None:
    """The last one decides."""
    given(voting()).when(s.confirm(), user="bob").then([vote("bob")])
    given([*voting(), vote("bob")]).when(s.confirm(), user="cat").then(
        [did.TaskConfirmed(confirmation_id=CONFIRMATION, by="cat")]
    )


def test_nobody_counts_twice() -> None:
    """Approving again changes nothing."""
    given([*voting(), vote("bob")]).when(s.confirm(), user="bob").then_nothing()


def test_one_is_enough_to_refuse() -> None:
    """Whoever approved before."""
    given([*voting(), vote("bob")]).when(s.deny(reason="no"), user="cat").then(
        [did.TaskDenied(confirmation_id=CONFIRMATION, reason="no", by="cat")]
    )


def test_who_filed_it_may_not_approve_it_where_that_is_said() -> None:
    """But may refuse it."""
    story = [*working(), replace(s.asked(), prevent_self_approval=True)]
    given(story).when(s.confirm(), user="ann").refuses(
        Rejected,
        "ann filed this task: somebody else must approve",
        state="waiting_confirmation",
    )
    given(story).when(s.deny(), user="ann").then(
        [did.TaskDenied(confirmation_id=CONFIRMATION, by="ann")]
    )
    given(story).when(s.confirm(), user="bob").then(
        [did.TaskConfirmed(confirmation_id=CONFIRMATION, by="bob")]
    )


def test_who_filed_it_is_not_one_of_several_either() -> None:
    """Not even the first."""
    given(voting(prevent_self_approval=True)).when(s.confirm(), user="ann").refuses(
        Rejected, state="waiting_confirmation"
    )


@pytest.mark.parametrize(
    ("scope", "pattern", "detail"),
    [
        (Scope.PATTERN, "", "an approval of scope pattern needs a pattern; `*` is everything"),
        (Scope.PROJECT, "", "an approval of scope project needs a pattern; `*` is everything"),
        (Scope.CALL, "x", "a pattern needs the scope pattern or project"),
        (Scope.EXECUTION, "x", "a pattern needs the scope pattern or project"),
    ],
)
def test_a_scope_is_stated_in_full(scope: Scope, pattern: str, detail: str) -> None:
    """Nobody approves more, or less, than they think."""
    wide = do.ConfirmTask(scope=scope, pattern=pattern)
    given(waiting()).when(wide).refuses(Rejected, detail, state="waiting_confirmation")


# --- until when ------------------------------------------------------------------------------


def test_an_escalation_asks_others_once() -> None:
    """With as much time again; then it is denied."""
    options = {"confirm_timeout_sec": 3_600}
    asked = replace(s.asked(), on_timeout=did.OnTimeout.ESCALATE)
    story = [*working(**options), asked]
    until = s.DEADLINE + timedelta(hours=1)
    escalated = did.ConfirmationEscalated(confirmation_id=CONFIRMATION, expires_at=until)
    given(story).when(s.expire(), at=s.DEADLINE).then([escalated])
    given([*story, escalated]).when(s.expire(), at=s.DEADLINE).refuses(
        Rejected, "the confirmation has not expired yet", state="waiting_confirmation"
    )
    expired = did.ConfirmationExpired(confirmation_id=CONFIRMATION)
    given([*story, escalated]).when(s.expire(), at=until).then([expired])


@pytest.mark.parametrize("live", [True, False])
def test_nobody_deciding_may_end_the_task(live: bool) -> None:
    """By its runner, if it has one."""
    asked = replace(s.asked(), on_timeout=did.OnTimeout.CANCEL)
    story = [*working(), asked, *([] if live else [s.parked()])]
    late = "nobody decided in time"
    end: did.TaskEvent = did.TaskCancelled(from_status=Status.RUNNING, reason=late)
    if live:
        end = did.CancelRequested(reason=late)
    given(story).when(s.expire(), at=s.DEADLINE).then(
        [did.ConfirmationExpired(confirmation_id=CONFIRMATION), end]
    )


def test_nobody_deciding_is_told_like_a_denial() -> None:
    """Also to who was parked."""
    given(parked()).when(s.expire(), at=s.DEADLINE).then(
        [
            did.ConfirmationExpired(confirmation_id=CONFIRMATION),
            did.ResumeRequested(reason="denied"),
        ]
    )
    expired = did.ConfirmationExpired(confirmation_id=CONFIRMATION)
    told = resume_of(task_of(resumed(expired)))
    assert told is not None
    assert told.decided == Decided(decision=Decision.DENY, expired=True)


# --- links -----------------------------------------------------------------------------------


def by_link(decision: Decision = Decision.APPROVE, secret: str = SECRET) -> do.ConfirmTask:
    """Return what somebody decides who has a secret."""
    return do.ConfirmTask(decision=decision, link=secret, confirmation_id=CONFIRMATION)


def test_a_link_speaks_for_its_approver() -> None:
    """Whoever sends it."""
    approved = did.TaskConfirmed(confirmation_id=CONFIRMATION, by="bob")
    given(LINKED).when(by_link(), user="system").then([approved])


def test_a_link_is_made_once_for_each() -> None:
    """Repeating it is silent; others get links of their own."""
    given(waiting()).when(LINK).then([ISSUED])
    given(LINKED).when(LINK).then_nothing()
    given(LINKED).when(replace(LINK, approver="cat")).then([replace(ISSUED, approver="cat")])


def test_an_unknown_link_is_none() -> None:
    """Nothing is told of what waits."""
    for story in (LINKED, waiting()):
        wrong = by_link(secret="guessed")
        given(story).when(wrong).refuses(NotFound, "there is no such link")


def test_a_link_dies_with_its_confirmation() -> None:
    """It says what was decided, and decides nothing that comes after it."""
    told = f"confirmation {CONFIRMATION} was already decided by bob: approve"
    approved = [*LINKED, did.TaskConfirmed(confirmation_id=CONFIRMATION, by="bob")]
    given(approved).when(by_link(Decision.DENY)).refuses(Rejected, told, state="running")
    given(approved).when(by_link()).then_nothing()
    given([*approved, s.asked(2)]).when(by_link()).refuses(
        Rejected, told, state="waiting_confirmation"
    )
    later = replace(by_link(), confirmation_id=None)
    given([*approved, s.asked(2)]).when(later).refuses(NotFound)


@pytest.mark.parametrize(
    "end",
    [
        did.CancelRequested(from_status=Status.WAITING_CONFIRMATION),
        did.ConfirmationWithdrawn(confirmation_id=CONFIRMATION),
        did.ConfirmationExpired(confirmation_id=CONFIRMATION),
    ],
)
def test_a_link_dies_with_cancellation_withdrawal_and_expiry(end: did.TaskEvent) -> None:
    """Whatever ended the wait."""
    given([*LINKED, end]).when(by_link()).refuses(Rejected, state="running")


def test_a_link_outlives_the_process_that_asked() -> None:
    """It is for the confirmation, parked or lost."""
    for gone in (s.parked(), s.lost()):
        said = given([*LINKED, gone]).when(by_link())
        assert did.TaskConfirmed(confirmation_id=CONFIRMATION, by="bob") in said.happened


def test_no_link_is_made_for_what_is_decided() -> None:
    """Nor for what nobody asked."""
    told = f"confirmation {CONFIRMATION} was already decided by ann: approve"
    given([*waiting(), s.approved()]).when(LINK).refuses(Rejected, told, state="running")
    unknown = replace(LINK, confirmation_id=s.confirmation(7))
    given(waiting()).when(unknown).refuses(Rejected, state="waiting_confirmation")
    given(working()).when(LINK).refuses(Rejected, state="running")


def test_a_link_of_who_filed_it_is_no_way_round() -> None:
    """Where somebody else has to approve."""
    asked = replace(s.asked(), prevent_self_approval=True)
    story = [*working(), asked, replace(ISSUED, approver="ann")]
    given(story).when(by_link(), user="system").refuses(Rejected, state="waiting_confirmation")


def test_two_links_are_two_approvers() -> None:
    """One link is one, however often it is followed."""
    story = [*working(), replace(s.asked(), quorum=2), ISSUED]
    given(story).when(by_link()).then([vote("bob")])
    given([*story, vote("bob")]).when(by_link()).then_nothing()
