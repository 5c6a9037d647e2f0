"""The project decider: every rule about a project and its members, as two pure functions."""

from __future__ import annotations

from typing import assert_never

import msgspec
from msgspec import Struct

from events import commands as do
from events import project as did
from events.project import MemberRole
from events.task import Event
from pandar_daemon.domain.partial import changed, stated
from pandar_daemon.domain.refusals import NotFound, Rejected

ProjectCommand = do.CreateProject | do.UpdateProject | do.AddMember | do.RemoveMember

OWNER = "owner"


class Project(Struct, frozen=True):
    """What the rules need to know of a project; ``owner`` is empty before it was made."""

    project_id: int
    owner: str = ""
    name: str = ""
    git_url: str = ""
    description: str = ""
    members: dict[str, MemberRole] = {}
    base_branch: str = ""
    setup: str = ""

    def role_of(self, user: str) -> str | None:
        """Return ``owner``, a `MemberRole`, or ``None`` for somebody who does not belong."""
        return OWNER if user and user == self.owner else self.members.get(user)


def initial(project_id: int) -> Project:
    """Return a project nobody has made yet."""
    return Project(project_id)


def decide(project: Project, command: ProjectCommand, user: str) -> list[did.ProjectEvent]:
    """Return what the command makes happen, perhaps nothing.

    Raises `NotFound` for a project that is not there, `Rejected` for what the rules forbid.
    """
    if isinstance(command, do.CreateProject):
        return _create(project, command, user)
    if not project.owner:
        raise NotFound(f"project {project.project_id}")
    match command:
        case do.UpdateProject():
            return _update(project, command)
        case do.AddMember():
            if command.user == project.owner:
                raise Rejected("the owner of a project may do everything and is no member of it")
            known = project.members.get(command.user) == command.role
            return [] if known else [did.MemberAdded(user=command.user, role=command.role)]
        case do.RemoveMember():
            known = command.user in project.members
            return [did.MemberRemoved(user=command.user)] if known else []
        case _:
            assert_never(command)


def _create(project: Project, command: do.CreateProject, user: str) -> list[did.ProjectEvent]:
    if project.owner:
        raise Rejected(f"project {project.project_id} exists already")
    return [
        did.ProjectCreated(
            project_id=project.project_id,
            name=command.name,
            owner=user,
            git_url=command.git_url,
            description=command.description,
            base_branch=command.base_branch,
            setup=command.setup,
        )
    ]


def _update(project: Project, command: do.UpdateProject) -> list[did.ProjectEvent]:
    changes = changed(command, project)
    return [did.ProjectUpdated(**changes)] if changes else []


def evolve(project: Project, event: Event) -> Project:
    """Return the project after an event; one it does not know leaves it as it is."""
    match event:
        case did.ProjectCreated():
            return Project(
                project.project_id,
                event.owner,
                event.name,
                event.git_url,
                event.description,
                base_branch=event.base_branch,
                setup=event.setup,
            )
        case did.ProjectUpdated():
            return msgspec.structs.replace(project, **stated(event))
        case did.MemberAdded():
            members = {**project.members, event.user: event.role}
            return msgspec.structs.replace(project, members=members)
        case did.MemberRemoved():
            members = {u: role for u, role in project.members.items() if u != event.user}
            return msgspec.structs.replace(project, members=members)
        case _:
            return project
