"""No key is in the box: neither the model's, nor the project's, nor Pandar's own."""

from __future__ import annotations

import hashlib
from base64 import b64encode

import msgspec
import pytest

from tests.isolation.grounds import Grounds, filed
from tests.support.agent_tasks import AgentTask
from tests.support.api import Person

pytestmark = [pytest.mark.servers, pytest.mark.xdist_group("promises")]


def found_in(data: bytes, secrets: dict[str, str]) -> list[str]:
    """Return which secrets are in what was read, as they are, in hexadecimal or in base64."""
    return [
        name
        for name, value in secrets.items()
        for plain in [value.encode()]
        if any(
            spelt in data
            for spelt in (
                *(plain, plain.hex().encode()),
                *(b64encode(plain[n:])[: len(plain)] for n in range(3)),
            )
        )
    ]


def files_of(task: AgentTask) -> bytes:
    """Return all that is in the folders of a task, and what its program could read."""
    home = task.workspace.parents[1] / "homes" / task.workspace.name
    files = [each for place in (task.workspace, home) for each in place.rglob("*")]
    return b"\n".join(file.read_bytes() for file in files if file.is_file())


async def test_an_agent_finds_no_key(grounds: Grounds, owner: Person) -> None:
    """In no environment, argument or file; and its model answers it, with the key."""
    script = "[[run:python3 hostile.py loot model]] [[say:over]]"
    async with filed(grounds, owner, script, agent="keyed") as task:
        await task.end()
        loot = (task.workspace / "loot").read_bytes()
        for there in (b"KEYED_API_KEY=pandar-adds-the-key-outside", b"HOME=", b"hostile.py"):
            assert there in loot
        assert found_in(loot + files_of(task), grounds.secret) == []
        answer = grounds.found(task, "model")
        assert answer.startswith("HTTP/1.1 200 ")
        assert "the key is ***" in answer
        path, headers = grounds.model.came[-1]
        assert (path, headers["authorization"]) == ("/models", f"Bearer {grounds.model_key}")


async def test_a_command_finds_no_key(grounds: Grounds, owner: Person) -> None:
    """Nor does a setup of its project leave one: what git fetched with is not there."""
    async with filed(grounds, owner, "python3 hostile.py loot; git config --list") as task:
        await task.end()
        loot = (task.workspace / "loot").read_bytes()
        assert b"HOME=" in loot
        assert found_in(loot + files_of(task), grounds.secret) == []


async def test_a_secret_is_for_one_command(grounds: Grounds, owner: Person) -> None:
    """Denied it has none; allowed that command has it, the next one not; it is shown nowhere."""
    digest = "sh -c 'printf %s \"$API_KEY\" | sha256sum; echo it is $API_KEY'"
    command = f"pandar-secret run API_KEY -- {digest}; echo it said $?;" * 2
    async with filed(grounds, owner, f"{command} python3 hostile.py loot") as task:
        assert (await task.asked())["gate"] == "secrets_access"
        await task.decide("deny", reason="not by night")
        assert (await task.asked())["gate"] == "secrets_access"
        await task.decide()
        await task.end()
        output = await task.output()
        denied, _, allowed = output.partition("it said 126")
        assert "not by night" in denied
        sha256 = hashlib.sha256(grounds.released.encode()).hexdigest()
        assert sha256 not in denied
        assert sha256 in allowed
        assert "it is [REDACTED:API_KEY]" in allowed
        told = output.encode() + msgspec.json.encode([task.events, await task.row()])
        shown = told + grounds.up.log.encode()
        assert found_in(shown + files_of(task), {"value": grounds.released}) == []
