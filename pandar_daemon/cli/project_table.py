"""``pandar project``: a table, a card."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from rich.console import Group
from rich.table import Table
from rich.text import Text

from pandar_daemon.cli.harmless import harmless, one_line
from pandar_daemon.cli.look import Look, paint
from pandar_daemon.cli.rows import ProjectRow
from pandar_daemon.cli.task_table import Column, fitted
from pandar_daemon.cli.times import age


def project_list(rows: Sequence[ProjectRow], now: datetime, look: Look) -> str:
    """Return the projects as text, one line each."""
    if not rows:
        return "No projects. Make one:  pandar project create NAME\n"
    columns = [
        Column("ID", [Text(str(row.id)) for row in rows], right=True),
        Column("NAME", [Text(one_line(row.name), style="bold") for row in rows]),
        Column("OWNER", [Text(one_line(str(row.owner or ""))) for row in rows], most=20),
        Column("AGE", [Text(age(row.created_at, now), style="dim") for row in rows]),
    ]
    return paint(fitted(columns, 1, look), look)


def project_card(row: ProjectRow, now: datetime, look: Look) -> str:
    """Return one project as text: its facts and its members."""
    head = Text.assemble((one_line(row.name), "bold"), (f"  project {row.id}", "dim"))
    facts = Table.grid(padding=(0, 2, 0, 0))
    about = harmless(row.description or "").strip()
    values = {
        "about": about,
        "repository": one_line(row.git_url or ""),
        "base branch": one_line(row.base_branch or ""),
        "setup": harmless(row.setup or "").strip(),
        "owner": one_line(str(row.owner or "")),
        "made": age(row.created_at, now),
        "members": "\n".join(
            one_line(f"{member.get('user') or member.get('user_id')} {member.get('role')}")
            for member in row.members
        ),
    }
    for title, value in values.items():
        if value:
            facts.add_row(Text(title, style="dim"), Text(value, overflow="fold"))
    return paint(Group(head, facts), look)
