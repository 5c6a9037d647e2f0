"""Every rule about standing grants, by example, and a walk through all that can become of one."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

import pytest

from events import grant as did
from events import ids, task
from events.calls import Allowance
from events.grant import CreateGrant, GrantEvent, RevokeGrant, UseGrant
from pandar_daemon.domain import grants
from pandar_daemon.domain.grants import RECENT_MAX, Grant, GrantCommand, GrantStatus, evolve
from pandar_daemon.domain.refusals import NotFound, Refusal, Rejected
from pandar_daemon.domain.task_rules import Ask
from tests.support.given import NOW, USER, When, prove_told_truly

GRANT_ID = UUID(int=1)
EXECUTION, USE, OTHER = UUID(int=2), UUID(int=3), UUID(int=4)
SHA = "ab" * 32
LATER = NOW + timedelta(hours=1)


def given_grant(events: Sequence[GrantEvent]) -> Grant:
    """Return the grant these events make."""
    grant = grants.initial(GRANT_ID)
    for event in events:
        grant = evolve(grant, event)
    return grant


def when(
    events: Sequence[GrantEvent], command: GrantCommand, *, at: datetime = NOW, user: str = USER
) -> When:
    """Return what the rules say to a command after some events."""
    grant = given_grant(events)
    try:
        happened = tuple(grants.decide(grant, command, Ask(at, user)))
    except Refusal as refusal:
        return When(grant, refusal=refusal)
    prove_told_truly(grant, happened, evolve)
    return When(grant, happened)


CREATE = CreateGrant(
    grant_id=GRANT_ID,
    project_id=1,
    gates=["git_push_protected"],
    pattern="git push origin pandar/*",
    reason="its own branches",
    expires_at=LATER,
    uses_max=2,
    confirmation_id=OTHER,
)
CREATED = did.GrantCreated(
    grant_id=GRANT_ID,
    project_id=1,
    gates=["git_push_protected"],
    by=USER,
    pattern="git push origin pandar/*",
    reason="its own branches",
    expires_at=LATER,
    uses_max=2,
    confirmation_id=OTHER,
)


def use(use_id: UUID = USE, *, project_id: int = 1, execution_id: UUID = EXECUTION) -> UseGrant:
    """Return the use of a grant by a call."""
    return UseGrant(
        project_id=project_id,
        task_id=42,
        execution_id=execution_id,
        call_sha256=SHA,
        use_id=use_id,
    )


def used(n: int, use_id: UUID = USE) -> did.GrantUsed:
    """Return the n-th use."""
    return did.GrantUsed(task_id=42, execution_id=EXECUTION, call_sha256=SHA, n=n, use_id=use_id)


REVOKED = did.GrantRevoked(by=USER, reason="enough")


def test_its_stream_is_named_by_its_id() -> None:
    """A grant has a stream of its own."""
    assert ids.grant_stream(GRANT_ID) == f"grant-{GRANT_ID}"


def test_who_asks_gives_it() -> None:
    """The grant is by whoever asks; given once more it is silent."""
    when([], CREATE).then([CREATED])
    when([CREATED], CREATE).then_nothing()
    when([CREATED, used(1), REVOKED], CREATE).then_nothing()


def test_an_id_is_for_one_grant() -> None:
    """Another consent under the same id is refused."""
    other = CreateGrant(grant_id=GRANT_ID, project_id=1, gates=["secrets_access"])
    refused = f"grant {GRANT_ID} exists already"
    when([CREATED], other).refuses(Rejected, refused)
    when([CREATED], CREATE, user="bob").refuses(Rejected, refused)


def test_it_cannot_be_over_before_it_begins() -> None:
    """A time that has passed is refused."""
    when([], CREATE, at=LATER).refuses(Rejected, f"grant {GRANT_ID} would be over before it begins")


def test_a_use_counts_once() -> None:
    """Each use is counted; the same one asked for again is silent, even when it was the last."""
    when([CREATED], use()).then([used(1)])
    when([CREATED, used(1)], use()).then_nothing()
    when([CREATED, used(1)], use(OTHER)).then([used(2, OTHER)])
    when([CREATED, used(1), used(2, OTHER)], use(OTHER)).then_nothing()
    when([CREATED, used(1), REVOKED], use()).then_nothing()


def test_what_is_not_there_is_not_found() -> None:
    """A grant nobody gave, or of another project, lets nothing pass and says nothing of itself."""
    gone = f"there is no grant {GRANT_ID}"
    when([], use()).refuses(NotFound, gone)
    when([], RevokeGrant()).refuses(NotFound, gone)
    when([CREATED], use(project_id=2)).refuses(NotFound, gone)


ENDS: dict[GrantStatus, tuple[list[GrantEvent], datetime]] = {
    GrantStatus.EXPIRED: ([CREATED], LATER),
    GrantStatus.EXHAUSTED: ([CREATED, used(1, UUID(int=8)), used(2, UUID(int=9))], NOW),
    GrantStatus.REVOKED: ([CREATED, REVOKED], LATER),
}


@pytest.mark.parametrize("end", ENDS)
def test_what_is_over_lets_nothing_pass(end: GrantStatus) -> None:
    """A use of what ended is refused, saying how; it can still be revoked."""
    events, at = ENDS[end]
    when(events, use(), at=at).refuses(Rejected, f"grant {GRANT_ID} is {end}", state=end)
    assert given_grant(events).status(at) is end
    if end is not GrantStatus.REVOKED:
        when(events, RevokeGrant(reason="enough"), at=at).then([REVOKED])


def test_it_ends_at_its_very_time() -> None:
    """A moment before ``expires_at`` it is good."""
    when([CREATED], use(), at=LATER - timedelta(microseconds=1)).then([used(1)])


def test_whoever_asks_revokes_it() -> None:
    """Revoking says who; once more is silent."""
    when([CREATED], RevokeGrant(reason="enough")).then([REVOKED])
    when([CREATED, REVOKED], RevokeGrant()).then_nothing()


def test_without_limits_it_goes_on() -> None:
    """Neither time nor uses end a grant that names none."""
    endless = did.GrantCreated(grant_id=GRANT_ID, project_id=1, gates=["x"], by=USER)
    many = [used(n, UUID(int=n)) for n in range(1, 2 * RECENT_MAX)]
    grant = given_grant([endless, *many])
    assert grant.status(NOW + timedelta(days=10_000)) is GrantStatus.ACTIVE
    assert len(grant.recent) == RECENT_MAX


def test_it_is_told_as_an_allowance() -> None:
    """A runner gets gates and pattern, and by which grant."""
    assert given_grant([CREATED]).allowance == Allowance(
        gates=["git_push_protected"],
        pattern="git push origin pandar/*",
        confirmation_id=str(OTHER),
        grant_id=str(GRANT_ID),
    )


def test_an_event_of_another_kind_changes_nothing() -> None:
    """The state accepts whatever a stream holds."""
    grant = given_grant([CREATED])
    assert evolve(grant, task.StartRequested()) == grant


COMMANDS: list[tuple[GrantCommand, datetime]] = [
    (command, at)
    for command in (CREATE, use(USE), use(OTHER), use(UUID(int=5)), RevokeGrant())
    for at in (NOW, LATER)
]


def test_walk() -> None:
    """In every state that five commands can lead to, no grant lets pass more than was consented."""
    reached: set[Grant] = set()
    ahead = [(grants.initial(GRANT_ID), 5)]
    while ahead:
        grant, steps = ahead.pop(0)
        if grant in reached:
            continue
        reached.add(grant)
        for command, at in COMMANDS if steps else []:
            ahead.append((_next(grant, command, at), steps - 1))
    assert {g.status(NOW) for g in reached} == {
        GrantStatus.ACTIVE,
        GrantStatus.EXHAUSTED,
        GrantStatus.REVOKED,
    }
    assert all(grant.uses == len(set(grant.recent)) <= 2 for grant in reached)


def _next(grant: Grant, command: GrantCommand, at: datetime) -> Grant:
    """Return the grant after a command, having proven what holds of every step."""
    try:
        happened = grants.decide(grant, command, Ask(at, USER))
    except Refusal:
        return grant
    uses = [event for event in happened if isinstance(event, did.GrantUsed)]
    assert not uses or grant.status(at) is GrantStatus.ACTIVE
    for event in happened:
        grant = evolve(grant, event)
    assert grants.decide(grant, command, Ask(at, USER)) == []
    return grant
