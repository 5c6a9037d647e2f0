"""A command that asks on its terminal never hangs on a prompt nobody saw."""

from __future__ import annotations

import json
from typing import Any

import aiohttp

Json = dict[str, Any]


async def _file(http: aiohttp.ClientSession, command: str, **metadata: object) -> int:
    body = {"name": "asks", "command": command, "project_id": 1, "metadata": metadata}
    async with http.post("/api/v1/tasks", json=body) as answer:
        return int((await answer.json())["id"])


async def _until(http: aiohttp.ClientSession, task: int, *types: str) -> list[Json]:
    """Return the events of a task, up to the first of these types."""
    seen: list[Json] = []
    async with http.get(f"/api/v1/tasks/{task}/stream") as stream:
        async for line in stream.content:
            if line.startswith(b"data: {"):
                event = json.loads(line[6:])
                if "type" in event:
                    seen.append(event)
                    if event["type"] in types:
                        return seen
    raise AssertionError("the stream ended")


async def _confirm(http: aiohttp.ClientSession, task: int, **body: str) -> None:
    async with http.post(f"/api/v1/tasks/{task}/confirm", json=body) as answer:
        assert answer.status == 200, await answer.text()


async def _output(http: aiohttp.ClientSession, task: int) -> str:
    async with http.get(f"/api/v1/tasks/{task}/output") as answer:
        return str((await answer.json())["output"])


async def _asked_again(http: aiohttp.ClientSession, task: int) -> Json:
    """Return the second request of a task."""
    asked: list[Json] = []
    async with http.get(f"/api/v1/tasks/{task}/stream") as stream:
        async for line in stream.content:
            if line.startswith(b"data: {") and b'"task.confirmation_requested"' in line:
                asked.append(json.loads(line[6:])["data"])
                if len(asked) == 2:
                    return asked[-1]
    raise AssertionError("the stream ended")


ENDS = ("task.completed", "task.failed", "task.cancelled")


async def test_an_answer_is_typed(http: aiohttp.ClientSession) -> None:
    """People are asked what the terminal asks, and their text is typed there."""
    task = await _file(http, 'read -p "Which colour? " c; echo "it is $c"')
    asked = (await _until(http, task, "task.confirmation_requested"))[-1]["data"]
    assert (asked["gate"], asked["card"]["question"]) == ("question", "Which colour?")
    await _confirm(http, task, reason="blue")
    events = await _until(http, task, *ENDS)
    told = next(e["data"] for e in events if e["type"] == "task.question_answered")
    assert (told["question"], told["answer"]) == ("Which colour?", "blue")
    assert "it is blue" in await _output(http, task)


async def test_yes_and_no(http: aiohttp.ClientSession) -> None:
    """An approval without a word is yes, a denial no."""
    for decision, said in (("approve", "y"), ("deny", "n")):
        task = await _file(http, 'read -p "Continue? [y/N] " a; echo "got $a"')
        await _until(http, task, "task.confirmation_requested")
        await _confirm(http, task, decision=decision)
        await _until(http, task, *ENDS)
        assert f"got {said}" in await _output(http, task)


async def test_who_goes_on_by_itself_needs_no_answer(http: aiohttp.ClientSession) -> None:
    """What was asked is withdrawn; what it asks next is a question of its own."""
    task = await _file(http, 'read -t 3 -p "First? " a; echo; read -p "Second? " b; echo "b=$b"')
    asked = [
        event["data"]["card"]["question"].splitlines()[-1]
        for event in await _until(http, task, "task.confirmation_withdrawn")
        if event["type"] == "task.confirmation_requested"
    ]
    assert asked == ["First?"]
    second = await _asked_again(http, task)
    await _confirm(http, task, reason="x", confirmation_id=second["confirmation_id"])
    await _until(http, task, *ENDS)
    assert "b=x" in await _output(http, task)


async def test_a_proxy_agent_answers_so_many_questions(http: aiohttp.ClientSession) -> None:
    """Beyond its limit people are asked."""
    command = 'for n in 1 2; do read -p "Number $n? " a; echo "got $a"; done'
    script = {"context": "[[say:seven]]"}
    task = await _file(http, command, proxy_agent="demo", max_proxy_answers=1, **script)
    events = await _until(http, task, "task.confirmation_requested")
    told = [e["data"] for e in events if e["type"] == "task.question_answered"]
    assert [(e["by"], e["answer"]) for e in told] == [("proxy:demo", "seven")]
    await _confirm(http, task, reason="eight")
    await _until(http, task, *ENDS)
    output = await _output(http, task)
    assert "got seven" in output
    assert "got eight" in output


async def test_a_task_that_asks_can_be_cancelled(http: aiohttp.ClientSession) -> None:
    """The question dies with it."""
    task = await _file(http, 'read -p "Continue? [y/N] " a')
    await _until(http, task, "task.confirmation_requested")
    async with http.post(f"/api/v1/tasks/{task}/cancel") as answer:
        assert answer.status == 200
    assert (await _until(http, task, *ENDS))[-1]["type"] == "task.cancelled"
