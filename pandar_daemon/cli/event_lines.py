"""Events, a line each."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from datetime import datetime
from typing import Final

import msgspec
from rich.text import Text

from events.envelope import Recorded
from events.ids import task_stream
from events.task import Json
from pandar_daemon.adapters.clock import SystemClock
from pandar_daemon.cli.api_client import Api
from pandar_daemon.cli.happenings import STYLES, actor, in_words, sentence_of
from pandar_daemon.cli.harmless import one_line
from pandar_daemon.cli.look import Look, paint
from pandar_daemon.cli.output import CliError, Exit, Refused, out_look, say
from pandar_daemon.cli.resume import messages
from pandar_daemon.cli.rows import ForeignAnswer
from pandar_daemon.cli.sse import Message
from pandar_daemon.cli.times import clock
from pandar_daemon.domain.harmless import in_json

_WIDE: Final = 100
"""From this many columns on, the type and the actor are shown too."""


async def print_events(
    api: Api, params: Mapping[str, str], *, first: int | None, task_id: int | None, json: bool
) -> None:
    """Print every event from a position on; ends only when interrupted or refused."""
    look, now = out_look(), SystemClock().now
    wanted = None if task_id is None else task_stream(task_id)
    async with aclosing(_from(api, params, first)) as stream:
        async for message in stream:
            recorded = recorded_of(message.data)
            if wanted in (None, recorded.stream):
                say(f"{in_json(message.data)}\n" if json else event_line(recorded, now(), look))


async def _from(
    api: Api, params: Mapping[str, str], first: int | None
) -> AsyncGenerator[Message, None]:
    """Iterate over messages; a refusal of where to begin names what the user said."""
    began = False
    try:
        after = "" if first is None else str(first - 1)
        async with aclosing(messages(api, "/events", params, after=after)) as stream:
            async for message in stream:
                began = True
                yield message
    except Refused as refusal:
        named = any(error.field == "Last-Event-ID" for error in refusal.problem.errors)
        if began or first is None or not named:
            raise
        sentence = f"--from {first} is beyond the end of the log"
        hint = "without --from it begins with what happens next"
        raise CliError(sentence, hint, code=Exit.REFUSED) from refusal


def recorded_of(data: str) -> Recorded:
    """Return a message's event; raises `ForeignAnswer` when it is none."""
    try:
        return msgspec.json.decode(data, type=Recorded)
    except msgspec.MsgspecError as error:
        raise ForeignAnswer(f"not an event: {error}") from error


def event_line(recorded: Recorded, now: datetime, look: Look) -> str:
    """Return position, time, stream, type, what happened and who did it, as one line."""
    data = msgspec.json.decode(recorded.data, type=Json)
    style = STYLES.get(recorded.type, "")
    parts = [
        Text(f"{recorded.position:>6}", style="dim"),
        Text(clock(recorded.recorded_at, now), style="dim"),
        Text(f"{one_line(recorded.stream):<9}", style="bold"),
    ]
    wide = look.columns is None or look.columns >= _WIDE
    if wide:
        parts.append(Text(f"{one_line(recorded.type):<27}", style=style))
    parts += [
        Text(in_words(sentence_of(recorded), data, now), style=style),
        Text(actor(recorded.actor) if wide else "", style="dim"),
    ]
    line = Text("  ").join(parts)
    line.no_wrap, line.overflow = True, "ellipsis"
    return paint(line, look)
