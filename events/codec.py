"""Events to JSON and back. Reading never fails on what a newer release wrote.

Unknown fields are ignored, unknown types decode to ``None``; only a payload that contradicts its
own schema raises.
"""

from __future__ import annotations

from typing import Final, get_args

import msgspec
from msgspec import Raw

from events import grant, notification, project, schedule, secret, task
from events.envelope import Recorded
from events.task import Event, Json
from events.upcast import upcast


def _tag(event: type[Event]) -> str:
    return str(event.__struct_config__.tag)


EVENTS: Final[dict[str, type[Event]]] = {
    _tag(event): event
    for union in (
        task.TaskEvent,
        project.ProjectEvent,
        schedule.ScheduleEvent,
        notification.NotificationEvent,
        notification.SettingsEvent,
        grant.GrantEvent,
        secret.SecretEvent,
    )
    for event in get_args(union)
}
"""Every event type of this release, by its public name."""

_encoder = msgspec.json.Encoder()
_decoders = {name: msgspec.json.Decoder(event) for name, event in EVENTS.items()}


class CorruptEvent(ValueError):
    """A recorded payload contradicts the schema it claims: restore it from a backup."""


def name_of(event: Event) -> str:
    """Return the public name of an event: ``task.created``."""
    return _tag(type(event))


def encode(event: Event) -> bytes:
    """Return the JSON object of an event, its ``type`` included."""
    return _encoder.encode(event)


def decode(recorded: Recorded) -> Event | None:
    """Return the event in its present shape, or ``None`` for a type this release does not know.

    Raises `CorruptEvent` when the payload does not fit its type.
    """
    event = EVENTS.get(recorded.type)
    if event is None:
        return None
    try:
        if recorded.schema_version >= event.SCHEMA_VERSION:
            return _decoders[recorded.type].decode(recorded.data)
        old = msgspec.json.decode(recorded.data, type=Json)
        current = upcast(recorded.type, recorded.schema_version, old, to=event.SCHEMA_VERSION)
        return msgspec.convert(current, event)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, LookupError) as error:
        msg = f"event {recorded.position} ({recorded.type}): {error}"
        raise CorruptEvent(msg) from error


def raw(data: str | bytes) -> Raw:
    """Return JSON text as the payload of an envelope."""
    return Raw(data)
