"""What a task's metadata says about failures, read leniently.

Metadata is checked when a task is filed (`options`); an old event may hold anything, so here a
value that is not what it should be counts as absent.
"""

from __future__ import annotations

from msgspec import Struct

from events.task import Json


class Policy(Struct, frozen=True, kw_only=True):
    """How a task meets failure, loss and refusal."""

    agent: str | None = None
    max_retries: int = 0
    on_lost: str = "retry"  # "retry" while max_retries last, then confirm | "confirm" | "fail"
    on_deny: str = "continue"  # "continue" | "cancel"
    concurrency_key: str | None = None


def policy(metadata: Json) -> Policy:
    """Return the policy in a task's metadata; raises nothing."""
    retries = metadata.get("max_retries")
    return Policy(
        agent=_text(metadata, "agent"),
        max_retries=retries if type(retries) is int and retries > 0 else 0,
        on_lost=_text(metadata, "on_lost") or "retry",
        on_deny=_text(metadata, "on_deny") or "continue",
        concurrency_key=_text(metadata, "concurrency_key"),
    )


def _text(metadata: Json, key: str) -> str | None:
    value = metadata.get(key)
    return value if isinstance(value, str) and value else None
