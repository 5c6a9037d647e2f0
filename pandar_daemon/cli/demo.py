"""``pandar demo``: the whole story in a minute, without any key: task, gate, link, approval."""

from __future__ import annotations

import asyncio
import logging
import socket
import tempfile
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

if TYPE_CHECKING:
    from events.task import Status
    from pandar_daemon.cli.api_client import Api
    from pandar_daemon.cli.output import Exit
    from pandar_daemon.config import Settings
    from pandar_daemon.wiring import Ready

_PROMPT: Final = "Say hello in a file, check it, and push it to main."


@click.command()
@click.option("--yes", is_flag=True, help="Approve it here, on the page, instead of waiting.")
def demo(*, yes: bool) -> Exit:
    """See a task, its gate and its approval, in a minute.

    Starts a Pandar of its own in a temporary folder, with a small scripted agent that needs no
    key: it writes a file, checks it, and asks to push. Open the link it prints, on this machine,
    and approve.
    """
    from pandar_daemon.cli.log_output import to_file  # noqa: PLC0415

    with tempfile.TemporaryDirectory(prefix="pandar-demo-") as folder:
        chosen = _settings(Path(folder))
        to_file(chosen)
        try:
            return asyncio.run(_whole(chosen, approve=yes))
        finally:
            logging.shutdown()


def _settings(data: Path) -> Settings:
    import msgspec  # noqa: PLC0415

    from pandar_daemon.cli.settings import settings  # noqa: PLC0415

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    servers = {"database_url": None, "nats_url": None, "nats_port": None, "pg_port": None}
    return msgspec.structs.replace(settings(data), http_port=port, metrics_port=None, **servers)


async def _whole(settings: Settings, *, approve: bool) -> Exit:
    """Run the daemon beside the story; return how the task ended."""
    from pandar_daemon import wiring  # noqa: PLC0415

    stop = asyncio.Event()
    ready: asyncio.Future[Ready] = asyncio.get_running_loop().create_future()
    _say("Starting Pandar, with its own Postgres and NATS …")
    running = asyncio.create_task(wiring.up(settings, ready.set_result, stop))
    running.add_done_callback(lambda _: ready.cancel())  # who could not start says why below
    try:
        return await _story(settings, await ready, approve=approve)
    finally:
        stop.set()
        await running


async def _story(settings: Settings, ready: Ready, *, approve: bool) -> Exit:
    from pandar_daemon.cli.api_client import Access, Api  # noqa: PLC0415
    from pandar_daemon.cli.follow import follow_task  # noqa: PLC0415
    from pandar_daemon.cli.output import OF_STATUS, Exit  # noqa: PLC0415
    from pandar_daemon.cli.printer import How  # noqa: PLC0415

    async with Api(Access(url=ready.url, token_file=Path(ready.token_file))) as api:
        _say(f"Filing a task for the agent `demo`: “{_PROMPT}”\n")
        filed = {"name": "Demo", "prompt": _PROMPT, "project_id": 1, "metadata": {"agent": "demo"}}
        task = await api.post("/tasks", filed)
        if await follow_task(api, task, How()) is not Exit.WAITING:
            return Exit.FAILED
        link = str((await api.post(f"/tasks/{task['id']}/link", {}))["url"])
        _say("\nIt wants to push to main, which is a gate: nothing happens until you decide.")
        _say(f"\n  {link}\n\nOpen this on your phone or here, and approve. Waiting …\n")
        if approve:
            await _approve(link)
        status = await _decided(api, int(task["id"]))
        _tell(settings, int(task["id"]), str(status))
        return OF_STATUS.get(status, Exit.FAILED)


async def _decided(api: Api, task_id: int) -> Status:
    """Return the status in which a task ends."""
    from events.task import TERMINAL  # noqa: PLC0415
    from pandar_daemon.cli.resume import messages  # noqa: PLC0415

    ends = {f"task.{status}": status for status in TERMINAL}
    async with aclosing(messages(api, f"/tasks/{task_id}/stream")) as stream:
        async for message in stream:
            if message.event in ends:
                return ends[message.event]
    raise AssertionError("a stream of the API goes on by itself")


async def _approve(link: str) -> None:
    """Approve on the page, as a browser without JavaScript would."""
    import aiohttp  # noqa: PLC0415

    from pandar_daemon.cli.form import fields  # noqa: PLC0415

    _say("(--yes: opening the page and pressing Approve.)\n")
    async with aiohttp.ClientSession() as browser:
        async with browser.get(link) as page:
            form = fields(await page.text())
        async with browser.post(link, data={**form, "decision": "approve"}) as answer:
            answer.raise_for_status()


def _tell(settings: Settings, task_id: int, status: str) -> None:
    work = settings.data / "workspaces" / f"task-{task_id}"
    _say(f"\nThe task is {status}. What the agent left in its workspace:")
    for file in sorted(work.iterdir()):
        _say(f"  {file.name}: {file.read_text('utf-8', 'replace').strip()}")
    _say("\nEvery step of this is an event; `pandar task show` and `pandar events` show them.")


def _say(text: str) -> None:
    from pandar_daemon.cli.output import say  # noqa: PLC0415

    say(f"{text}\n")
