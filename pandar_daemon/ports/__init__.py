"""What the services need from the world, as small protocols; adapters implement them.

Every port is proven by one contract suite in ``tests/contract`` against the real thing.
"""

from pandar_daemon.ports.audit import BusAudit, LogAudit, ServedRows
from pandar_daemon.ports.bus import (
    Door,
    EventStream,
    Handler,
    Headers,
    Live,
    Message,
    Sender,
    StreamBehind,
    Wire,
)
from pandar_daemon.ports.identity import Verifier
from pandar_daemon.ports.leases import Leadership, Lease, Leases, Rejections
from pandar_daemon.ports.log import (
    Append,
    Appended,
    AppendFailed,
    Conflict,
    EventStore,
    Fenced,
    Head,
    Key,
    KeyTaken,
    LeaseChange,
    LeaseOp,
    LogDamaged,
    Numbers,
    Receipt,
    Replayed,
    Verdict,
)
from pandar_daemon.ports.output import Chunk, OutputKey, Outputs, Spool, Spools
from pandar_daemon.ports.processes import Exit, Process, ProcessHost, Spec
from pandar_daemon.ports.reads import Page, ProjectReads, TaskFilter, TaskReads, WorkQueue
from pandar_daemon.ports.time import Clock
from pandar_daemon.ports.views import (
    ChangeRefused,
    Checkpoint,
    CheckpointLost,
    Move,
    Poison,
    Step,
    Views,
)

__all__ = [
    "Append",
    "AppendFailed",
    "Appended",
    "BusAudit",
    "ChangeRefused",
    "Checkpoint",
    "CheckpointLost",
    "Chunk",
    "Clock",
    "Conflict",
    "Door",
    "EventStore",
    "EventStream",
    "Exit",
    "Fenced",
    "Handler",
    "Head",
    "Headers",
    "Key",
    "KeyTaken",
    "Leadership",
    "Lease",
    "LeaseChange",
    "LeaseOp",
    "Leases",
    "Live",
    "LogAudit",
    "LogDamaged",
    "Message",
    "Move",
    "Numbers",
    "OutputKey",
    "Outputs",
    "Page",
    "Poison",
    "Process",
    "ProcessHost",
    "ProjectReads",
    "Receipt",
    "Rejections",
    "Replayed",
    "Sender",
    "ServedRows",
    "Spec",
    "Spool",
    "Spools",
    "Step",
    "StreamBehind",
    "TaskFilter",
    "TaskReads",
    "Verdict",
    "Verifier",
    "Views",
    "Wire",
    "WorkQueue",
]
