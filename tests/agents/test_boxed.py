"""The real agents in boxes: they work, and what they may not do fails without failing them."""

from __future__ import annotations

from pathlib import Path

import pytest

from events.task import Json
from tests.agents.conftest import Running
from tests.support.agent_tasks import ASKED, ENDS, AgentTask, following
from tests.support.api import Person
from tests.support.fake_models import FakeModels
from tests.support.repositories import commit, git
from tests.support.up import Up

KEY = "sk-ant-real-key-of-the-owner-0123456789"
SECRET = "what only the owner may read"
HEADERS = {
    "claude": ("X-Api-Key", KEY),
    "codex": ("Authorization", f"Bearer {KEY}"),
    "gemini": ("X-Goog-Api-Key", KEY),
}
OWN_SANDBOXES = {
    ".claude/settings.json": '{"sandbox": {"enabled": true}}',
    ".gemini/settings.json": '{"tools": {"sandbox": "true"}}',
}
"""A repository that wants what cannot be in a box: one in it."""
LOOK = """\
env > seen.txt
cat /proc/*/environ >> seen.txt
cat {secret} > stolen.txt
curl -s --noproxy '*' {url}/direct >> stolen.txt
curl -s --noproxy 'nobody' {url}/door >> refused.txt
curl -s http://elsewhere.test/ >> refused.txt
git add new.txt
git -c user.name=a -c user.email=a@b commit -qm new
true
"""
PROMPT = (
    "[[say:I will look around. ]][[write:{workspace}/new.txt=one\n]][[quiet:sh look.sh]]"
    "[[quiet:git push origin HEAD:main]][[done:All finished.]]"
)
agents = pytest.mark.parametrize("agent", ["claude", "codex", "codex by app-server", "gemini"])


@pytest.fixture
def bare(tmp_path: Path, models: FakeModels) -> Path:
    """Return a repository whose script looks around, beside a secret of the owner."""
    source, made = tmp_path / "source", tmp_path / "origin.git"
    (tmp_path / "secret").write_text(SECRET)
    source.mkdir()
    git(source, "init", "-q", "-b", "main")
    look = LOOK.format(secret=tmp_path / "secret", url=models.url)
    commit(source, {"look.sh": look, **OWN_SANDBOXES})
    git(tmp_path, "clone", "-q", "--bare", str(source), str(made))
    return made


@agents
async def test_it_works_in_a_box(
    running: Running, models: FakeModels, bare: Path, agent: str
) -> None:
    """It edits and runs; nothing of the owner's is within reach; a push is asked about, once."""
    name = agent.partition(" by ")[0]
    key = {f"PANDAR_AGENT_{name.upper()}_API_KEY": KEY, "PANDAR_SANDBOX": "bwrap"}
    async with running(agent, **key) as pandar, pandar.owner() as owner:
        task, asked, end = await _done(pandar, owner, bare, name)
        assert end["type"] == "task.completed", (end["data"], task.types)
        _was_pushed(task, asked, bare)
        found = {each: (task.workspace / each).read_text() for each in FILES}
        assert "PANDAR_TASK_ID=1" in found["seen.txt"]
        assert found["stolen.txt"] == ""
        refused = found["refused.txt"]
        assert "127.0.0.1 leads to no public address" in refused
        assert "elsewhere.test:80 is not among the hosts" in refused
        assert task.types.count("egress_blocked") == 2
        assert not [each for each in models.unknown if "direct" in each or "door" in each]
        assert models.keys == {HEADERS[name]}
        homes = pandar.data / "homes"
        assert _holding(KEY, task.workspace, homes) == _holding(SECRET, task.workspace, homes) == []


FILES = ("seen.txt", "stolen.txt", "refused.txt")


async def _done(
    pandar: Up, owner: Person, bare: Path, agent: str
) -> tuple[AgentTask, list[Json], Json]:
    """Approve all that is asked; return the task, what was asked, and how it ended."""
    project = await owner.post("/projects", {"name": "boxed", "git_url": str(bare)})
    workspace = pandar.data.resolve() / "workspaces" / "task-1"
    body = {"name": "tidy", "prompt": PROMPT.format(workspace=workspace)}
    metadata = {"agent": agent, "gates": ["git_push_protected"]}
    filed = await owner.post("/tasks", {**body, "project_id": project["id"], "metadata": metadata})
    assert filed["id"] == 1
    async with following(owner, 1, pandar.data) as task:
        asked: list[Json] = []
        while (event := await task.next())["type"] not in ENDS:
            if event["type"] == ASKED:
                asked.append(event["data"])
                await task.decide()
        return task, asked, event


def _was_pushed(task: AgentTask, asked: list[Json], bare: Path) -> None:
    """Fail unless what was asked about moved, and nothing else."""
    (push,) = [each for each in asked if each["gate"] == "git_push_protected"]
    assert push["card"]["rule"] == "git_push_protected.branch"
    assert push["card"]["impact"][0].startswith("main (protected): ")
    assert git(bare, "log", "-1", "--format=%s", "main") == "new"
    assert git(bare, "show", "main:new.txt") == "one"
    assert task.types.count("pushed") == 1


def _holding(text: str, *folders: Path) -> list[Path]:
    """Return the files that hold a text."""
    files = [each for folder in folders for each in folder.rglob("*") if each.is_file()]
    return [file for file in files if text.encode() in file.read_bytes()]
