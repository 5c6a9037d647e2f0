"""Who may decide: what somebody is in the project now, whatever they were when they were asked."""

from __future__ import annotations

from pandar_daemon.adapters.http.deps import Deps
from pandar_daemon.adapters.http.positions import caught_up
from pandar_daemon.domain import access
from pandar_daemon.domain.access import Permission, Principal


async def may_decide(needs: Deps, user: str, project_id: int) -> bool:
    """Return whether a user may decide confirmations of a project, without any token of theirs."""
    return await _may(needs, user, project_id) or await _may_now(needs, user, project_id)


async def _may(needs: Deps, user: str, project_id: int) -> bool:
    held = await needs.projects.roles(user)
    return access.may(Principal(user), Permission.TASK_MANAGE, held.get(project_id))


async def _may_now(needs: Deps, user: str, project_id: int) -> bool:
    await caught_up(needs)  # perhaps so new a member that the read model has not got them yet
    return await _may(needs, user, project_id)
