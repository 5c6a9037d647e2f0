"""Webhooks: a signed POST of JSON. The body is described in ``docs/howto/notifications.md``."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Final

import aiohttp
import msgspec

from events.instant import text
from events.task import Json
from pandar_daemon.adapters.channels.outbound import Answer, Blocked, Guard
from pandar_daemon.domain.webhook import secret_of, signed_headers
from pandar_daemon.ports import Clock, Delivered, Fate, Item, Notice

USER_AGENT: Final = "Pandar"
_SEVERAL: Final = "notifications"


class WebhookChannel:
    """Calls addresses."""

    def __init__(self, guard: Guard, clock: Clock, secrets: Sequence[bytes]) -> None:
        """Sign with what ``secrets`` (of the installation: the present one, older ones) make."""
        self._guard = guard
        self._clock = clock
        self._secrets = tuple(secrets)

    async def send(self, url: str, notice: Notice) -> Delivered:
        """Post a message; done when it is answered with a 2xx."""
        body = msgspec.json.encode(payload(notice))
        now = self._clock.now()
        secrets = [secret_of(master, url) for master in self._secrets]
        headers = {
            "Content-Type": "application/json",
            "User-Agent": USER_AGENT,
            **signed_headers(secrets, str(notice.message_id), int(now.timestamp()), body),
        }
        return await posted(self._guard, url, body, headers, now)


async def posted(
    guard: Guard, url: str, body: bytes, headers: dict[str, str], now: datetime
) -> Delivered:
    """Return what came of a POST, judged by its status alone."""
    answer = await called(guard, url, body, headers)
    return answer if isinstance(answer, Delivered) else judged(answer, now)


async def called(
    guard: Guard, url: str, body: bytes, headers: dict[str, str]
) -> Answer | Delivered:
    """Return the answer to a POST, or what there is to say when none came."""
    try:
        return await guard.post(url, body, headers)
    except Blocked as error:
        return Delivered(fate=Fate.REFUSED, detail=str(error))
    except aiohttp.InvalidURL:
        return Delivered(fate=Fate.REFUSED, detail="the address cannot be called")
    except (OSError, aiohttp.ClientError) as error:
        return Delivered(fate=Fate.LATER, detail=f"no answer: {type(error).__name__}")


def judged(answer: Answer, now: datetime) -> Delivered:
    """Return what an answer means: 2xx that it is done, 410 that nobody is there any more."""
    detail = f"answered {answer.status}"
    if HTTPStatus.OK <= answer.status < HTTPStatus.MULTIPLE_CHOICES:
        return Delivered(fate=Fate.SENT, detail=detail)
    if answer.status == HTTPStatus.GONE:
        return Delivered(fate=Fate.GONE, detail=detail)
    if HTTPStatus.MULTIPLE_CHOICES <= answer.status < HTTPStatus.BAD_REQUEST:
        detail += "; redirects are not followed"
    after = retry_after(answer.headers.get("retry-after", ""), now)
    return Delivered(fate=Fate.LATER, detail=detail, retry_after_sec=after)


def retry_after(value: str, now: datetime) -> float | None:
    """Return the seconds a ``Retry-After`` header asks for; ``None`` for one that says nothing."""
    value = value.strip()
    if value.isascii() and value.isdecimal():
        return float(value[:9])
    try:
        at = parsedate_to_datetime(value)
    except ValueError:
        return None
    at = at if at.tzinfo is not None else at.replace(tzinfo=UTC)
    return max((at - now).total_seconds(), 0.0)


def payload(notice: Notice) -> Json:
    """Return the body of a webhook; its ``timestamp`` is that of the newest notification."""
    kinds = {item.kind.value for item in notice.items}
    return {
        "type": f"notification.{kinds.pop()}" if len(kinds) == 1 else _SEVERAL,
        "timestamp": text(max(item.at for item in notice.items)),
        "data": {
            "title": notice.title,
            "user": notice.user,
            "digest": notice.digest,
            "notifications": [_item(item) for item in notice.items],
        },
    }


def _item(item: Item) -> Json:
    return {
        "id": str(item.notification_id),
        "type": item.kind.value,
        "title": item.title,
        "content": item.content,
        "at": text(item.at),
        "url": item.url or None,
        "task_id": item.task_id,
        "project_id": item.project_id,
        "confirmation_id": None if item.confirmation_id is None else str(item.confirmation_id),
        "expires_at": None if item.expires_at is None else text(item.expires_at),
    }
