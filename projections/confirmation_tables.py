"""The tables of confirmations, and the words their statuses are told in."""

from __future__ import annotations

from typing import Final

from projections.base import Table

PENDING: Final = "pending"
APPROVED: Final = "approved"
DENIED: Final = "denied"
CHANGES: Final = "changes"
EXPIRED: Final = "expired"
WITHDRAWN: Final = "withdrawn"
"""Who asked went on, or ended, without an answer."""
CANCELLED: Final = "cancelled"

DECIDED: Final = frozenset({APPROVED, DENIED, CHANGES})
"""The statuses of a confirmation that somebody decided."""

TABLE: Final = Table(
    name="confirmations",
    columns=(
        ("task_id", "bigint"),
        ("id", "uuid"),
        ("project_id", "bigint"),
        ("execution_id", "uuid"),
        ("gate", "text"),
        ("card", "json"),
        ("card_sha256", "text"),
        ("requested_at", "timestamptz"),
        ("expires_at", "timestamptz"),
        ("on_timeout", "text"),
        ("escalated", "boolean"),
        ("quorum", "bigint"),
        ("prevent_self_approval", "boolean"),
        ("status", "text"),
        ("decided_by", "text"),
        ("decided_at", "timestamptz"),
        ("reason", "text"),
        ("scope", "text"),
        ("pattern", "text"),
        ("uses", "bigint"),
        ("until", "timestamptz"),
        ("position", "bigint"),
    ),
    key=("task_id", "id"),
    indexes=("(id)", "(decided_at) WHERE scope = 'project' AND status = 'approved'"),
)
OPEN_TABLE: Final = Table(
    name="open_confirmations",
    columns=(
        ("task_id", "bigint"),
        ("confirmation_id", "uuid"),
        ("project_id", "bigint"),
        ("expires_at", "timestamptz"),
    ),
    key=("task_id",),
    indexes=("(expires_at, task_id)",),
)
ENDS_TABLE: Final = Table(
    name="confirmation_ends",
    columns=(
        ("task_id", "bigint"),
        ("position", "bigint"),
        ("status", "text"),
        ("at", "timestamptz"),
        ("by", "text"),
        ("reason", "text"),
    ),
    key=("task_id", "position"),
)
VOTES_TABLE: Final = Table(
    name="confirmation_votes",
    columns=(
        ("task_id", "bigint"),
        ("confirmation_id", "uuid"),
        ("user_id", "text"),
        ("at", "timestamptz"),
        ("reason", "text"),
    ),
    key=("task_id", "confirmation_id", "user_id"),
)
LINKS_TABLE: Final = Table(
    name="approval_links",
    columns=(
        ("task_id", "bigint"),
        ("token_sha256", "text"),
        ("confirmation_id", "uuid"),
        ("approver", "text"),
        ("issued_at", "timestamptz"),
    ),
    key=("task_id", "token_sha256"),
    indexes=("(token_sha256)",),
)
TABLES: Final = (TABLE, OPEN_TABLE, ENDS_TABLE, VOTES_TABLE, LINKS_TABLE)
