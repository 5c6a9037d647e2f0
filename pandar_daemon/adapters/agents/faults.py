"""What kind of failure an agent tells of, and until when a quota is used up.

Agents name failures in many ways: a kind in the error's data, a status of HTTP, or only a text.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

import msgspec
from msgspec import Struct

from events.instant import Instant
from pandar_daemon.adapters.agents.jsonrpc import UNREADABLE
from pandar_daemon.adapters.agents.shapes import as_json, count, cut, first_text, mapping, text
from pandar_daemon.domain.hearing import Fault

ERROR_MAX: Final = 1_500
"""Characters of an error that are passed on."""

_QUOTA_KINDS: Final = frozenset(
    {"billing_error", "account_on_hold", "usageLimitExceeded", "quota_exhausted"}
)
_MODEL_KINDS: Final = frozenset(
    {
        "server_error", "overloaded", "overloaded_error", "rate_limit", "rate_limited", "unknown",
        "transport_lost", "serverOverloaded", "internalServerError", "rateLimitExceeded",
        "httpConnectionFailed", "responseStreamConnectionFailed", "responseStreamDisconnected",
        "responseTooManyFailedAttempts", "flexUnavailable", "UNAVAILABLE", "INTERNAL",
    }
)  # fmt: skip
_QUOTA: Final = re.compile(
    r"usage limit|hit your (?:\w+ )*limit|limit reached|insufficient_quota|credit balance"
    r"|quota (?:exceeded|exhausted|will reset)|exceeded your (?:current )?quota|out of credits"
    r"|TerminalQuotaError|exhausted your (?:daily )?(?:capacity|quota)",
    re.IGNORECASE,
)
_MODEL: Final = re.compile(
    r"\b(?:429|500|502|503|504|529)\b|overloaded|rate.?limit|too many requests|RESOURCE_EXHAUSTED"
    r"|service unavailable|server error|ECONNREFUSED|ECONNRESET|ETIMEDOUT|ENOTFOUND|fetch failed"
    r"|stream (?:disconnected|error)|exceeded retry limit|connection (?:error|refused|reset)",
    re.IGNORECASE,
)
_EPOCH: Final = re.compile(r"\|(\d{10})\b")
_ISO: Final = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:?\d\d)")
_SPAN: Final = re.compile(
    r"(\d+(?:\.\d+)?)\s*(d|h|m|s|days?|hours?|hrs?|minutes?|mins?|seconds?|secs?)(?![a-z])",
    re.IGNORECASE,
)
_AFTER: Final = re.compile(
    r"\b(?:try again|retry|resets?|available)\s+(?:again\s+)?(?:after|in)\b(.{1,60})",
    re.IGNORECASE,
)
_CLOCK: Final = re.compile(
    r"\b(?:resets?|try again)(?: at)? (\d{1,2})(?::(\d\d))?\s*([ap]m)"
    r"(?: \(([A-Za-z_/+-]{1,40})\))?",
    re.IGNORECASE,
)
_SECONDS: Final = {"d": 86_400.0, "h": 3_600.0, "m": 60.0, "s": 1.0}
_RESETS: Final = ("resetsAt", "resets_at", "resetAt", "retry_at", "retryAt")


class Trouble(Struct, frozen=True, kw_only=True):
    """A failure in our words. ``retry_at`` only for a quota, where it is known."""

    error: str
    fault: Fault
    retry_at: Instant | None = None


def trouble(message: str, data: object, now: Instant) -> Trouble:
    """Return what an error of an agent means."""
    told = mapping(data)
    message = _unwrapped(message)
    detail = first_text(told, ("message", "details", "detail", "additionalDetails"))
    error = message if detail in message else f"{message}: {detail}"
    kinds = _kinds(told)
    everything = f"{error} {as_json(data) if told else ''}"
    if kinds & _QUOTA_KINDS or _QUOTA.search(everything):
        when = _told_reset(told) or reset_in(everything, now)
        return Trouble(error=cut(error, ERROR_MAX), fault=Fault.QUOTA, retry_at=when)
    fault = Fault.MODEL if kinds & _MODEL_KINDS or _MODEL.search(everything) else Fault.AGENT
    return Trouble(error=cut(error, ERROR_MAX), fault=fault)


def _unwrapped(message: str) -> str:
    """Return the text inside an error that is JSON of a model's server, as Gemini hands it on."""
    try:
        inner = mapping(mapping(msgspec.json.decode(message)).get("error"))
    except UNREADABLE:
        return message
    words = [text(inner.get("status")), text(inner.get("message"))]
    return " ".join([str(count(inner.get("code")) or ""), *words]).strip() or message


def _kinds(told: dict[str, object]) -> set[str]:
    """Return the words an error's data names its kind with."""
    inner = mapping(told.get("error"))
    named = [told.get("errorKind"), told.get("codexErrorInfo"), inner.get("type")]
    kinds = {text(each) for each in named}
    return kinds.union(*map(mapping, named))


def _told_reset(told: dict[str, object]) -> Instant | None:
    seconds = next((found for name in _RESETS if (found := count(told.get(name)))), None)
    return from_epoch(seconds)


def from_epoch(seconds: int | None) -> Instant | None:
    """Return the instant of so many seconds since 1970, ``None`` for what can be none."""
    if seconds is None or not 10**9 < seconds < 10**11:
        return None
    return datetime.fromtimestamp(seconds, UTC)


def reset_in(words: str, now: Instant) -> Instant | None:
    """Return when a text says that a quota is there again, ``None`` when it does not."""
    if found := _EPOCH.search(words):
        return from_epoch(int(found[1]))
    if found := _ISO.search(words):
        return _parsed(found[0])
    if found := _AFTER.search(words):
        spans = _SPAN.findall(found[1])
        seconds = sum(float(number) * _SECONDS[unit[0].lower()] for number, unit in spans)
        return now + timedelta(seconds=seconds) if 0 < seconds < 10**7 else None
    if found := _CLOCK.search(words):
        return _next(now, found)
    return None


def _parsed(words: str) -> Instant | None:
    try:
        return datetime.fromisoformat(words).astimezone(UTC)
    except ValueError:
        return None


def _next(now: Instant, found: re.Match[str]) -> Instant | None:
    """Return when a clock shows this next; in UTC where no zone is named."""
    hour, minute = int(found[1]) % 12 + (12 if found[3].lower() == "pm" else 0), int(found[2] or 0)
    try:
        zone = ZoneInfo(found[4]) if found[4] else UTC
        here = now.astimezone(zone)
        then = here.replace(hour=hour, minute=minute, second=0, microsecond=0)
    except (KeyError, ValueError, OSError):  # a zone or a time that does not exist
        return None
    return (then if then > here else then + timedelta(days=1)).astimezone(UTC)
