"""Asking on behalf of a plain command: recorded, one at a time, together with its questions."""

from __future__ import annotations

import asyncio

import pytest

from events.calls import Verdict
from events.commands import Decision
from events.running import AskConfirmation, Decided, RecordCall
from pandar_daemon.domain.card import Deadline
from pandar_daemon.domain.options import TaskOptions
from pandar_daemon.domain.refusals import Rejected
from pandar_daemon.services.asking import Asker
from pandar_daemon.services.consent import Consent, Draft
from pandar_daemon.services.granted import Grants
from pandar_daemon.services.inquiries import Asking, Inquiries
from pandar_daemon.services.line import Line
from pandar_daemon.services.recording import Recording
from tests.support.agent_runs import ASSIGNMENT, Daemon
from tests.support.calls import HOME, WORKSPACE
from tests.support.clock import ManualClock
from tests.support.talks import LOOK, OTHER_PUSH, PUSH, SUDO, TERMS
from tests.support.waiting import until


class Site:
    """One command, and its daemon."""

    def __init__(self) -> None:
        self.daemon, clock = Daemon(), ManualClock()
        line = Line(ASSIGNMENT, "r1", Asker(self.daemon, lambda: "token"), clock)
        self.waits: list[bool] = []
        self.consent = Consent(line, TaskOptions(), clock)
        asking = Asking(
            assignment=ASSIGNMENT,
            consent=self.consent,
            recording=Recording(line),
            grants=Grants(ASSIGNMENT, line, clock, WORKSPACE, HOME),
            wait=self._wait,
        )
        self.inquiries = Inquiries(asking, TERMS)

    async def _wait(self, asked: bool) -> None:
        self.waits.append(asked)

    def decide(self, decision: Decision = Decision.APPROVE, reason: str = "") -> None:
        """Let people decide."""
        self.daemon.decided = Decided(decision=decision, reason=reason, by="ann")
        self.consent.hint()

    @property
    def recorded(self) -> list[RecordCall]:
        """Return what was recorded."""
        return self.daemon.told("record", RecordCall)


@pytest.fixture
def site() -> Site:
    """Return one."""
    return Site()


async def test_rules_decide_alone(site: Site) -> None:
    """On record, and nobody is asked."""
    assert (await site.inquiries.inquire(LOOK, "w")).allowed
    refused = await site.inquiries.inquire(SUDO, "w")
    assert (refused.allowed, "not allowed" in refused.text) == (False, True)
    assert [each.verdict for each in site.recorded] == [Verdict.ALLOW, Verdict.DENY]
    assert site.daemon.actions == ["record", "record"]


async def test_people_are_asked(site: Site) -> None:
    """What they decide is recorded, and used once, before it is done."""
    asking = asyncio.create_task(site.inquiries.inquire(PUSH, "a push"))
    await until(lambda: "ask" in site.daemon.actions)
    site.decide()
    assert (await asking).allowed
    (ask,) = site.daemon.told("ask", AskConfirmation)
    (record,) = site.recorded
    assert (ask.card["intent"], ask.call_sha256) == ("a push", PUSH.sha256)
    assert (record.confirmation_id, site.waits) == (ask.confirmation_id, [True, False])


async def test_a_denial_is_told(site: Site) -> None:
    """With its reason."""
    site.decide(Decision.DENY, "not on a Friday")
    denied = await site.inquiries.inquire(PUSH, "w")
    assert (denied.allowed, "Friday" in denied.text) == (False, True)


async def test_one_after_the_other(site: Site) -> None:
    """Two programs at once are asked about one by one."""
    both = [asyncio.create_task(site.inquiries.inquire(each, "w")) for each in (PUSH, OTHER_PUSH)]
    await until(lambda: "ask" in site.daemon.actions)
    await asyncio.sleep(0)
    assert site.daemon.actions == ["ask"]
    site.decide()
    assert all(each.allowed for each in await asyncio.gather(*both))
    assert site.daemon.actions == ["ask", "record", "ask", "record"]


async def test_who_goes_away_is_not_decided_about(site: Site) -> None:
    """The request is taken back, and the next one is asked."""
    asking = asyncio.create_task(site.inquiries.inquire(PUSH, "w"))
    await until(lambda: any(action == "decision" for action, _ in site.daemon.asked))
    asking.cancel()
    await asyncio.wait({asking})
    assert site.daemon.actions == ["ask", "withdraw"]
    assert site.waits == [True, False]
    site.decide()
    assert (await site.inquiries.inquire(PUSH, "w")).allowed


async def test_never_together_with_a_question(site: Site) -> None:
    """They share the one confirmation a task may have."""
    consent = site.consent
    async with consent.alone("done"):
        await consent.ask(
            Draft(gate="question"), {}, Deadline(expires_at=consent.deadline().expires_at)
        )
        asking = asyncio.create_task(site.inquiries.inquire(PUSH, "w"))
        await asyncio.sleep(0)
        assert site.daemon.actions == ["ask"]
    await until(lambda: site.daemon.actions == ["ask", "withdraw", "ask"])
    site.decide()
    assert (await asking).allowed


async def test_what_the_log_refuses_is_not_done(site: Site) -> None:
    """It is being cancelled, or its approval is void."""
    site.daemon.refuse["record"] = [Rejected("it is over")]
    refused = await site.inquiries.inquire(LOOK, "w")
    assert (refused.allowed, "it is over" in refused.text) == (False, True)
