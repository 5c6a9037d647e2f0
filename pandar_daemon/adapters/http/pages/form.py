"""The form that decides: for people with a thumb, a keyboard or a screen reader.

Its first button decides nothing: it is the one that Enter presses in a field.
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from events.commands import REASON_MAX
from events.task import Json
from pandar_daemon.adapters.http.pages import texts
from pandar_daemon.adapters.http.pages.html import Html, el, together
from pandar_daemon.adapters.http.pages.patterns import suggested

PATTERN_MAX: Final = 1_000
NEEDED: Final = "Say what to do instead."
_LOST: Final = texts.LOST


class Entered(Struct, frozen=True, kw_only=True):
    """What somebody put into the form, to be shown to them again."""

    decision: str = ""
    reason: str = ""
    choice: str = ""
    scope: str = "call"
    pattern: str = ""


class Button(Struct, frozen=True):
    """One way to decide; ``means`` is what comes of it."""

    decision: str
    label: str
    means: str


_LABELS: Final = {
    "question": {"approve": "As you think best", "deny": "No", "changes": "Send answer"},
    "budget": {"approve": "Let it go on", "deny": "End it here"},
    _LOST: {"approve": "Run it again", "deny": "Leave it"},
    "": {"approve": "Approve", "deny": "Deny", "changes": "Request changes"},
}
_MAIN: Final = {"question": "changes"}


def kind_of(confirmation: Json) -> str:
    """Return which form fits: ``question``, ``budget``, ``lost_runner``, or empty for a call."""
    card = confirmation["card"]
    kind = texts.text(card, "kind") or str(confirmation["gate"])
    return kind if kind in _LABELS else ""


def buttons(confirmation: Json, *, may_approve: bool) -> list[Button]:
    """Return the ways to decide, the one that lets it happen last, under the thumb."""
    kind, card = kind_of(confirmation), confirmation["card"]
    labels = dict(_LABELS[kind])
    if not may_approve:
        labels.pop("approve")
    main = _MAIN.get(kind, "approve")
    order = [name for name in ("deny", "approve", "changes") if name != main] + [main]
    return [Button(n, labels[n], texts.text(card, n)) for n in order if n in labels]


def decision_form(
    confirmation: Json, proof: str, entered: Entered, *, may_approve: bool, problem: str
) -> Html:
    """Return the fields and buttons, to stand in a ``form`` with what they are about."""
    kind = kind_of(confirmation)
    ways = buttons(confirmation, may_approve=may_approve)
    return together(
        el("input", type="hidden", name="card_sha256", value=confirmation["card_sha256"]),
        el("input", type="hidden", name="proof", value=proof),
        _choices(texts.texts(confirmation["card"], "choices"), entered),
        _reason(kind, entered, problem),
        _scopes(confirmation, entered) if not kind and may_approve else None,
        None if kind == "question" else _meanings(ways),
        _bar(ways, _MAIN.get(kind, "approve")),
    )


def inert_button() -> Html:
    """Return what Enter presses in a form whose first button it is: it decides nothing.

    It must be there for browsers, if not for eyes: one that is disabled, or that is not shown at
    all, is passed over for the next one.
    """
    return el("button", type="submit", class_="hidden", id="inert", tabindex=-1, aria_hidden="true")


def _choices(choices: list[str], entered: Entered) -> Html | None:
    if not choices:
        return None
    shown = [
        el(
            "label",
            el(
                "input",
                type="radio",
                name="choice",
                value=choice,
                checked=entered.choice == choice,
            ),
            el("span", choice),
            class_="option",
        )
        for choice in choices
    ]
    return el("fieldset", el("legend", "Choose one"), shown)


def _reason(kind: str, entered: Entered, problem: str) -> Html:
    label = _LABEL_OF_TEXT.get(kind, "Reason")
    described = "reason-problem reason-hint" if problem else "reason-hint"
    return el(
        "div",
        el("label", label, for_="reason"),
        el("p", problem, id="reason-problem", class_="problem") if problem else None,
        el(
            "textarea",
            entered.reason,
            id="reason",
            name="reason",
            rows=3,
            maxlength=REASON_MAX,
            data_needed=NEEDED,
            aria_describedby=described,
            aria_invalid="true" if problem else None,
        ),
        el("p", _HINTS.get(kind, _HINTS[""]), id="reason-hint", class_="small"),
        class_="field",
    )


_LABEL_OF_TEXT: Final = {"question": "Your answer, in words", "": "Reason, or what to change"}
_HINTS: Final = {
    "question": f"It goes to the agent. At most {REASON_MAX} characters.",
    "budget": f"It stands in the task's history. At most {REASON_MAX} characters.",
    _LOST: f"It stands in the task's history. At most {REASON_MAX} characters.",
    "": f"It goes to the agent; needed to request changes. At most {REASON_MAX} characters.",
}


def _scopes(confirmation: Json, entered: Entered) -> Html:
    card = confirmation["card"]
    gates = texts.texts(card, "gates") or [str(confirmation["gate"])]
    named = ", ".join(texts.gate(name) for name in gates)
    return el(
        "details",
        el("summary", "How far an approval goes: ", el("span", "this call only", class_="now")),
        el(
            "fieldset",
            el("legend", "Approve", class_="hidden"),
            _scope("call", "This call only", entered),
            _scope("execution", f"All of “{named}” until this execution ends", entered),
            _scope("pattern", "Calls of this task that fit a pattern", entered),
            _pattern(card, entered),
        ),
        class_="scope",
        open=entered.scope != "call",
    )


def _scope(value: str, label: str, entered: Entered) -> Html:
    checked = entered.scope == value
    box = el("input", type="radio", name="scope", value=value, checked=checked)
    return el("label", box, el("span", label), class_="option")


def _pattern(card: Json, entered: Entered) -> Html:
    return el(
        "div",
        el("label", "Pattern", for_="pattern"),
        el(
            "input",
            type="text",
            id="pattern",
            name="pattern",
            value=entered.pattern or suggested(card),
            maxlength=PATTERN_MAX,
            autocapitalize="none",
            autocomplete="off",
            autocorrect="off",
            spellcheck="false",
            aria_describedby="pattern-hint",
        ),
        el(
            "p",
            "For one command, path or host. ",
            el("code", "*"),
            " stands for anything within a word; as the last word, for all that follow.",
            id="pattern-hint",
            class_="small",
        ),
        class_="field pattern",
    )


def _meanings(ways: list[Button]) -> Html | None:
    known = [way for way in ways if way.means and way.means.casefold() != way.label.casefold()]
    if not known:
        return None
    shown = [el("div", el("dt", way.label), el("dd", way.means)) for way in reversed(known)]
    return el("dl", shown, class_="meanings", id="meanings")


def _bar(ways: list[Button], main: str) -> Html:
    shown = [
        el(
            "button",
            way.label,
            type="submit",
            name="decision",
            value=way.decision,
            class_=f"{way.decision} main" if way.decision == main else way.decision,
        )
        for way in ways
    ]
    return el("div", shown, class_="bar", role="group", aria_label="Decide")
