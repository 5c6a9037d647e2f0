"""All channels as one: which of them a text such as ``slack://ops`` is for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import assert_never

import structlog
from msgspec import Struct

from pandar_daemon.adapters.channels.apprise import AppriseChannel
from pandar_daemon.adapters.channels.mail import MailChannel, Smtp
from pandar_daemon.adapters.channels.outbound import Guard
from pandar_daemon.adapters.channels.slack import API, HOOKS, SlackChannel
from pandar_daemon.adapters.channels.webhook import WebhookChannel
from pandar_daemon.adapters.resolving import Resolve, resolved
from pandar_daemon.domain.channel import (
    BadChannel,
    Mail,
    SlackBot,
    SlackHook,
    SlackNamed,
    Target,
    ViaApprise,
    Webhook,
    mask,
    parse,
)
from pandar_daemon.ports import Clock, Delivered, Fate, Notice

log = structlog.get_logger(__name__)


class ChannelOptions(Struct, frozen=True, kw_only=True):
    """What channels need of configuration.

    ``secrets`` of the installation sign webhooks: the present one, then older ones still valid.
    ``allowed`` hosts may be on private networks, ``slack`` gives channels of Slack a name.
    """

    secrets: tuple[bytes, ...]
    allowed: frozenset[str] = frozenset()
    smtp: Smtp | None = None
    slack: Mapping[str, str] = {}
    slack_api: str = API
    slack_hooks: str = HOOKS


class Registry:
    """`Channels`, every one there is."""

    def __init__(self, options: ChannelOptions, clock: Clock, resolve: Resolve = resolved) -> None:
        """Find hosts by ``resolve``."""
        guard = Guard(options.allowed, resolve)
        self._webhook = WebhookChannel(guard, clock, options.secrets)
        self._slack = SlackChannel(
            guard, clock, options.slack, api=options.slack_api, hooks=options.slack_hooks
        )
        self._mail = MailChannel(options.smtp, clock)
        self._apprise = AppriseChannel(guard)

    async def send(self, channel: str, notice: Notice) -> Delivered:
        """Carry a message to a channel such as ``slack://ops``, and return what came of it.

        Takes at most 30 s. Raises nothing, whatever the other side does.
        """
        try:
            return await self._send(parse(channel), notice)
        except BadChannel as error:
            return Delivered(fate=Fate.REFUSED, detail=str(error)[:200])
        except Exception as error:  # noqa: BLE001 - its text may hold the whole channel
            name = type(error).__name__
            log.warning("channel.failed", channel=mask(channel), error=name)
            return Delivered(fate=Fate.LATER, detail=f"failed: {name}")

    async def _send(self, target: Target, notice: Notice) -> Delivered:
        match target:
            case Webhook(url):
                return await self._webhook.send(url, notice)
            case SlackBot() | SlackHook() | SlackNamed():
                return await self._slack.send(target, notice)
            case Mail(address):
                return await self._mail.send(address, notice)
            case ViaApprise(url):
                return await self._apprise.send(url, notice)
            case _:
                assert_never(target)
