"""How people of this installation are told: channels, their secrets, and where links lead."""

from __future__ import annotations

from pathlib import Path

from msgspec import Struct

from pandar_daemon.adapters.channels.mail import Smtp, smtp_of
from pandar_daemon.adapters.channels.registry import ChannelOptions, Registry
from pandar_daemon.adapters.channels.sealing import AesSealer
from pandar_daemon.adapters.channels.secrets import masters
from pandar_daemon.adapters.channels.slack import named_channels
from pandar_daemon.adapters.postgres.notification_reads import PgCheckpoints, PgNotificationReads
from pandar_daemon.adapters.postgres.task_reads import PgTaskReads
from pandar_daemon.config import ConfigError, Settings
from pandar_daemon.configuration import Configuration, SmtpTable
from pandar_daemon.domain.webhook import secret_of
from pandar_daemon.services.links import Clicks, Links
from pandar_daemon.services.notifier import Notifier
from pandar_daemon.wiring.parts import Parts

_PORTS = {"tls": 465, "starttls": 587, "if_offered": 25}


class Telling(Struct, frozen=True, kw_only=True):
    """What both the notifier and the API need to know of channels."""

    reads: PgNotificationReads
    sealer: AesSealer
    options: ChannelOptions
    public_url: str


def telling(parts: Parts) -> Telling:
    """Return it, as settings and ``pandar.toml`` say; raises `ConfigError`."""
    settings, configuration = parts.settings, parts.configuration
    secrets = masters(settings.data)
    hosts = (host.strip() for host in (settings.notify_hosts or "").split(","))
    own = f"http://{settings.host}:{settings.http_port}"
    return Telling(
        reads=PgNotificationReads(parts.database),
        sealer=AesSealer(secrets),
        options=ChannelOptions(
            secrets=secrets,
            allowed=frozenset(filter(None, hosts))
            | frozenset(configuration.notifications.allowed_hosts),
            smtp=_smtp(settings, configuration),
            slack=_slack(settings, configuration),
        ),
        public_url=settings.public_url or configuration.approvals.public_url or own,
    )


def _smtp(settings: Settings, configuration: Configuration) -> Smtp | None:
    if settings.smtp_url:
        try:
            return smtp_of(settings.smtp_url)
        except ValueError as error:
            raise ConfigError(f"PANDAR_SMTP_URL cannot be used: {error}") from error
    table = configuration.smtp
    return None if table is None else _smtp_of_table(table)


def _smtp_of_table(table: SmtpTable) -> Smtp:
    return Smtp(
        host=table.host,
        port=table.port or _PORTS[table.tls],
        sender=table.sender,
        user=table.user,
        password=_password(table.password_file),
        security=table.tls,
    )


def _password(file: str | None) -> str | None:
    if file is None:
        return None
    try:
        return Path(file).expanduser().read_text("utf-8").strip()
    except OSError as error:
        raise ConfigError(f"smtp.password_file {file}: {error.strerror}") from error


def _slack(settings: Settings, configuration: Configuration) -> dict[str, str]:
    tables = {name: table.url for name, table in configuration.channels.items()}
    try:
        return tables | named_channels(settings.slack or "")
    except ValueError as error:
        raise ConfigError(f"PANDAR_SLACK cannot be used: {error}") from error


def notifier(parts: Parts) -> Notifier:
    """Return the service that tells people."""
    told, asker = telling(parts), parts.asker("notifier", "system")
    return Notifier(
        store=parts.store,
        feed=parts.feed,
        reads=told.reads,
        checkpoints=PgCheckpoints(parts.database),
        leadership=parts.leadership,
        asker=asker,
        channels=Registry(told.options, parts.clock),
        sealer=told.sealer,
        links=Links(
            asker=asker,
            store=parts.store,
            tasks=PgTaskReads(parts.database, parts.clock),
            clock=parts.clock,
            url=told.public_url,
        ),
        clock=parts.clock,
        holder=parts.holder,
        hourly=parts.configuration.limits.notices_per_hour,
    )


def webhook_secrets(settings: Settings, url: str) -> list[str]:
    """Return what signs webhooks to an address, the present secret first."""
    return [secret_of(master, url) for master in masters(settings.data)]


def clicks(parts: Parts, told: Telling) -> Clicks:
    """Return what hears that an approval page was opened."""
    return Clicks(asker=parts.asker("api", "system"), notifications=told.reads)
