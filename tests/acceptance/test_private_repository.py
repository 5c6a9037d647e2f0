"""A task in a repository behind a password: the secret opens it, and is shown to nobody."""

from __future__ import annotations

import json
import subprocess
from base64 import b64encode
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from tests.acceptance.conftest import Pandar

pytestmark = pytest.mark.servers

Json = dict[str, Any]
PASSWORD = "hunter2-of-the-repository"
LOGIN = f"ann:{PASSWORD}"
HEADER = f"Basic {b64encode(LOGIN.encode()).decode()}"


def _git(folder: Path, *words: str) -> None:
    options = ("-c", "user.name=ann", "-c", "user.email=ann@localhost")
    subprocess.run(["git", *options, *words], cwd=folder, check=True, capture_output=True)


@pytest.fixture
async def private(tmp_path: Path) -> AsyncIterator[str]:
    """Return the URL of a repository that only ann is let into."""
    work, bare = tmp_path / "work", tmp_path / "served" / "private.git"
    work.mkdir()
    _git(work, "init", "-q", "-b", "main")
    (work / "README").write_text("only for ann\n")
    _git(work, "add", "-A")
    _git(work, "commit", "-q", "-m", "first")
    _git(tmp_path, "clone", "-q", "--bare", str(work), str(bare))
    _git(bare, "update-server-info")

    @web.middleware
    async def guarded(request: web.Request, handler: Any) -> web.StreamResponse:  # noqa: ANN401
        if request.headers.get("Authorization") != HEADER:
            return web.Response(status=401, headers={"WWW-Authenticate": 'Basic realm="ann"'})
        answer: web.StreamResponse = await handler(request)
        return answer

    app = web.Application(middlewares=[guarded])
    app.router.add_static("/", bare.parent)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}/private.git"
    await runner.cleanup()


async def _post(http: aiohttp.ClientSession, path: str, body: Json) -> Json:
    async with http.post(f"/api/v1{path}", json=body) as answer:
        assert answer.status in {200, 201}, await answer.text()
        return dict(await answer.json())


async def _set(http: aiohttp.ClientSession, project: int, value: str) -> None:
    path = f"/api/v1/projects/{project}/secrets/GIT_LOGIN"
    async with http.put(path, json={"value": value, "use": "git"}) as answer:
        assert answer.status == 200, await answer.text()


async def _ended(http: aiohttp.ClientSession, project: int, command: str) -> Json:
    """File a task, and return it as it ended."""
    body = {"name": "look", "command": command, "project_id": project}
    task = (await _post(http, "/tasks", body))["id"]
    async with http.get(f"/api/v1/tasks/{task}/stream") as stream:
        async for line in stream.content:
            if line.startswith(b"data: {"):
                event = json.loads(line[6:])
                if event.get("type") in {"task.completed", "task.failed"}:
                    break
    headers = {"Pandar-Min-Position": str(event["position"])}
    async with http.get(f"/api/v1/tasks/{task}", headers=headers) as answer:
        return dict(await answer.json())


async def test_the_secret_opens_it(
    http: aiohttp.ClientSession, pandar: Pandar, private: str
) -> None:
    """Without one, or with a wrong one, the task fails and says why; with it, it has the files.

    The task's own git has it not, and no output or log shows it.
    """
    body = {"name": "private", "git_url": private}
    project = int((await _post(http, "/projects", body))["id"])
    failed = await _ended(http, project, "cat README")
    assert failed["status"] == "failed"
    assert f"the repository {private} cannot be cloned" in failed["error"]
    await _set(http, project, "ann:wrong-password")
    failed = await _ended(http, project, "cat README")
    assert f"the repository {private} cannot be cloned" in failed["error"]
    assert "wrong-password" not in json.dumps(failed)
    await _set(http, project, LOGIN)
    looks = "cat README; env; git config --list; git ls-remote origin; cat .git/config; true"
    done = await _ended(http, project, looks)
    assert done["status"] == "completed", done["error"]
    assert "only for ann" in done["output"]
    shown = json.dumps(done) + (pandar.data / "pandar.log").read_text()
    for secret in (PASSWORD, HEADER, HEADER.removeprefix("Basic ")):
        assert secret not in shown
