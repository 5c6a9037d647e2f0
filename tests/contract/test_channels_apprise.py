"""Everything else through the real Apprise, against a receiver on this machine."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from pandar_daemon.adapters.channels.registry import ChannelOptions, Registry
from pandar_daemon.adapters.resolving import Resolve
from pandar_daemon.domain.channel import HOSTED, SERVICES
from pandar_daemon.ports import Channels, Fate
from tests.contract.test_channels_outbound import names
from tests.support.clock import ManualClock
from tests.support.notices import item, notice
from tests.support.receiver import LOCAL, receiving

pytestmark = pytest.mark.filterwarnings("ignore:'imghdr':DeprecationWarning")


def channels(clock: ManualClock, *allowed: str, resolve: Resolve | None = None) -> Channels:
    """Return channels that may call these hosts."""
    options = ChannelOptions(secrets=(b"m",), allowed=frozenset(allowed))
    return Registry(options, clock, resolve or names({LOCAL: [LOCAL], "inside.example": [LOCAL]}))


async def test_a_message_is_sent(clock: ManualClock) -> None:
    """Title, text and link arrive."""
    async with receiving() as receiver:
        receiver.say(200)
        sent = await channels(clock, LOCAL).send(f"json://{LOCAL}:{receiver.port}/in", notice())
        assert sent.fate is Fate.SENT
        (call,) = receiver.calls
    assert call.path == "/in"
    assert call.json["title"] == "Approval needed: tidy up"
    assert "git push origin main\nhttps://pandar.example.org/a/secret" in call.json["message"]


async def test_several_are_one_message(clock: ManualClock) -> None:
    """Each with its title."""
    async with receiving() as receiver:
        receiver.say(200)
        several = notice(item(1), item(2, title="Completed: x"), title="Two")
        await channels(clock, LOCAL).send(f"json://{LOCAL}:{receiver.port}/", several)
        assert receiver.calls[0].json["title"] == "Two"
        assert "Completed: x" in receiver.calls[0].json["message"]


async def test_a_failure_is_tried_again(clock: ManualClock) -> None:
    """Apprise tells no reason."""
    async with receiving() as receiver:
        receiver.say(500)
        sent = await channels(clock, LOCAL).send(f"json://{LOCAL}:{receiver.port}/", notice())
    assert sent.fate is Fate.LATER


async def test_a_host_inside_is_refused(clock: ManualClock) -> None:
    """By address or by name: nothing is sent."""
    async with receiving() as receiver:
        for host in (LOCAL, "inside.example"):
            sent = await channels(clock).send(f"json://{host}:{receiver.port}/", notice())
            assert sent.fate is Fate.REFUSED
            assert host in sent.detail
        assert receiver.calls == []


async def test_a_host_that_cannot_be_found_is_tried_again(clock: ManualClock) -> None:
    """It is not left to Apprise, which might find another answer."""
    sent = await channels(clock).send("json://nowhere.example/in", notice())
    assert sent.fate is Fate.LATER


async def test_redirects_are_not_followed(clock: ManualClock) -> None:
    """Not even if the channel asks for it."""
    async with receiving() as receiver:
        receiver.say(302, location=f"{receiver.url}/secret")
        url = f"json://{LOCAL}:{receiver.port}/in?redirect=yes"
        sent = await channels(clock, LOCAL).send(url, notice())
        assert sent.fate is Fate.LATER
        assert [call.path for call in receiver.calls] == ["/in"]


async def test_what_apprise_cannot_read_is_refused(clock: ManualClock) -> None:
    """A known scheme may still lack what it needs."""
    sent = await channels(clock).send("tgram://", notice())
    assert sent.fate is Fate.REFUSED
    sent = await channels(clock).send("tgram://nothing", notice())
    assert sent.detail == "Apprise cannot read this channel"


async def test_without_apprise_it_is_refused(
    clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is optional; who needs it is told."""
    monkeypatch.setitem(sys.modules, "apprise", None)
    sent = await channels(clock).send("ntfy://ntfy.example.org/topic", notice())
    assert sent.fate is Fate.REFUSED
    assert "pip install" in sent.detail


def test_our_schemes_are_those_of_apprise() -> None:
    """Each is known to it, and listed as what it is: with a server of its own, or without."""
    import apprise  # noqa: PLC0415 - optional

    manager: Any = apprise.manager_plugins
    manager = manager.NotificationManager()
    found = {
        schema: any("{host}" in template for template in plugin.templates)
        for plugin in manager.plugins()
        for schema in _schemas(plugin)
    }
    assert found.keys() >= HOSTED | SERVICES
    assert {scheme for scheme in SERVICES if found[scheme]} == set()


def _schemas(plugin: object) -> set[str]:
    protocols = (getattr(plugin, name, None) for name in ("protocol", "secure_protocol"))
    found: set[str] = set()
    for one in protocols:
        found.update([one] if isinstance(one, str) else one or ())
    return found
