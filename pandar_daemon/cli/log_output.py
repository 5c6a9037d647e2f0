"""Where the daemon's own log goes."""

from __future__ import annotations

import sys

from pandar_daemon.config import Settings
from pandar_daemon.telemetry.logs import configure_logs


def to_file(settings: Settings) -> None:
    """Append JSON lines to ``pandar.log`` in the data directory, which only its owner reads."""
    settings.data.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = settings.data / "pandar.log"
    path.touch(mode=0o600)
    configure_logs(path.open("a", buffering=1, encoding="utf-8"), level=settings.log_level)


def to_stderr(settings: Settings) -> None:
    """Write JSON lines to stderr; pretty with ``PANDAR_LOG_FORMAT=pretty``."""
    pretty = settings.log_format == "pretty"
    configure_logs(sys.stderr, level=settings.log_level, pretty=pretty)


def to_terminal(settings: Settings) -> None:
    """Write pretty lines to stderr; JSON with ``PANDAR_LOG_FORMAT=json``."""
    pretty = settings.log_format != "json"
    configure_logs(sys.stderr, level=settings.log_level, pretty=pretty)


def warnings_only(settings: Settings) -> Settings:
    """Let a short command's log say nothing below a warning, on stderr; return the settings."""
    configure_logs(sys.stderr, level="warning", pretty=settings.log_format != "json")
    return settings
