"""What a task's metadata says about failures, read leniently.

Metadata is checked when a task is filed (`options`); an old event may hold anything, so here a
value that is not what it should be counts as absent.
"""

from __future__ import annotations

from msgspec import Struct

from events.calls import Rules
from events.task import Json


class Policy(Struct, frozen=True, kw_only=True):
    """How a task meets failure, loss and refusal."""

    agent: str | None = None
    max_retries: int = 0
    on_lost: str = "retry"  # "retry" while max_retries last, then confirm | "confirm" | "fail"
    on_deny: str = "continue"  # "continue" | "cancel"
    concurrency_key: str | None = None
    confirm_timeout_sec: int = 86_400


def policy(metadata: Json) -> Policy:
    """Return the policy in a task's metadata; raises nothing."""
    retries = metadata.get("max_retries")
    return Policy(
        agent=_text(metadata, "agent"),
        max_retries=retries if type(retries) is int and retries > 0 else 0,
        on_lost=_text(metadata, "on_lost") or "retry",
        on_deny=_text(metadata, "on_deny") or "continue",
        concurrency_key=_text(metadata, "concurrency_key"),
        confirm_timeout_sec=_seconds(metadata.get("confirm_timeout_sec")),
    )


def rules_in(_project: int, metadata: Json) -> Rules:
    """Return what a task's metadata alone says its calls are judged by; raises nothing."""
    gates = metadata.get("gates")
    named = [gate for gate in gates if isinstance(gate, str)] if isinstance(gates, list) else []
    return Rules(policy=_text(metadata, "approval_policy") or "auto_with_gates", gates=named)


def _seconds(value: object) -> int:
    return value if type(value) is int and value > 0 else 86_400


def _text(metadata: Json, key: str) -> str | None:
    value = metadata.get(key)
    return value if isinstance(value, str) and value else None
