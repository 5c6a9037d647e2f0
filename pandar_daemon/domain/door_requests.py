"""What programs of an agent ask for at a door of its box. A part of `turn`.

They are judged as the agent itself is. What a door will ask about anyway, knowing what exactly
would be done, is not asked about twice: the agent's own wish is then allowed, and stops there.
"""

from __future__ import annotations

from msgspec.structs import replace

from events.calls import Verdict
from pandar_daemon.domain import talking as talk
from pandar_daemon.domain.hearing import DOOR, Asked
from pandar_daemon.domain.precedents import LOOP, Ruling

AT_DOOR = "door"
"""The rule by which a call is allowed that is asked about when it comes to the door."""


def is_door(request_id: str) -> bool:
    """Tell whether a request was made at a door."""
    return request_id.startswith(DOOR)


def refusals(request_ids: list[str], why: str) -> list[talk.Effect]:
    """Return the refusals of those made at a door; an agent is answered by its protocol."""
    text = f"This was not decided: {why}."
    return [talk.Refuse(request_id=each, text=text) for each in request_ids if is_door(each)]


def put_off(asked: Asked, ruling: Ruling, terms: talk.Terms) -> Ruling:
    """Return what is done about it now, where all that stops it is asked about at the door."""
    judged = ruling.judged
    stops = judged.verdict is Verdict.ASK and judged.rule != LOOP
    if is_door(asked.request_id) or not stops or not judged.gates:
        return ruling
    if not terms.doors.issuperset(judged.gates):
        return ruling
    return Ruling(judged=replace(judged, verdict=Verdict.ALLOW, rule=AT_DOOR))
