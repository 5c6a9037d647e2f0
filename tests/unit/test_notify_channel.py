"""Channels as texts: what is one, what may be shown of it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pandar_daemon.domain.channel import (
    HOSTED,
    SERVICES,
    BadChannel,
    Mail,
    SlackBot,
    SlackHook,
    SlackNamed,
    ViaApprise,
    Webhook,
    check,
    fingerprint,
    mask,
    parse,
)

HOOK = "https://hooks.slack.com/services/T01/B02/0123456789abcdef"

GOOD = {
    "webhook:https://example.org/in/0123456789": (
        Webhook("https://example.org/in/0123456789"),
        "webhook:https://example.org/…6789",
    ),
    "webhook:https://ann:pass@example.org:8443/in": (
        Webhook("https://ann:pass@example.org:8443/in"),
        "webhook:https://example.org:8443/…",
    ),
    "webhook:https://example.org/?token=0123456789": (
        Webhook("https://example.org/?token=0123456789"),
        "webhook:https://example.org/…6789",
    ),
    "webhook:http://127.0.0.1:9000/in": (
        Webhook("http://127.0.0.1:9000/in"),
        "webhook:http://127.0.0.1:9000/…",
    ),
    "webhook:https://[2606:4700::1]/in": (
        Webhook("https://[2606:4700::1]/in"),
        "webhook:https://[2606:4700::1]/…",
    ),
    "slack://ops-channel": (SlackNamed("ops-channel"), "slack://ops-channel"),
    "slack://xoxb-123-456-abcdef/#ops": (
        SlackBot("xoxb-123-456-abcdef", "#ops"),
        "slack://…cdef/#ops",
    ),
    "slack://T01/B02/0123456789abcdef": (SlackHook(HOOK), "https://hooks.slack.com/…cdef"),
    HOOK: (SlackHook(HOOK), "https://hooks.slack.com/…cdef"),
    "mailto:ann@example.org": (Mail("ann@example.org"), "mailto:a…@example.org"),
    "mailto://ann:pass@mail.example.org": (
        ViaApprise("mailto://ann:pass@mail.example.org", names_host=True),
        "mailto://mail.example.org/…",
    ),
    "tgram://123456789:abcdefgh/42": (None, None),
    "ntfys://ntfy.example.org/alerts-of-ann": (
        ViaApprise("ntfys://ntfy.example.org/alerts-of-ann", names_host=True),
        "ntfys://ntfy.example.org/…-ann",
    ),
    "discord://123456789012/abcdefghijkl": (
        ViaApprise("discord://123456789012/abcdefghijkl", names_host=False),
        "discord://…ijkl",
    ),
}
BAD = [
    "",
    "ops",
    "webhook:",
    "webhook:ftp://example.org/",
    "webhook:https://",
    "webhook:https://example.org/#part",
    "webhook:https://[::1",
    "webhook:https://example.org:99999/",
    "webhook:https://example.org/a b",
    "webhook:https://example.org/\u202e",
    "https://example.org/in",
    "http://example.org/in",
    "slack://",
    "slack://#ops",
    "slack://Ops Channel",
    "slack://xoxb-123456789",
    "mailto:ann",
    "mailto:ann@example.org,bob@example.org",
    "mailto:ann@example.org?bcc=bob@example.org",
    "mailto:ann@example.org%0d%0aBcc:x@example.org",
    "syslog://",
    "dbus://",
    "file:///etc/passwd",
    "gopher://example.org/",
    "ntfy:topic",
    "discord://a/b?template=/etc/passwd",
    "workflows://h/w/s?footer=no&TEMPLATE=/etc/passwd",
    f"webhook:https://example.org/{'x' * 2_048}",
]


@pytest.mark.parametrize("channel", GOOD)
def test_what_is_a_channel(channel: str) -> None:
    """Each form is understood, and shown without its secret."""
    target, shown = GOOD[channel]
    assert check(channel) is None
    if target is not None:
        assert parse(channel) == target
        assert mask(channel) == shown
    for secret in ("0123", "pass", "456-abc", "123456789:", "abcdefgh"):
        assert secret not in mask(channel)


@pytest.mark.parametrize("channel", BAD)
def test_what_is_none(channel: str) -> None:
    """Anything else is refused with a rule that does not repeat it, and shown as nothing."""
    rule = check(channel)
    assert rule
    assert len(channel) < 20 or channel not in rule
    assert mask(channel) == "…"
    with pytest.raises(BadChannel):
        parse(channel)


def test_an_unknown_scheme_is_told_the_known_ones() -> None:
    """Who misspells a scheme sees which there are."""
    rule = check("slak://ops") or ""
    for known in ("webhook:https://…", "slack://…", "mailto:…", "ntfy://", "tgram://"):
        assert known in rule


def test_plain_http_is_for_this_machine_and_allowed_hosts() -> None:
    """Elsewhere everybody on the way could read, and change, the message."""
    assert check("webhook:http://localhost/in") is None
    assert "https" in (check("webhook:http://hooks.corp/in") or "")
    assert check("webhook:http://hooks.corp/in", {"hooks.corp"}) is None


def test_no_scheme_is_in_both_lists() -> None:
    """A scheme either names its server or stands for one."""
    assert not HOSTED & SERVICES


def test_fingerprints_tell_channels_apart() -> None:
    """The same text has the same fingerprint, another one another."""
    assert fingerprint("slack://ops") == fingerprint("slack://ops")
    assert len({fingerprint(channel) for channel in GOOD}) == len(GOOD)


@given(st.text(max_size=200))
def test_nothing_raises(text: str) -> None:
    """Whatever stands in metadata is judged, and can be masked."""
    for channel in (text, f"webhook:https://{text}", f"slack://{text}", f"ntfy://{text}"):
        assert (check(channel) is None) or mask(channel)
