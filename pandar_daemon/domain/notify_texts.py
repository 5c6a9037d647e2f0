"""What notifications say: what happened, what is asked of the reader, and what comes of waiting.

Names, commands and errors are what agents and strangers wrote: nothing of them may move the cursor,
turn the direction of writing or hide, so it is shown instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from msgspec import Struct

from events import task as did
from events.notification import ChannelFailed
from events.task import Json, OnTimeout
from pandar_daemon.domain.harmless import still_visible

TITLE_MAX: Final = 255
QUOTE_MAX: Final = 1_000
_ELLIPSIS: Final = "…"


class Text(Struct, frozen=True):
    """A title of one line, and what else there is to say."""

    title: str
    content: str


def shown(text: str, limit: int = QUOTE_MAX) -> str:
    """Return a text with everything in it that does not show made visible, cut to a length.

    What was made visible before, as in a card, stays as it is.
    """
    whole = still_visible(text[: limit + 1])
    return whole if len(whole) <= limit else whole[: limit - 1] + _ELLIPSIS


def one_line(text: str, limit: int = TITLE_MAX) -> str:
    """Return a text as a single line that shows, within a length."""
    return shown(" ".join(text.split()), limit)


def completed(name: str, event: did.TaskCompleted) -> Text:
    """Say that a task succeeded."""
    return Text(
        one_line(f"Completed: {name}"),
        f"Exit code {event.exit_code} after {_took(event.duration_sec)}.",
    )


def failed(name: str, event: did.TaskFailed) -> Text:
    """Say that a task failed for good, and why."""
    code = "" if event.exit_code is None else f", exit code {event.exit_code}"
    what = f"{shown(event.error)}\n" if event.error else ""
    return Text(
        one_line(f"Failed: {name}"),
        f"{what}Kind: {event.kind}{code}, after {_took(event.duration_sec)}.",
    )


def asked(name: str, event: did.ConfirmationRequested) -> Text:
    """Say what a task waits for, until when, and what happens then."""
    return _asking("Approval needed", name, event, event.expires_at, event.on_timeout)


def escalated(name: str, request: did.ConfirmationRequested, until: datetime) -> Text:
    """Say that nobody decided in time, and that there is a last chance to."""
    return _asking("Still undecided", name, request, until, OnTimeout.DENY)


def _asking(
    what: str, name: str, event: did.ConfirmationRequested, until: datetime, then: OnTimeout
) -> Text:
    severity = event.card.get("severity")
    gate = f"{event.gate} ({severity})" if isinstance(severity, str) else event.gate
    lines = [f"Gate: {one_line(gate, 100)}", *about(event.card), _until(until, then)]
    return Text(one_line(f"{what}: {name}"), "\n".join(lines))


def broken(event: ChannelFailed) -> Text:
    """Say that a channel takes no messages, and what to do about it."""
    then = (
        "Nothing is sent to it any more"
        if event.disabled
        else "Pandar goes on trying with every new message"
    )
    return Text(
        one_line(f"Channel fails: {event.channel}"),
        f"{shown(event.reason)}\n{then}. Once it is mended, save your notification settings:"
        " they count as whole again then.",
    )


def together(titles: Sequence[str], *, digest: bool) -> str:
    """Return the title of a message that carries notifications with these titles."""
    if digest:
        return f"{len(titles)} notifications"
    more = len(titles) - 1
    return one_line(f"{titles[0]} (and {more} more)" if more else titles[0])


def reminding(title: str, number: int) -> str:
    """Return the title of a message that reminds of one, for 0 the title itself."""
    return one_line(f"Reminder: {title}") if number else title


_SAID: Final = ("question", "command", "title", "input", "diff")
_TOLD: Final = (("why", "Why"), ("intent", "The agent says"), ("blocked", "Meanwhile"))


def about(card: Json) -> list[str]:
    """Return what a card asks for, and why, as lines; none when it has no words for it."""
    said = (_word(card, key, QUOTE_MAX) for key in _SAID)
    lines = [next(filter(None, said), "")]
    lines += [f"{label}: {text}" for key, label in _TOLD if (text := _word(card, key, 300))]
    return [line for line in lines if line]


def _word(card: Json, key: str, limit: int) -> str:
    value = card.get(key)
    return shown(value.strip(), limit) if isinstance(value, str) else ""


def _until(at: datetime, then: OnTimeout) -> str:
    what = {
        OnTimeout.DENY: "it is denied",
        OnTimeout.CANCEL: "the task is cancelled",
        OnTimeout.ESCALATE: "everybody who may decide is asked once more",
    }[then]
    return f"The task waits. If nobody decides until {at:%Y-%m-%d %H:%M} UTC, {what}."


def _took(seconds: float) -> str:
    whole = round(seconds)
    if whole < 60:  # noqa: PLR2004 - seconds of a minute
        return f"{seconds:.1f} s"
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"
