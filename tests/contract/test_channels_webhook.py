"""Webhooks, as their receiver sees them."""

from __future__ import annotations

import base64
import hashlib
import hmac
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest

from events.notification import NotificationType
from pandar_daemon.adapters.channels.registry import ChannelOptions, Registry
from pandar_daemon.adapters.channels.secrets import masters
from pandar_daemon.adapters.channels.webhook import payload, retry_after
from pandar_daemon.domain.webhook import secret_of
from pandar_daemon.ports import Channels, Fate
from tests.support.clock import ManualClock
from tests.support.given import TASK_ID, USER
from tests.support.notices import CONFIRMATION, item, notice, number
from tests.support.receiver import LOCAL, Called, Receiver, receiving

MASTERS = (b"new", b"old")


def channels(clock: ManualClock, *, allowed: bool = True) -> Channels:
    """Return all channels."""
    hosts = frozenset({LOCAL}) if allowed else frozenset()
    return Registry(ChannelOptions(secrets=MASTERS, allowed=hosts), clock)


def to(receiver: Receiver, path: str = "/in") -> str:
    """Return the channel that calls a receiver."""
    return f"webhook:{receiver.url}{path}"


def signed_with(call: Called, secret: str) -> bool:
    """Verify a call as Standard Webhooks says, with nothing of ours."""
    headers = call.headers
    content = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + call.body
    key = base64.b64decode(secret.split("_", 1)[1])
    expected = base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode()
    return f"v1,{expected}" in headers["webhook-signature"].split(" ")


async def test_a_call_is_signed(clock: ManualClock) -> None:
    """With each valid secret of that address; time and id are what they should be."""
    async with receiving() as receiver:
        sent = await channels(clock).send(to(receiver), notice())
        assert sent.fate is Fate.SENT
        (call,) = receiver.calls
        for master in MASTERS:
            assert signed_with(call, secret_of(master, f"{receiver.url}/in"))
        assert not signed_with(call, secret_of(b"other", f"{receiver.url}/in"))
        assert call.headers["webhook-id"] == str(number(50))
        assert call.headers["webhook-timestamp"] == str(int(clock.now().timestamp()))
        assert call.headers["content-type"] == "application/json"


async def test_sent_again_it_has_the_same_id(clock: ManualClock) -> None:
    """The receiver can tell a repeat; the time is that of the attempt."""
    async with receiving() as receiver:
        sender = channels(clock)
        await sender.send(to(receiver), notice())
        clock.advance(300)
        await sender.send(to(receiver), notice())
        first, again = receiver.calls
        assert first.headers["webhook-id"] == again.headers["webhook-id"]
        assert first.body == again.body
        assert int(again.headers["webhook-timestamp"]) == (
            int(first.headers["webhook-timestamp"]) + 300
        )


def test_the_body() -> None:
    """Type, time and data; each notification with its link."""
    assert payload(notice()) == {
        "type": "notification.confirmation_required",
        "timestamp": "2026-03-01T12:00:00.000000Z",
        "data": {
            "title": "Approval needed: tidy up",
            "user": USER,
            "digest": False,
            "notifications": [
                {
                    "id": str(number(1)),
                    "type": "confirmation_required",
                    "title": "Approval needed: tidy up",
                    "content": "Gate: git_push_protected\ngit push origin main",
                    "at": "2026-03-01T12:00:00.000000Z",
                    "url": "https://pandar.example.org/a/secret",
                    "task_id": TASK_ID,
                    "project_id": 1,
                    "confirmation_id": str(CONFIRMATION),
                    "expires_at": "2026-03-01T13:00:00.000000Z",
                }
            ],
        },
    }


def test_a_body_of_several() -> None:
    """What is of different types says so."""
    other = item(
        2, kind=NotificationType.SYSTEM_ALERT, confirmation_id=None, expires_at=None, url=""
    )
    body = payload(notice(item(1), other))
    assert body["type"] == "notifications"
    assert body["data"]["notifications"][1]["url"] is None


@pytest.mark.parametrize(
    ("status", "fate"),
    [
        (200, Fate.SENT),
        (204, Fate.SENT),
        (302, Fate.LATER),
        (400, Fate.LATER),
        (404, Fate.LATER),
        (410, Fate.GONE),
        (429, Fate.LATER),
        (500, Fate.LATER),
        (503, Fate.LATER),
    ],
)
async def test_what_an_answer_means(clock: ManualClock, status: int, fate: Fate) -> None:
    """2xx is done, 410 is the end, all else is tried again."""
    async with receiving() as receiver:
        receiver.say(status)
        sent = await channels(clock).send(to(receiver), notice())
        assert sent.fate is fate
        assert f"answered {status}" in sent.detail


async def test_retry_after_is_passed_on(clock: ManualClock) -> None:
    """In seconds, or as a date."""
    async with receiving() as receiver:
        receiver.say(503, retry_after="120")
        receiver.say(429, retry_after=format_datetime(clock.now() + timedelta(seconds=60)))
        receiver.say(429, retry_after="soon")
        sender = channels(clock)
        waits = [(await sender.send(to(receiver), notice())).retry_after_sec for _ in range(3)]
        assert waits == [120, 60, None]


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0),
        ("99999999999999999999", 999_999_999),
        ("-1", None),
        ("1.5", None),
        ("", None),
        ("Sun, 01 Mar 2026 11:00:00 GMT", 0),
        ("Sun, 01 Mar 2026 12:00:30", 30),
        ("Sun, 99 Mar 2026 12:00:30 GMT", None),
    ],
)
def test_retry_after_may_be_anything(value: str, seconds: float | None) -> None:
    """What says nothing counts as absent, a time in the past as now."""
    assert retry_after(value, datetime(2026, 3, 1, 12, tzinfo=UTC)) == seconds


async def test_nobody_there_is_tried_again(clock: ManualClock) -> None:
    """A port nobody listens on."""
    async with receiving() as receiver:
        gone = to(receiver)
    sent = await channels(clock).send(gone, notice())
    assert sent.fate is Fate.LATER
    assert sent.detail == "no answer: ClientConnectorError"


async def test_what_is_not_public_is_refused(clock: ManualClock) -> None:
    """Nothing is sent; trying again would not help."""
    async with receiving() as receiver:
        sent = await channels(clock, allowed=False).send(to(receiver), notice())
        assert sent.fate is Fate.REFUSED
        assert receiver.calls == []


async def test_what_is_no_channel_is_refused(clock: ManualClock) -> None:
    """Rules may have become stricter since it was accepted."""
    sent = await channels(clock).send("gopher://example.org", notice())
    assert sent.fate is Fate.REFUSED


async def test_no_detail_holds_the_address(clock: ManualClock) -> None:
    """What is said of a failure is recorded, and read by others."""
    async with receiving() as receiver:
        receiver.say(500, b"secret-of-theirs")
        sender = channels(clock)
        for path in ("/in/secret-path?key=secret-key", "/in/secret-path?key=secret-key#x"):
            sent = await sender.send(to(receiver, path), notice())
            assert "secret" not in sent.detail


def test_the_secret_of_an_installation(tmp_path: Path) -> None:
    """Made once, for us alone; one that was renamed still signs, as the second."""
    (first,) = masters(tmp_path / "data")
    assert masters(tmp_path / "data") == (first,)
    file = tmp_path / "data" / "notify.secret"
    assert file.stat().st_mode & 0o777 == 0o600
    file.rename(file.with_name("notify.secret.old"))
    second, old = masters(tmp_path / "data")
    assert old == first
    assert second != first
