"""Who may send a command at what it is about, by the project it is in."""

from __future__ import annotations

import msgspec

from events import commands as do
from events.grant import CreateGrant
from pandar_daemon.domain.access import Permission, Principal, Role, require_action
from pandar_daemon.domain.project import Project
from pandar_daemon.domain.refusals import Forbidden, NotFound, Refusal
from pandar_daemon.domain.task_confirmation import approver_of
from pandar_daemon.domain.task_state import Task
from pandar_daemon.services.requests import Request
from pandar_daemon.services.streams import PROJECT, InProject, Loaded, Streams

PROJECT_AGE_SEC = 1.0
"""How long a membership that another process took away may still count."""


class Permits:
    """Checks requests against the projects they are about."""

    def __init__(self, streams: Streams) -> None:
        self._streams = streams

    async def check(self, request: Request, loaded: Loaded[InProject]) -> None:
        """Return when it may be done; raises `NotFound` or `Forbidden`."""
        state = loaded.state
        what = _name(loaded.stream, state.project_id)
        if isinstance(state, Project):
            _permit(request, state, what)
            return
        request = _on_behalf(request, state)
        number = state.project_id or _project_of(request.command)
        if not number and isinstance(state, Task):
            raise NotFound(what)
        if not number:
            require_action(request.principal, request.action, None, what)
            return
        await self._permit_in(number, request, what if state.project_id else f"project {number}")

    async def _permit_in(self, number: int, request: Request, what: str) -> None:
        project = await self._streams.load(PROJECT, number, max_age_sec=PROJECT_AGE_SEC)
        try:
            _permit(request, project.state, what)
        except Refusal:
            if not project.cached:
                raise
            _permit(request, (await self._streams.load(PROJECT, number, fresh=True)).state, what)


def _permit(request: Request, project: Project, what: str) -> None:
    """Raise `NotFound` or `Forbidden` unless the action is allowed in this project."""
    if request.action != "project.create" and (
        not project.owner or request.project not in {None, project.project_id}
    ):
        raise NotFound(what)
    role = project.role_of(request.principal.user)
    require_action(request.principal, request.action, role, what)


def _name(stream: str, project: int) -> str:
    """Return what a stream is called: what is kept of a project beside it goes by its name."""
    return f"project {project}" if stream.startswith("project") else stream.replace("-", " ")


def _project_of(command: do.Command) -> int:
    return command.project_id if isinstance(command, do.CreateTask | CreateGrant) else 0


def _on_behalf(request: Request, state: InProject) -> Request:
    """Return a request as made by whom it speaks for; what they may do counts, and counts now.

    Raises `Forbidden` for who speaks for another without being a service of Pandar's own, or
    having their approval link; `NotFound` for a link that is not good.
    """
    who = _named(request.command, state)
    if not who or who == request.principal.user:
        return request
    by_link = isinstance(request.command, do.ConfirmTask)
    if not by_link and Role.SYSTEM not in request.principal.roles:
        raise Forbidden(Permission.SYSTEM_RUN)
    return msgspec.structs.replace(request, principal=Principal(who))


def _named(command: do.Command, state: InProject) -> str:
    """Return for whom a command speaks, empty for who sends it."""
    match command:
        case do.ConfirmTask(link=str(link)) if isinstance(state, Task) and state.pending:
            return approver_of(state, link)
        case do.IssueLink(approver=who) | CreateGrant(by=who):
            return who
        case _:
            return ""
