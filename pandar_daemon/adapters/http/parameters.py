"""What may stand in the path, the query and the headers, and what it means, for people."""

from __future__ import annotations

from typing import Final

from events.ids import ID_MAX, TOKEN
from events.task import Json

_NUMBER: Final[Json] = {"type": "integer", "minimum": 0, "maximum": ID_MAX}
_STRING: Final[Json] = {"type": "string"}

IN_PATH: Final[dict[str, Json]] = {
    "id": {"type": "integer", "minimum": 1, "maximum": ID_MAX},
    "user": {"type": "string", "minLength": 1, "maxLength": 128},
    "confirmation_id": {"type": "string", "format": "uuid"},
    "notification": {"type": "string", "format": "uuid"},
    "grant": {"type": "string", "format": "uuid"},
    "secret": {"type": "string", "pattern": "^[A-Z][A-Z0-9_]{0,63}$"},
}

IN_QUERY: Final = {
    "page": "Counted from 1; not together with `cursor`.",
    "limit": "How many at most.",
    "cursor": "`next_cursor` of the answer before: goes on after it, as fast at any depth.",
    "at": "A log position, or a time with its zone: what it was then.",
    "date_from": "Created at or after this.",
    "date_to": "Created at or before this.",
    "q": "Words to look for.",
    "type": "Types of events, or categories: `task.completed`, `task`. Repeat it for several.",
    "status": "Repeat it for several.",
    "priority": "Repeat it for several.",
    "tail": "How many of the last lines.",
    "offset": "The first byte.",
    "length": "How many bytes at most.",
    "attempt": "Which attempt, from 1; the latest if none is named.",
    "follow": "Stream what there is, then what comes, until the attempt ends.",
    "after": "A log position.",
    "from": "The first day, in UTC.",
    "to": "The last day, in UTC.",
    "by": "What to sum by.",
    "unread": "Only what was not read yet.",
    "format": "`patch` for `git apply`, `stat` for people, `json` for programs.",
    "checkpoint": "Such as `2-1`, the first of the second attempt; the latest if none is named.",
    "output": "Whether the stream carries the output, too.",
}

OF_REQUESTS: Final[dict[str, tuple[str, Json]]] = {
    "Idempotency-Key": (
        "The same key again gets the first answer; with another request it is a 409.",
        {"type": "string", "pattern": f'^({TOKEN.pattern}|"{TOKEN.pattern}")$'},
    ),
    "If-Match": ("The `ETag` you saw: 412 when it changed meanwhile.", _STRING),
    "If-None-Match": ("The `ETag` you saw: 304 when it did not change.", _STRING),
    "Pandar-Min-Position": ("Wait, at most 5 s, until the answer knows this position.", _NUMBER),
    "Last-Event-ID": ("The `id` of the last message you saw: go on behind it.", _STRING),
    "Range": ("`bytes=<first>-[<last>]`.", _STRING),
    "traceparent": ("W3C trace context; it goes with the command to the runner.", _STRING),
    "X-Request-ID": ("Names the request in logs and, as correlation id, in events.", _STRING),
}
"""Headers by name: what it means, and its shape."""

OF_ANSWERS: Final[dict[str, tuple[str, Json]]] = {
    "X-Request-ID": ("The request's, or a fresh one.", _STRING),
    "Pandar-Checkpoint": ("Of which checkpoint this is.", _STRING),
    "ETag": ("The version: the number of events of the task or project.", _STRING),
    "Location": ("Where what was made is.", _STRING),
    "Pandar-Command-Id": ("The id of the command: the `Idempotency-Key`, if given.", _STRING),
    "Pandar-Position": ("Where the log was after it; for `Pandar-Min-Position`.", _NUMBER),
    "Pandar-Output-Offset": ("Of raw text: the offset of its first byte.", _NUMBER),
    "Pandar-Attempt": ("Of a followed output: the attempt.", _NUMBER),
    "Content-Range": ("Which bytes these are.", _STRING),
    "Retry-After": ("In how many seconds to ask again.", _NUMBER),
    "WWW-Authenticate": ("The scheme.", _STRING),
}

EVERYWHERE: Final = ("traceparent", "X-Request-ID")
"""Headers any request to the API may have."""
