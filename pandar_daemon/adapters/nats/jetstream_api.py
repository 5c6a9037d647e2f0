"""What JetStream's API is asked and answers, as far as we use it, as plain JSON."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

API = "$JS.API"
SECOND = 1_000_000_000
DAY_SEC = 86_400

NOT_AVAILABLE = 10008
"""A member of a cluster knows of no leader."""
STREAM_CONFIG_INVALID = 10052
STREAM_NAME_IN_USE = 10058
STREAM_NOT_FOUND = 10059


class Republish(Struct, frozen=True, kw_only=True):
    """What the stream repeats on core NATS once it is stored."""

    src: str
    dest: str


class StreamConfig(Struct, frozen=True, kw_only=True, omit_defaults=False):
    """A stream as we want it, in whole; durations in nanoseconds, 0 or -1 is no limit."""

    name: str
    description: str = ""
    subjects: tuple[str, ...] = ()
    retention: Literal["limits", "workqueue"] = "limits"
    discard: Literal["old", "new"] = "old"
    storage: Literal["file", "memory"] = "file"
    compression: Literal["none", "s2"] = "none"
    num_replicas: int = 1
    max_age: int = 0
    max_bytes: int = -1
    max_msgs: int = -1
    max_msgs_per_subject: int = -1
    duplicate_window: int = 2 * 60 * SECOND
    allow_direct: bool = True
    deny_delete: bool = False
    deny_purge: bool = False
    republish: Republish | None = None
    allow_atomic: bool = False
    persist_mode: Literal["default", "async"] = "default"


class ConsumerConfig(Struct, frozen=True, kw_only=True):
    """A durable pull consumer as we want it, in whole."""

    durable_name: str
    description: str = ""
    deliver_policy: Literal["all"] = "all"
    ack_policy: Literal["explicit"] = "explicit"
    ack_wait: int = 30 * SECOND
    max_deliver: int = -1
    max_ack_pending: int = 1_000


class ApiError(Struct, frozen=True, kw_only=True):
    """How JetStream says no; ``err_code`` is stable."""

    code: int = 0
    err_code: int = 0
    description: str = ""


class StreamState(Struct, frozen=True, kw_only=True):
    """What a stream holds."""

    messages: int = 0
    first_seq: int = 0
    last_seq: int = 0


class Granted(Struct, frozen=True, kw_only=True):
    """What of a configuration an older server may not know, and leave out."""

    allow_atomic: bool = False
    persist_mode: str = "default"


class ApiVerdict(Struct, frozen=True, kw_only=True):
    """Whether the API said no, whatever else its answer holds."""

    error: ApiError | None = None


class ApiAnswer(ApiVerdict, frozen=True, kw_only=True):
    """An answer about streams; what was not asked for is empty."""

    config: Granted = Granted()
    state: StreamState = StreamState()
    streams: list[str] | None = None


class PubAck(Struct, frozen=True, kw_only=True):
    """What became of a message: stored as ``seq``, or an error."""

    seq: int = 0
    duplicate: bool = False
    error: ApiError | None = None
