"""A hostile task against what its clone shares with others, in its box, by a real runner."""

from __future__ import annotations

import hashlib
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.integration.test_http_diff import ROLES, project, reached
from tests.support.api import Api, Person, running_api
from tests.support.repositories import commit, git, make_origin

SPOIL = """
find .git -type f -links +1 > shared; wc -l < shared
spoil() { for f in $(cat shared); do chmod u+w $f; echo x >> $f; cp README $f; ln -f README $f; rm -f $f; done; }
spoil 2>/dev/null
echo '[core] fsmonitor = touch owned' >> .git/config
git config core.fsmonitor 'touch owned'
ln -sf /bin/true .git/hooks/pre-commit; rm -rf .git/hooks; mv .git/hooks elsewhere
mv .git .old; cp -r .git .copy; mv .copy .git; ln -s .git also; spoil
mv .git/objects .git/moved; cp -r .git/moved .git/objects; spoil
sed -i s,.git/objects,.git/moved, shared; spoil
echo changed > README
git rev-parse HEAD && echo alive
exit ${FAIL:-0}
"""  # noqa: E501 - a script


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Return the runner's data directory."""
    return tmp_path / "data"


@pytest.fixture
async def api(database_url: str, nats_url: str, data: Path) -> AsyncIterator[Api]:
    """Return a running API with a runner behind it."""
    async with running_api(database_url, nats_url, data, roles=ROLES) as running:
        yield running


def sums(data: Path) -> dict[str, str]:
    """Return what the mirrors hold, file by file."""
    found = (Path(top, name) for top, _, names in os.walk(data / "mirrors") for name in names)
    return {
        str(path): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in found
        if path.suffix != ".lock"
    }


async def run(api: Api, person: Person, number: int, command: str) -> int:
    """Return a task that ran to its end."""
    task = await person.task(number, command=command, auto_start=True)
    await reached(api, person, task, "completed", "failed")
    return task


async def test_what_is_shared_cannot_be_spoilt(api: Api, data: Path, tmp_path: Path) -> None:
    """The mirror is the same, byte for byte, and so is a neighbour, also after a retry."""
    origin, person = make_origin(tmp_path / "origin"), api.person()
    commit(origin, {"spoil.sh": SPOIL})
    number = await project(person, origin)
    neighbour = await run(api, person, number, "true")
    before = sums(data)
    assert any(name.endswith(".pack") for name in before)
    task = await run(api, person, number, "FAIL=1 sh spoil.sh")
    await person.post(f"/tasks/{task}/retry", {})
    await reached(api, person, task, "retried")
    await ended_twice(api, task)
    _, output = await person.call("GET", f"/tasks/{task}/output?follow=true&attempt=1")
    assert output.splitlines()[0].strip() not in {"", "0"}, output
    assert sums(data) == before
    assert git(data / f"workspaces/task-{neighbour}", "fsck", "--strict") == ""
    config = (data / f"workspaces/task-{task}/.git/config").read_text()
    assert "fsmonitor" not in config
    assert os.listdir(data / f"workspaces/task-{task}/.git/hooks") == []
    commit(origin, {"more": "1"})
    assert await works(api, person, await run(api, person, number, "test -f more"))


async def ended_twice(api: Api, task: int) -> None:
    """Return once both attempts have failed."""
    while True:
        told = [e.type for e in await api.parts.store.read_stream(f"task-{task}")]
        if told.count("task.failed") == 2:
            return


async def works(api: Api, person: Person, task: int) -> bool:
    """Return whether a task completed."""
    await api.settle(person)
    return bool((await person.get(f"/tasks/{task}"))["status"] == "completed")


async def test_nothing_outside_is_written(api: Api, data: Path, tmp_path: Path) -> None:
    """A repository whose files are links out of the folder, and a task that writes by them."""
    origin, person = make_origin(tmp_path / "origin"), api.person()
    outside = tmp_path / "outside"
    outside.mkdir()
    (origin / "out").symlink_to(outside)
    (origin / "up").symlink_to("../../..")
    commit(origin, {})
    number = await project(person, origin, setup="echo x > out/set-up; true")
    task = await run(api, person, number, "echo x > out/file; echo x > up/file; true")
    assert await works(api, person, task)
    assert os.listdir(outside) == []
    assert not (data / "file").exists()
    shown = await person.get(f"/tasks/{task}/diff?format=json")
    assert shown["count"] == 0
