"""A whole Pandar whose tasks are in boxes: what they push, and what they order at the door."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import pytest

from tests.support.agent_tasks import following
from tests.support.api import Person
from tests.support.repositories import commit, git
from tests.support.servers import data_root
from tests.support.up import Up
from tests.support.waiting import until

pytestmark = [pytest.mark.servers, pytest.mark.xdist_group("brokers")]
NAMED = "-c user.name=a -c user.email=a@b"
COMMIT = f"echo $RANDOM > new && git add new && git {NAMED} commit -qm new"
TOOLS = '''
[deny.no_deletion]
match = { commands = ["gh repo delete *"] }

[projects.1.tools.gh]
argv = ["/bin/sh", "-c", """
echo "words $*, files $(ls -A | wc -l), key ${#GH_TOKEN} $GH_TOKEN, token $(ls DATA 2>&1 | wc -w)"
echo "workspaces $(ls DATA/workspaces 2>/dev/null | wc -w)"
cat /etc/shadow 2>/dev/null | wc -l
""", "gh"]
secrets = ["GH_TOKEN"]
'''


@pytest.fixture(scope="module")
def pandar() -> Iterator[Up]:
    """Return a running Pandar."""
    loop = asyncio.new_event_loop()
    data = Path(tempfile.mkdtemp(prefix="pandar-up-", dir=data_root()))
    (data / "pandar.toml").write_text(TOOLS.replace("DATA", str(data)))
    running = Up(data, PANDAR_SANDBOX="bwrap")
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


class Ground:
    """A repository, and the tasks of its project."""

    def __init__(self, owner: Person, data: Path, folder: Path, project: int) -> None:
        self.owner, self.data, self.bare, self.project = owner, data, folder, project

    @property
    def refs(self) -> dict[str, str]:
        """Return what the repository has."""
        lines = git(self.bare, "for-each-ref", "--format=%(refname:short) %(objectname)")
        return dict(line.split(" ", 1) for line in lines.splitlines())

    async def file(self, command: str, **metadata: object) -> int:
        """File a task that runs a command; return its number."""
        body = {"name": "tidy", "command": command, "project_id": self.project}
        made = await self.owner.post("/tasks", {**body, "metadata": metadata})
        return int(made["id"])


@pytest.fixture
async def ground(pandar: Up, owner: Person, tmp_path: Path) -> Ground:
    """Return a fresh repository that is a project's."""
    source, bare = tmp_path / "source", tmp_path / "origin.git"
    source.mkdir()
    git(source, "init", "-q", "-b", "main")
    commit(source, {"README": "hello\n"})
    git(tmp_path, "clone", "-q", "--bare", str(source), str(bare))
    project = await owner.post("/projects", {"name": tmp_path.name, "git_url": str(bare)})
    return Ground(owner, pandar.data, bare, int(project["id"]))


async def test_the_own_branch_is_pushed_unasked(ground: Ground) -> None:
    """By name, by absolute path, and without words; what moved is on the timeline."""
    push = f"{COMMIT} && git push -u origin HEAD && {COMMIT} && /usr/bin/git push"
    number = await ground.file(push)
    async with following(ground.owner, number, ground.data) as task:
        await task.end()
        pushed = [each["data"] for each in task.events if each["type"] == "task.pushed"]
        branch = f"pandar/{number}-tidy"
        assert [each["refs"][0]["new"] for each in pushed][-1] == ground.refs[branch]
        assert [each["commits"] for each in pushed] == [1, 1]
        assert pushed[0]["remote"] == str(ground.bare)
        calls = [each["data"] for each in task.events if each["type"] == "task.call_decided"]
        assert [call["verdict"] for call in calls] == ["allow", "allow"]
        assert f"-> {branch}" in await task.output()


@pytest.mark.parametrize("decision", ["approve", "deny"])
async def test_a_protected_branch_is_asked_about(ground: Ground, decision: str) -> None:
    """The card shows what would move; only then it does, or does not."""
    before = ground.refs
    number = await ground.file(f"{COMMIT} && git push origin HEAD:main; echo it said $?")
    async with following(ground.owner, number, ground.data) as task:
        asked = await task.asked()
        assert asked["gate"] == "git_push_protected"
        assert asked["card"]["rule"] == "git_push_protected.branch"
        assert asked["card"]["impact"][0].startswith("main (protected): ")
        assert ground.refs == before
        await task.decide(decision)
        await task.end()
        output = await task.output()
        if decision == "approve":
            assert git(ground.bare, "log", "-1", "--format=%s", "main") == "new"
            assert "it said 0" in output
        else:
            assert ground.refs == before
            assert "it said 1" in output
            assert "This was denied" in output


async def test_there_is_nothing_to_push_with_inside(ground: Ground) -> None:
    """A copy of git, or the real one, finds no repository and no network."""
    attempts = (
        "cp /run/pandar/real/git /tmp/g; /tmp/g push -f origin HEAD:main; echo copy $?;"
        "/run/pandar/real/git push origin HEAD:main; echo real $?;"
        "env | grep -ci token; ls /run/pandar/bin | wc -l"
    )
    before = ground.refs
    number = await ground.file(f"{COMMIT}; {attempts}")
    async with following(ground.owner, number, ground.data) as task:
        await task.end()
        output = await task.output()
        assert "copy 128" in output
        assert "real 128" in output
        assert ground.refs == before


async def test_a_secret_for_one_command(ground: Ground) -> None:
    """After consent; it is in that command's environment alone, and shown nowhere."""
    value = "hunter2-and-some-more"
    path = f"/projects/{ground.project}/secrets/API_KEY"
    await ground.owner.call("PUT", path, json={"value": value})
    command = (
        "pandar-secret run API_KEY -- sh -c 'echo ${#API_KEY} is it: $API_KEY';"
        "echo left: $API_KEY; pandar-secret run NOPE -- env; echo said $?"
    )
    number = await ground.file(command)
    async with following(ground.owner, number, ground.data) as task:
        asked = await task.asked()
        assert asked["gate"] == "secrets_access"
        await task.decide()
        await task.end()
        output = await task.output()
        assert f"{len(value)} is it: [REDACTED:API_KEY]" in output
        assert value not in output
        assert "left:\n" in output
        assert "said 126" in output


async def test_a_tool_nobody_set_up(ground: Ground) -> None:
    """Says what is missing."""
    number = await ground.file("terraform apply; echo said $?; terraform validate; echo said $?")
    async with following(ground.owner, number, ground.data) as task:
        await task.end()
        output = await task.output()
        assert "said 126" in output
        assert "[projects.N.tools.terraform]" in output


async def test_a_tool_runs_outside_with_its_secret(ground: Ground) -> None:
    """After consent, in a box of its own: none of the task's files, nor of the machine's."""
    await ground.owner.call("PUT", "/projects/1/secrets/GH_TOKEN", json={"value": "of-the-project"})
    body = {"name": "x", "command": "touch mine; gh pr merge 7; echo said $?", "project_id": 1}
    number = int((await ground.owner.post("/tasks", body))["id"])
    async with following(ground.owner, number, ground.data) as task:
        assert (await task.asked())["card"]["command"] == "gh pr merge 7"
        await task.decide()
        await task.end()
        output = await task.output()
        assert "words pr merge 7, files 0, key 14 [REDACTED:GH_TOKEN]" in output
        assert "workspaces 0\n0\nsaid 0" in output


async def test_a_task_that_waits_at_the_door_is_cancelled(pandar: Up, ground: Ground) -> None:
    """Nothing moved, and nothing is left in quarantine."""
    before = ground.refs
    number = await ground.file(f"{COMMIT} && git push origin HEAD:main")
    async with following(ground.owner, number, ground.data) as task:
        await task.asked()
        await task.cancel()
        await task.end("task.cancelled")
        assert ground.refs == before
        await until(lambda: not list((pandar.data / "quarantine").iterdir()))


async def test_who_gives_up_waiting_needs_no_decision(ground: Ground) -> None:
    """What was asked is withdrawn, and the command goes on."""
    before = ground.refs
    wait = "timeout 2 git push origin HEAD:main; echo said $?"
    number = await ground.file(f"{COMMIT} && {wait}")
    async with following(ground.owner, number, ground.data) as task:
        await task.asked()
        await task.until("task.confirmation_withdrawn")
        await task.end()
        assert "said 124" in await task.output()
        assert ground.refs == before


async def test_what_is_never_done(ground: Ground) -> None:
    """However it is spelled, nobody is asked."""
    before = ground.refs
    body = {"name": "tidy", "project_id": 1, "command": "gh repo delete o/r; echo said $?"}
    number = int((await ground.owner.post("/tasks", body))["id"])
    async with following(ground.owner, number, ground.data) as task:
        await task.end()
        assert "said 126" in await task.output()
        assert ground.refs == before


async def ask(ground: Ground, prompt: str) -> int:
    """File a task of the demo agent; return its number."""
    body = {"name": "tidy", "prompt": prompt, "project_id": ground.project}
    made = await ground.owner.post("/tasks", {**body, "metadata": {"agent": "demo"}})
    return int(made["id"])


AGENT = f"[[run:{COMMIT}]] [[run:git push origin HEAD:main]] [[say:bye]]"


async def test_an_agent_is_asked_about_a_push_once(ground: Ground) -> None:
    """When it wants it, with what exactly would move; the door uses the approval."""
    number = await ask(ground, AGENT)
    async with following(ground.owner, number, ground.data) as task:
        while (asked := await task.asked())["card"].get("impact") is None:
            await task.decide()
        assert asked["card"]["impact"][0].startswith("main (protected): ")
        await task.decide()
        await task.end()
        assert git(ground.bare, "log", "-1", "--format=%s", "main") == "new"
        calls = [each["data"] for each in task.events if each["type"] == "task.call_decided"]
        mine = [each for each in calls if each["call"].get("moves")]
        assert [each["rule"].partition(".")[0] for each in mine] == ["door", "confirmation"]
        assert [each["confirmation_id"] for each in mine] == [None, asked["confirmation_id"]]


async def test_an_agent_that_is_parked_pushes_what_was_approved(ground: Ground) -> None:
    """Its process ends while people decide; the next one does exactly that."""
    body = {"name": "tidy", "prompt": AGENT, "project_id": ground.project}
    metadata = {"agent": "demo", "park_after_sec": 1, "gates": ["git_push_protected"]}
    number = int((await ground.owner.post("/tasks", {**body, "metadata": metadata}))["id"])
    async with following(ground.owner, number, ground.data) as task:
        asked = await task.asked()
        await task.until("task.parked")
        await task.decide()
        await task.end()
        assert asked["card"]["impact"]
        assert git(ground.bare, "log", "-1", "--format=%s", "main") == "new"


async def test_a_denied_push_of_an_agent(ground: Ground) -> None:
    """It goes on without; nothing moved."""
    before = ground.refs
    number = await ask(ground, AGENT)
    async with following(ground.owner, number, ground.data) as task:
        while (await task.asked())["card"].get("impact") is None:
            await task.decide()
        await task.decide("deny", reason="not on a Friday")
        await task.end()
        assert ground.refs == before
