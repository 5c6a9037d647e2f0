"""Slack: messages with a button that opens a page. The button decides nothing by itself.

Texts go as ``plain_text``, in which nothing is markup: no mention, no link but the button.
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Final
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct

from events.notification import NotificationType
from events.task import Json
from pandar_daemon.adapters.channels.outbound import Answer, Guard
from pandar_daemon.adapters.channels.webhook import called, judged
from pandar_daemon.domain.channel import (
    BadChannel,
    SlackBot,
    SlackHook,
    SlackNamed,
    is_channel,
    parse,
)
from pandar_daemon.ports import Clock, Delivered, Fate, Item, Notice

API: Final = "https://slack.com/api"
HOOKS: Final = "https://hooks.slack.com"
ITEMS_MAX: Final = 10
"""Notifications shown one by one; Slack takes 50 blocks."""
_TEXT_MAX: Final = 2_900  # of the 3,000 characters a section takes
_HEADER_MAX: Final = 150
_JSON: Final = "application/json; charset=utf-8"

_GONE: Final = frozenset(
    {
        *("account_inactive", "invalid_auth", "token_revoked", "token_expired"),
        *("channel_not_found", "is_archived"),
    }
)
_LATER: Final = frozenset(
    {
        *("ratelimited", "rate_limited", "internal_error", "fatal_error", "request_timeout"),
        *("service_unavailable", "team_added_to_org"),
    }
)
_HOOK_IS_GONE: Final = frozenset({HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND, HTTPStatus.GONE})


class _Said(Struct):
    ok: bool = False
    error: str = ""
    ts: str = ""


def named_channels(text: str) -> dict[str, str]:
    """Return the channels that ``ops=slack://xoxb-…/#ops,dev=https://hooks.slack.com/…`` names.

    Raises ``ValueError`` naming the first that is none of Slack, without its text.
    """
    named: dict[str, str] = {}
    for one in filter(None, (part.strip() for part in text.split(","))):
        name, _, channel = one.partition("=")
        try:
            is_slack = isinstance(parse(channel), SlackBot | SlackHook)
        except BadChannel:
            is_slack = False
        if not is_slack or not is_channel(f"slack://{name}"):
            msg = f"expected name=slack://xoxb-…/#channel or a hook's address for {name[:64]!r}"
            raise ValueError(msg)
        named[name] = channel
    return named


class SlackChannel:
    """Posts to Slack."""

    def __init__(
        self,
        guard: Guard,
        clock: Clock,
        named: Mapping[str, str],
        *,
        api: str = API,
        hooks: str = HOOKS,
    ) -> None:
        """Post to ``named`` channels, too: a name and a channel with a bot or a hook."""
        self._guard = guard
        self._clock = clock
        self._named = named
        self._api = api
        self._hooks = hooks

    async def send(self, target: SlackBot | SlackHook | SlackNamed, notice: Notice) -> Delivered:
        """Post a message; done when Slack says so."""
        match target:
            case SlackNamed(name):
                return await self._send_named(name, notice)
            case SlackHook(url):
                return await self._send_to_hook(url, notice)
            case SlackBot():
                return await self._send_as_bot(target, notice)

    async def _send_named(self, name: str, notice: Notice) -> Delivered:
        try:
            target = parse(self._named.get(name, ""))
        except BadChannel:
            target = None
        if isinstance(target, SlackBot | SlackHook):
            return await self.send(target, notice)
        return Delivered(
            fate=Fate.REFUSED, detail=f"configuration names no channel of Slack {name}"
        )

    async def _send_to_hook(self, url: str, notice: Notice) -> Delivered:
        body = msgspec.json.encode(message(notice))
        place = f"{self._hooks}{urlsplit(url).path}"
        answer = await called(self._guard, place, body, {"Content-Type": _JSON})
        if isinstance(answer, Delivered):
            return answer
        detail = _detail(answer)
        if answer.status in _HOOK_IS_GONE:
            return Delivered(fate=Fate.GONE, detail=detail)
        if answer.status == HTTPStatus.BAD_REQUEST:
            return Delivered(fate=Fate.REFUSED, detail=detail)
        return judged(answer, self._clock.now())

    async def _send_as_bot(self, target: SlackBot, notice: Notice) -> Delivered:
        body = {
            "channel": target.to,
            **message(notice),
            "unfurl_links": False,
            "metadata": {
                "event_type": "pandar_notification",
                "event_payload": {"message_id": str(notice.message_id)},
            },
        }
        headers = {"Content-Type": _JSON, "Authorization": f"Bearer {target.token}"}
        place = f"{self._api}/chat.postMessage"
        answer = await called(self._guard, place, msgspec.json.encode(body), headers)
        if isinstance(answer, Delivered):
            return answer
        if answer.status != HTTPStatus.OK:
            said = judged(answer, self._clock.now())
            return said if said.fate is not Fate.SENT else _unclear(answer)
        return _judged(answer)


def _judged(answer: Answer) -> Delivered:
    """Return what the API's own answer means; one without the message's name is no success."""
    try:
        said = msgspec.json.decode(answer.body, type=_Said)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return _unclear(answer)
    if said.ok and said.ts:
        return Delivered(fate=Fate.SENT, detail=f"message {said.ts}"[:100])
    if not said.error:
        return _unclear(answer)
    detail = f"Slack says {said.error[:100]}"
    if said.error in _GONE:
        return Delivered(fate=Fate.GONE, detail=detail)
    return Delivered(fate=Fate.LATER if said.error in _LATER else Fate.REFUSED, detail=detail)


def _unclear(answer: Answer) -> Delivered:
    return Delivered(fate=Fate.LATER, detail=f"answered {answer.status} with nothing of use")


def _detail(answer: Answer) -> str:
    said = answer.body[:100].decode("utf-8", errors="replace")
    return f"answered {answer.status} {said}".strip()


def message(notice: Notice) -> Json:
    """Return a message as Slack takes it: a text for notifications of the phone, and blocks."""
    blocks: list[Json] = [
        {"type": "header", "text": _plain(notice.title, _HEADER_MAX)},
    ]
    for item in notice.items[:ITEMS_MAX]:
        blocks += _blocks(item, alone=len(notice.items) == 1)
    more = len(notice.items) - ITEMS_MAX
    if more > 0:
        blocks.append({"type": "section", "text": _plain(f"… and {more} more", _TEXT_MAX)})
    return {"text": _escaped(notice.title), "blocks": blocks}


def _blocks(item: Item, *, alone: bool) -> list[Json]:
    said = item.content if alone else f"{item.title}\n{item.content}"
    found: list[Json] = [{"type": "section", "text": _plain(said or item.title, _TEXT_MAX)}]
    if item.url:
        asks = item.kind is NotificationType.CONFIRMATION_REQUIRED
        button = {
            "type": "button",
            "text": _plain("Look and decide" if asks else "Open", 75),
            "url": item.url,
            "action_id": f"open-{item.notification_id}",
        }
        found.append({"type": "actions", "elements": [button]})
    return found


def _plain(said: str, limit: int) -> Json:
    cut = said if len(said) <= limit else said[: limit - 1] + "…"
    return {"type": "plain_text", "text": cut, "emoji": False}


def _escaped(said: str) -> str:
    return said.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
