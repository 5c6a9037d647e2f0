"""The page of an approval link in each of its states.

It is whole without a script. With one, times are those of the reader's zone, the rest counts down,
and what became of the task is kept up to date.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from msgspec import Struct

from events.instant import text as rfc3339
from events.task import Json
from pandar_daemon.adapters.http.pages import blocks, texts
from pandar_daemon.adapters.http.pages.assets import address
from pandar_daemon.adapters.http.pages.form import NEEDED, Entered, decision_form, inert_button
from pandar_daemon.adapters.http.pages.html import Child, Html, el, together
from projections.confirmation_tables import APPROVED, CHANGES, DECIDED, PENDING

__all__ = ["DECIDED", "Approval", "plain", "shown", "state"]

LIVE: Final = frozenset({"pending", "running", "waiting_confirmation"})
"""Statuses of a task that may still change by themselves."""
_FASTER: Final = "Your answer came too late: this was settled before, as you see below."
_SCHEMES: Final = (("light", "#f4f3ef"), ("dark", "#151413"))


class Approval(Struct, frozen=True, kw_only=True):
    """What a page is about; ``proof`` is what its form carries."""

    confirmation: Json
    task: Json | None
    approver: str
    now: datetime
    proof: str = ""

    @property
    def is_pending(self) -> bool:
        """Return whether it still waits for people."""
        return bool(self.confirmation["status"] == PENDING)

    @property
    def card(self) -> Json:
        """Return what is asked."""
        card: Json = self.confirmation["card"]
        return card

    @property
    def voters(self) -> list[str]:
        """Return who approved so far, of the several it takes."""
        return [str(vote["by"]) for vote in self.confirmation["votes"]]

    @property
    def is_own(self) -> bool:
        """Return whether the approver filed the task and so may not approve."""
        task = self.task or {}
        alone = bool(self.confirmation["prevent_self_approval"])
        return alone and task.get("created_by") == self.approver


def state(approval: Approval) -> Json:
    """Return what the page's script asks for again and again."""
    task = approval.task
    return {
        "state": approval.confirmation["status"],
        "votes": len(approval.voters),
        "task": texts.of_task(task),
        "live": approval.is_pending or (task is not None and task["status"] in LIVE),
    }


def shown(
    approval: Approval, *, entered: Entered | None = None, problem: str = "", late: bool = False
) -> str:
    """Return the page as things are: it asks, or it says what was decided."""
    if approval.is_pending:
        return _asking(approval, entered or Entered(), problem)
    return _settled(approval, late=late)


# --- while it waits --------------------------------------------------------------------------


def _asking(approval: Approval, entered: Entered, problem: str) -> str:
    card, confirmation = approval.card, approval.confirmation
    heading = texts.title(card, str(confirmation["gate"]))
    wanting = entered.decision == "changes" and not entered.reason
    form = el(
        "form",
        inert_button(),
        _header(approval, heading),
        el("p", problem, class_="banner problem", role="alert") if problem else None,
        _votes(approval),
        el("div", blocks.card_blocks(card), class_="card"),
        decision_form(
            confirmation,
            approval.proof,
            entered,
            may_approve=not approval.is_own and approval.approver not in approval.voters,
            problem=NEEDED if wanting else "",
        ),
        method="post",
        accept_charset="utf-8",
    )
    return _document(heading, _main(approval, form), _footer(approval))


def _header(approval: Approval, heading: str) -> Html:
    card, confirmation = approval.card, approval.confirmation
    return el(
        "header",
        blocks.badges(card, str(confirmation["gate"])),
        el("h1", heading),
        _of_task(approval),
        _deadline(approval),
    )


def _of_task(approval: Approval) -> Html:
    task, card = approval.task or {}, approval.card
    name = str(task.get("name") or texts.text(card, "task_name"))
    number = approval.confirmation["task_id"]
    project = approval.confirmation["project_id"]
    return el("p", el("strong", name), f" · task {number} · project {project}", class_="of-task")


def _deadline(approval: Approval) -> Html:
    at = datetime.fromisoformat(approval.confirmation["expires_at"])
    return el(
        "p",
        el("span", texts.left(at, approval.now), id="left", class_="left"),
        " · until ",
        _time(at),
        f"; then {texts.then(approval.confirmation)}",
        el("span", id="announced", class_="hidden", role="status"),
        class_="deadline",
        data_until=rfc3339(at),
        data_now=rfc3339(approval.now),
    )


def _time(at: datetime) -> Html:
    return el("time", texts.moment(at), datetime=rfc3339(at))


def _votes(approval: Approval) -> Html | None:
    quorum, voters = int(approval.confirmation["quorum"]), approval.voters
    if approval.is_own:
        return el("p", "You filed this task: somebody else must approve.", class_="banner")
    if quorum < 2:  # noqa: PLR2004 - one is enough
        return None
    lacking = quorum - len(voters)
    named = f"Approved by {', '.join(map(texts.person, voters))}. " if voters else ""
    people = "person" if lacking == 1 else "people"
    more = "more " if voters else ""
    return el("p", f"{named}It takes {lacking} {more}{people} to approve.", class_="banner")


# --- afterwards ------------------------------------------------------------------------------


def _settled(approval: Approval, *, late: bool) -> str:
    confirmation, card = approval.confirmation, approval.card
    outcome, heading = str(confirmation["status"]), texts.outcome(confirmation)
    content = together(
        el("p", _FASTER, class_="banner problem", role="alert") if late else None,
        el(
            "header",
            el("p", _MARKS.get(outcome, "…"), class_=f"mark {outcome}", aria_hidden="true"),
            el("h1", heading),
            _who(approval),
            _reason(confirmation),
        ),
        _task_now(approval),
        el(
            "details",
            el("summary", "What was asked"),
            el("h2", texts.title(card, str(confirmation["gate"])), class_="asked"),
            el("div", blocks.card_blocks(card), class_="card"),
            class_="asked-for",
        ),
    )
    return _document(heading, _main(approval, content, class_="settled"), _footer(approval))


_MARKS: Final = {APPROVED: "✓", "denied": "✕", CHANGES: "↻", "cancelled": "✕"}


def _who(approval: Approval) -> Html:
    confirmation = approval.confirmation
    by, at = confirmation["decided_by"], confirmation["decided_at"]
    when = _time(datetime.fromisoformat(at)) if at else None
    said = texts.meaning(str(confirmation["status"]))
    return el(
        "p",
        f"by {texts.person(str(by))} · " if by else None,
        when,
        f". {said}" if said else None,
        class_="who",
    )


def _reason(confirmation: Json) -> Html | None:
    reason, scope = confirmation.get("reason"), texts.scope(confirmation)
    if confirmation["status"] not in texts.OUTCOMES or not (reason or scope):
        return None
    return together(
        el("p", f"For {scope}.", class_="scope-given") if scope else None,
        el("blockquote", el("p", str(reason))) if reason else None,
    )


def _task_now(approval: Approval) -> Html:
    task = approval.task
    again = el("a", "Look again", href="", id="again")
    return el(
        "section",
        _of_task(approval),
        el("p", texts.of_task(task), id="task", class_="now", role="status"),
        el("p", again, class_="small") if state(approval)["live"] else None,
        class_="task-now",
    )


# --- the rest --------------------------------------------------------------------------------


def plain(heading: str, *paragraphs: Child) -> str:
    """Return a page that only says something."""
    said = [el("p", each) for each in paragraphs]
    return _document(heading, el("main", el("header", el("h1", heading)), said, class_="plain"))


def _main(approval: Approval, content: Html, **attributes: str) -> Html:
    now = state(approval)
    return el(
        "main",
        content,
        data_state=str(now["state"]),
        data_votes=int(now["votes"]),
        data_live="yes" if now["live"] else "no",
        **attributes,
    )


def _footer(approval: Approval) -> Html:
    confirmation = approval.confirmation
    said = "You decide here as " if approval.is_pending else "This link was made for "
    return el(
        "footer",
        blocks.whole(
            approval.card,
            str(confirmation["card_sha256"]),
            is_open=approval.is_pending and blocks.has_more(approval.card),
        ),
        el("p", said, el("strong", texts.person(approval.approver)), ".", class_="small"),
    )


def _document(title: str, *content: Html) -> str:
    head = el(
        "head",
        el("meta", charset="utf-8"),
        el("title", f"{title} · Pandar"),
        el(
            "meta",
            name="viewport",
            content="width=device-width, initial-scale=1, viewport-fit=cover",
        ),
        el("meta", name="color-scheme", content="light dark"),
        el("meta", name="robots", content="noindex, nofollow"),
        [
            el("meta", name="theme-color", content=colour, media=f"(prefers-color-scheme: {name})")
            for name, colour in _SCHEMES
        ],
        el("link", rel="icon", type="image/svg+xml", href=address("icon.svg")),
        el("link", rel="stylesheet", href=address("approval.css")),
        el("script", src=address("approval.js"), defer=True),
    )
    brand = el("p", el("span", class_="logo", aria_hidden="true"), "Pandar", class_="brand")
    body = el("body", el("div", brand, *content, class_="page"))
    return f"<!doctype html>\n{el('html', head, body, lang='en')}\n"
