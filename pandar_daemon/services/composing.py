"""A batch becomes a message: what it says, and the address where its reader can act."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final
from uuid import UUID

from pandar_daemon.domain.notify_texts import reminding, together
from pandar_daemon.domain.outbox import Batch, Line
from pandar_daemon.domain.refusals import Refusal, Unavailable
from pandar_daemon.ports import Item, Links, Notice

LINKS_MAX: Final = 1_000
"""Links remembered, so that a message that is tried again holds the same one."""


class Composer:
    """Writes messages."""

    def __init__(self, links: Links) -> None:
        """Take addresses from ``links``."""
        self._links = links
        self._issued: OrderedDict[tuple[UUID, str], str] = OrderedDict()

    async def notice(self, batch: Batch) -> Notice:
        """Return a batch as a message; raises `Unavailable` when there is no link to be had yet."""
        lines = sorted(batch.lines, key=lambda line: not line.asks)
        items = tuple([await self._item(line) for line in lines])
        return Notice(
            message_id=batch.message_id,
            user=batch.route[0],
            title=together([item.title for item in items], digest=batch.digest),
            items=items,
            digest=batch.digest,
        )

    async def _item(self, line: Line) -> Item:
        told = line.notification
        return Item(
            notification_id=told.notification_id,
            kind=told.kind,
            title=reminding(told.title, line.delivery.reminder),
            content=told.content,
            at=told.at or line.delivery.due_at,
            url=await self._url(line),
            task_id=told.task_id,
            project_id=told.of_project,
            confirmation_id=told.confirmation_id,
            expires_at=told.expires_at,
        )

    async def _url(self, line: Line) -> str:
        told = line.notification
        if told.task_id is None:
            return ""
        if told.confirmation_id is None:
            return self._links.page(told.task_id)
        key = (told.confirmation_id, told.user)
        if key not in self._issued:
            self._issued[key] = await self._issue(told.task_id, *key)
            if len(self._issued) > LINKS_MAX:
                self._issued.popitem(last=False)
        return self._issued[key]

    async def _issue(self, task_id: int, confirmation_id: UUID, approver: str) -> str:
        try:
            return await self._links.issue(task_id, confirmation_id, approver)
        except Unavailable:
            raise
        except Refusal:  # a watcher, who may look only
            return self._links.page(task_id)
