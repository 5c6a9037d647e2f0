"""Who may do what: every permission, role and rule, in this one place.

A permission is granted when two things say yes: the *ceiling* of the asker's token roles, and,
for anything inside a project, the asker's *role in that project*. Administrators need no project
role; Pandar's own services need neither.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from msgspec import Struct

from pandar_daemon.domain.refusals import Forbidden, NotFound


class Permission(StrEnum):
    """What can be allowed; the name before the colon is what it is about."""

    TASK_READ = "task:read"
    TASK_WRITE = "task:write"
    TASK_DELETE = "task:delete"
    TASK_EXECUTE = "task:execute"
    TASK_MANAGE = "task:manage"
    NOTIFICATION_READ = "notification:read"
    NOTIFICATION_WRITE = "notification:write"
    NOTIFICATION_MANAGE = "notification:manage"
    PROJECT_READ = "project:read"
    PROJECT_WRITE = "project:write"
    PROJECT_DELETE = "project:delete"
    PROJECT_MANAGE = "project:manage"
    SYSTEM_READ = "system:read"
    SYSTEM_MANAGE = "system:manage"
    SYSTEM_RUN = "system:run"  # what only Pandar's own services do
    RUNNER_RUN = "runner:run"  # the runner's side of the protocol


class Role(StrEnum):
    """What a token says its bearer is."""

    ADMIN = "admin"
    USER = "user"
    VIEWER = "viewer"
    RUNNER = "runner"
    SYSTEM = "system"


class ProjectRole(StrEnum):
    """What somebody is in one project: its owner, or an `events.project.MemberRole`."""

    OWNER = "owner"
    MANAGER = "manager"
    MEMBER = "member"
    VIEWER = "viewer"


def _about(*categories: str) -> frozenset[Permission]:
    return frozenset(p for p in Permission if p.partition(":")[0] in categories)


_IN_PROJECTS: Final = _about("task", "notification", "project")
_READING: Final = frozenset(p for p in _IN_PROJECTS if p.endswith(":read"))
_HUMAN: Final = _IN_PROJECTS | {Permission.SYSTEM_READ, Permission.SYSTEM_MANAGE}

CEILINGS: Final[dict[Role, frozenset[Permission]]] = {
    Role.ADMIN: _HUMAN,
    Role.USER: _IN_PROJECTS,
    Role.VIEWER: _READING,
    Role.RUNNER: frozenset({Permission.RUNNER_RUN}),
    Role.SYSTEM: frozenset(Permission),
}
"""The most a token can be good for; several roles add up."""

GRANTS: Final[dict[str, frozenset[Permission]]] = {
    ProjectRole.OWNER: _IN_PROJECTS,
    ProjectRole.MANAGER: _IN_PROJECTS - {Permission.PROJECT_DELETE},
    ProjectRole.MEMBER: _READING
    | {Permission.TASK_WRITE, Permission.TASK_DELETE, Permission.TASK_EXECUTE},
    ProjectRole.VIEWER: _READING,
}
"""What a role in a project allows inside that project."""

UNBOUND: Final = frozenset({Role.ADMIN, Role.SYSTEM, Role.RUNNER})
"""Roles whose permissions do not depend on a project."""

ACTION_PERMISSION: Final[dict[str, Permission]] = {
    "task.create": Permission.TASK_WRITE,
    "task.update": Permission.TASK_WRITE,
    "task.delete": Permission.TASK_DELETE,
    "task.start": Permission.TASK_EXECUTE,
    "task.confirm": Permission.TASK_MANAGE,
    "task.cancel": Permission.TASK_EXECUTE,
    "task.retry": Permission.TASK_EXECUTE,
    "task.lose": Permission.SYSTEM_RUN,
    "task.expire": Permission.SYSTEM_RUN,
    "task.link": Permission.TASK_MANAGE,
    "project.create": Permission.PROJECT_WRITE,
    "project.update": Permission.PROJECT_WRITE,
    "project.add_member": Permission.PROJECT_MANAGE,
    "project.remove_member": Permission.PROJECT_MANAGE,
    "project.set_secret": Permission.PROJECT_MANAGE,
    "project.remove_secret": Permission.PROJECT_MANAGE,
    "project.make_key": Permission.SYSTEM_RUN,
    "project.reseal_key": Permission.SYSTEM_RUN,
    "notification.create": Permission.SYSTEM_RUN,
    "notification.report": Permission.SYSTEM_RUN,
    "notification.remind": Permission.SYSTEM_RUN,
    "notification.resolve": Permission.SYSTEM_RUN,
    "notification.click": Permission.SYSTEM_RUN,
    "notification.channel": Permission.SYSTEM_RUN,
    "notification.mark": Permission.NOTIFICATION_READ,
    "notification.read_all": Permission.NOTIFICATION_READ,
    "notification.settings": Permission.NOTIFICATION_WRITE,
    "notification.project_settings": Permission.NOTIFICATION_MANAGE,
    "grant.create": Permission.TASK_MANAGE,
    "grant.use": Permission.RUNNER_RUN,
    "grant.revoke": Permission.TASK_MANAGE,
    "run.claim": Permission.RUNNER_RUN,
    "run.grants": Permission.RUNNER_RUN,
    "run.secrets": Permission.RUNNER_RUN,
    "run.renew": Permission.RUNNER_RUN,
    "run.progress": Permission.RUNNER_RUN,
    "run.ask": Permission.RUNNER_RUN,
    "run.withdraw": Permission.RUNNER_RUN,
    "run.decision": Permission.RUNNER_RUN,
    "run.record": Permission.RUNNER_RUN,
    "run.session": Permission.RUNNER_RUN,
    "run.answered": Permission.RUNNER_RUN,
    "run.switch": Permission.RUNNER_RUN,
    "run.blocked": Permission.RUNNER_RUN,
    "run.pushed": Permission.RUNNER_RUN,
    "run.finish": Permission.RUNNER_RUN,
    "run.ended": Permission.RUNNER_RUN,
    "run.narrowed": Permission.RUNNER_RUN,
    "run.checkpoint": Permission.RUNNER_RUN,
}
"""What each command needs, by ``category.action``."""

_NO_PROJECT: Final = frozenset({"project.create"}) | frozenset(
    action
    for action in ACTION_PERMISSION
    if action.startswith("notification.") and action != "notification.project_settings"
)
"""Actions that happen in no project (yet): the ceiling alone decides."""


class Principal(Struct, frozen=True):
    """Somebody a valid token speaks for. ``roles`` holds known names only."""

    user: str
    roles: frozenset[Role] = frozenset({Role.USER})

    @property
    def actor(self) -> str:
        """Return who events are by: ``user:7``, ``runner:build-1`` or ``system:reaper``."""
        for role in (Role.SYSTEM, Role.RUNNER):
            if role in self.roles:
                return f"{role}:{self.user}"
        return f"user:{self.user}"

    @property
    def everywhere(self) -> bool:
        """Return whether this one may see every project, needing a role in none."""
        return not self.roles.isdisjoint({Role.ADMIN, Role.SYSTEM})


def within_ceiling(principal: Principal, permission: Permission) -> bool:
    """Return whether the token is good for this permission at all, in some project."""
    return any(permission in CEILINGS[role] for role in principal.roles)


def may(principal: Principal, permission: Permission, project_role: str | None) -> bool:
    """Return whether the principal, having this role in the project at hand, is permitted.

    ``project_role`` is ``None`` for somebody who does not belong to the project, and where no
    project is concerned.
    """
    granted = GRANTS.get(project_role or "", frozenset())
    return any(
        permission in CEILINGS[role] and (role in UNBOUND or permission in granted)
        for role in principal.roles
    )


_READING_OF: Final[dict[Permission, Permission]] = {
    permission: Permission(f"{permission.partition(':')[0]}:read") for permission in _IN_PROJECTS
} | {Permission.SYSTEM_RUN: Permission.TASK_READ}
"""Who lacks the permission may still know of the thing with this one; the others hide nothing."""


def require(
    principal: Principal, permission: Permission, project_role: str | None, what: str
) -> None:
    """Return when permitted.

    Raises `NotFound` naming ``what`` (``task 42``) when the principal may not even read such a
    thing in this project, `Forbidden` naming the permission otherwise. The permissions
    ``system:read``, ``system:manage`` and ``runner:run`` hide nothing.
    """
    if may(principal, permission, project_role):
        return
    reading = _READING_OF.get(permission)
    if reading is not None and not may(principal, reading, project_role):
        raise NotFound(what)
    raise Forbidden(permission)


def require_action(principal: Principal, action: str, project_role: str | None, what: str) -> None:
    """Return when the principal may send the command ``action`` (``task.start``) at ``what``.

    Raises as `require` does; an action in no project yet (``project.create``) hides nothing and
    is `Forbidden`.
    """
    permission = ACTION_PERMISSION[action]
    if action not in _NO_PROJECT:
        require(principal, permission, project_role, what)
    elif not within_ceiling(principal, permission):
        raise Forbidden(permission)
