"""A task on a repository from its project to its diff: by the API, through a real runner."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from events.task import Json
from tests.support.api import Api, Person, running_api
from tests.support.repositories import commit, git, make_origin
from tests.support.waiting import until

ROLES = ("commands", "relay", "projector", "runner")
WORK = """
echo changed > README && git commit -qam 'Change it' && git log -1 --format='%an <%ae>'
printf 'a\\nb\\n' > "$(printf 'new\\033file')"
echo port $PANDAR_PORT_BASE
printf 'Go on? [y/N] '; read answer; echo later > later
"""


@pytest.fixture
async def api(database_url: str, nats_url: str, tmp_path: Path) -> AsyncIterator[Api]:
    """Return a running API with a runner behind it."""
    async with running_api(database_url, nats_url, tmp_path / "data", roles=ROLES) as running:
        yield running


async def project(person: Person, origin: Path, **fields: object) -> int:
    """Make a project with a repository."""
    made = await person.post("/projects", {"name": "p", "git_url": str(origin), **fields})
    return int(made["id"])


async def reached(api: Api, person: Person, task: int, *events: str) -> Json:
    """Return a task once one of these has happened to it."""
    wanted = {f"task.{name}" for name in events}
    async with asyncio.timeout(60):
        while wanted.isdisjoint(e.type for e in await api.parts.store.read_stream(f"task-{task}")):
            pass
    await api.settle(person)
    row: Json = await person.get(f"/tasks/{task}")
    return row


async def test_a_task_on_a_repository(api: Api, tmp_path: Path) -> None:
    """Set up once, kept when it asks and when it ends; the patch outlives its folder."""
    origin, person = make_origin(tmp_path / "origin"), api.person()
    number = await project(person, origin, setup="echo set up; echo x > .git/info/exclude")
    task = await person.task(number, name="Tidy up", command=WORK, auto_start=True)
    await reached(api, person, task, "confirmation_requested")
    (asked,) = (await person.get(f"/tasks/{task}/confirmations"))["items"]
    assert asked["card"]["branch"] == f"pandar/{task}-tidy-up"
    assert asked["card"]["changed"] == "2 files changed, +3 -1, 1 commit"
    reply, patch = await person.call("GET", f"/tasks/{task}/diff")
    assert (reply.status, reply.content_type) == (200, "text/x-diff")
    assert reply.headers["Pandar-Checkpoint"] == "1-1"
    assert '+++ "b/new\\033file"' in patch
    await person.post(f"/tasks/{task}/confirm", {})
    ended = await reached(api, person, task, "completed", "failed")
    assert ended["status"] == "completed", ended
    _, output = await person.call("GET", f"/tasks/{task}/output?follow=true")
    assert "set up\nPandar <pandar@localhost>\nport 20" in output
    shown = await person.get(f"/tasks/{task}/diff?format=json")
    assert (shown["checkpoint"], shown["count"], shown["commits"]) == ("1-2", 3, 1)
    assert [each["path"] for each in shown["files"]] == ["README", "later", "new\x1bfile"]
    reply, stat = await person.call("GET", f"/tasks/{task}/diff?format=stat&checkpoint=1-1")
    assert stat.splitlines() == [
        "        +1 -1  README",
        "        +2 -0  new⟨U+001B⟩file",
        "2 files changed, +3 -1, 1 commit",
    ]
    known = {"If-None-Match": reply.headers["ETag"]}
    url = f"/tasks/{task}/diff?format=stat&checkpoint=1-1"
    assert (await person.call("GET", url, headers=known))[0].status == 304
    told = await person.get(f"/tasks/{task}/timeline")
    kept = [each for each in told["items"] if each["type"] == "task.checkpointed"]
    assert [each["summary"] for each in kept] == [
        "Kept its files: 2 files changed, +3 -1",
        "Kept its files: 3 files changed, +4 -1",
    ]
    _, patch = await person.call("GET", f"/tasks/{task}/diff")
    git(origin, "apply", given=patch.encode())
    assert (origin / "later").read_text() == "later\n"


async def test_why_there_is_no_diff(api: Api, tmp_path: Path) -> None:
    """A task without a repository has none, and a checkpoint that never was is not there."""
    person = api.person()
    task = await person.task(await person.project(), command="true", auto_start=True)
    await reached(api, person, task, "completed")
    problem = await person.refused("GET", f"/tasks/{task}/diff", 404)
    assert "it has no repository" in problem["detail"]
    number = await project(person, make_origin(tmp_path / "origin"))
    task = await person.task(number, command="true", auto_start=True)
    await reached(api, person, task, "completed")
    assert (await person.get(f"/tasks/{task}/diff?format=json"))["count"] == 0
    problem = await person.refused("GET", f"/tasks/{task}/diff?checkpoint=7-1", 404)
    assert problem["detail"].endswith("there are 1-1")
    await person.refused("GET", f"/tasks/{task}/diff?checkpoint=../1", 422)
    await api.person("2").refused("GET", f"/tasks/{task}/diff", 404)


async def test_what_cannot_be_made_ready_fails_alone(api: Api, tmp_path: Path) -> None:
    """Each with its reason, what its setup wrote, and the next task as if nothing had been."""
    origin, person = make_origin(tmp_path / "origin"), api.person()
    number = await project(person, origin, setup="echo so far so good; exit 3")
    task = await person.task(number, command="true", auto_start=True)
    failed = await reached(api, person, task, "completed", "failed")
    assert "could not be started: the project's setup ended with exit code 3" in failed["error"]
    _, output = await person.call("GET", f"/tasks/{task}/output?follow=true")
    assert "so far so good\n" in output
    await person.call("PUT", f"/projects/{number}", json={"base_branch": "nowhere", "setup": ""})
    failed = await reached(api, person, await begun(person, number), "completed", "failed")
    assert f"the repository {origin} has no branch nowhere" in failed["error"]
    await person.call("PUT", f"/projects/{number}", json={"base_branch": ""})
    commit(origin, {"later": "1"})
    done = await reached(api, person, await begun(person, number), "completed", "failed")
    assert done["status"] == "completed", done


async def begun(person: Person, number: int) -> int:
    """File a task that needs what was committed later."""
    return await person.task(number, command="test -f later", auto_start=True)


async def test_a_task_is_cancelled_while_it_is_set_up(api: Api, tmp_path: Path) -> None:
    """Nothing waits for the setup to end."""
    person = api.person()
    number = await project(person, make_origin(tmp_path / "origin"), setup="echo on; sleep 600")
    task = await person.task(number, command="true", auto_start=True)
    await reached(api, person, task, "started")
    await until(lambda: list((tmp_path / "data/workspaces").glob("*/README")))
    await person.post(f"/tasks/{task}/cancel", {})
    await reached(api, person, task, "cancelled")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("git_url", "ext::sh -c true"),
        ("git_url", "--upload-pack=true"),
        ("git_url", "https://user:hunter2@localhost/x.git"),
        ("git_url", "http://example.org/x.git"),
        ("git_url", "relative/path"),
        ("base_branch", "--force"),
        ("base_branch", "a..b"),
        ("base_branch", "a b"),
    ],
)
async def test_what_a_project_may_not_name(api: Api, field: str, value: str) -> None:
    """What git could take for more than a repository and a branch is refused, field by field."""
    body = {"name": "p", field: value}
    problem = await api.person().refused("POST", "/projects", 422, json=body)
    assert [error["field"] for error in problem["errors"]] == [field]


async def test_what_did_not_go_well_is_kept_too(api: Api, tmp_path: Path) -> None:
    """The files of a task that failed, and of one that was cancelled in the middle."""
    person = api.person()
    number = await project(person, make_origin(tmp_path / "origin"))
    task = await person.task(number, command="echo x > new; exit 3", auto_start=True)
    await reached(api, person, task, "failed")
    assert (await person.get(f"/tasks/{task}/diff?format=json"))["count"] == 1
    task = await person.task(number, command="echo x > new; sleep 600", auto_start=True)
    new = tmp_path / f"data/workspaces/task-{task}/new"
    await until(new.exists)
    await person.post(f"/tasks/{task}/cancel", {})
    await reached(api, person, task, "cancelled")
    assert (await person.get(f"/tasks/{task}/diff?format=json"))["count"] == 1
