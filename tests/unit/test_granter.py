"""The granter gives up a grant that is refused, not one that nobody could judge."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

import pytest

from events.grant import CreateGrant
from events.problem import Problem
from pandar_daemon.domain.refusals import Forbidden, Refusal, Unavailable
from pandar_daemon.ports import Headers
from pandar_daemon.services.asking import Asker
from pandar_daemon.services.granter import Granter
from tests.support.clock import ManualClock

OWED = CreateGrant(grant_id=UUID(int=1), project_id=1, gates=["git_push"])
FAULT = Refusal(Problem(type="urn:pandar:problem:internal", title="Internal error", status=500))


class World:
    """Everything round a granter: one grant is owed, and requests get these answers in turn."""

    def __init__(self, answers: Sequence[Refusal | None]) -> None:
        self.answers = list(answers)
        self.asked = 0

    async def owed(self) -> list[CreateGrant]:
        """Return what is owed."""
        return [OWED]

    async def acquire(self, *_: object) -> bool:
        """Lead."""
        return True

    async def resign(self, *_: object) -> None:
        """Lead no more."""

    async def ask(
        self, subject: str, body: bytes, *, headers: Headers | None = None, timeout_sec: float = 5.0
    ) -> bytes:
        """Answer."""
        assert (subject, bool(body), bool(headers), timeout_sec > 0) == (SUBJECT, True, True, True)
        self.asked += 1
        answer = self.answers.pop(0)
        if answer is not None:
            raise answer
        return b"{}"


SUBJECT = "pandar.v1.cmd.grant.create._._"


@pytest.mark.parametrize(
    ("answers", "asked"),
    [
        ([Unavailable("away"), Refusal(Unavailable("away").problem), FAULT, None], 4),
        ([Forbidden("grant:create")], 1),
    ],
    ids=["faults", "refused"],
)
async def test_a_grant_is_asked_for_until_it_is_judged(
    answers: list[Refusal | None], asked: int
) -> None:
    """An outage, told by either door, or a fault says nothing about the grant."""
    world = World(answers)
    granter = Granter(
        grants=world,  # type: ignore[arg-type]  # it has the one method that is called
        leadership=world,
        asker=Asker(world, lambda: "token"),
        clock=ManualClock(),
        holder="one",
    )
    for _ in range(asked):
        await granter._look()
    assert world.asked == asked
    if not world.answers and answers[-1] is not None:
        await granter._look()
        assert world.asked == asked
