"""Where messages can be sent, as texts such as ``slack://ops`` or ``webhook:https://…``.

    webhook:https://host/path              a signed POST; plain http only to this machine, or to a
                                           host that configuration allows
    slack://name                           a channel that configuration names
    slack://xoxb-…/#channel                a bot's token, and where it posts
    slack://T…/B…/…                        an incoming webhook, also as
    https://hooks.slack.com/services/…     its own address
    mailto:ann@example.org                 by the configured mail server
    ntfy://… tgram://… and others          what Apprise knows

As a rule such a text is a secret. What others may see of it is its `mask`; that two are the same is
told by their `fingerprint`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection
from typing import Final
from urllib.parse import SplitResult, urlsplit

from msgspec import Struct

LENGTH_MAX: Final = 2_048

OWN: Final = ("webhook:https://…", "slack://…", "https://hooks.slack.com/services/…", "mailto:…")
_HOSTED: Final = """
    apprise apprises bark barks form forms gotify gotifys hassio hassios json jsons kodi kodis
    mailgun mailto mailtos mastodon mastodons matrix matrixs misskey misskeys mmost mmosts nctalk
    nctalks ntfy ntfys pushdeer pushdeers rocket rockets signal signals synology synologys toot
    toots workflows xml xmls
"""
HOSTED: Final = frozenset(_HOSTED.split())
"""Schemes of Apprise whose URL may name the server that is called."""
_SERVICES: Final = """
    bluesky brevo chanify clicksend dingtalk discord feishu flock gchat groupme guilded ifttt
    ilert join lark line msgbird notifiarr o365 onesignal opsgenie pagerduty pagertree pbul plivo
    postmark pover prowl pushed pushme pushy qq resend revolt ringc ryver schan sendgrid ses signl4
    simplepush sinch sns spike splunk spush squadcast telnyx tgram threema twilio twist victorops
    vonage webex wecombot whatsapp wxpusher wxteams zulip
"""
SERVICES: Final = frozenset(_SERVICES.split())
"""Schemes of Apprise that stand for one service each; those of one machine are not among them."""
_FILES: Final = re.compile(r"[?&](template|keyfile|subfile|attach|pgpkey|cert|ca)=", re.IGNORECASE)
"""Parameters by which Apprise would read a file of this machine, or fetch one."""

_SHAPE: Final = re.compile(r"[a-z][a-z0-9+.-]*:[\x21-\x7e]+")
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_BOT: Final = re.compile(r"(?P<token>xox[abpr][A-Za-z0-9.-]{6,})/(?P<to>[#@]?[A-Za-z0-9._-]{1,80})")
_HOOK: Final = re.compile(r"(?P<path>T[A-Za-z0-9]+/[AB][A-Za-z0-9]+/[A-Za-z0-9]{8,})")
_ADDRESS: Final = re.compile(r"[A-Za-z0-9!#$%&'*+/=^_`{|}~.-]{1,64}@[A-Za-z0-9.-]{1,190}")
_SLACK_HOST: Final = "hooks.slack.com"
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_SHORT: Final = 12
"""Of fewer hidden characters none is shown."""


class Webhook(Struct, frozen=True):
    """A signed POST to a URL."""

    url: str


class SlackHook(Struct, frozen=True):
    """An incoming webhook of Slack; its URL is the secret."""

    url: str


class SlackBot(Struct, frozen=True):
    """A bot of Slack, and where it posts: ``#channel``, or an id."""

    token: str
    to: str


class SlackNamed(Struct, frozen=True):
    """A channel of Slack that configuration names."""

    name: str


class Mail(Struct, frozen=True):
    """A mail address."""

    address: str


class ViaApprise(Struct, frozen=True):
    """Whatever else Apprise knows; ``names_host`` unless what looks like a host is a key."""

    url: str
    names_host: bool


Target = Webhook | SlackHook | SlackBot | SlackNamed | Mail | ViaApprise


class BadChannel(ValueError):
    """The text is no channel; the message is the rule it breaks, without the text."""


def check(channel: str, allowed: Collection[str] = ()) -> str | None:
    """Return the rule a channel breaks, ``None`` when it can be used.

    ``allowed`` are the hosts that configuration allows.
    """
    try:
        target = parse(channel)
    except BadChannel as error:
        return str(error)
    if isinstance(target, Webhook) and _is_plain(target.url, allowed):
        return "must be webhook:https://…: plain http is for this machine and allowed hosts only"
    return None


def is_channel(channel: str) -> bool:
    """Return whether a text is a channel at all, wherever it may lead."""
    try:
        parse(channel)
    except BadChannel:
        return False
    return True


def parse(channel: str) -> Target:
    """Return what a channel stands for; raises `BadChannel`."""
    if len(channel) > LENGTH_MAX or not _SHAPE.fullmatch(channel):
        raise BadChannel(f"must be a channel of at most {LENGTH_MAX} characters: {_known()}")
    scheme, _, rest = channel.partition(":")
    match scheme:
        case "webhook":
            return Webhook(_web(rest))
        case "slack" if rest.startswith("//"):
            return _slack(rest[2:])
        case "https" if rest.startswith(f"//{_SLACK_HOST}/services/"):
            return SlackHook(channel)
        case "http" | "https":
            raise BadChannel(f"must be webhook:{scheme}://… for an address to be called")
        case "mailto" if not rest.startswith("//"):
            return _mail(rest)
        case _:
            return _via_apprise(channel, scheme)


def mask(channel: str) -> str:
    """Return what may be shown of a channel: how it is sent, to which host, its last characters."""
    try:
        target = parse(channel)
    except BadChannel:
        return "…"
    match target:
        case Webhook(url):
            shown = f"webhook:{_masked(url)}"
        case SlackHook(url):
            shown = _masked(url)
        case SlackBot(token, to):
            shown = f"slack://…{token[-4:]}/{to}"
        case SlackNamed(name):
            shown = f"slack://{name}"
        case Mail(address):
            shown = f"mailto:{address[0]}…@{address.rpartition('@')[2]}"
        case ViaApprise(url, names_host):
            shown = _masked(url) if names_host else f"{url.partition(':')[0]}://…{_end(url)}"
    return shown


def fingerprint(channel: str) -> str:
    """Return the SHA-256 of a channel, in hex."""
    return hashlib.sha256(channel.encode()).hexdigest()


def _known() -> str:
    others = ", ".join(f"{scheme}://" for scheme in sorted(HOSTED | SERVICES))
    return f"{', '.join(OWN)}, or one of Apprise's: {others}"


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        _ = parts.port  # which is read, and judged, only when it is asked for
    except ValueError:
        raise BadChannel("must hold a URL that can be read") from None
    return parts


def _web(url: str) -> str:
    parts = _split(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise BadChannel("must be webhook:https://… with a host")
    if parts.fragment:
        raise BadChannel("must have no fragment: nothing after a # is ever sent")
    return url


def _slack(rest: str) -> Target:
    if bot := _BOT.fullmatch(rest):
        return SlackBot(bot["token"], bot["to"])
    if hook := _HOOK.fullmatch(rest):
        return SlackHook(f"https://{_SLACK_HOST}/services/{hook['path']}")
    if _NAME.fullmatch(rest) and not rest.startswith("xox"):
        return SlackNamed(rest)
    raise BadChannel("must be slack://name, slack://xoxb-…/#channel or slack://T…/B…/…")


def _mail(address: str) -> Target:
    if not _ADDRESS.fullmatch(address) or ".." in address:
        raise BadChannel("must be mailto: with one plain address and nothing else")
    return Mail(address)


def _via_apprise(channel: str, scheme: str) -> Target:
    if scheme not in HOSTED | SERVICES:
        raise BadChannel(f"must be one of {_known()}")
    if "://" not in channel:
        raise BadChannel(f"must be {scheme}://…")
    if _FILES.search(channel):
        raise BadChannel("must not name a file to be read")
    names_host = scheme in HOSTED and "." in (_split(channel).hostname or "")
    return ViaApprise(channel, names_host)


def _is_plain(url: str, allowed: Collection[str]) -> bool:
    parts = urlsplit(url)
    return parts.scheme == "http" and parts.hostname not in _LOOPBACK | set(allowed)


def _masked(url: str) -> str:
    parts = urlsplit(url)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.scheme}://{host}{port}/…{_end(parts.path + parts.query)}"


def _end(hidden: str) -> str:
    return hidden[-4:] if len(hidden) >= _SHORT else ""
