"""One agent process at work: what is recorded when, and who waits for whom."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from events.calls import DIFF_MAX, CallKind, ToolCall, Verdict
from events.commands import Decision
from events.problem import FieldError
from events.running import (
    AnswerQuestion,
    AskConfirmation,
    Decided,
    OpenSession,
    Outcome,
    RecordCall,
    WithdrawConfirmation,
)
from pandar_daemon.domain.card import Deadline
from pandar_daemon.domain.refusals import Invalid, Rejected, TooLarge, Unavailable
from pandar_daemon.services import agent_run, saying
from pandar_daemon.services.consent import Draft
from pandar_daemon.services.recording import CALL_MAX, fitted
from tests.support.acp_lines import CANCELLED, Json, asks, ended, line, said, update
from tests.support.agent_runs import EXECUTION, Site, at_work
from tests.support.calls import command
from tests.support.waiting import until

LOOK: Json = {"toolCallId": "a", "kind": "execute", "rawInput": {"command": "ls"}}
PUSH: Json = {"toolCallId": "b", "kind": "execute", "rawInput": {"command": "git push"}}
SUDO: Json = {"toolCallId": "c", "kind": "execute", "rawInput": {"command": "sudo reboot"}}
FORM: Json = {"type": "object", "properties": {"answer": {"type": "string"}}}
ASKS_FORM = line(
    id=7,
    method="elicitation/create",
    params={"mode": "form", "message": "which?", "requestedSchema": FORM},
)


@pytest.fixture
def site() -> Site:
    """Return a run that has not begun."""
    return Site()


def chosen(site: Site) -> dict[object, object]:
    """Return what the agent's requests were answered."""
    answers = {each["id"]: each["result"] for each in site.pipe.heard if "result" in each}
    return {number: result["outcome"].get("optionId") for number, result in answers.items()}


async def test_it_begins_on_record(site: Site) -> None:
    """The name of its session is stored before it is prompted."""
    site.daemon.silent["session"] = asyncio.Event()
    running = asyncio.create_task(site.run.run("/srv", ""))
    site.pipe.say(line(id=1, result={"protocolVersion": 1}), line(id=2, result={"sessionId": "s"}))
    await until(lambda: site.daemon.asked)
    assert b"session/prompt" not in site.pipe.written
    site.daemon.silent["session"].set()
    await site.hears("session/prompt")
    (opened,) = site.daemon.told("session", OpenSession)
    assert (opened.agent, opened.session_id, opened.store) == ("robot", "s", "data-1")
    assert (opened.execution_id, opened.epoch) == (EXECUTION, 1)
    site.pipe.end()
    await running


async def test_a_call_is_recorded_before_the_agent_hears(site: Site) -> None:
    """Never the other way round."""
    site.daemon.silent["record"] = asyncio.Event()
    async with at_work(site, asks(9, LOOK)):
        await until(lambda: "record" in site.daemon.actions)
        assert chosen(site) == {}
        site.daemon.silent["record"].set()
        await until(lambda: chosen(site) == {9: "yes"})
    (record,) = site.daemon.told("record", RecordCall)
    assert (record.verdict, record.call.command) == (Verdict.ALLOW, "ls")


async def test_a_record_is_repeated_until_it_is_answered(site: Site) -> None:
    """However often nobody answers."""
    site.daemon.refuse["record"] = [Unavailable("no"), Unavailable("no")]
    async with at_work(site, asks(9, LOOK)):
        await until(lambda: chosen(site) == {9: "yes"})
    assert site.daemon.actions.count("record") == 3


async def test_what_may_not_be_done_is_asked_about(site: Site) -> None:
    """The log has the last word."""
    site.daemon.refuse["record"] = [Rejected("it was used")]
    async with at_work(site, asks(9, LOOK)):
        await until(lambda: "ask" in site.daemon.actions)
        assert chosen(site) == {}


@pytest.mark.parametrize("call", [LOOK, SUDO])
async def test_what_cannot_be_recorded_is_the_end(site: Site, call: Json) -> None:
    """Too long for a command, or a refusal that is refused."""
    site.daemon.refuse["record"] = [Rejected("no") if call is SUDO else TooLarge("too long")]
    async with at_work(site, asks(9, call)):
        failed = await site.concluded()
        assert (failed.outcome, chosen(site)) == (Outcome.FAILED, {})
        assert failed.error.startswith("it cannot be recorded")


async def test_people_are_asked_and_waited_for(site: Site) -> None:
    """Until a hint makes it look, and there is a decision."""
    async with at_work(site, asks(9, PUSH)):
        await until(lambda: any(action == "decision" for action, _ in site.daemon.asked))
        (ask,) = site.daemon.told("ask", AskConfirmation)
        assert (ask.gate, ask.card["command"]) == ("git_push_protected", "git push")
        assert site.waits == [True]
        site.daemon.decided = Decided(decision=Decision.APPROVE, by="ann")
        site.run._around.consent.hint()
        await until(lambda: chosen(site) == {9: "yes"})
        assert site.waits == [True, False]
    (record,) = site.daemon.told("record", RecordCall)
    assert record.confirmation_id == ask.confirmation_id


async def test_a_denial_with_words_is_said(site: Site) -> None:
    """Recorded first; then the turn is cancelled, and the words are the next prompt."""
    site.daemon.decided = Decided(decision=Decision.DENY, reason="not on a Friday")
    async with at_work(site, asks(9, PUSH)):
        await site.hears("session/cancel")
        assert "record" in site.daemon.actions
        *_, answer, cancel = site.pipe.heard
        assert (answer["result"], cancel["method"]) == (CANCELLED, "session/cancel")
        site.pipe.say(ended("cancelled"))
        await site.hears("not on a Friday")
        assert "« Reason: not on a Friday" in site.shown


async def test_who_cannot_be_asked_is_named(site: Site) -> None:
    """It does not wait for ever."""
    fault = FieldError(field="card", rule="is too long")
    site.daemon.refuse["ask"] = [Invalid(fault)]
    async with at_work(site, asks(9, PUSH)):
        failed = await site.concluded()
        assert failed.error.startswith("people could not be asked")


async def test_who_may_not_be_asked_any_more_is_about_to_end(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cancellation, or the loss, of which that tells, comes; if not, it ends all the same."""
    monkeypatch.setattr(agent_run, "END_SEC", 0.01)
    site.daemon.refuse["ask"] = [Rejected("cannot ask about task 42 while it is running")]
    async with at_work(site, asks(9, PUSH)):
        failed = await site.concluded()
        assert "cannot ask about task 42" in failed.error


async def test_an_execution_that_is_over_is_not_asked_for_ever(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The look for a decision says so."""
    monkeypatch.setattr(agent_run, "END_SEC", 0.01)
    site.daemon.refuse["decision"] = [Rejected("it is over")]
    async with at_work(site, asks(9, PUSH)):
        assert "it is over" in (await site.concluded()).error


async def test_what_is_withdrawn_was_asked_before(site: Site) -> None:
    """Whatever is on its way arrives in that order."""
    site.daemon.silent["ask"] = asyncio.Event()
    gone = line(method="$/cancel_request", params={"requestId": 9})
    async with at_work(site, asks(9, PUSH), gone):
        await until(lambda: "ask" in site.daemon.actions)
        assert "withdraw" not in site.daemon.actions
        site.daemon.silent["ask"].set()
        await until(lambda: "withdraw" in site.daemon.actions)
        (ask,) = site.daemon.told("ask", AskConfirmation)
        (withdraw,) = site.daemon.told("withdraw", WithdrawConfirmation)
        assert ask.confirmation_id == withdraw.confirmation_id
        assert site.waits == [True, False]


async def test_what_was_never_asked_is_not_withdrawn(site: Site) -> None:
    """There is nothing to take back."""
    site.daemon.silent["ask"] = asyncio.Event()
    asking = asyncio.create_task(site.consent.ask(*_draft(site)))
    await until(lambda: "ask" in site.daemon.actions)
    asking.cancel()
    withdrawing = asyncio.create_task(site.consent.withdraw("gone"))
    site.daemon.refuse["ask"] = [Rejected("no")]
    site.daemon.silent["ask"].set()
    await withdrawing
    assert "withdraw" not in site.daemon.actions


def _draft(site: Site) -> tuple[Draft, Json, Deadline]:
    return Draft(gate="g"), {}, site.consent.deadline()


async def test_a_question_is_answered_on_record(site: Site) -> None:
    """By another agent, if it knows."""
    site = Site(proxy="claude", proxy_answers=1)
    site.advice = "main"
    async with at_work(site, ASKS_FORM):
        await site.hears('"content":{"answer":"main"}')
    (answered,) = site.daemon.told("answered", AnswerQuestion)
    assert (answered.question, answered.answer, answered.by) == ("which?", "main", "proxy:claude")


# --- who waits for whom ----------------------------------------------------------------------


async def test_who_does_not_listen_holds_up_nothing(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it says is heard; when it has left too much unread, it is given up."""
    monkeypatch.setattr(saying, "UNREAD_MAX", 5_000)
    async with at_work(site):
        site.pipe.is_deaf = True
        site.pipe.say(said("still here"))
        await until(lambda: site.shown == "still here")
        for number in range(200):
            site.pipe.say(asks(number, LOOK))
        failed = await site.concluded()
        assert failed.error == "robot reads nothing of what it is told"


async def test_a_flood_waits_in_the_pipe(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is taken in as fast as it is worked off."""
    monkeypatch.setattr(agent_run, "BACKLOG_MAX", 10_000)
    site.daemon.silent["record"] = asyncio.Event()
    async with at_work(site, asks(9, LOOK)):
        await until(lambda: "record" in site.daemon.actions)
        for _ in range(100):
            site.pipe.say(said("x" * 1_000))
        site.pipe.say(ended())
        before = site.pipe.taken
        await until(lambda: site.pipe.taken > before + 10_000)
        for _ in range(100):  # all that can happen without the daemon has happened
            await asyncio.sleep(0)
        assert site.pipe.taken < before + 20_000
        site.daemon.silent["record"].set()
        done = await site.concluded()
        assert done.outcome is Outcome.COMPLETED
        assert site.shown == "x" * 100_000


async def test_parking_is_for_who_waits(site: Site) -> None:
    """Others are told that they cannot be."""
    async with at_work(site):
        assert not site.run.park()
    waiting = Site()
    async with at_work(waiting, asks(9, PUSH)):
        await until(lambda: "ask" in waiting.daemon.actions)
        assert waiting.run.park()
        assert (await waiting.concluded()).outcome is Outcome.PARKED


async def test_who_will_wait_is_parked_then(site: Site) -> None:
    """A runner that takes no more work does not wait for people."""
    async with at_work(site):
        site.run.park()
        site.pipe.say(asks(9, PUSH))
        assert (await site.concluded()).outcome is Outcome.PARKED
        assert "ask" in site.daemon.actions


async def test_a_farewell_answers_what_is_open(site: Site) -> None:
    """Then it ends the turn, and waits a moment for that."""
    async with at_work(site, asks(9, PUSH)):
        await until(lambda: "ask" in site.daemon.actions)
        leaving = asyncio.create_task(site.run.farewell())
        await site.hears("session/cancel")
        *_, answer, cancel = site.pipe.heard
        assert (answer["id"], answer["result"]) == (9, CANCELLED)
        assert cancel["method"] == "session/cancel"
        assert not leaving.done()
        site.pipe.say(ended("cancelled"))
        await leaving


async def test_there_is_no_farewell_without_a_turn(site: Site) -> None:
    """Nobody is kept waiting for nothing."""
    await site.run.farewell()
    assert site.pipe.written == b""


async def test_who_does_not_end_its_turn_is_given_up(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In time, though it says nothing more."""
    monkeypatch.setattr(agent_run, "CANCEL_SEC", 0.01)
    cost = update("usage_update", used=1, size=9, cost={"amount": 2.0, "currency": "USD"})
    site = Site(max_cost_usd=1.0)
    async with at_work(site, cost):
        await site.hears("session/cancel")
        site.clock.advance(60.0)
        failed = await site.concluded()
        assert "after it was told to stop" in failed.error
        assert failed.usage.cost_usd == 2.0


async def test_who_is_never_ready_is_given_up(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """It does not hold its slot for ever."""
    monkeypatch.setattr(agent_run, "OPEN_SEC", 0.01)
    running = asyncio.create_task(site.run.run("/srv", ""))
    assert "not ready within" in (await site.concluded()).error
    await running


# --- what fits -------------------------------------------------------------------------------


def test_a_long_diff_is_cut_and_known_by_its_hash() -> None:
    """The call stays the one that was approved."""
    long = ToolCall(kind=CallKind.EDIT, paths=["a"], diff="🙂" * DIFF_MAX, diff_sha256="f" * 64)
    short = fitted(long)
    assert len(msgspec.json.encode(short)) < CALL_MAX
    assert short.sha256 == long.sha256
    assert "32,768 characters" in short.diff


@pytest.mark.parametrize(
    "call",
    [
        ToolCall(kind=CallKind.EDIT, diff="+1", diff_sha256="f" * 64),
        ToolCall(kind=CallKind.EDIT, diff="🙂" * DIFF_MAX),
    ],
)
def test_what_fits_or_has_no_hash_is_left_alone(call: ToolCall) -> None:
    """A cut call would be another one."""
    assert fitted(call) == call


async def test_what_is_asked_at_a_door(site: Site) -> None:
    """It is recorded first, and answered there; the agent hears nothing of it."""
    async with at_work(site):
        look, push = command("ls"), command("git push origin main")
        assert (await site.run.callers.inquire(look, "why")).allowed
        asking = asyncio.create_task(site.run.callers.inquire(push, "why"))
        await until(lambda: "ask" in site.daemon.actions)
        site.daemon.decided = Decided(decision=Decision.DENY, reason="not on a Friday")
        site.consent.hint()
        denied = await asking
        assert (denied.allowed, "not on a Friday" in denied.text) == (False, True)
        assert chosen(site) == {}
        assert not any(each.get("method") == "session/cancel" for each in site.pipe.heard)
    verdicts = [each.verdict for each in site.daemon.told("record", RecordCall)]
    assert verdicts == [Verdict.ALLOW, Verdict.DENY]


async def test_who_leaves_a_door_is_not_decided_about(site: Site) -> None:
    """What was asked is withdrawn."""
    async with at_work(site):
        asking = asyncio.create_task(site.run.callers.inquire(command("git push"), "why"))
        await until(lambda: "ask" in site.daemon.actions)
        asking.cancel()
        await until(lambda: "withdraw" in site.daemon.actions)


async def test_nobody_waits_at_the_door_of_one_who_is_gone(site: Site) -> None:
    """Whoever does is told so; whoever comes later, too."""
    async with at_work(site):
        asking = asyncio.create_task(site.run.callers.inquire(command("git push"), "why"))
        await until(lambda: "ask" in site.daemon.actions)
        site.pipe.end()
        assert "has ended" in (await asking).text
        assert not (await site.run.callers.inquire(command("ls"), "why")).allowed


async def test_what_is_refused_by_the_log_at_a_door_is_asked_anew(site: Site) -> None:
    """As it is with an agent."""
    site.daemon.refuse["record"] = [Rejected("it was used")]
    async with at_work(site):
        asking = asyncio.create_task(site.run.callers.inquire(command("ls"), "why"))
        await until(lambda: "ask" in site.daemon.actions)
        site.daemon.decided = Decided(decision=Decision.APPROVE)
        site.consent.hint()
        assert (await asking).allowed
