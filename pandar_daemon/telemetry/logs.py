"""Log lines: one JSON object each, or a pretty line for a person; never a secret.

Every line, of Pandar's own and of the libraries', passes `scrub` last.
"""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Mapping, MutableMapping
from functools import lru_cache
from typing import Final, TextIO, cast

import msgspec
import structlog
from structlog.types import EventDict, Processor

from pandar_daemon.domain.harmless import visible
from pandar_daemon.domain.redaction import Redactor

_SECRET_WORDS: Final = frozenset(
    {"token", "authorization", "password", "passwd", "secret", "cookie", "proof", "headers"}
)
"""A key with one of these words in it is dropped: ``pandar_token``, ``X-Auth-Token``."""

_MASKS: Final = (
    (re.compile(r"eyJ[\w-]+\.[\w-]+(\.[\w-]*)?"), "[token]"),
    (re.compile(r"(?i:\b(bearer|basic)\s+[\w.~+/=-]+)"), r"\1 [token]"),
    (re.compile(r"(?<=://)[^\s/@?#]+(?=@)"), "[userinfo]"),
    (re.compile(r"(?i:([?&](?:access_token|token|jwt|secret|password)=)[^&\s]+)"), r"\1[token]"),
)
_MASKABLE: Final = re.compile("|".join(pattern.pattern for pattern, _ in _MASKS))
_REDACTOR: Final = Redactor()
_DEPTH_MAX: Final = 6
TEXT_MAX: Final = 10_000
"""Characters of one value, tracebacks included."""
_ORDINARY: Final = frozenset({str, int, float, bool, type(None)})
_LEVELS: Final = {"debug": 10, "info": 20, "warning": 30, "error": 40}
_QUIET: Final = ("asyncio", "aiohttp.access", "nats")
"""Libraries whose chatter below a warning says nothing an operator needs."""


class _Unfailing:
    """A stream whose failure costs lines, never the program that logs: disks fill up."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError, ValueError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._stream.flush()


def configure_logs(stream: TextIO, *, level: str = "info", pretty: bool = False) -> None:
    """Send every log line of this process to ``stream``, from ``level`` on.

    An unknown level counts as ``info``. May be called again; the last call holds. A line that
    cannot be written is lost, and no error.
    """
    unfailing = cast("TextIO", _Unfailing(stream))
    at = _LEVELS.get(level.lower(), logging.INFO)
    rendering: list[Processor] = [scrub, structlog.processors.JSONRenderer(_json)]
    if pretty:
        rendering = [scrub, _on_one_line, _pretty(stream)]
    structlog.configure(
        processors=[*_PREPARING, *rendering],
        wrapper_class=structlog.make_filtering_bound_logger(at),
        logger_factory=structlog.WriteLoggerFactory(unfailing),
        cache_logger_on_first_use=False,
    )
    _capture_libraries(unfailing, at, rendering)


def never_log(known: Mapping[str, str]) -> None:
    """Let these secrets, by name, be in no line of this process from now on."""
    _REDACTOR.learn(known)


def scrub(_logger: object, _method: str, event: EventDict) -> EventDict:
    """Drop what is named like a secret and mask what looks like one, at any depth."""
    if _is_clean(event):
        return event
    return {key: _clean(value, 0) for key, value in event.items() if not _secret(key)}


_PREPARING: Final[list[Processor]] = [
    structlog.contextvars.merge_contextvars,
    structlog.processors.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
    structlog.processors.format_exc_info,
]


def _pretty(stream: TextIO) -> Processor:
    return structlog.dev.ConsoleRenderer(
        colors=stream.isatty(),
        timestamp_key="at",
        exception_formatter=structlog.dev.plain_traceback,
    )


def _capture_libraries(stream: TextIO, level: int, rendering: list[Processor]) -> None:
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *_PREPARING],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *rendering,
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in _QUIET:
        logging.getLogger(name).setLevel(max(level, logging.WARNING))


@lru_cache(maxsize=256)
def _secret(key: str) -> bool:
    return not _SECRET_WORDS.isdisjoint(re.split(r"[^a-z]+", key.lower()))


def _is_clean(event: EventDict) -> bool:
    """Tell, by one look at all its texts, that nothing of an ordinary line would be changed."""
    if not all(type(value) in _ORDINARY and not _secret(key) for key, value in event.items()):
        return False
    together = "\n".join(value for value in event.values() if type(value) is str)
    return len(together) <= TEXT_MAX and _shown(_mask(together)) == together


def _clean(value: object, depth: int) -> object:
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, bytes | bytearray | memoryview):
        return f"<{len(value)} bytes>"
    if depth >= _DEPTH_MAX:
        return "…"
    if isinstance(value, Mapping):
        return {
            _shown(str(k)): _clean(v, depth + 1) for k, v in value.items() if not _secret(str(k))
        }
    if isinstance(value, list | tuple | set | frozenset):
        return [_clean(item, depth + 1) for item in value]
    return _shown(_mask(str(value)))


def _shown(text: str) -> str:
    """Return text of whoever wrote it as a line of a log can hold it."""
    more = len(text) - TEXT_MAX
    return visible(text[:TEXT_MAX]) + (f"… {more} characters more" if more > 0 else "")


def _on_one_line(_logger: object, _method: str, event: EventDict) -> EventDict:
    """Let no value pretend to be the next line; only a traceback has several."""
    return {
        key: value.replace("\n", "⏎") if isinstance(value, str) and key != "exception" else value
        for key, value in event.items()
    }


def _mask(text: str) -> str:
    if _MASKABLE.search(text):
        for pattern, mask in _MASKS:
            text = pattern.sub(mask, text)
    return _REDACTOR.text(text)


def _json(event: MutableMapping[str, object], **_: object) -> str:
    return msgspec.json.encode(event).decode()
