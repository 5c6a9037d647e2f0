"""What a caller may see: the rules are `domain.access`; the facts come from the read models."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from weakref import WeakValueDictionary

from aiohttp import web
from msgspec import Struct

from events.task import Json
from pandar_daemon.adapters.http.deps import PRINCIPAL, Deps, deps
from pandar_daemon.adapters.http.params import id_in_path
from pandar_daemon.adapters.http.positions import caught_up, reached
from pandar_daemon.domain import access
from pandar_daemon.domain.access import Permission, Principal
from pandar_daemon.domain.refusals import Forbidden, NotFound

_USERS_REMEMBERED = 10_000


async def readable(request: web.Request, permission: Permission) -> frozenset[int] | None:
    """Return the projects in which the caller has a reading permission, ``None`` for all.

    Raises `Forbidden` when their token is not good for it anywhere.
    """
    principal = request[PRINCIPAL]
    if not access.within_ceiling(principal, permission):
        raise Forbidden(permission)
    if principal.everywhere:
        return None
    held = await deps(request).projects.roles(principal.user)
    return frozenset(p for p, role in held.items() if access.may(principal, permission, role))


async def projects_of(request: web.Request, project_id: int | None) -> frozenset[int] | None:
    """Return the projects whose tasks are asked for: one, or all the caller may read.

    Raises `NotFound` for one project they may not know of.
    """
    if project_id is None:
        return await readable(request, Permission.TASK_READ)
    await check(request, Permission.TASK_READ, project_id, f"project {project_id}")
    return frozenset({project_id})


async def check(request: web.Request, permission: Permission, project_id: int, what: str) -> None:
    """Return when the caller has the permission in a project; raises as `access.require`."""
    principal = request[PRINCIPAL]
    role = None if principal.everywhere else await _role(deps(request), principal, project_id)
    access.require(principal, permission, role, what)


async def _role(needs: Deps, principal: Principal, project_id: int) -> str | None:
    held = await needs.projects.roles(principal.user)
    if project_id not in held:
        await caught_up(needs)
        held = await needs.projects.roles(principal.user)
    return held.get(project_id)


async def task(request: web.Request) -> Json:
    """Return the row of the task in the path.

    Raises `NotFound` for one that the caller may not know of.
    """
    needs, number = deps(request), id_in_path(request, "task")
    row = await needs.tasks.get(number)
    if row is None:  # perhaps so new that the read model has not got it yet
        await caught_up(needs)
        row = await needs.tasks.get(number)
    if row is None:
        raise NotFound(f"task {number}")
    await check(request, Permission.TASK_READ, int(row["project_id"]), f"task {number}")
    return row


class _Known(Struct, frozen=True):
    until: float
    at: int  # the position the roles are at least as new as
    roles: dict[int, str]


class Membership:
    """Roles in projects, remembered for some seconds, for streams that check every event.

    However many streams a user has, one of them asks and the others wait for its answer. Remembers
    at most 10,000 users; whoever was asked for longest ago is forgotten first.
    """

    def __init__(self, needs: Deps) -> None:
        self._needs = needs
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def sees(self, principal: Principal, project_id: int | None, since: int) -> bool:
        """Whether a principal may read the tasks of a project, judged at ``since`` or later.

        What is in no project is only for those who may see everything. Raises `Unavailable` when
        the read models do not reach ``since`` in time.
        """
        if principal.everywhere:
            return access.within_ceiling(principal, Permission.TASK_READ)
        if project_id is None:
            return False
        held = await self._roles(principal.user, since)
        return access.may(principal, Permission.TASK_READ, held.get(project_id))

    async def _roles(self, user: str, since: int) -> dict[int, str]:
        if (known := self._fresh(user, since)) is not None:
            return known
        async with self._turns.setdefault(user, asyncio.Lock()):
            known = self._fresh(user, since)
            return await self._ask(user, since) if known is None else known

    def _fresh(self, user: str, since: int) -> dict[int, str] | None:
        known = self._known.get(user)
        if known is None or known.until <= self._needs.clock.boottime() or known.at < since:
            return None
        return known.roles

    async def _ask(self, user: str, since: int) -> dict[int, str]:
        at = await reached(self._needs, since)
        now = self._needs.clock.boottime()
        held = await self._needs.projects.roles(user)
        self._known[user] = _Known(now + self._needs.limits.membership_sec, at, held)
        self._known.move_to_end(user)
        while len(self._known) > _USERS_REMEMBERED:
            self._known.popitem(last=False)
        return held
