"""The form on a page of ours, as a browser would send it."""

from __future__ import annotations

from html.parser import HTMLParser


class _Fields(HTMLParser):
    """Collects the fields a form sends when nothing was filled in."""

    def __init__(self) -> None:
        super().__init__()
        self.found: dict[str, str] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take note of an input that would be sent."""
        values = dict(attrs)
        name, kind = values.get("name"), values.get("type") or "text"
        unsent = kind in {"submit", "button"} or (
            kind in {"radio", "checkbox"} and "checked" not in values
        )
        if tag == "input" and name and not unsent:
            self.found[name] = values.get("value") or ""


def fields(page: str) -> dict[str, str]:
    """Return the fields of a page's form and what they hold; buttons are not among them."""
    parser = _Fields()
    parser.feed(page)
    return parser.found
