"""``pandar project secret list``: a table; ``pandar secrets rekey``: what came of it."""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct
from rich.text import Text

from events.task import Json
from pandar_daemon.adapters.clock import SystemClock
from pandar_daemon.cli.harmless import one_line
from pandar_daemon.cli.look import paint
from pandar_daemon.cli.output import out_look
from pandar_daemon.cli.rows import read
from pandar_daemon.cli.task_table import Column, fitted
from pandar_daemon.cli.times import age


class SecretRow(Struct, frozen=True, kw_only=True):
    """What is known of a secret."""

    name: str
    use: str = ""
    description: str = ""
    set_by: str = ""
    set_at: datetime | None = None


class Secrets(Struct, frozen=True, kw_only=True):
    """The answer of the API."""

    items: list[SecretRow]


class RekeyedRow(Struct, frozen=True, kw_only=True):
    """The answer of the API."""

    resealed: int
    present: int
    locked: list[str] = []


def secret_list(document: Json, project_id: int) -> str:
    """Return the secrets of a project as text, one line each."""
    rows = read(Secrets, document).items
    if not rows:
        return f"No secrets. Set one:  pandar project secret set {project_id} NAME\n"
    now, look = SystemClock().now(), out_look()
    columns = [
        Column("NAME", [Text(one_line(row.name), style="bold") for row in rows]),
        Column("USE", [Text(one_line(row.use)) for row in rows]),
        Column("SET", [Text(age(row.set_at, now), style="dim") for row in rows]),
        Column("BY", [Text(one_line(row.set_by)) for row in rows], most=20),
        Column("ABOUT", [Text(one_line(row.description)) for row in rows]),
    ]
    return paint(fitted(columns, 4, look), look)


def rekeyed(document: Json) -> str:
    """Return what came of sealing data keys anew, and a line for each that cannot be opened."""
    row = read(RekeyedRow, document)
    lines = [f"{row.present} data keys are under the present master key, {row.resealed} newly so"]
    lines += [f"  {one_line(reason)}" for reason in row.locked]
    return "\n".join(lines) + "\n"
