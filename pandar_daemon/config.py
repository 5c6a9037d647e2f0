"""Settings, read once from the environment; every name and default stands in this one place."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct


class ConfigError(ValueError):
    """A setting cannot be used; the message names it, its value's fault and what is expected."""


class Settings(Struct, frozen=True, kw_only=True):
    """How this process is to run.

    A URL that is ``None`` means: start a server of our own. ``nats_port`` and ``pg_port`` of
    ``None`` mean: the one used last, else the usual one, else any free one; ``metrics_port`` of
    ``None`` means: none.
    """

    data: Path
    archive: str | None = None
    host: str = "127.0.0.1"
    http_port: int = 8000
    metrics_port: int | None = None
    nats_port: int | None = None
    pg_port: int | None = None
    database_url: str | None = None
    nats_url: str | None = None
    nats_replicas: int = 1
    jwt_secret_file: str | None = None
    runner_token: str | None = None
    jwt_jwks: str | None = None
    jwt_issuer: str | None = None
    jwt_audience: str | None = None
    public_url: str | None = None
    smtp_url: str | None = None
    slack: str | None = None
    notify_hosts: str | None = None
    slots: int = 4
    master_key: str | None = None
    master_key_file: str | None = None
    master_key_old: str | None = None
    sandbox: str | None = None
    task_path: str = "/usr/local/bin:/usr/bin:/bin"
    lease_ttl_sec: float = 8.0
    log_format: str = "auto"
    log_level: str = "info"

    @property
    def archive_folder(self) -> Path:
        """Return where archived ranges of the log are kept."""
        return Path(self.archive).expanduser() if self.archive else self.data / "archive"


VARIABLES: Final = {
    "PANDAR_DATA": "data",
    "PANDAR_ARCHIVE": "archive",
    "PANDAR_HOST": "host",
    "PANDAR_HTTP_PORT": "http_port",
    "PANDAR_METRICS_PORT": "metrics_port",
    "PANDAR_NATS_PORT": "nats_port",
    "PANDAR_PG_PORT": "pg_port",
    "PANDAR_DATABASE_URL": "database_url",
    "PANDAR_NATS_URL": "nats_url",
    "PANDAR_NATS_REPLICAS": "nats_replicas",
    "PANDAR_JWT_SECRET_FILE": "jwt_secret_file",
    "PANDAR_RUNNER_TOKEN": "runner_token",
    "PANDAR_JWT_JWKS": "jwt_jwks",
    "PANDAR_JWT_ISSUER": "jwt_issuer",
    "PANDAR_JWT_AUDIENCE": "jwt_audience",
    "PANDAR_PUBLIC_URL": "public_url",
    "PANDAR_SMTP_URL": "smtp_url",
    "PANDAR_SLACK": "slack",
    "PANDAR_NOTIFY_HOSTS": "notify_hosts",
    "PANDAR_MASTER_KEY": "master_key",
    "PANDAR_MASTER_KEY_FILE": "master_key_file",
    "PANDAR_MASTER_KEY_OLD": "master_key_old",
    "PANDAR_SLOTS": "slots",
    "PANDAR_SANDBOX": "sandbox",
    "PANDAR_TASK_PATH": "task_path",
    "PANDAR_LEASE_TTL_SEC": "lease_ttl_sec",
    "PANDAR_LOG_FORMAT": "log_format",
    "PANDAR_LOG_LEVEL": "log_level",
}


def load(environment: Mapping[str, str], *, home: Path) -> Settings:
    """Return the settings an environment asks for; an empty variable counts as unset.

    Raises `ConfigError` naming the variable.
    """
    values: dict[str, object] = {"data": str(home / ".local" / "share" / "pandar")}
    for variable, field in VARIABLES.items():
        if environment.get(variable):
            values[field] = _convert(variable, field, environment[variable])
    return msgspec.convert({**values, "data": Path(str(values["data"]))}, Settings)


def _convert(variable: str, field: str, text: str) -> object:
    kind = Settings.__annotations__[field]
    try:
        if "int" in kind:
            return _whole(text, 0 if field.endswith("port") else 1, 65_535)
        return float(text) if kind == "float" else text
    except ValueError as error:
        msg = f"{variable}={text!r} cannot be used: {error}"
        raise ConfigError(msg) from error


def _whole(text: str, low: int, high: int) -> int:
    value = int(text) if text.isascii() and text.isdigit() else low - 1
    if not low <= value <= high:
        msg = f"expected a whole number from {low} to {high}"
        raise ValueError(msg)
    return value
