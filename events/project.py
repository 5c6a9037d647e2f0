"""What can happen to a project and its members."""

from __future__ import annotations

from enum import StrEnum

from msgspec import UNSET, UnsetType

from events.task import Event


class MemberRole(StrEnum):
    """What a member may do in a project; the owner may do everything."""

    VIEWER = "viewer"  # read
    MEMBER = "member"  # and file, run and delete tasks
    MANAGER = "manager"  # and decide confirmations and manage members


class ProjectCreated(Event, frozen=True, kw_only=True, tag="project.created"):
    """A project was made; its creator owns it."""

    project_id: int
    name: str
    owner: str
    git_url: str = ""
    description: str = ""
    base_branch: str = ""
    setup: str = ""


class ProjectUpdated(Event, frozen=True, kw_only=True, tag="project.updated"):
    """Some fields of a project got new values; the others are absent."""

    name: str | UnsetType = UNSET
    git_url: str | UnsetType = UNSET
    description: str | UnsetType = UNSET
    base_branch: str | UnsetType = UNSET
    setup: str | UnsetType = UNSET


class MemberAdded(Event, frozen=True, kw_only=True, tag="member.added"):
    """Somebody joined a project, or got another role in it."""

    user: str
    role: MemberRole


class MemberRemoved(Event, frozen=True, kw_only=True, tag="member.removed"):
    """Somebody is no longer a member."""

    user: str


ProjectEvent = ProjectCreated | ProjectUpdated | MemberAdded | MemberRemoved
