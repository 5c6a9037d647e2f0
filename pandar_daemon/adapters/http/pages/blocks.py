"""A card as HTML: all that a decision is about, the most telling first."""

from __future__ import annotations

from typing import Final

import msgspec

from events.task import Json
from pandar_daemon.adapters.http.pages import texts
from pandar_daemon.adapters.http.pages.html import Html, el, together
from pandar_daemon.adapters.http.pages.texts import text

_CUT: Final = (
    "This is too long to be shown whole: you see only its beginning. What is approved is all of it."
)
_OWN_WORDS: Final = "The agent's own words; nobody checked them."
_LINES: Final = (
    ("+++", "file"),
    ("---", "file"),
    ("diff ", "file"),
    ("@@", "hunk"),
    ("+", "added"),
    ("-", "removed"),
)


def badges(card: Json, asked_at: str) -> Html:
    """Return how grave it is, and at which gates it stopped."""
    severity = text(card, "severity")
    named = texts.texts(card, "gates") or [asked_at]
    if text(card, "kind") in {"question", "budget"}:
        named = []
    grave = texts.SEVERITIES.get(severity) if named else None
    return el(
        "p",
        el("span", grave, class_=f"badge {severity}") if grave else None,
        [el("span", texts.gate(name), class_="badge") for name in named],
        class_="badges",
    )


def card_blocks(card: Json) -> Html:
    """Return everything of a card that has a place of its own."""
    return together(
        _question(card),
        _budget(card),
        _code("What will run", text(card, "command"), "command"),
        _code("What it asks for", text(card, "title"), "title") if _says_little(card) else None,
        _diff(text(card, "diff")),
        _code("What it sends", text(card, "input"), "input"),
        el("p", _CUT, class_="warning", role="note") if card.get("cut") else None,
        _why(card),
        _intent(text(card, "intent")),
        _facts(card),
    )


def _says_little(card: Json) -> bool:
    return not any(card.get(name) for name in ("command", "diff", "input", "question", "spent"))


def _section(title: str, *content: Html | None) -> Html:
    return el("section", el("h2", title), *content)


def _code(title: str, content: str, name: str) -> Html | None:
    if not content:
        return None
    return _section(title, el("pre", el("code", content), class_=f"code {name}"))


def _question(card: Json) -> Html | None:
    asked = text(card, "question")
    return el("section", el("p", asked, class_="question")) if asked else None


def _budget(card: Json) -> Html | None:
    spent, limits = _amounts(card, "spent"), _amounts(card, "limits")
    if not spent and not limits:
        return None
    return el("section", _table("Used so far", spent), _table("Allowed", limits), class_="amounts")


def _amounts(card: Json, name: str) -> list[tuple[str, str]]:
    found = card.get(name)
    values = found.items() if isinstance(found, dict) else ()
    return [
        (texts.AMOUNTS.get(key, texts.words(key)), texts.amount(key, str(value)))
        for key, value in values
    ]


def _table(caption: str, rows: list[tuple[str, str]]) -> Html | None:
    if not rows:
        return None
    shown = [el("tr", el("th", name, scope="row"), el("td", value)) for name, value in rows]
    return el("table", el("caption", caption), el("tbody", shown))


def _diff(diff: str) -> Html | None:
    """Return a diff; its lines do not wrap, so its box can be moved with the keyboard as well."""
    if not diff:
        return None
    lines = [el("span", line or " ", class_=_kind(line)) for line in diff.splitlines()]
    box = el(
        "div",
        el("pre", el("code", lines)),
        class_="diff",
        tabindex=0,
        role="region",
        aria_label="The change, line by line",
    )
    return _section("What will change", box)


def _kind(line: str) -> str:
    return next((kind for start, kind in _LINES if line.startswith(start)), "same")


def _why(card: Json) -> Html | None:
    why = text(card, "why")
    if not why:
        return None
    return _section("Why it stopped", el("p", texts.sentence(why)))


def _intent(intent: str) -> Html | None:
    if not intent:
        return None
    said = el("blockquote", el("p", intent))
    return _section("What the agent says", said, el("p", _OWN_WORDS, class_="small"))


def _facts(card: Json) -> Html | None:
    rows = [
        ("Folder", [text(card, "cwd")]),
        ("Branch", [text(card, "branch")]),
        ("Changed", [text(card, "changed")]),
        ("Files", texts.texts(card, "paths")),
        ("Hosts", texts.texts(card, "hosts")),
        ("Remote", [text(card, "remote")]),
        ("Moves", texts.texts(card, "impact")),
        ("Tool", [text(card, "tool")]),
        ("Rule", [text(card, "rule")]),
        ("Attempt", [text(card, "attempt")]),
        ("Progress", [f"{text(card, 'progress')} %"] if text(card, "progress") else []),
        ("Meanwhile", [texts.sentence(text(card, "blocked"))] if text(card, "blocked") else []),
    ]
    shown = [
        el("div", el("dt", name), [el("dd", value, class_=name.lower()) for value in values])
        for name, values in rows
        if any(values)
    ]
    return _section("About it", el("dl", shown, class_="facts")) if shown else None


_TEXTS: Final = frozenset(
    {
        *("kind", "task_id", "task_name", "project_id", "agent", "attempt", "branch", "gate"),
        *("rule", "severity", "why", "tool", "call_kind", "title", "command", "diff", "input"),
        *("cwd", "diff_sha256", "call_sha256", "intent", "blocked", "expires_at", "on_timeout"),
        *("then", "approve", "deny", "changes", "question", "progress", "execution_id"),
        *("runner_id", "remote", "changed"),
    }
)
_LISTS: Final = frozenset({"gates", "paths", "hosts", "choices", "cut", "impact"})
_OBJECTS: Final = frozenset({"spent", "limits"})


def has_more(card: Json) -> bool:
    """Tell whether something stands on a card that has no place of its own on the page."""
    return not all(_is_placed(name, value) for name, value in card.items())


def _is_placed(name: str, value: object) -> bool:
    if name in _TEXTS:
        return isinstance(value, str | int)
    if name in _LISTS:
        return isinstance(value, list) and all(isinstance(each, str) for each in value)
    return name in _OBJECTS and isinstance(value, dict)


def whole(card: Json, sha256: str, *, is_open: bool) -> Html:
    """Return the card as it was recorded, to the last of its fields, and its hash."""
    shown = msgspec.json.format(msgspec.json.encode(card, order="sorted"), indent=2).decode()
    return el(
        "details",
        el("summary", "The whole card · SHA-256 ", el("code", f"{sha256[:12]}…")),
        el("p", "SHA-256 ", el("code", sha256), class_="hash"),
        el("pre", el("code", shown), class_="code whole"),
        class_="whole-card",
        open=is_open,
    )
