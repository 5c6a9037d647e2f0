"""What programs of an agent ask for at a door of its box. A part of `turn`.

They are judged as the agent itself is, and nothing is asked about twice. What an agent wants and a
door will see word for word is asked about once, with all that is known at the door: the approval is
kept, and used there. What a door asks about in any case is allowed to the agent, and stops there.
"""

from __future__ import annotations

from msgspec.structs import replace

from events.calls import ToolCall, Verdict
from pandar_daemon.domain import talking as talk
from pandar_daemon.domain.hearing import DOOR, Asked
from pandar_daemon.domain.precedents import LOOP, Ruling
from pandar_daemon.domain.shell_runs import runs

AT_DOOR = "door"
"""The rule by which a call is allowed that is asked about when it comes to the door."""


def is_door(request_id: str) -> bool:
    """Tell whether a request was made at a door."""
    return request_id.startswith(DOOR)


def refusals(request_ids: list[str], why: str) -> list[talk.Effect]:
    """Return the refusals of those made at a door; an agent is answered by its protocol."""
    text = f"This was not decided: {why}."
    return [talk.Refuse(request_id=each, text=text) for each in request_ids if is_door(each)]


def ordered(call: ToolCall) -> tuple[str, ...]:
    """Return the words of the one plain command a call runs; nothing for any other call."""
    found = runs(call.command) if call.command else []
    if len(found) != 1 or found[0].settings or found[0].redirects:
        return ()
    words = found[0].written
    return tuple(word.text for word in words) if all(word.fixed for word in words) else ()


def put_off(asked: Asked, ruling: Ruling, terms: talk.Terms) -> Ruling:
    """Return what is done about it now, where what stops it is used or asked about at the door."""
    judged = ruling.judged
    if is_door(asked.request_id):
        return ruling
    if asked.foreseen and ruling.confirmation_id is not None:  # the door uses it
        return Ruling(judged=replace(judged, rule=AT_DOOR))
    stops = judged.verdict is Verdict.ASK and judged.rule != LOOP and judged.gates
    if not stops or not terms.doors.issuperset(judged.gates):
        return ruling
    return Ruling(judged=replace(judged, verdict=Verdict.ALLOW, rule=AT_DOOR))
