"""A recorded call judged anew: what was done about it, and what another policy would do.

What was asked then is known by the confirmation its record names. Consent that let a call pass
then counts now too, where the call would stop at no other gates.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from datetime import datetime
from typing import Final

import msgspec
from msgspec import Struct

from events.calls import Rules, ToolCall, Verdict
from events.task import CallDecided
from pandar_daemon.domain.judging import Judgement, judge

WHAT_MAX: Final = 300
"""Characters of a call that are shown."""
_WORKSPACE: Final = re.compile(r"(?P<data>/.*?)/workspaces/(?P<task>task-\d+)(?=/|\Z)")
_NOWHERE: Final = ("/workspaces/task", "/homes/task")


class Tried(Struct, frozen=True, kw_only=True):
    """One call, then and now."""

    position: int
    at: datetime
    task_id: int
    project_id: int
    what: str
    then: Verdict
    then_rule: str
    now: Verdict
    now_rule: str
    gates: list[str] = []
    why: str = ""

    @property
    def changed(self) -> bool:
        """Whether something else would be done about it now."""
        return self.then is not self.now


class Totals(Struct, frozen=True, kw_only=True):
    """All calls summed up; ``prompts_saved`` were asked then and would not be now."""

    calls: int = 0
    then: dict[Verdict, int] = {}
    now: dict[Verdict, int] = {}
    prompts_saved: int = 0
    newly_asked: int = 0
    newly_denied: int = 0


class Where(Struct, frozen=True):
    """The folders of the task that made a call."""

    workspace: str
    home: str


def where(call: ToolCall) -> Where:
    """Return the workspace and home of a call, as its folder and paths tell them.

    They are those of the runner it was made on. Of a call that tells nothing, its folder is the
    workspace.
    """
    for path in (call.cwd, *call.paths):
        if found := _WORKSPACE.match(path):
            return Where(found[0], f"{found['data']}/homes/{found['task']}")
    return Where(call.cwd or _NOWHERE[0], _NOWHERE[1])


def asked_then(event: CallDecided) -> bool:
    """Tell whether somebody was asked about a recorded call."""
    return event.verdict is Verdict.ASK or event.confirmation_id is not None


def try_again(event: CallDecided, rules: Rules) -> tuple[Verdict, Judgement]:
    """Return what was done about a call, and the judgement on it by other rules."""
    then = Verdict.ASK if asked_then(event) else event.verdict
    place = where(event.call)
    now = judge(event.call, rules, [], place.workspace, place.home)
    if now.verdict is Verdict.ASK and _was_consented(event, now):
        now = msgspec.structs.replace(now, verdict=Verdict.ALLOW, rule=event.rule)
    return then, now


def _was_consented(event: CallDecided, now: Judgement) -> bool:
    return event.rule.startswith("allowance.") and set(now.gates) <= set(event.gates)


def what(call: ToolCall) -> str:
    """Return a call in one line."""
    said = call.command or call.title or " ".join([call.tool, *call.paths, *call.hosts])
    return " ".join(f"{said or call.kind}"[: WHAT_MAX + 1].split())[:WHAT_MAX]


def totals(calls: Iterable[Tried]) -> Totals:
    """Return the sums over calls."""
    pairs = Counter((call.then, call.now) for call in calls)
    then, now = Counter[Verdict](), Counter[Verdict]()
    for (before, after), number in pairs.items():
        then[before] += number
        now[after] += number
    asked_both = pairs[Verdict.ASK, Verdict.ASK]
    return Totals(
        calls=sum(pairs.values()),
        then={verdict: then[verdict] for verdict in Verdict},
        now={verdict: now[verdict] for verdict in Verdict},
        prompts_saved=then[Verdict.ASK] - asked_both,
        newly_asked=now[Verdict.ASK] - asked_both,
        newly_denied=now[Verdict.DENY] - pairs[Verdict.DENY, Verdict.DENY],
    )
