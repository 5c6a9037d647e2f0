"""What is done to a task: start, cancel, retry, confirm."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from uuid import UUID

import click

from pandar_daemon.cli.reach import as_json, asks, talk
from pandar_daemon.cli.values import WHEN

if TYPE_CHECKING:
    from pandar_daemon.cli.api_client import Api

_SCOPES: Final = ("call", "execution", "pattern", "project")
_reason = click.option("--reason", default="", help="Why; it stands in the history.")
_id = click.argument("task_id", type=int)


def _act(ctx: click.Context, task_id: int, action: str, reason: str, *, json: bool) -> None:
    from pandar_daemon.cli.showing import say_task  # noqa: PLC0415

    body = {"action": action, "reason": reason}
    say_task(talk(ctx, lambda api: api.post(f"/tasks/{task_id}/action", body)), json=json)


@click.command()
@_id
@_reason
@as_json
@asks
@click.pass_context
def start(ctx: click.Context, *, task_id: int, reason: str, as_json: bool) -> None:
    """Queue a task for a runner.

    Does nothing when it is queued already.
    """
    _act(ctx, task_id, "start", reason, json=as_json)


@click.command()
@_id
@_reason
@as_json
@asks
@click.pass_context
def cancel(ctx: click.Context, *, task_id: int, reason: str, as_json: bool) -> None:
    """End a task.

    Its whole process tree is killed.
    """
    _act(ctx, task_id, "cancel", reason, json=as_json)


@click.command()
@_id
@_reason
@as_json
@asks
@click.pass_context
def retry(ctx: click.Context, *, task_id: int, reason: str, as_json: bool) -> None:
    """Try a failed or cancelled task again.

    It gets a new attempt; the history of the others is kept.
    """
    _act(ctx, task_id, "retry", reason, json=as_json)


@click.command()
@_id
@click.option("--deny", is_flag=True, help="Refuse instead of approving.")
@click.option("--changes", metavar="TEXT", help="Ask for something else instead.")
@click.option(
    "--scope",
    type=click.Choice(_SCOPES),
    default="call",
    show_default=True,
    help="How far an approval goes.",
)
@click.option("--pattern", default="", help="Which calls, for the scopes pattern and project.")
@click.option("--uses", type=click.IntRange(1), help="How often a grant of scope project is good.")
@click.option("--until", type=WHEN, help="Until when it is.")
@_reason
@click.option(
    "--id", "confirmation", type=click.UUID, help="Which confirmation  [default: the pending one]"
)
@as_json
@asks
@click.pass_context
def confirm(
    ctx: click.Context,
    *,
    task_id: int,
    deny: bool,
    changes: str | None,
    reason: str,
    scope: str,
    pattern: str,
    uses: int | None,
    until: str | None,
    confirmation: UUID | None,
    as_json: bool,
) -> None:
    """Decide what a task waits for.

    Approves it, unless --deny or --changes. Look at it first, with `pandar task show`.
    """
    from pandar_daemon.cli.showing import say_task  # noqa: PLC0415

    if deny and changes is not None:
        raise click.UsageError("either --deny or --changes")
    decision = "deny" if deny else "approve" if changes is None else "changes"
    body: dict[str, object] = {
        "decision": decision,
        "reason": changes if changes is not None else reason,
    }
    wide = {"scope": scope, "pattern": pattern, "uses": uses, "until": until}
    body |= {key: value for key, value in wide.items() if value and value != "call"}
    row = talk(ctx, lambda api: _confirm(api, task_id, body, confirmation))
    say_task(row, json=as_json)


async def _confirm(
    api: Api, task_id: int, body: dict[str, object], confirmation: UUID | None
) -> dict[str, object]:
    """Name the pending confirmation, so that one asked for meanwhile is not decided by mistake."""
    pending = confirmation or (await api.get(f"/tasks/{task_id}")).get("confirmation_id")
    named = {"confirmation_id": str(pending)} if pending else {}
    return await api.post(f"/tasks/{task_id}/confirm", {**body, **named})


ACTIONS: Final = (start, cancel, retry, confirm)
