"""Agents at work on a whole Pandar: asked, allowed, refused, stopped, and at their worst."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import aiohttp
import nats
import pytest

from events import subjects
from events.task import Json
from tests.support.agent_tasks import AGENTS, PUSH, AgentTask, at_work, following
from tests.support.api import Person
from tests.support.servers import data_root
from tests.support.trees import state_of
from tests.support.up import Up, up
from tests.support.waiting import until

pytestmark = [pytest.mark.servers, pytest.mark.xdist_group("agent_runs")]

Filing = Callable[..., AbstractAsyncContextManager[AgentTask]]
CANCEL_SEC = 5.0
"""The promise."""


@pytest.fixture(scope="module")
def pandar() -> Iterator[Up]:
    """Return a running Pandar that knows some bad agents."""
    loop = asyncio.new_event_loop()
    data = Path(tempfile.mkdtemp(prefix="pandar-up-", dir=data_root()))
    running = Up(data, PANDAR_SLOTS="8", **AGENTS)
    try:
        loop.run_until_complete(running.start())
        yield running
        assert loop.run_until_complete(running.stop()) == 0, running.program.printed
        assert '"level":"error"' not in running.log, running.log
    finally:
        loop.run_until_complete(running.program.kill())
        loop.close()
        shutil.rmtree(data, ignore_errors=True)


@pytest.fixture
async def owner(pandar: Up) -> AsyncIterator[Person]:
    """Return its owner."""
    async with aiohttp.ClientSession() as session:
        yield Person(session, pandar.base_url, pandar.token)


@pytest.fixture
def file(pandar: Up, owner: Person) -> Filing:
    """Return what files a task and follows it."""
    return lambda prompt, **metadata: at_work(owner, pandar.data, prompt, **metadata)


# --- asked -----------------------------------------------------------------------------------


async def test_from_filing_to_completion(file: Filing) -> None:
    """It works alone, stops at the gate, and goes on after one approval."""
    async with file("write, check, push") as task:
        asked = await task.asked()
        assert (await task.row())["status"] == "waiting_confirmation"
        card = asked["card"]
        assert (asked["gate"], card["command"], card["agent"]) == (
            "git_push_protected",
            PUSH,
            "demo",
        )
        assert card["cwd"] == str(task.workspace)
        assert task.pushed == []
        await task.decide(confirmation_id=asked["confirmation_id"])
        end = await task.end()
        assert task.pushed == [PUSH]
        assert (task.workspace / "hello.txt").read_text() == "Hello from Pandar\n"
        assert task.types == [
            *("created", "start_requested", "started", "session_opened"),
            *("call_decided", "call_decided", "confirmation_requested", "confirmed"),
            *("call_decided", "completed"),
        ]
        assert [call["confirmation_id"] for call in task.used()] == [asked["confirmation_id"]]
        assert (end["usage"]["input_tokens"], end["usage"]["cost_usd"]) == (1_000, 0.01)
        assert "I did: git push origin main\nAll done.\n" in await task.output()
        assert task.processes == []


async def test_a_denial_reaches_the_agent_with_its_reason(file: Filing) -> None:
    """It goes on without what was denied; all see what it was told."""
    async with file(f"[[ask:{PUSH}]] [[say:bye]]", agent="taped") as task:
        await task.asked()
        await task.decide("deny", reason="not on a Friday")
        await task.end()
        assert task.pushed == []
        assert "Reason: not on a Friday" in task.heard
        output = await task.output()
        assert f"« This was denied: {PUSH}\n« Reason: not on a Friday\n" in output
        assert output.endswith("That was denied, so I go on without it.\nbye")


async def test_a_denial_without_words_is_heard_at_once(file: Filing) -> None:
    """In the same turn."""
    async with file(f"[[ask:{PUSH}]] [[say:bye]]") as task:
        await task.asked()
        await task.decide("deny")
        await task.end()
        assert task.pushed == []
        output = await task.output()
        assert f"I was not allowed to do this, so I go on without it: {PUSH}\nbye" in output


async def test_changes_reach_the_agent(file: Filing) -> None:
    """As what it is to do instead."""
    async with file(f"[[ask:{PUSH}]] [[say:bye]]", agent="taped") as task:
        await task.asked()
        await task.decide("changes", reason="push to a branch")
        await task.end()
        assert task.pushed == []
        assert "Instead: push to a branch" in task.heard


async def test_a_denial_may_end_the_task(file: Filing) -> None:
    """Where its owner said so."""
    async with file(f"[[ask:{PUSH}]] [[slow:600]]", on_deny="cancel") as task:
        await task.asked()
        await task.decide("deny")
        await task.end("task.cancelled")
        assert (task.pushed, task.processes) == ([], [])


@pytest.mark.parametrize(
    "scope",
    [{"scope": "execution"}, {"scope": "pattern", "pattern": "git push origin *"}],
    ids=["execution", "pattern"],
)
async def test_a_wider_approval_asks_once(file: Filing, scope: dict[str, str]) -> None:
    """The second call is let through by the first decision; one beyond it is asked about."""
    prompt = f"[[ask:{PUSH}]] [[ask:git push origin dev]] [[ask:terraform apply]]"
    async with file(prompt) as task:
        await task.asked()
        await task.decide(**scope)
        assert (await task.asked())["card"]["command"] == "terraform apply"
        await task.decide("deny")
        await task.end()
        assert task.pushed == [PUSH, "git push origin dev"]


async def test_policy_manual_asks_about_everything(file: Filing) -> None:
    """Also what touches no gate."""
    async with file("[[write:a=1]] [[run:echo ran]]", approval_policy="manual") as task:
        for _ in range(2):
            assert (await task.asked())["gate"] == "manual"
            await task.decide()
        await task.end()
        assert (task.workspace / "a").read_text() == "1"


async def test_policy_auto_asks_about_nothing(file: Filing) -> None:
    """What was done is recorded all the same."""
    async with file(f"[[ask:{PUSH}]]", approval_policy="auto") as task:
        await task.end()
        assert task.pushed == [PUSH]
        (call,) = [each["data"] for each in task.events if each["type"] == "task.call_decided"]
        assert (call["verdict"], call["rule"]) == ("allow", "policy.auto")


async def test_several_questions(file: Filing) -> None:
    """One after the other, each with the answer somebody gave."""
    prompt = "[[question:Which branch?|main|dev]] [[question:Really?]] [[question:Why?]]"
    async with file(prompt) as task:
        asked = await task.asked()
        assert (asked["gate"], asked["card"]["question"]) == ("question", "Which branch?")
        assert asked["card"]["choices"] == ["main", "dev"]
        await task.decide(reason="dev")
        await task.asked()
        await task.decide("deny")
        await task.asked()
        await task.decide("changes", reason="because")
        await task.end()
        assert "You answered: dev\nYou answered: nothing\nYou answered: because\n" in (
            await task.output()
        )


async def test_several_requests_at_once(file: Filing) -> None:
    """People are asked one by one; a wide approval answers the rest."""
    async with file("[[askmany:3]] [[say:done]]", approval_policy="manual") as task:
        for _ in range(2):
            await task.asked()
            await task.decide()
        await task.asked()
        await task.decide(scope="execution")
        await task.end()
        assert task.types.count("call_decided") == 3


async def test_what_the_agent_withdraws_needs_no_decision(file: Filing) -> None:
    """A decision comes too late."""
    async with file(f"[[withdraw:{PUSH}]] [[slow:40]]") as task:
        asked = await task.asked()
        await task.until("task.confirmation_withdrawn")
        quoted = {"confirmation_id": asked["confirmation_id"]}
        await task.person.refused("POST", f"/tasks/{task.number}/confirm", 409, json=quoted)
        await task.end()


async def test_going_round_in_circles_is_asked_about(file: Filing) -> None:
    """The same call failing again and again is a question of money."""
    async with file("[[run:exit 3]]" * 4) as task:
        asked = await task.asked()
        assert (asked["gate"], asked["card"]["rule"]) == ("budget", "budget.loop")
        await task.decide("deny")
        await task.end()
        assert task.types.count("call_decided") == 4


async def test_more_money_is_asked_for(file: Filing) -> None:
    """The turn ends first; approved, it goes on in the same process."""
    async with file("x", agent="spender", max_cost_usd=1) as task:
        asked = await task.asked()
        assert (asked["gate"], asked["card"]["kind"]) == ("budget", "budget")
        assert (await task.row())["status_reason"] == "gate:budget"
        await task.decide(reason="be quick")
        end = await task.end()
        assert end["usage"]["cost_usd"] == 1.5
        assert "« You may go on where you stopped. be quick" in await task.output()


async def test_no_more_money_ends_it(file: Filing) -> None:
    """As a failure of its own kind."""
    async with file("x", agent="spender", max_cost_usd=1) as task:
        await task.asked()
        await task.decide("deny")
        failed = await task.end("task.failed")
        assert (failed["kind"], failed["error"]) == ("budget", "it has cost 1.00 USD of 1")


# --- stopped ---------------------------------------------------------------------------------


STATES: dict[str, tuple[str, Json, str]] = {
    "before it said hello": ("x", {"agent": "mute"}, "task.started"),
    "at work": ("[[slow:600]]", {}, "task.session_opened"),
    "running something": ("[[run:touch begun; sleep 600]]", {}, "task.call_decided"),
    "waiting": (f"[[ask:{PUSH}]]", {"agent": "taped"}, "task.confirmation_requested"),
    "deaf": ("[[ignore-cancel]] [[run:sleep 600]]", {}, "task.call_decided"),
    "deaf and waiting": (
        f"[[ignore-cancel]] [[ask:{PUSH}]] [[hang]]",
        {},
        "task.confirmation_requested",
    ),
    "with daemons": (f"[[fork]] [[ask:{PUSH}]]", {}, "task.confirmation_requested"),
}


@pytest.mark.parametrize("state", STATES)
async def test_cancelled_in_every_state(pandar: Up, file: Filing, state: str) -> None:
    """In time, and nothing of its tree is left, wherever it hides."""
    prompt, metadata, reached = STATES[state]
    async with file(prompt, **metadata) as task:
        started = await task.until("task.started")
        if reached != "task.started":
            await task.until(reached)
        await until(lambda: task.processes)
        began = time.monotonic()
        await task.cancel()
        await task.end("task.cancelled")
        assert time.monotonic() - began < CANCEL_SEC
        assert task.processes == []
        assert _of(pandar, started["execution_id"]) == []
        assert task.pushed == []
        if state == "waiting":
            _prove_answered(task.heard)


def _of(pandar: Up, execution_id: str) -> list[int]:
    """Return the processes of an execution, wherever they work."""
    tag = f"PANDAR_EXECUTION_ID={execution_id}".encode()
    found = [pid for pid in pandar.left() if state_of(pid)]
    return [pid for pid in found if tag in _environment(pid)]


def _environment(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return b""


def _prove_answered(heard: str) -> None:
    """Its request was answered, and then its turn cancelled."""
    *_, answer, cancel = [json.loads(line) for line in heard.splitlines()]
    assert answer["result"] == {"outcome": {"outcome": "cancelled"}}
    assert cancel["method"] == "session/cancel"


async def test_waiting_does_not_count_as_running(file: Filing) -> None:
    """A task that is only waiting is not over its time; one that hangs afterwards is."""
    async with file(f"[[ask:{PUSH}]] [[hang]]", timeout_sec=1) as task:
        asked = await task.asked()
        before = time.monotonic()
        await until(lambda: time.monotonic() - before > 1.5)
        assert (await task.row())["confirmation_id"] == asked["confirmation_id"]
        await task.decide()
        failed = await task.end("task.failed")
        assert (failed["kind"], task.pushed) == ("timeout", [PUSH])


async def test_parked_and_approved(file: Filing) -> None:
    """Another process does exactly what was approved, unasked, once; anything else is asked."""
    prompt = f"[[say:before ]] [[ask:{PUSH}]] [[ask:{PUSH}]] [[say:after]]"
    async with file(prompt, park_after_sec=1) as task:
        asked = await task.asked()
        parked = await task.until("task.parked")
        assert parked["execution_id"] == asked["execution_id"]
        assert task.processes == []
        row = await task.row()
        assert (row["status"], row["status_reason"]) == ("waiting_confirmation", "parked")
        await task.decide()
        again = await task.asked()
        assert task.types[-3:] == ["resumed", "call_decided", "confirmation_requested"]
        assert [call["confirmation_id"] for call in task.used()] == [asked["confirmation_id"]]
        assert task.pushed == [PUSH]
        assert again["confirmation_id"] != asked["confirmation_id"]
        await task.decide("deny")
        await task.end()
        assert task.pushed == [PUSH]
        assert "« Your request was approved:" in await task.output()


async def test_parked_and_denied(file: Filing) -> None:
    """Another process is told why, and goes on without it."""
    async with file(f"[[ask:{PUSH}]] [[say:bye]]", park_after_sec=1) as task:
        await task.until("task.parked")
        await task.decide("deny", reason="not on a Friday")
        await task.end()
        assert task.pushed == []
        assert "Your request was denied (not on a Friday)" in await task.output()
        assert task.types.count("question_answered") == 1


async def test_who_dies_while_it_waits_is_parked(file: Filing) -> None:
    """Whoever killed it: the decision is carried out by another process."""
    async with file(f"[[ask:{PUSH}]]") as task:
        await task.asked()
        await until(lambda: task.processes)
        for pid in task.processes:
            os.kill(pid, signal.SIGKILL)
        await task.until("task.parked")
        await task.decide()
        await task.end()
        assert (task.pushed, task.types.count("confirmation_requested")) == ([PUSH], 1)


async def test_parked_and_cancelled(file: Filing) -> None:
    """At once."""
    async with file(f"[[ask:{PUSH}]]", park_after_sec=1) as task:
        await task.until("task.parked")
        await task.cancel()
        await task.end("task.cancelled")
        assert task.pushed == []


async def test_a_runner_that_goes_down_parks_who_waits() -> None:
    """Told to end, or to take no more; another one goes on with what was decided meanwhile."""
    async with up() as running:
        async with (
            running.owner() as owner,
            at_work(owner, running.data, f"[[ask:{PUSH}]]") as task,
        ):
            await task.asked()
            assert await running.stop() == 0
            assert (running.left(), task.types[-1]) == ([], "confirmation_requested")
        await running.start()
        async with running.owner() as owner:
            async with following(owner, task.number, running.data) as task:
                await task.until("task.parked")
                await task.decide()
                await task.end()
                assert task.pushed == [PUSH]
                assert "execution_lost" not in task.types
            async with at_work(owner, running.data, f"[[ask:{PUSH}]]") as task:
                started = await task.until("task.started")
                await task.asked()
                await _tell(running, subjects.control(started["runner_id"], "drain"))
                await task.until("task.parked")
                assert task.processes == []
                await task.decide()
                await task.until("task.resume_requested")
                await task.cancel()
                await task.end("task.cancelled")


async def _tell(running: Up, subject: str) -> None:
    """Send something on its bus."""
    client = await nats.connect(running.nats_url, allow_reconnect=False)
    await client.publish(subject, b"{}")
    await client.close()


# --- at their worst --------------------------------------------------------------------------


HOSTILE: dict[str, tuple[str, Json, str, str]] = {
    "garbage": ("[[say:before]] [[garbage:21]]", {}, "agent", "broke its protocol 21 times"),
    "a line without end": (
        "[[say:before]] [[bigline:100000000]]",
        {},
        "agent",
        "wrote a line of more than 16 MiB",
    ),
    "a lie": ("[[say:before]] [[lie]]", {}, "agent", "told of no usage"),
    "silence": ("x", {"agent": "mute", "timeout_sec": 1}, "timeout", "longer than its timeout"),
    "no hello": ("x", {"agent": "gone"}, "agent", "ended before it said hello"),
    "not there": ("x", {"agent": "missing"}, "start", "/nowhere/agent"),
    "a crash": ("[[say:before]] [[crash]]", {}, "agent", "ended in the middle of a turn"),
    "an exit": ("[[say:before]] [[exit]]", {}, "agent", "ended in the middle of a turn"),
    "a hang": ("[[say:before]] [[hang]]", {"timeout_sec": 1}, "timeout", "longer than its timeout"),
    "ten thousand requests": (
        "[[say:before]] [[askmany:10000]]",
        {"approval_policy": "manual"},
        "agent",
        "asked 10,000 times without waiting",
    ),
    "a bad model": ("[[say:before]] [[error:529]]", {}, "model", "529 scripted"),
    "a refusal": ("[[say:before]] [[refuse]]", {}, "agent", "the model refused"),
    "a limit": ("[[say:before]] [[limit]]", {}, "agent", "max_tokens"),
    "a quota without an end": (
        "[[say:before]] [[quota:99999999999]]",
        {},
        "quota",
        "hit your usage limit",
    ),
}


@pytest.mark.parametrize("what", HOSTILE)
async def test_what_a_bad_agent_gets(pandar: Up, file: Filing, what: str) -> None:
    """A failure that names it, all it said is kept, and the runner is none the worse for it."""
    prompt, metadata, kind, error = HOSTILE[what]
    async with file(prompt, **metadata) as task:
        started = await task.until("task.started")
        failed = await task.end("task.failed")
        assert failed["kind"] == kind
        assert error in failed["error"]
        assert "before" in await task.output() or "say" not in prompt
        assert _of(pandar, started["execution_id"]) == []
    async with file("[[say:the next one]]") as after:
        await after.end()


async def test_a_flood_is_cut(file: Filing) -> None:
    """Its beginning and its end are kept."""
    prompt = "[[say:begin ]] [[flood:20000]] [[say:the end]]"
    async with file(prompt, max_output_bytes=65_536) as task:
        end = await task.end()
        assert end["cut"] is not None
        output = await task.output()
        assert output.startswith("begin ")
        assert output.endswith("the end")


async def test_an_answer_too_many_is_passed_over(file: Filing) -> None:
    """As long as it is only one."""
    async with file("[[say:hello]] [[twice]] [[garbage:20]]") as task:
        await task.end()


async def test_daemons_of_an_agent_end_with_it(pandar: Up, file: Filing) -> None:
    """Wherever they hide."""
    async with file("[[fork]] [[say:gone]]") as task:
        started = await task.until("task.started")
        await task.end()
        assert _of(pandar, started["execution_id"]) == []


async def test_a_quota_with_an_end_is_a_pause(file: Filing) -> None:
    """It goes on by itself."""
    async with file("[[quota:1]]", approval_policy="auto") as task:
        paused = await task.until("task.paused")
        assert "Try again in 1 seconds" in paused["detail"]
        await task.end()
        assert task.types.count("started") == 2


async def test_a_paused_task_is_cancelled_at_once(file: Filing) -> None:
    """It does not wait for the provider."""
    async with file("[[quota:3600]]") as task:
        await task.until("task.paused")
        row = await task.row()
        assert (row["status"], row["status_reason"]) == ("pending", "quota")
        await task.cancel()
        await task.end("task.cancelled")
