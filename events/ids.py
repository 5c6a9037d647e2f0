"""Identifiers: integers for what people type (tasks, projects), UUIDv7 for everything else."""

from __future__ import annotations

import re
from uuid import UUID, uuid5

ID_MAX = 2**63 - 1
"""The largest task or project id: a Postgres ``bigint``."""

TOKEN = re.compile(r"[A-Za-z0-9_-]{1,64}")
"""What may stand as one token of a subject, hence as a command id or a runner id."""


def uuid7(unix_ms: int, randomness: bytes) -> UUID:
    """Return the UUIDv7 (RFC 9562) of a Unix time in milliseconds and at least 10 random bytes."""
    bits = int.from_bytes(randomness[:10], "big") & ((1 << 74) - 1)
    high, low = bits >> 62, bits & ((1 << 62) - 1)
    return UUID(int=(unix_ms & ((1 << 48) - 1)) << 80 | 7 << 76 | high << 64 | 0b10 << 62 | low)


def task_stream(task_id: int) -> str:
    """Return the stream of a task, for example ``task-42``."""
    return f"task-{task_id}"


def project_stream(project_id: int) -> str:
    """Return the stream of a project, for example ``project-1``."""
    return f"project-{project_id}"


def schedule_stream(schedule_id: UUID) -> str:
    """Return the stream of a schedule, for example ``schedule-018f…``."""
    return f"schedule-{schedule_id}"


def notification_id(event_id: UUID, user: str) -> UUID:
    """Return the id of the notification that tells a user of an event: always the same one."""
    return uuid5(event_id, f"notification {user}")


def grant_stream(grant_id: UUID) -> str:
    """Return the stream of a standing grant, for example ``grant-018f…``."""
    return f"grant-{grant_id}"


def notification_stream(notification: UUID) -> str:
    """Return the stream of a notification, for example ``notification-018f…``."""
    return f"notification-{notification}"


_SETTINGS = UUID("7b1f5d0e-7a55-5c2e-9d0b-3f0f3a7f6a11")


def settings_id(user: str) -> UUID:
    """Return the id of a user's settings; a user's name cannot stand in a subject."""
    return uuid5(_SETTINGS, user)


def user_settings_stream(user: str) -> str:
    """Return the stream of a user's settings, for example ``user_settings-018f…``."""
    return f"user_settings-{settings_id(user)}"


def project_settings_stream(project_id: int) -> str:
    """Return the stream of a project's settings, for example ``project_settings-1``."""
    return f"project_settings-{project_id}"


def project_secrets_stream(project_id: int) -> str:
    """Return the stream of a project's secrets, for example ``project_secrets-1``."""
    return f"project_secrets-{project_id}"


def category_of(stream: str) -> str:
    """Return the part of a stream's name before its first dash: ``task`` of ``task-42``."""
    return stream.partition("-")[0]


def id_of(stream: str) -> str:
    """Return the part of a stream's name after its first dash: ``42`` of ``task-42``."""
    return stream.partition("-")[2]
