"""Standing grants: what a project consented to is not asked again, as often as it said."""

from __future__ import annotations

import json
from typing import Any

import aiohttp

Json = dict[str, Any]
STORY = "[[ask:git push origin main]][[say:Done.]]"


async def _post(http: aiohttp.ClientSession, path: str, body: Json) -> Json:
    async with http.post(f"/api/v1{path}", json=body) as answer:
        assert answer.status in {200, 201}, await answer.text()
        return dict(await answer.json())


async def _file(http: aiohttp.ClientSession, project: int) -> int:
    body = {"name": "push", "prompt": STORY, "project_id": project, "metadata": {"agent": "demo"}}
    return int((await _post(http, "/tasks", body))["id"])


async def _until(http: aiohttp.ClientSession, task: int, *types: str) -> Json:
    """Return the first event of a task that is of one of these types."""
    async with http.get(f"/api/v1/tasks/{task}/stream") as stream:
        async for line in stream.content:
            if line.startswith(b"data: {"):
                event = dict(json.loads(line[6:]))
                if event.get("type") in types:
                    return event
    raise AssertionError("the stream ended")


async def _stops(http: aiohttp.ClientSession, project: int) -> bool:
    """File a task that pushes, and return whether it is asked about."""
    task = await _file(http, project)
    asked, done = "task.confirmation_requested", "task.completed"
    return bool((await _until(http, task, asked, done))["type"] == asked)


async def _grants(http: aiohttp.ClientSession, project: int) -> list[Json]:
    async with http.get(f"/api/v1/projects/{project}/grants") as answer:
        return list((await answer.json())["items"])


async def test_a_grant_is_good_for_so_many_uses(http: aiohttp.ClientSession) -> None:
    """Each use is counted in the log, and the one after the last is asked about."""
    project = int((await _post(http, "/projects", {"name": "uses"}))["id"])
    wanted = {"gates": ["git_push_protected"], "pattern": "git push origin main", "uses_max": 2}
    await _post(http, f"/projects/{project}/grants", wanted)
    assert [await _stops(http, project) for _ in range(3)] == [False, False, True]
    assert [(g["uses"], g["status"]) for g in await _grants(http, project)] == [(2, "exhausted")]


async def test_a_revoked_grant_lets_nothing_pass(http: aiohttp.ClientSession) -> None:
    """The next call, of whatever task, is asked about."""
    project = int((await _post(http, "/projects", {"name": "revoked"}))["id"])
    grant = await _post(http, f"/projects/{project}/grants", {"gates": ["git_push_protected"]})
    assert not await _stops(http, project)
    revoked = await _post(http, f"/grants/{grant['grant_id']}/revoke", {"reason": "enough"})
    assert revoked["status"] == "revoked"
    assert await _stops(http, project)


async def test_a_grant_for_something_else_does_not_cover(http: aiohttp.ClientSession) -> None:
    """Neither by its pattern, nor by its gates, nor in another project."""
    project = int((await _post(http, "/projects", {"name": "other"}))["id"])
    for wanted in (
        {"gates": ["git_push_protected"], "pattern": "git push origin pandar/*"},
        {"gates": ["package_publish"]},
    ):
        await _post(http, f"/projects/{project}/grants", wanted)
    assert await _stops(http, project)


async def test_an_approval_for_the_project_becomes_a_grant(http: aiohttp.ClientSession) -> None:
    """By whoever approved, for what the card asked about; the next task is not stopped."""
    project = int((await _post(http, "/projects", {"name": "standing"}))["id"])
    task = await _file(http, project)
    asked = await _until(http, task, "task.confirmation_requested")
    body = {"scope": "project", "pattern": "git push origin main"}
    await _post(http, f"/tasks/{task}/confirm", body)
    while not (grants := await _grants(http, project)):
        await _until(http, task, "task.completed")
    assert grants[0]["confirmation_id"] == asked["data"]["confirmation_id"]
    assert grants[0]["gates"] == ["git_push_protected"]
    assert not await _stops(http, project)


async def test_a_bad_grant_is_refused(http: aiohttp.ClientSession) -> None:
    """Without gates, in a project that is not there, over before it begins, or unknown."""
    for path, body, status in (
        ("/projects/1/grants", {"gates": []}, 422),
        ("/projects/999999/grants", {"gates": ["budget"]}, 404),
        ("/projects/1/grants", {"gates": ["budget"], "expires_at": "2020-01-01T00:00:00Z"}, 409),
        ("/grants/nonsense/revoke", {}, 404),
        ("/grants/0195512a-7c00-7000-8000-00000000abcd/revoke", {}, 404),
    ):
        async with http.post(f"/api/v1{path}", json=body) as answer:
            assert answer.status == status, await answer.text()
