"""The real claude, codex and gemini through our driver, as a runner has them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from events.calls import CallKind, Verdict
from events.task import Usage
from pandar_daemon.domain.hearing import (
    Asked,
    Called,
    CallStatus,
    Fault,
    Questioned,
    Said,
    Stop,
    TurnEnded,
)
from tests.agents.conftest import Start
from tests.support.waiting import until

APPEND = "[[say:I will write it. ]][[run:echo done >> {file}]][[done:All finished.]]"


@dataclass(frozen=True)
class Manner:
    """What is an agent's own. ``turn`` is what a call of the scripted model costs, as it tells."""

    name: str
    turn: Usage
    denied: Stop = Stop.DONE
    waits: str = ""


CLAUDE = Manner(
    "claude",
    Usage(input_tokens=1_050, output_tokens=42, cached_tokens=700, cost_usd=0.0),
    waits=".claude/projects/*/*.jsonl",
)
CODEX = Manner(
    "codex",
    Usage(input_tokens=400, output_tokens=42, cached_tokens=700, thought_tokens=7),
    denied=Stop.CANCELLED,
)
NATIVE = replace(CODEX, name="codex by app-server", denied=Stop.DONE)
GEMINI = Manner("gemini", Usage(input_tokens=1_200, output_tokens=42))
every = pytest.mark.parametrize("agent", [CLAUDE, CODEX, NATIVE, GEMINI], ids=lambda a: a.name)


def tokens(usage: Usage | None) -> list[int | None]:
    """Return the tokens of a usage."""
    assert usage
    named = (usage.input_tokens, usage.output_tokens, usage.cached_tokens, usage.thought_tokens)
    return list(named)


def twice(usage: Usage) -> list[int | None]:
    """Return the tokens of two calls."""
    return [None if each is None else 2 * each for each in tokens(usage)]


@every
async def test_allow(start: Start, cwd: Path, agent: Manner) -> None:
    """An allowed command runs once, and what the turn consumed is told."""
    file = cwd / "out.txt"
    async with start(agent.name) as running:
        await running.open(cwd)
        end = await running.turn(APPEND.format(file=file))
        (asked,) = running.of(Asked)
        assert (asked.call.kind, asked.call.command) == (CallKind.EXECUTE, f"echo done >> {file}")
        assert asked.intent
        assert running.of(Called)[-1].status is CallStatus.DONE
        assert "".join(each.text for each in running.of(Said)).endswith("All finished.")
        assert (end.stop, tokens(end.usage)) == (Stop.DONE, twice(agent.turn))
        assert bool(end.usage and end.usage.cost_usd) is (agent.turn.cost_usd is not None)
    assert file.read_text() == "done\n"


@every
async def test_deny_then_change(start: Start, cwd: Path, agent: Manner) -> None:
    """A denied command does not run; what to do instead goes with the next prompt."""
    file, other = cwd / "out.txt", cwd / "other.txt"
    async with start(agent.name) as running:
        await running.open(cwd)
        end = await running.turn(APPEND.format(file=file), Verdict.DENY)
        assert end.stop is agent.denied
        end = await running.turn(f"Write other.txt. {APPEND.format(file=other)}")
        assert end.stop is Stop.DONE
    assert not file.exists()
    assert other.read_text() == "done\n"


@pytest.mark.parametrize("agent", [CLAUDE, NATIVE], ids=lambda each: each.name)
async def test_deny_with_a_reason(start: Start, cwd: Path, agent: Manner) -> None:
    """The reason of a denial reaches the agent within the turn, and it does what that says."""
    file, other = cwd / "out.txt", cwd / "other.txt"
    async with start(agent.name) as running:
        await running.open(cwd)
        running.write(running.driver.prompt(APPEND.format(file=file)))
        asked = await running.next(Asked)
        reason = f"Use other.txt: {APPEND.format(file=other)}"
        running.write(running.driver.answer(asked.request_id, Verdict.DENY, reason))
        again = await running.next(Asked)
        assert again.call.command.endswith("other.txt")
        running.write(running.driver.answer(again.request_id, Verdict.ALLOW))
        assert (await running.next(TurnEnded)).stop is Stop.DONE
    assert not file.exists()
    assert other.read_text() == "done\n"


@every
async def test_cancel_while_it_waits(start: Start, cwd: Path, agent: Manner) -> None:
    """A turn that waits for an answer ends at once when it is cancelled."""
    async with start(agent.name) as running:
        await running.open(cwd)
        running.write(running.driver.prompt(APPEND.format(file=cwd / "out.txt")))
        await running.next(Asked)
        running.write(running.driver.cancel())
        assert (await running.next(TurnEnded)).stop is Stop.CANCELLED
        assert (await running.turn("[[done:still here]]")).stop is Stop.DONE
    assert not (cwd / "out.txt").exists()


@every
async def test_cancel_while_it_talks(start: Start, cwd: Path, agent: Manner) -> None:
    """A turn ends in the middle of a sentence."""
    async with start(agent.name) as running:
        await running.open(cwd)
        running.write(running.driver.prompt("[[slow:2000]]"))
        await running.next(Said, lambda said: "tick" in said.text)
        running.write(running.driver.cancel())
        assert (await running.next(TurnEnded)).stop is Stop.CANCELLED


@every
async def test_killed_while_it_waits(start: Start, home: Path, cwd: Path, agent: Manner) -> None:
    """Another process goes on, asks for the same thing by the same hash, and does it once."""
    file = cwd / "out.txt"
    async with start(agent.name) as running:
        ready = await running.open(cwd)
        running.write(running.driver.prompt(APPEND.format(file=file)))
        asked = await running.next(Asked)
        await until(lambda: not agent.waits or list(home.glob(agent.waits)))
        await running.kill()
    async with start(agent.name) as running:
        again = await running.open(cwd, ready.session_id)
        # Gemini refuses to load a session begun in the same minute of the clock.
        assert again.loaded or agent is GEMINI
        words = "It was approved: run exactly this now."
        end = await running.turn(words if again.loaded else APPEND.format(file=file))
        assert end.stop is Stop.DONE
        assert [each.call.sha256 for each in running.of(Asked)] == [asked.call.sha256]
    assert file.read_text() == "done\n"


@every
async def test_a_model_that_fails(start: Start, cwd: Path, agent: Manner) -> None:
    """A turn whose model server answers 529 is no success, and the model's fault."""
    async with start(agent.name) as running:
        await running.open(cwd)
        end = await running.turn("[[status:529]]")
        assert (end.stop, end.fault, end.usage) == (Stop.FAILED, Fault.MODEL, None)
        assert "529" in end.error


@pytest.mark.parametrize("agent", [CLAUDE, GEMINI], ids=lambda each: each.name)
async def test_a_change_of_a_file(start: Start, cwd: Path, agent: Manner) -> None:
    """A file that is written comes as a diff."""
    file = cwd / "new.txt"
    async with start(agent.name) as running:
        await running.open(cwd)
        await running.turn(f"[[write:{file}=one\ntwo\n]]")
        (asked,) = running.of(Asked)
    assert (asked.call.kind, asked.call.paths) == (CallKind.EDIT, [str(file)])
    assert asked.call.diff == f"--- /dev/null\n+++ {file}\n@@ -0,0 +1,2 @@\n+one\n+two\n"
    assert file.read_text() == "one\ntwo\n"


async def test_claude_asks_a_question(start: Start, cwd: Path) -> None:
    """A question with choices is answered in words, and the turn goes on."""
    async with start("claude") as running:
        await running.open(cwd)
        running.write(running.driver.prompt("[[ask:Which one?]][[done:thanks]]"))
        asked = await running.next(Questioned)
        assert asked.choices == ["one", "two"]
        assert "Which one?" in asked.text
        running.write(running.driver.answer(asked.request_id, Verdict.ALLOW, "two"))
        assert (await running.next(TurnEnded)).stop is Stop.DONE
        assert '"Which one?"="two"' in running.of(Called)[-1].output
