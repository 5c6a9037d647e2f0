"""A recorded event as a CloudEvent 1.0 in binary mode: attributes are headers, data is the body.

Everything `Recorded` holds is carried, so that a reader of the bus has what a reader of the log
has. Values are percent-encoded as the binding asks: a header holds printable ASCII only.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Final
from urllib.parse import quote, unquote
from uuid import UUID

import msgspec

from events import instant, subjects
from events.envelope import Recorded
from events.ids import ID_MAX

_TYPE: Final = re.compile(r"dev\.pandar\.([a-z_]+\.[a-z_]+)\.v([1-9][0-9]{0,5})")
_NUMBER: Final = re.compile(r"[0-9]{1,20}")
_PLAIN: Final = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) not in '"%')
_IS_PLAIN: Final = re.compile(f"[{re.escape(_PLAIN)}]*")
_AUTHTYPES: Final = {"user": "user", "runner": "service_account", "system": "system"}


class NotAnEvent(ValueError):
    """The message is not an event of ours: a header is missing or malformed, or the body is."""


def encode(recorded: Recorded) -> dict[str, str]:
    """Return the headers of an event; its body is ``recorded.data``."""
    project = subjects.ANY if recorded.project_id is None else str(recorded.project_id)
    wanted = {
        "ce-specversion": "1.0",
        "ce-id": str(recorded.event_id),
        "ce-source": f"/pandar/{project}",
        "ce-type": f"dev.pandar.{recorded.type}.v{recorded.schema_version}",
        "ce-subject": recorded.stream,
        "ce-time": instant.text(recorded.recorded_at),
        "ce-datacontenttype": "application/json",
        "ce-sequence": f"{recorded.position:020}",
        "ce-correlationid": recorded.correlation_id,
        "ce-causationid": recorded.causation_id,
        "ce-authtype": _AUTHTYPES.get(recorded.actor.partition(":")[0], "unknown"),
        "ce-authid": recorded.actor,
        "Pandar-Position": str(recorded.position),
        "Pandar-Version": str(recorded.version),
        "Pandar-Project": project,
        "Pandar-Command-Id": recorded.command_id,
        "traceparent": recorded.traceparent,
    }
    headers = {name: value for name, value in wanted.items() if value is not None}
    if _IS_PLAIN.fullmatch("".join(headers.values())):
        return headers
    return {
        name: quote(value, safe=_PLAIN, errors="surrogatepass") for name, value in headers.items()
    }


def decode(headers: Mapping[str, str], data: bytes) -> Recorded:
    """Return the event a message carries; header names in any case.

    Raises `NotAnEvent`, whatever the message is.
    """
    got = {name.lower(): value for name, value in headers.items()}
    try:
        return _decode(got, data)
    except KeyError as error:
        msg = f"the header {error} is missing"
        raise NotAnEvent(msg) from error
    except (ValueError, msgspec.MsgspecError) as error:
        raise NotAnEvent(str(error)) from error


def _decode(got: Mapping[str, str], data: bytes) -> Recorded:
    kind = _TYPE.fullmatch(_text(got["ce-type"]))
    if got["ce-specversion"] != "1.0" or kind is None:
        raise NotAnEvent("not a CloudEvent 1.0 of type dev.pandar.<category>.<name>.v<version>")
    msgspec.json.decode(data, type=dict[str, msgspec.Raw])
    project = got["pandar-project"]
    return Recorded(
        position=_number(got["pandar-position"]),
        stream=_text(got["ce-subject"]),
        version=_number(got["pandar-version"]),
        event_id=UUID(got["ce-id"]),
        type=kind[1],
        schema_version=int(kind[2]),
        recorded_at=_time(got["ce-time"]),
        actor=_text(got["ce-authid"]),
        project_id=None if project == subjects.ANY else _number(project),
        command_id=_text(got["pandar-command-id"]),
        correlation_id=_text(got["ce-correlationid"]),
        causation_id=_optional(got.get("ce-causationid")),
        traceparent=_optional(got.get("traceparent")),
        data=msgspec.Raw(data),
    )


def _text(value: str) -> str:
    return unquote(value, errors="surrogatepass")


def _optional(value: str | None) -> str | None:
    return None if value is None else _text(value)


def _number(value: str) -> int:
    if not _NUMBER.fullmatch(value) or not 0 < (number := int(value)) <= ID_MAX:
        msg = f"{value[:40]!r} is not a number from 1 to 2^63-1"
        raise NotAnEvent(msg)
    return number


def _time(value: str) -> datetime:
    return instant.to_utc(datetime.fromisoformat(_text(value)))
