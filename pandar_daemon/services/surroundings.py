"""What a run of an agent has round it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from msgspec import Struct

from events.running import Assignment
from pandar_daemon.domain import talking as talk
from pandar_daemon.ports import Clock
from pandar_daemon.services.consent import Consent
from pandar_daemon.services.granted import Grants
from pandar_daemon.services.line import Line


class Surroundings(Struct, frozen=True, kw_only=True):
    """What a run needs besides the agent.

    ``show`` adds to the task's output, ``conclude`` ends the process, ``wait`` says whether people
    are being asked, ``consult`` asks another agent.
    """

    assignment: Assignment
    store: str
    line: Line
    consent: Consent
    grants: Grants
    clock: Clock
    show: Callable[[bytes], Awaitable[None]]
    conclude: Callable[[talk.Conclude], Awaitable[None]]
    wait: Callable[[bool], Awaitable[None]]
    consult: Callable[[str], Awaitable[str | None]]
