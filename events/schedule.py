"""What can happen to a recurring schedule."""

from __future__ import annotations

from uuid import UUID

from msgspec import UNSET, UnsetType

from events.instant import Instant
from events.task import Event, Json, Priority


class ScheduleCreated(Event, frozen=True, kw_only=True, tag="schedule.created"):
    """A command is to run whenever a cron expression of five fields says so."""

    schedule_id: UUID
    project_id: int
    name: str
    command: str
    cron: str
    created_by: str
    timezone: str = "UTC"
    priority: Priority = Priority.MEDIUM
    metadata: Json = {}


class ScheduleUpdated(Event, frozen=True, kw_only=True, tag="schedule.updated"):
    """Some fields of a schedule got new values; the others are absent."""

    name: str | UnsetType = UNSET
    command: str | UnsetType = UNSET
    cron: str | UnsetType = UNSET
    timezone: str | UnsetType = UNSET
    priority: Priority | UnsetType = UNSET
    metadata: Json | UnsetType = UNSET


class SchedulePaused(Event, frozen=True, kw_only=True, tag="schedule.paused"):
    """It fires no more until it is resumed."""

    reason: str = ""


class ScheduleResumed(Event, frozen=True, kw_only=True, tag="schedule.resumed"):
    """It fires again, from now on."""


class ScheduleFired(Event, frozen=True, kw_only=True, tag="schedule.fired"):
    """One occurrence became a task; each ``nominal_at`` fires at most once."""

    nominal_at: Instant
    task_id: int


class ScheduleMissed(Event, frozen=True, kw_only=True, tag="schedule.missed"):
    """Occurrences passed while nobody could fire them."""

    first_at: Instant
    last_at: Instant
    count: int


class ScheduleDeleted(Event, frozen=True, kw_only=True, tag="schedule.deleted"):
    """It fires never again."""

    reason: str = ""


ScheduleEvent = (
    ScheduleCreated
    | ScheduleUpdated
    | SchedulePaused
    | ScheduleResumed
    | ScheduleFired
    | ScheduleMissed
    | ScheduleDeleted
)
