"""Our client and our demo agent, each against the protocol's own Python SDK as the other side."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import acp
import pytest
from acp import schema

from events.calls import CallKind, Verdict
from events.task import Usage
from pandar_daemon.adapters.agents.acp import AcpDriver
from pandar_daemon.adapters.agents.quirks import Quirks
from pandar_daemon.adapters.agents.registry import demo
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
from tests.support.agent_process import AgentProcess, agent_process

ROOT = Path(__file__).parents[2]
SPENT = Usage(input_tokens=10, output_tokens=5, cached_tokens=2)


@pytest.fixture
async def robot(cwd: Path) -> AsyncIterator[AgentProcess]:
    """Return an agent made with the SDK, under our driver, not yet greeted."""
    driver = AcpDriver(lambda: datetime.now(UTC), Quirks(agent="robot"))
    environment = {"PYTHONPATH": str(ROOT)}
    argv = [sys.executable, "-m", "tests.support.sdk_agent"]
    async with agent_process(argv, environment, cwd, driver) as running:
        yield running


async def test_our_client_prompts(robot: AgentProcess, cwd: Path) -> None:
    """A prompt is repeated, and what it consumed is told."""
    ready = await robot.open(cwd)
    assert (ready.session_id, ready.loaded) == (str(cwd), False)
    assert await robot.turn("hello") == TurnEnded(stop=Stop.DONE, usage=SPENT)
    assert robot.of(Said) == [Said(text="hello")]


@pytest.mark.parametrize(
    ("verdict", "chosen", "stop"),
    [
        (Verdict.ALLOW, "b", Stop.DONE),
        (Verdict.DENY, "c", Stop.DONE),
        (Verdict.ASK, "cancelled", Stop.CANCELLED),
    ],
)
async def test_our_client_permits(
    robot: AgentProcess, cwd: Path, verdict: Verdict, chosen: str, stop: Stop
) -> None:
    """Each verdict arrives as the option of its kind, and the call is known by its id."""
    await robot.open(cwd)
    end = await robot.turn("push", verdict)
    (asked,) = robot.of(Asked)
    assert (asked.call.command, asked.call.cwd) == ("git push", str(cwd))
    assert (robot.of(Said)[-1].text, end.stop) == (f"chosen: {chosen}", stop)
    assert robot.of(Called)[-1].status is CallStatus.DONE


async def test_our_client_shows_a_change(robot: AgentProcess, cwd: Path) -> None:
    """A change of a file comes as a unified diff."""
    await robot.open(cwd)
    await robot.turn("edit")
    (asked,) = robot.of(Asked)
    assert (asked.call.kind, asked.call.paths) == (CallKind.EDIT, [f"{cwd}/a"])
    assert asked.call.diff.endswith("@@ -1 +1 @@\n-old\n+new\n")


async def test_our_client_cancels(robot: AgentProcess, cwd: Path) -> None:
    """A turn that waits for an answer is over as soon as it is cancelled."""
    await robot.open(cwd)
    robot.write(robot.driver.prompt("wait"))
    await robot.next(Asked)
    robot.write(robot.driver.cancel())
    assert (await robot.next(TurnEnded)).stop is Stop.CANCELLED


async def test_our_client_answers_a_question(robot: AgentProcess, cwd: Path) -> None:
    """A form is a question with choices, filled in by words."""
    await robot.open(cwd)
    robot.write(robot.driver.prompt("question"))
    asked = await robot.next(Questioned)
    assert (asked.text, asked.choices) == ("Which colour?\nColour (red | blue)", ["red", "blue"])
    robot.write(robot.driver.answer(asked.request_id, Verdict.ALLOW, "blue"))
    await robot.next(TurnEnded)
    assert robot.of(Said)[-1].text == "answer: {'colour': 'blue'}"


async def test_our_client_hears_an_error(robot: AgentProcess, cwd: Path) -> None:
    """An error of the agent ends the turn, and its kind is known."""
    await robot.open(cwd)
    end = await robot.turn("fail")
    assert (end.stop, end.fault, end.usage) == (Stop.FAILED, Fault.MODEL, None)


@pytest.mark.parametrize(("session", "loaded"), [("before", True), ("never", False)])
async def test_our_client_loads(
    robot: AgentProcess, cwd: Path, session: str, *, loaded: bool
) -> None:
    """A session is loaded, or becomes a new one; nothing it repeats is heard."""
    ready = await robot.open(cwd, session)
    assert ready.loaded is loaded
    assert ready.session_id == (session if loaded else str(cwd))
    await robot.turn("now")
    assert [each.text for each in robot.of(Said)] == ["now"]


class Person:
    """The SDK's client: answers everything with one option, and remembers what it saw."""

    def __init__(self, option: str | None = "once") -> None:
        self.option = option
        self.updates: list[Any] = []
        self.asked: list[schema.ToolCallUpdate] = []

    async def request_permission(
        self, tool_call: schema.ToolCallUpdate, **_: object
    ) -> schema.RequestPermissionResponse:
        """Answer with the option, or with ``cancelled``."""
        self.asked.append(tool_call)
        if self.option is None:
            cancelled = schema.DeniedOutcome(outcome="cancelled")
            return schema.RequestPermissionResponse(outcome=cancelled)
        chosen = schema.AllowedOutcome(outcome="selected", option_id=self.option)
        return schema.RequestPermissionResponse(outcome=chosen)

    async def session_update(self, update: object, **_: object) -> None:
        """Remember it."""
        self.updates.append(update)

    async def create_elicitation(self, **_: object) -> schema.AcceptElicitationResponse:
        """Answer every question."""
        return schema.AcceptElicitationResponse(action="accept", content={"answer": "blue"})

    def on_connect(self, conn: acp.Agent) -> None:
        """Nothing to do."""

    def words(self) -> str:
        """Return all the agent said."""
        chunks = [each for each in self.updates if each.session_update == "agent_message_chunk"]
        return "".join(chunk.content.text for chunk in chunks)


class Driving:
    """Our demo agent under the SDK's client."""

    def __init__(self, home: Path, cwd: Path) -> None:
        self._home, self._cwd = home, cwd

    async def run(
        self, person: Person, *prompts: str, load: str = ""
    ) -> tuple[str, list[schema.PromptResponse]]:
        """Prompt a new process with each of these; return the session and the answers."""
        command, *arguments = demo().argv
        environment = {"HOME": str(self._home), "PATH": "/usr/bin:/bin"}
        async with acp.spawn_agent_process(
            cast("acp.Client", person),
            command,
            *arguments,
            env=environment,
            cwd=self._cwd,
            use_unstable_protocol=True,
        ) as (agent, _):
            hello = await agent.initialize(protocol_version=acp.PROTOCOL_VERSION)
            assert hello.agent_capabilities
            assert hello.agent_capabilities.load_session
            session = load
            if load:
                await agent.load_session(cwd=str(self._cwd), session_id=load, mcp_servers=[])
            else:
                session = (await agent.new_session(cwd=str(self._cwd), mcp_servers=[])).session_id
            answers = [
                await agent.prompt(session_id=session, prompt=[acp.text_block(prompt)])
                for prompt in prompts
            ]
            return session, answers


@pytest.fixture
def driving(tmp_path: Path, cwd: Path) -> Driving:
    """Return the demo agent with a home of its own."""
    return Driving(tmp_path, cwd)


async def test_their_client_sees_the_story(driving: Driving, cwd: Path) -> None:
    """The demo agent writes, checks and pushes, with consent, and tells what it consumed."""
    person = Person()
    _, (answer,) = await driving.run(person, "Please do it.")
    assert answer.stop_reason == "end_turn"
    assert answer.usage
    assert answer.usage.input_tokens == 1_000
    assert [call.title for call in person.asked][-1] == "git push origin main"
    assert (cwd / "hello.txt").read_text() == "Hello from Pandar\n"
    assert (cwd / "pushed.log").read_text() == "git push origin main\n"


async def test_their_client_denies(driving: Driving, cwd: Path) -> None:
    """Denied everything, it goes on to its end without doing anything."""
    person = Person("no")
    _, (answer,) = await driving.run(person, "Please do it.")
    assert (answer.stop_reason, len(person.asked)) == ("end_turn", 3)
    assert "I was not allowed to do this" in person.words()
    assert not (cwd / "hello.txt").exists()
    assert not (cwd / "pushed.log").exists()


async def test_their_client_resumes(driving: Driving, cwd: Path) -> None:
    """A session is loaded in a new process, and the approved call is asked for again."""
    session, (answer,) = await driving.run(Person(None), "[[ask:git push]][[say:Done.]]")
    assert answer.stop_reason == "cancelled"
    person = Person()
    await driving.run(person, "It was approved.", load=session)
    kinds = {each.session_update for each in person.updates}
    assert "user_message_chunk" in kinds
    assert (cwd / "pushed.log").read_text() == "git push\n"
    assert person.words().endswith("Done.")


async def test_their_client_is_asked(driving: Driving) -> None:
    """A question of the demo agent is a form the SDK understands."""
    person = Person()
    await driving.run(person, "[[question:Which?|red|blue]]")
    assert "You answered: blue" in person.words()
