"""Links for messages: made for one approver, and what is known of those that were opened."""

from __future__ import annotations

from uuid import UUID

import msgspec
import structlog

from events import codec, subjects
from events.commands import IssueLink
from events.ids import project_stream, task_stream
from events.notifying import ClickNotification
from pandar_daemon.domain import access, links, project
from pandar_daemon.domain.access import Permission, Principal
from pandar_daemon.domain.refusals import NotFound, Refusal, Unavailable
from pandar_daemon.ports import Clock, EventStore, NotificationReads, TaskReads
from pandar_daemon.services.asking import Asker

log = structlog.get_logger(__name__)

_UNAVAILABLE = 503


class Links:
    """`ports.Links`: asks for links as a service of Pandar's own."""

    def __init__(
        self,
        *,
        asker: Asker,
        store: EventStore,
        tasks: TaskReads,
        clock: Clock,
        url: str,
    ) -> None:
        """Make addresses below ``url``, which is where browsers find the API."""
        self._asker = asker
        self._store = store
        self._tasks = tasks
        self._clock = clock
        self._url = url

    async def issue(self, task_id: int, confirmation_id: UUID, approver: str) -> str:
        """Return an address where whoever has it can decide a confirmation as ``approver``.

        Raises the `Refusal` when that one may not decide it, or it is decided; `Unavailable` when
        asking again may help.
        """
        await self._permit(task_id, approver)
        token = links.secret(self._clock.new_id() for _ in range(links.IDS))
        order = IssueLink(
            confirmation_id=confirmation_id, approver=approver, token_sha256=links.sha256(token)
        )
        subject = subjects.command("task.link", None, task_id)
        try:
            await self._asker.ask(subject, msgspec.json.encode(order), str(self._clock.new_id()))
        except Refusal as refusal:
            if refusal.problem.status >= _UNAVAILABLE:
                raise Unavailable(refusal.problem.detail) from refusal
            raise
        return links.address(self._url, token)

    async def _permit(self, task_id: int, approver: str) -> None:
        what = f"task {task_id}"
        number = await self._project(task_id)
        if number is None:
            raise NotFound(what)
        held = await self._role(number, approver)
        access.require(Principal(approver), Permission.TASK_MANAGE, held, what)

    async def _project(self, task_id: int) -> int | None:
        """Return whose a task is; of one so new that the read model lacks it, from the log."""
        row = await self._tasks.get(task_id)
        if row is not None:
            return int(row["project_id"])
        history = await self._store.read_stream(task_stream(task_id))
        return history[0].project_id if history else None

    async def _role(self, number: int, user: str) -> str | None:
        """Return what somebody is in a project by the log: a read model may be a moment old."""
        state = project.initial(number)
        for recorded in await self._store.read_stream(project_stream(number)):
            event = codec.decode(recorded)
            state = state if event is None else project.evolve(state, event)
        return state.role_of(user)

    def page(self, task_id: int) -> str:
        """Return an address where somebody who logs in sees a task; there is no secret in it."""
        return f"{self._url.rstrip('/')}/tasks/{task_id}"


class Clicks:
    """Tells the notifications that led to an approval page that somebody opened it."""

    def __init__(self, *, asker: Asker, notifications: NotificationReads) -> None:
        """Find them by ``notifications``."""
        self._asker = asker
        self._notifications = notifications

    async def opened(self, confirmation_id: UUID, approver: str) -> None:
        """Tell them, once each; whatever fails, fails without a word to the reader of the page."""
        try:
            for told in await self._notifications.told_of(confirmation_id, approver):
                subject = subjects.command("notification.click", None, told)
                body = msgspec.json.encode(ClickNotification())
                await self._asker.ask(subject, body, f"system-click-{told}")
        except Refusal as refusal:
            log.info("link.click_not_told", reason=str(refusal))
