"""Everything that can be asked of Pandar, and the answers.

A command names what somebody wants; its target (a task, a project) stands in the subject or the
path, not in the body. Unknown fields are refused, so that a misspelt one is never ignored.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated
from uuid import UUID

from msgspec import UNSET, Meta, Struct, UnsetType

from events.calls import Scope
from events.command import Command as Command  # noqa: PLC0414 - it is one of these
from events.grant import CreateGrant, RevokeGrant, UseGrant
from events.ids import ID_MAX
from events.instant import Instant
from events.notifying import NOTIFICATION_ACTIONS
from events.project import MemberRole
from events.secret import SECRET_ACTIONS
from events.task import Json, Priority, Status

NAME_MAX = 200
COMMAND_MAX = 10_000
PROMPT_MAX = 30_000
DESCRIPTION_MAX = 1_000
REASON_MAX = 500
TAIL_MAX = 4_096

Name = Annotated[str, Meta(min_length=1, max_length=NAME_MAX)]
CommandLine = Annotated[str, Meta(min_length=1, max_length=COMMAND_MAX)]
Prompt = Annotated[str, Meta(min_length=1, max_length=PROMPT_MAX)]
Description = Annotated[str, Meta(max_length=DESCRIPTION_MAX)]
Reason = Annotated[str, Meta(max_length=REASON_MAX)]
Id = Annotated[int, Meta(ge=1, le=ID_MAX)]
User = Annotated[str, Meta(min_length=1, max_length=128)]
GitUrl = Annotated[str, Meta(max_length=2_048)]
BranchName = Annotated[str, Meta(max_length=200)]
Setup = Annotated[str, Meta(max_length=COMMAND_MAX)]
Int32 = Annotated[int, Meta(ge=-(2**31), le=2**31 - 1)]
"""What the store holds as an ``integer``."""
Cron = Annotated[str, Meta(min_length=9, max_length=200)]


class CreateTask(Command, frozen=True, kw_only=True):
    """File a task: a literal ``command``, or a ``prompt`` for an agent.

    ``auto_start`` defaults to true exactly when there is no ``scheduled_at``.
    """

    name: Name
    command: CommandLine | None = None
    project_id: Id
    description: Description | None = None
    priority: Priority = Priority.MEDIUM
    metadata: Json = {}
    scheduled_at: Instant | None = None
    auto_start: bool | None = None
    prompt: Prompt | None = None


class UpdateTask(Command, frozen=True, kw_only=True):
    """Give the named fields new values; ``metadata`` replaces the whole object."""

    name: Name | UnsetType = UNSET
    description: Description | UnsetType = UNSET
    priority: Priority | UnsetType = UNSET
    metadata: Json | UnsetType = UNSET
    scheduled_at: Instant | UnsetType | None = UNSET


class DeleteTask(Command, frozen=True, kw_only=True):
    """Show the task no more; refused while it runs or waits."""

    reason: Reason = ""


class StartTask(Command, frozen=True, kw_only=True):
    """Queue the task for a runner."""

    reason: Reason = ""


class Decision(StrEnum):
    """The three answers to a confirmation."""

    APPROVE = "approve"
    DENY = "deny"
    CHANGES = "changes"


class ConfirmTask(Command, frozen=True, kw_only=True):
    """Decide the pending confirmation; a quoted id or hash must be that of the pending one.

    ``scope`` is how far an approval goes: ``pattern``, ``uses`` and ``until`` belong to those
    beyond the call. ``link`` is the secret of an approval link, by which its approver decides.
    """

    decision: Decision = Decision.APPROVE
    confirmation_id: UUID | None = None
    card_sha256: str | None = None
    reason: Reason = ""
    scope: Scope = Scope.CALL
    pattern: Annotated[str, Meta(max_length=1_000)] = ""
    uses: Annotated[int, Meta(ge=1, le=1_000_000)] | None = None
    until: Instant | None = None
    link: Annotated[str, Meta(max_length=128)] | None = None


class IssueLink(Command, frozen=True, kw_only=True):
    """Let whoever has a secret text decide as ``approver``; of it only the SHA-256 is sent."""

    confirmation_id: UUID
    approver: User
    token_sha256: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]


class CancelTask(Command, frozen=True, kw_only=True):
    """End the task, killing its whole process tree."""

    reason: Reason = ""


class RetryTask(Command, frozen=True, kw_only=True):
    """Queue a new attempt of a failed or cancelled task."""

    reason: Reason = ""


class LoseExecution(Command, frozen=True, kw_only=True):
    """Sent by the reaper: the lease of this execution has expired.

    ``begun`` is whether its runner ever renewed it, hence may have started anything.
    ``confirmation_id`` and ``expires_at`` are for the recovery confirmation, should one be needed.
    """

    execution_id: UUID
    epoch: Int32
    begun: bool
    confirmation_id: UUID
    expires_at: Instant


class ExpireConfirmation(Command, frozen=True, kw_only=True):
    """Sent by the reaper: nobody decided in time."""

    confirmation_id: UUID


class CreateProject(Command, frozen=True, kw_only=True):
    """Make a project; the caller owns it.

    Its tasks work on clones of the repository at ``git_url``, a URL or an absolute path, from
    ``base_branch``; where that is empty, from the one the repository itself names. ``setup`` is a
    shell command that makes a fresh clone ready.
    """

    name: Name
    git_url: GitUrl = ""
    description: Description = ""
    base_branch: BranchName = ""
    setup: Setup = ""


class UpdateProject(Command, frozen=True, kw_only=True):
    """Give the named fields new values."""

    name: Name | UnsetType = UNSET
    git_url: GitUrl | UnsetType = UNSET
    description: Description | UnsetType = UNSET
    base_branch: BranchName | UnsetType = UNSET
    setup: Setup | UnsetType = UNSET


class AddMember(Command, frozen=True, kw_only=True):
    """Let somebody into the project, or change their role in it."""

    user: User
    role: MemberRole = MemberRole.MEMBER


class RemoveMember(Command, frozen=True, kw_only=True):
    """Take somebody out of the project."""

    user: User


class CreateSchedule(Command, frozen=True, kw_only=True):
    """Run a command whenever ``cron`` (five fields) says so in ``timezone``."""

    name: Name
    command: CommandLine
    project_id: Id
    cron: Cron
    timezone: str = "UTC"
    priority: Priority = Priority.MEDIUM
    metadata: Json = {}


class UpdateSchedule(Command, frozen=True, kw_only=True):
    """Give the named fields new values."""

    name: Name | UnsetType = UNSET
    command: CommandLine | UnsetType = UNSET
    cron: Cron | UnsetType = UNSET
    timezone: str | UnsetType = UNSET
    priority: Priority | UnsetType = UNSET
    metadata: Json | UnsetType = UNSET


class PauseSchedule(Command, frozen=True, kw_only=True):
    """Fire no more until resumed."""

    reason: Reason = ""


class ResumeSchedule(Command, frozen=True, kw_only=True):
    """Fire again, from now on."""


class DeleteSchedule(Command, frozen=True, kw_only=True):
    """Fire never again."""

    reason: Reason = ""


class Accepted(Struct, frozen=True, kw_only=True):
    """The answer to a command that took effect, or had nothing to do.

    ``position`` is the log position of its last event (of the stream's last event when it had
    nothing to do): pass it as ``Pandar-Min-Position`` to read your own write.
    """

    stream: str
    id: int | str
    position: int
    version: int
    status: Status | None = None


ACTIONS: dict[str, type[Command]] = {
    "task.create": CreateTask,
    "task.update": UpdateTask,
    "task.delete": DeleteTask,
    "task.start": StartTask,
    "task.confirm": ConfirmTask,
    "task.cancel": CancelTask,
    "task.retry": RetryTask,
    "task.lose": LoseExecution,
    "task.expire": ExpireConfirmation,
    "task.link": IssueLink,
    "project.create": CreateProject,
    "project.update": UpdateProject,
    "project.add_member": AddMember,
    "project.remove_member": RemoveMember,
    "grant.create": CreateGrant,
    "grant.use": UseGrant,
    "grant.revoke": RevokeGrant,
    **NOTIFICATION_ACTIONS,
    **SECRET_ACTIONS,
}
"""The commands of ``pandar.v1.cmd.>`` and ``pandar.v1.queue.>``, by ``category.action``."""


SCHEDULE_ACTIONS: dict[str, type[Command]] = {
    "schedule.create": CreateSchedule,
    "schedule.update": UpdateSchedule,
    "schedule.pause": PauseSchedule,
    "schedule.resume": ResumeSchedule,
    "schedule.delete": DeleteSchedule,
}
"""The language of recurring schedules."""
