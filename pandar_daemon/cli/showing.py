"""From the API's answers to what stands on the screen, for the commands that look."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Mapping
from typing import Final

import msgspec

from events.task import Cut, Json, Status
from pandar_daemon.adapters.clock import SystemClock
from pandar_daemon.cli.api_client import Api
from pandar_daemon.cli.output import CliError, Exit, out_look, say, say_json
from pandar_daemon.cli.project_table import project_card, project_list
from pandar_daemon.cli.rows import ExecutionRow, HappenedRow, OutputRow, ProjectRow, TaskRow, read
from pandar_daemon.cli.status_line import status_line
from pandar_daemon.cli.task_card import Card, task_card
from pandar_daemon.cli.task_output import OUTPUT_LINES
from pandar_daemon.cli.task_table import Page, task_list

_FETCH_SEC: Final = 1.0
_FRAMES: Final = 4
"""Pictures of the spinner for each look at the daemon."""


def say_task(row: Json, *, json: bool) -> None:
    """Print a task's state in a line, or the row."""
    if json:
        say_json(row)
    else:
        say(status_line(read(TaskRow, row), out_look()))


def _items(document: Json) -> list[Json]:
    return [item for item in document.get("items", []) if isinstance(item, dict)]


async def list_tasks(api: Api, params: Mapping[str, str], *, json: bool) -> None:
    """Print one page."""
    if json:
        say_json(await api.get("/tasks", params))
        return
    page = await _tasks(api, params)
    say(task_list(page, SystemClock().now(), out_look()))


async def _tasks(api: Api, params: Mapping[str, str]) -> Page:
    """Return a page, before it whatever else waits for somebody."""
    page = await api.get("/tasks", params)
    items = _items(page)
    if not params.get("status"):
        asked = {**params, "status": Status.WAITING_CONFIRMATION.value}
        known = {item.get("id") for item in items}
        waiting = _items(await api.get("/tasks", asked))
        items = [item for item in waiting if item.get("id") not in known] + items
    total = page.get("total")
    return Page(
        tasks=[read(TaskRow, item) for item in items],
        total=total if isinstance(total, int) else len(items),
        filtered=params.keys() != {"limit"},
    )


async def watch_tasks(api: Api, params: Mapping[str, str], *, json: bool) -> None:
    """Print the list again and again, until interrupted."""
    if json:
        await _watch_json(api, params)
    look, frame = out_look(), 0
    if look.width is None:
        raise CliError("--watch needs a terminal, or --json", code=Exit.USAGE)
    while True:
        page = await _tasks(api, params)
        for _ in range(_FRAMES):
            text = task_list(page, SystemClock().now(), look, frame=frame)
            lines = text.splitlines()[: shutil.get_terminal_size().lines - 1]
            say("\x1b[H" + "".join(f"{line}\x1b[K\n" for line in lines) + "\x1b[J")
            frame += 1
            await asyncio.sleep(_FETCH_SEC / _FRAMES)


async def _watch_json(api: Api, params: Mapping[str, str]) -> None:
    last: Json = {}
    while True:
        page = await api.get("/tasks", params)
        if page != last:
            say_json(page)
        last = page
        await asyncio.sleep(_FETCH_SEC)


async def show_task(api: Api, task_id: int, *, at: str | None, json: bool) -> None:
    """Print a task's card; of the past, its row alone is known."""
    path = f"/tasks/{task_id}"
    task = await api.get(path, {"at": at} if at else None)
    executions = [] if at else _items(await api.get(f"{path}/executions", {"limit": "100"}))
    timeline = [] if at else await _timeline(api, path)
    if json:
        say_json({"task": task, "executions": executions, "timeline": timeline})
        return
    row, cut = await _with_output(api, read(TaskRow, task), at)
    card = Card(
        task=row,
        executions=[read(ExecutionRow, row) for row in executions],
        timeline=[read(HappenedRow, row) for row in timeline],
        at=at,
        cut=cut,
    )
    say(task_card(card, SystemClock().now(), out_look()))


async def _with_output(api: Api, row: TaskRow, at: str | None) -> tuple[TaskRow, Cut | None]:
    """Return a row with the end of its output, which it lacks until the attempt has ended."""
    if at or row.output is not None or not row.attempt:
        return row, None
    asked = {"attempt": str(row.attempt), "tail": str(OUTPUT_LINES)}
    written = read(OutputRow, await api.get(f"/tasks/{row.id}/output", asked))
    return msgspec.structs.replace(row, output=written.output), written.cut


async def _timeline(api: Api, path: str) -> list[Json]:
    rows: list[Json] = []
    after: object = 0
    while after is not None:
        page = await api.get(f"{path}/timeline", {"after": str(after), "limit": "500"})
        rows += _items(page)
        after = page.get("next_after")
    return rows


def say_project(row: Json, *, json: bool) -> None:
    """Print one project."""
    if json:
        say_json(row)
    else:
        say(project_card(read(ProjectRow, row), SystemClock().now(), out_look()))


def say_projects(document: Json, *, json: bool) -> None:
    """Print a page of projects."""
    if json:
        say_json(document)
        return
    rows = [read(ProjectRow, item) for item in _items(document)]
    say(project_list(rows, SystemClock().now(), out_look()))
