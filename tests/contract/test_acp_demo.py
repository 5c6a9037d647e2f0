"""The demo agent as a real process: the story it tells, and all it does at its worst."""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol

import pytest

from events.calls import Verdict
from pandar_daemon.adapters.agents.asking import OPEN_MAX
from pandar_daemon.adapters.agents.demo_faults import DOING
from pandar_daemon.adapters.agents.demo_script import STEPS
from pandar_daemon.adapters.agents.jsonrpc import LINE_MAX
from pandar_daemon.adapters.agents.peer import STRAYS_MAX
from pandar_daemon.adapters.agents.registry import Registry
from pandar_daemon.domain.hearing import (
    Asked,
    Broken,
    Called,
    CallStatus,
    Fault,
    Heard,
    Questioned,
    Said,
    Stop,
    TurnEnded,
    Withdrawn,
)
from tests.support.agent_process import AgentProcess, agent_process

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


class Begin(Protocol):
    """Starts a demo agent."""

    def __call__(self, *flags: str) -> AbstractAsyncContextManager[AgentProcess]:
        """Start one with these flags, in the same folder and home as the others of a test."""


@pytest.fixture
def begin(tmp_path: Path, cwd: Path) -> Begin:
    """Return what starts a demo agent."""
    agents = Registry(lambda: NOW, {}, packages=tmp_path, path="/usr/bin:/bin")
    launch = agents.launched("demo", tmp_path)

    @asynccontextmanager
    async def start(*flags: str) -> AsyncIterator[AgentProcess]:
        argv = (*launch.argv, *flags)
        async with agent_process(argv, launch.environment, cwd, agents.driver("demo")) as running:
            yield running

    return start


@pytest.fixture
async def demo(begin: Begin, cwd: Path) -> AsyncIterator[AgentProcess]:
    """Return a demo agent that can be prompted."""
    async with begin() as running:
        await running.open(cwd)
        yield running


def test_every_step_is_told() -> None:
    """What a script can say is what the agent can do."""
    assert STEPS.keys() == DOING.keys()


def test_does_not_import_much() -> None:
    """It starts fast because it needs the standard library and msgspec alone."""
    code = (
        "import sys; before = set(sys.modules); import pandar_daemon.adapters.agents.demo;"
        "print(*{name.partition('.')[0] for name in set(sys.modules) - before})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    foreign = set(done.stdout.decode().split()) - sys.stdlib_module_names
    assert foreign <= {"pandar_daemon", "msgspec", "typing_extensions"}


async def test_tells_its_story(demo: AgentProcess, cwd: Path) -> None:
    """Without a script it writes a file, checks it and asks to push."""
    end = await demo.turn("Please audit this.")
    assert end.stop is Stop.DONE
    assert end.usage
    assert (end.usage.input_tokens, end.usage.cost_usd) == (1_000, 0.01)
    assert [asked.call.title for asked in demo.of(Asked)] == [
        "Write hello.txt",
        "test -s hello.txt && echo hello.txt is there",
        "git push origin main",
    ]
    assert "hello.txt is there\n" in [called.output for called in demo.of(Called)]
    assert (cwd / "pushed.log").read_text() == "git push origin main\n"


async def test_goes_on_after_a_denial(demo: AgentProcess, cwd: Path) -> None:
    """What is denied is not done, and the turn goes on."""
    end = await demo.turn("[[write:a=1]][[run:touch b]][[ask:push]][[say:end]]", Verdict.DENY)
    assert (end.stop, demo.of(Said)[-1].text) == (Stop.DONE, "end")
    assert not (cwd / "a").exists()
    assert not (cwd / "b").exists()
    assert {called.status for called in demo.of(Called)} == {CallStatus.PENDING, CallStatus.FAILED}


async def waiting(agent: AgentProcess, cwd: Path, prompt: str) -> tuple[str, Asked]:
    """Return the session of an agent that waits for an answer, and what it asks."""
    ready = await agent.open(cwd)
    agent.write(agent.driver.prompt(prompt))
    return ready.session_id, await agent.next(Asked)


@pytest.mark.parametrize(
    ("decision", "pushed"),
    [("It was approved: go on.", "git push\n"), ("It was denied: use a branch.", "")],
)
async def test_goes_on_in_another_process(
    begin: Begin, cwd: Path, decision: str, pushed: str
) -> None:
    """Killed while it waits, it loads its session and obeys the decision."""
    (cwd / "pushed.log").touch()
    async with begin() as first:
        session, asked = await waiting(first, cwd, "[[say:a]][[ask:git push]][[say:z]]")
        await first.kill()
    async with begin() as second:
        assert (await second.open(cwd, session)).loaded
        assert (await second.turn(decision)).stop is Stop.DONE
        again = second.of(Asked)
        assert [each.call.sha256 for each in again] == ([asked.call.sha256] if pushed else [])
        assert second.of(Said)[-1].text == "z"
    assert (cwd / "pushed.log").read_text() == pushed


async def test_does_not_load_what_it_never_kept(begin: Begin, cwd: Path) -> None:
    """A session it does not know becomes a new one."""
    async with begin() as agent:
        assert not (await agent.open(cwd, "../../etc/passwd")).loaded


async def test_is_cancelled_while_it_waits(begin: Begin, cwd: Path) -> None:
    """A cancelled turn ends at once."""
    async with begin() as agent:
        await waiting(agent, cwd, "[[ask:git push]]")
        agent.write(agent.driver.cancel())
        assert (await agent.next(TurnEnded)).stop is Stop.CANCELLED


@pytest.mark.parametrize("step", ["[[slow:9999]]", "[[run:echo $$ > pid; exec sleep 600]]"])
async def test_is_cancelled_while_it_works(demo: AgentProcess, step: str) -> None:
    """Also in the middle of something."""
    demo.write(demo.driver.prompt(f"[[slow:1]]{step}"))
    await demo.next(Said)
    if "run" in step:
        asked = await demo.next(Asked)
        demo.write(demo.driver.answer(asked.request_id, Verdict.ALLOW))
    demo.write(demo.driver.cancel())
    assert (await demo.next(TurnEnded)).stop is Stop.CANCELLED


async def test_asks_a_question(demo: AgentProcess) -> None:
    """The answer in words arrives."""
    demo.write(demo.driver.prompt("[[question:Which?|red|blue]]"))
    asked = await demo.next(Questioned)
    demo.write(demo.driver.answer(asked.request_id, Verdict.ALLOW, "BLUE"))
    await demo.next(TurnEnded)
    assert demo.of(Said)[-1].text == "You answered: blue\n"


async def test_takes_a_request_back(demo: AgentProcess) -> None:
    """A withdrawn request is heard as such, and the turn goes on."""
    demo.write(demo.driver.prompt("[[withdraw:git push]][[say:on]]"))
    asked = await demo.next(Asked)
    assert (await demo.next(Withdrawn)).request_id == asked.request_id
    assert (await demo.next(TurnEnded)).stop is Stop.DONE


@pytest.mark.parametrize(
    ("step", "stop", "fault"),
    [
        ("[[refuse]]", Stop.REFUSED, Fault.AGENT),
        ("[[limit]]", Stop.LIMIT, Fault.AGENT),
        ("[[error:529]]", Stop.FAILED, Fault.MODEL),
        ("[[quota:90]]", Stop.FAILED, Fault.QUOTA),
    ],
)
async def test_does_not_succeed(demo: AgentProcess, step: str, stop: Stop, fault: Fault) -> None:
    """Turns that ended without success, and whose fault it was."""
    end = await demo.turn(step)
    assert (end.stop, end.fault) == (stop, fault)
    assert end.retry_at == (NOW + timedelta(seconds=90) if fault is Fault.QUOTA else None)


async def test_lies(demo: AgentProcess) -> None:
    """A turn that claims to be done but consumed nothing is told so."""
    assert await demo.turn("[[say:done!]][[lie]]") == TurnEnded(stop=Stop.DONE, usage=None)


async def test_answers_twice(demo: AgentProcess) -> None:
    """A second answer is passed over."""
    await demo.turn("[[twice]]")
    assert (await demo.turn("[[say:still here]]")).stop is Stop.DONE
    assert len(demo.of(TurnEnded)) == 2


async def broken(agent: AgentProcess, prompt: str = "") -> str:
    """Return how an agent broke."""
    if prompt:
        agent.write(agent.driver.prompt(prompt))
    return (await agent.next(Broken)).error


@pytest.mark.parametrize("step", ["[[crash]]", "[[exit]]"])
async def test_dies(demo: AgentProcess, step: str) -> None:
    """What it said before is kept."""
    assert await broken(demo, f"[[say:last words]]{step}") == "demo ended in the middle of a turn"
    assert demo.of(Said) == [Said(text="last words")]


async def test_writes_garbage(demo: AgentProcess) -> None:
    """A little garbage is passed over, a lot is the end."""
    assert (await demo.turn(f"[[garbage:{STRAYS_MAX}]]")).stop is Stop.DONE
    assert "this is {no JSON" in await broken(demo, "[[garbage]]")


async def test_writes_a_line_of_100_mb(demo: AgentProcess) -> None:
    """No more than the limit is ever held in memory."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    error = await broken(demo, "[[say:a]][[bigline:100000000]]")
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert error == "demo wrote a line of more than 16 MiB"
    assert grown * 1024 < 4 * LINE_MAX


async def test_floods(demo: AgentProcess) -> None:
    """Ten mebibytes in small pieces arrive whole."""
    await demo.turn("[[flood:10240]]")
    assert sum(len(each.text) for each in demo.of(Said)) == 10 * 2**20


async def test_asks_too_much(demo: AgentProcess) -> None:
    """Of very many requests at once a hundred are heard; of ten thousand it is given up."""
    assert (await demo.turn("[[askmany:9999]]")).stop is Stop.DONE
    before = len(demo.of(Asked))
    assert "asked 10,000 times" in await broken(demo, "[[askmany:10000]]")
    assert len(demo.of(Asked)) - before == OPEN_MAX


async def test_ends_before_it_says_hello(begin: Begin, cwd: Path) -> None:
    """That is named, and nothing hangs."""
    async with begin("--exit") as agent:
        agent.write(agent.driver.open(str(cwd)))
        assert await broken(agent) == "demo ended before it said hello"


@pytest.mark.parametrize("flags", [["--mute"], []])
async def test_never_answers(begin: Begin, cwd: Path, flags: Sequence[str]) -> None:
    """A silent agent is heard to be silent until somebody kills it."""
    async with begin(*flags) as agent:
        if flags:
            agent.write(agent.driver.open(str(cwd)))
            said: list[Heard] = []
        else:
            await agent.open(cwd)
            agent.write(agent.driver.prompt("[[say:a]][[hang]]"))
            said = [agent.heard[0], await agent.next(Said)]
        await agent.kill()
        assert "ended" in await broken(agent)
        assert agent.heard[:-1] == said


async def test_pays_no_attention(demo: AgentProcess) -> None:
    """It goes on after a cancellation, to its end."""
    demo.write(demo.driver.prompt("[[ignore-cancel]][[slow:3]]"))
    await demo.next(Said)
    demo.write(demo.driver.cancel())
    assert (await demo.next(TurnEnded)).stop is Stop.DONE
