"""What the page says: titles, names of gates, statuses, times."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from events.task import Json
from projections.confirmation_tables import (
    APPROVED,
    CANCELLED,
    CHANGES,
    DECIDED,
    DENIED,
    EXPIRED,
    WITHDRAWN,
)

LOST: Final = "lost_runner"

_WANTS: Final = {
    "git_push_protected": "push to a remote",
    "secrets_access": "touch secrets",
    "infra_change": "change infrastructure",
    "package_publish": "publish a package",
    "network_egress": "reach the network",
    "outside_workspace": "change files outside its workspace",
    "destructive_fs": "destroy files",
}
_KINDS: Final = {
    "read": "read something",
    "edit": "edit a file",
    "delete": "delete something",
    "move": "move files",
    "search": "search",
    "execute": "run a command",
    "fetch": "fetch something",
}
_GATES: Final = {
    "git_push_protected": "Push",
    "secrets_access": "Secrets",
    "infra_change": "Infrastructure",
    "package_publish": "Publish",
    "network_egress": "Network",
    "outside_workspace": "Outside workspace",
    "destructive_fs": "Destroys files",
    "unclassified": "Not classified",
    "manual": "Asks every time",
    LOST: "Runner lost",
}
SEVERITIES: Final = {
    "low": "Low risk",
    "medium": "Medium risk",
    "high": "High risk",
    "critical": "Critical",
}
OUTCOMES: Final = {
    APPROVED: "Approved",
    DENIED: "Denied",
    CHANGES: "Changes requested",
    EXPIRED: "Nobody decided in time",
    WITHDRAWN: "No longer needed",
    CANCELLED: "Cancelled",
}
_MEANINGS: Final = {
    EXPIRED: "It counts as denied.",
    WITHDRAWN: "Whoever asked went on, or ended, without an answer.",
    CANCELLED: "The task was cancelled, and this request with it.",
}
_THEN: Final = {
    "deny": "it counts as denied",
    "cancel": "the task is cancelled",
    "escalate": "others are asked too",
}
_SCOPES: Final = {
    "execution": "everything at the same gates, until this execution ends",
    "pattern": "calls of this task that fit {pattern}",
    "project": "calls of this project that fit {pattern}",
}
_TASKS: Final = {
    "pending": "The task waits for its turn",
    "running": "The task goes on",
    "waiting_confirmation": "The task waits for another decision",
    "completed": "The task is done",
    "failed": "The task failed",
    "cancelled": "The task was cancelled",
}
AMOUNTS: Final = {
    "cost_usd": "Cost",
    "max_cost_usd": "Cost",
    "max_tokens": "Tokens",
    "input_tokens": "Tokens in",
    "output_tokens": "Tokens out",
    "cached_tokens": "Tokens from cache",
    "thought_tokens": "Tokens of thought",
}


def text(card: Json, name: str) -> str:
    """Return a text of a card, empty when there is none; numbers count as texts."""
    value = card.get(name)
    return str(value) if isinstance(value, str | int | float) and value is not True else ""


def texts(card: Json, name: str) -> list[str]:
    """Return a list of texts of a card."""
    value = card.get(name)
    return [str(each) for each in value] if isinstance(value, list) else []


def words(name: str) -> str:
    """Return a name of programs as people write it: ``git_push`` becomes ``git push``."""
    return name.replace("_", " ").replace("gate:", "")


def gate(name: str) -> str:
    """Return the name of a gate for people."""
    known = _GATES.get(name)
    return known or words(name).capitalize()


def title(card: Json, asked_at: str) -> str:
    """Return what is asked, as one line; ``asked_at`` is the gate."""
    who = text(card, "agent").strip().capitalize()
    match text(card, "kind") or asked_at:
        case "question":
            return f"{who or 'The task'} has a question"
        case "budget":
            return f"{who or 'The task'} has used up its budget"
        case "lost_runner":
            return "The runner was lost. Run it again?"
        case _:
            return f"{who or 'The agent'} wants to {_wanted(card, asked_at)}"


def _wanted(card: Json, asked_at: str) -> str:
    kind = text(card, "call_kind")
    known = _WANTS.get(asked_at) or _KINDS.get(kind)
    return known or ("run a command" if text(card, "command") else "go on")


def person(user: str) -> str:
    """Return a user as people know them: a number alone says nothing."""
    return f"user {user}" if user.isdecimal() else user


def outcome(confirmation: Json) -> str:
    """Return what was decided, in a word or two."""
    status = str(confirmation["status"])
    answered = confirmation["gate"] == "question" and status in DECIDED
    return "Answered" if answered else OUTCOMES.get(status, status)


def meaning(status: str) -> str:
    """Return what an outcome without a decision means."""
    return _MEANINGS.get(status, "")


def then(confirmation: Json) -> str:
    """Return what comes of it when nobody decides in time."""
    return _THEN["deny" if confirmation["escalated"] else str(confirmation["on_timeout"])]


def scope(confirmation: Json) -> str:
    """Return how far an approval goes, beyond the call; empty for the call alone."""
    named = _SCOPES.get(str(confirmation.get("scope")), "")
    return named.format(pattern=confirmation.get("pattern") or "")


def of_task(task: Json | None) -> str:
    """Return how a task is."""
    if task is None:
        return "The task is not shown any more"
    said = _TASKS.get(str(task["status"]), str(task["status"]))
    return f"{said}{_detail(task)}"


def _detail(task: Json) -> str:
    reason, progress = task.get("status_reason"), task.get("progress")
    match task["status"]:
        case "running" if reason:
            return f": {words(str(reason))}"
        case "running" if progress:
            return f", {progress} %"
        case "failed" if task.get("exit_code"):
            return f": exit code {task['exit_code']}"
        case "failed" | "pending" if reason:
            return f": {words(str(reason))}"
        case _:
            return ""


def moment(at: datetime) -> str:
    """Return a time in full: ``1 Mar 2026, 12:00 UTC``."""
    there = at.astimezone(UTC)
    return f"{there.day} {there:%b %Y, %H:%M} UTC"


def left(at: datetime, now: datetime) -> str:
    """Return how long there is until a time, in at most two units."""
    seconds = int((at - now).total_seconds())
    if seconds <= 0:
        return "Time is up"
    days, hours, minutes = seconds // 86_400, seconds // 3_600 % 24, seconds // 60 % 60
    if days:
        return f"{days} d {hours} h left"
    if hours:
        return f"{hours} h {minutes} min left"
    return f"{minutes} min {seconds % 60} s left" if minutes else f"{seconds} s left"


def sentence(detail: str) -> str:
    """Return a problem's detail as a sentence."""
    shown = detail[:1].upper() + detail[1:]
    return shown if shown.endswith((".", "?", "!")) else f"{shown}."


def amount(name: str, value: str) -> str:
    """Return an amount of a budget: dollars with cents, other numbers in groups of three."""
    try:
        number = float(value)
    except ValueError:
        return value
    return f"${number:,.2f}" if "usd" in name else f"{number:,.0f}"
