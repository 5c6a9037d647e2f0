"""Slack, as its servers see us: a receiver on this machine answers as their API does."""

from __future__ import annotations

import pytest

from events.notification import NotificationType
from pandar_daemon.adapters.channels.registry import ChannelOptions, Registry
from pandar_daemon.adapters.channels.slack import ITEMS_MAX, message, named_channels
from pandar_daemon.ports import Channels, Delivered, Fate
from tests.support.clock import ManualClock
from tests.support.notices import item, notice, number
from tests.support.receiver import LOCAL, Receiver, receiving

BOT = "slack://xoxb-123-456-abcdef/#ops"
HOOK = "https://hooks.slack.com/services/T01/B02/0123456789abcdef"
OK = {"ok": True, "ts": "1503435956.000247", "channel": "C1"}


def slack(receiver: Receiver, clock: ManualClock, **named: str) -> Channels:
    """Return channels whose Slack is on this machine."""
    options = ChannelOptions(
        secrets=(b"master",),
        allowed=frozenset({LOCAL}),
        slack=named,
        slack_api=f"{receiver.url}/api",
        slack_hooks=receiver.url,
    )
    return Registry(options, clock)


async def say(clock: ManualClock, channel: str, status: int, body: object) -> Delivered:
    """Return what comes of a message that is answered so."""
    async with receiving() as receiver:
        receiver.say(status, body)
        return await slack(receiver, clock).send(channel, notice())


async def test_a_bot_posts(clock: ManualClock) -> None:
    """With its token, to its channel; links are not unfolded, and a repeat can be told."""
    async with receiving() as receiver:
        receiver.say(200, OK)
        sent = await slack(receiver, clock).send(BOT, notice())
        assert sent == Delivered(fate=Fate.SENT, detail="message 1503435956.000247")
        (call,) = receiver.calls
        assert call.path == "/api/chat.postMessage"
        assert call.headers["authorization"] == "Bearer xoxb-123-456-abcdef"
        assert call.json["channel"] == "#ops"
        assert call.json["unfurl_links"] is False
        assert call.json["metadata"]["event_payload"] == {"message_id": str(number(50))}


async def test_a_hook_posts(clock: ManualClock) -> None:
    """To its own path; both of its forms are the same."""
    async with receiving() as receiver:
        for channel in (HOOK, "slack://T01/B02/0123456789abcdef"):
            receiver.say(200, b"ok")
            assert (await slack(receiver, clock).send(channel, notice())).fate is Fate.SENT
        assert {call.path for call in receiver.calls} == {"/services/T01/B02/0123456789abcdef"}
        assert "authorization" not in receiver.calls[0].headers


async def test_a_name_stands_for_a_channel(clock: ManualClock) -> None:
    """Configuration says which; tasks need not know a token."""
    async with receiving() as receiver:
        receiver.say(200, OK)
        channels = slack(receiver, clock, ops=BOT, loop="slack://loop", odd="mailto:a@b.c")
        assert (await channels.send("slack://ops", notice())).fate is Fate.SENT
        for name in ("other", "loop", "odd"):
            refused = await channels.send(f"slack://{name}", notice())
            assert refused.fate is Fate.REFUSED
            assert name in refused.detail
        assert len(receiver.calls) == 1


@pytest.mark.parametrize(
    ("error", "fate"),
    [
        ("invalid_auth", Fate.GONE),
        ("token_revoked", Fate.GONE),
        ("account_inactive", Fate.GONE),
        ("channel_not_found", Fate.GONE),
        ("is_archived", Fate.GONE),
        ("not_in_channel", Fate.REFUSED),
        ("msg_too_long", Fate.REFUSED),
        ("ratelimited", Fate.LATER),
        ("internal_error", Fate.LATER),
    ],
)
async def test_what_the_api_says(clock: ManualClock, error: str, fate: Fate) -> None:
    """An answer of 200 may be a refusal; it is named."""
    said = await say(clock, BOT, 200, {"ok": False, "error": error})
    assert said == Delivered(fate=fate, detail=f"Slack says {error}")


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"\xff", b"[]", b'{"ok": true}', b'{"ok": false}']
)
async def test_an_answer_that_says_nothing_is_no_success(clock: ManualClock, body: bytes) -> None:
    """Without the name of the message nobody knows whether there is one."""
    assert (await say(clock, BOT, 200, body)).fate is Fate.LATER


@pytest.mark.parametrize(
    ("status", "body", "fate"),
    [
        (404, b"no_service", Fate.GONE),
        (403, b"invalid_token", Fate.GONE),
        (410, b"channel_is_archived", Fate.GONE),
        (400, b"invalid_payload", Fate.REFUSED),
        (500, b"", Fate.LATER),
    ],
)
async def test_what_a_hook_says(clock: ManualClock, status: int, body: bytes, fate: Fate) -> None:
    """A hook that was taken away does not come back."""
    said = await say(clock, HOOK, status, body)
    assert said.fate is fate
    assert body.decode() in said.detail


async def test_a_busy_slack_is_waited_for(clock: ManualClock) -> None:
    """As long as it says."""
    async with receiving() as receiver:
        for channel in (BOT, HOOK):
            receiver.say(429, retry_after="30")
            said = await slack(receiver, clock).send(channel, notice())
            assert (said.fate, said.retry_after_sec) == (Fate.LATER, 30)


async def test_slack_itself_is_guarded(clock: ManualClock) -> None:
    """An address of configuration is judged like all others."""
    async with receiving() as receiver:
        options = ChannelOptions(secrets=(b"m",), slack_api=f"{receiver.url}/api")
        said = await Registry(options, clock).send(BOT, notice())
        assert said.fate is Fate.REFUSED
        assert receiver.calls == []


def test_a_button_opens_the_page() -> None:
    """It is a link, with a name of its own; it decides nothing."""
    blocks = message(notice())["blocks"]
    assert [block["type"] for block in blocks] == ["header", "section", "actions"]
    (button,) = blocks[2]["elements"]
    assert button["url"] == "https://pandar.example.org/a/secret"
    assert button["text"]["text"] == "Look and decide"
    assert "value" not in button
    done = item(kind=NotificationType.TASK_COMPLETED)
    assert message(notice(done))["blocks"][2]["elements"][0]["text"]["text"] == "Open"


def test_without_a_link_there_is_no_button() -> None:
    """As in an alert."""
    blocks = message(notice(item(url="")))["blocks"]
    assert [block["type"] for block in blocks] == ["header", "section"]


def test_nothing_is_markup() -> None:
    """Nobody is mentioned, whatever an agent writes."""
    text = "<!channel> <@U1> <https://evil.example|here> & more"
    body = message(notice(item(title=text, content=text)))
    assert body["text"] == text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    said = [block["text"] for block in body["blocks"] if "text" in block]
    assert {one["type"] for one in said} == {"plain_text"}


def test_limits_of_slack_are_kept() -> None:
    """50 blocks, 150 characters of a header, 3,000 of a section."""
    items = [item(n, title="t" * 255, content="c" * 4_000) for n in range(1, 100)]
    body = message(notice(*items, title="t" * 255))
    assert len(body["blocks"]) == 1 + 2 * ITEMS_MAX + 1
    assert "and 89 more" in body["blocks"][-1]["text"]["text"]
    assert len(body["blocks"][0]["text"]["text"]) == 150
    assert all(len(one["text"]["text"]) <= 3_000 for one in body["blocks"] if "text" in one)


def test_names_of_configuration() -> None:
    """A name and a channel each; blanks between them do not count."""
    assert named_channels("") == {}
    assert named_channels(f"ops={BOT}, dev={HOOK},") == {"ops": BOT, "dev": HOOK}


@pytest.mark.parametrize(
    "text",
    ["ops", f"={BOT}", f"Ops Team={BOT}", "ops=slack://dev", "ops=mailto:a@b.c", "ops=secret"],
)
def test_names_that_cannot_be(text: str) -> None:
    """The name is told, what stands behind it is not."""
    with pytest.raises(ValueError, match="expected name=slack") as raised:
        named_channels(text)
    assert "secret" not in str(raised.value)
