"""Where the daemon's own log goes."""

from __future__ import annotations

import logging
import sys
from typing import Final, TextIO

import structlog

from pandar_daemon.config import Settings

_LEVELS: Final = {"debug": 10, "info": 20, "warning": 30, "error": 40}


def to_file(settings: Settings) -> None:
    """Append JSON lines to ``pandar.log`` in the data directory, which only its owner reads."""
    settings.data.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = settings.data / "pandar.log"
    path.touch(mode=0o600)
    _write(settings, path.open("a", buffering=1, encoding="utf-8"), pretty=False)


def to_stderr(settings: Settings) -> None:
    """Write JSON lines to stderr; pretty with ``PANDAR_LOG_FORMAT=pretty``."""
    _write(settings, sys.stderr, pretty=settings.log_format == "pretty")


def to_terminal(settings: Settings) -> None:
    """Write pretty lines to stderr; JSON with ``PANDAR_LOG_FORMAT=json``."""
    _write(settings, sys.stderr, pretty=settings.log_format != "json")


def _write(settings: Settings, stream: TextIO, *, pretty: bool) -> None:
    level = _LEVELS.get(settings.log_level.lower(), logging.INFO)
    last: list[structlog.typing.Processor] = (
        [structlog.dev.ConsoleRenderer(colors=stream.isatty())]
        if pretty
        else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *last,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(stream),
        cache_logger_on_first_use=False,
    )
