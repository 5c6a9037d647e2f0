"""``pandar task``: file tasks, look at them; what is done to them is in `task_actions`."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Final

import click

from pandar_daemon.cli.pending import link
from pandar_daemon.cli.reach import InOrder, as_json, asks, talk
from pandar_daemon.cli.task_actions import ACTIONS
from pandar_daemon.cli.task_diff import diff
from pandar_daemon.cli.values import WHEN, metadata

if TYPE_CHECKING:
    from pandar_daemon.cli.api_client import Api
    from pandar_daemon.cli.output import Exit

_NAME_MAX: Final = 60
_STATUSES: Final = (
    "pending", "running", "waiting_confirmation", "completed", "failed", "cancelled",
)  # fmt: skip
_PRIORITIES: Final = ("low", "medium", "high", "urgent")


@click.group(cls=InOrder)
def task() -> None:
    """File tasks, look at them, decide."""


@task.command()
@click.option("--name", help="What people call it  [default: how it begins]")
@click.option("--command", help="What to run; or give it after --.")
@click.option("--prompt", help="What an agent is to do, in your own words.")
@click.option("--agent", help="Who does it: claude, codex, gemini, demo, or one of yours.")
@click.argument("words", nargs=-1)
@click.option(
    "--project", "project_id", type=int, default=1, show_default=True, help="Whose it is."
)
@click.option("--priority", type=click.Choice(_PRIORITIES), help="How soon  [default: medium]")
@click.option("--description", help="What it is for.")
@click.option("--metadata", "document", metavar="JSON", help="A JSON object of metadata.")
@click.option("-m", "pairs", metavar="KEY=VALUE", multiple=True, help="One entry of it.")
@click.option("--scheduled-at", type=WHEN, help="Not before then.")
@click.option("--no-start", is_flag=True, help="File it; it waits for `pandar task start`.")
@click.option("-f", "--follow", is_flag=True, help="Print its output until it ends.")
@as_json
@asks
@click.pass_context
def create(
    ctx: click.Context,
    /,
    *,
    name: str | None,
    command: str | None,
    prompt: str | None,
    agent: str | None,
    words: tuple[str, ...],
    project_id: int,
    document: str | None,
    pairs: tuple[str, ...],
    no_start: bool,
    follow: bool,
    as_json: bool,
    **rest: str | None,
) -> Exit | None:
    """File a task and start it.

    A task is a command, or a --prompt for an --agent. The command is one shell line: one word
    after -- is taken as it is, several are quoted. With --no-start or --scheduled-at it is started
    later.

    \b
    pandar task create --name Hello -- echo hello
    pandar task create --agent claude --prompt "fix the failing test" -f
    """  # noqa: D301 - click's mark for a paragraph to leave as it is
    work = {"command": _command_line(command, words)} if prompt is None else {"prompt": prompt}
    if prompt is not None and (command is not None or words):
        raise click.UsageError("give either a prompt or a command")
    given = metadata(document, pairs)
    body: dict[str, object] = {
        "name": name or _name_of(next(iter(work.values()))),
        **work,
        "project_id": project_id,
        "metadata": given if agent is None else {**given, "agent": agent},
        **{key: value for key, value in rest.items() if value is not None},
    }
    if no_start:
        body["auto_start"] = False
    return talk(ctx, lambda api: _file(api, body, follow=follow, json=as_json))


def _command_line(command: str | None, words: tuple[str, ...]) -> str:
    if (command is None) == (not words):
        raise click.UsageError("give a --prompt, or the command either by --command or after --")
    if command is not None:
        return command
    return words[0] if len(words) == 1 else shlex.join(words)


def _name_of(line: str) -> str:
    first = " ".join(line.split())
    return first if len(first) <= _NAME_MAX else f"{first[: _NAME_MAX - 1]}…"


async def _file(api: Api, body: dict[str, object], *, follow: bool, json: bool) -> Exit | None:
    from pandar_daemon.cli.follow import follow_task  # noqa: PLC0415
    from pandar_daemon.cli.printer import How  # noqa: PLC0415
    from pandar_daemon.cli.showing import say_task  # noqa: PLC0415

    row = await api.post("/tasks", body)
    if not follow:
        say_task(row, json=json)
        return None
    return await follow_task(api, row, How(json=json))


@task.command("list")
@click.option("--status", multiple=True, type=click.Choice(_STATUSES), help="Repeatable.")
@click.option("--project", "project_id", type=int, help="Only those of one project.")
@click.option("--search", help="Words in name, description, command or output.")
@click.option(
    "--limit", type=click.IntRange(1, 100), default=20, show_default=True, help="At most."
)
@click.option("--watch", is_flag=True, help="Keep it up to date until Ctrl-C.")
@as_json
@asks
@click.pass_context
def list_(
    ctx: click.Context,
    *,
    status: tuple[str, ...],
    project_id: int | None,
    search: str | None,
    limit: int,
    watch: bool,
    as_json: bool,
) -> None:
    """List tasks, what needs you first.

    With --json it prints the page as the API has it; with --watch too, a line whenever it changes.
    """
    from pandar_daemon.cli import showing  # noqa: PLC0415

    asked = {"status": ",".join(status), "search": search or "", "limit": str(limit)}
    asked["project_id"] = "" if project_id is None else str(project_id)
    params = {key: value for key, value in asked.items() if value}
    show = showing.watch_tasks if watch else showing.list_tasks
    talk(ctx, lambda api: show(api, params, json=as_json))


@task.command()
@click.argument("task_id", type=int)
@click.option("--at", metavar="POSITION|TIME", help="As it was then.")
@as_json
@asks
@click.pass_context
def show(ctx: click.Context, *, task_id: int, at: str | None, as_json: bool) -> None:
    """Show one task.

    Its facts, the end of its output, its attempts, and what happened. With --json it prints
    {"task", "executions", "timeline"}.
    """
    from pandar_daemon.cli.showing import show_task  # noqa: PLC0415

    talk(ctx, lambda api: show_task(api, task_id, at=at, json=as_json))


@task.command()
@click.argument("task_id", type=int)
@click.option("-f", "--follow", is_flag=True, help="Go on until the task ends or needs you.")
@click.option("--tail", type=click.IntRange(0), help="Only the last lines.")
@click.option("--attempt", type=click.IntRange(1), help="Of this attempt  [default: the last]")
@click.option("--raw", is_flag=True, help="Every byte as it came, control characters too.")
@as_json
@asks
@click.pass_context
def logs(
    ctx: click.Context,
    *,
    task_id: int,
    follow: bool,
    tail: int | None,
    attempt: int | None,
    raw: bool,
    as_json: bool,
) -> Exit | None:
    """Print what a task wrote.

    Colours pass, other control characters are made harmless. With -f the exit code tells how the
    task ended, and a line on stderr too.
    """
    from pandar_daemon.cli.follow import follow_task, print_output  # noqa: PLC0415
    from pandar_daemon.cli.printer import How  # noqa: PLC0415

    how = How(tail=tail, attempt=attempt, raw=raw, json=as_json)

    async def conversation(api: Api) -> Exit | None:
        row = await api.get(f"/tasks/{task_id}")
        return await (follow_task if follow else print_output)(api, row, how)

    return talk(ctx, conversation)


for _action in (diff, *ACTIONS, link):
    task.add_command(_action)
