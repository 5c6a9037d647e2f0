"""The answers of approval links: pages, and the headers each of them has."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

from aiohttp import web

from pandar_daemon.adapters.http.pages import page
from pandar_daemon.adapters.http.pages.form import Entered
from pandar_daemon.adapters.http.pages.page import Approval

HEADERS: Final = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self';"
        " connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "X-Robots-Tag": "noindex, nofollow",
}


class Stop(Exception):
    """There is nothing but this page to show."""

    def __init__(self, status: HTTPStatus, heading: str, *said: str, **headers: str) -> None:
        super().__init__(heading)
        self.answer = html(page.plain(heading, *said), status, headers)


def page_of(
    approval: Approval,
    status: HTTPStatus | None = None,
    entered: Entered | None = None,
    problem: str = "",
    *,
    late: bool = False,
) -> web.Response:
    """Return the page as things are: 410 for what ended without a decision, unless told else."""
    ended = approval.is_pending or approval.confirmation["status"] in page.DECIDED
    shown = page.shown(approval, entered=entered, problem=problem, late=late)
    return html(shown, status or (HTTPStatus.OK if ended else HTTPStatus.GONE))


def html(text: str, status: HTTPStatus, headers: Mapping[str, str] | None = None) -> web.Response:
    """Return HTML that nobody keeps, frames, indexes or adds anything to."""
    return web.Response(
        text=text, status=status, content_type="text/html", headers={**HEADERS, **(headers or {})}
    )


def away() -> Stop:
    """Return the page to show while a part of Pandar cannot be asked."""
    return Stop(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "One moment",
        "A part of Pandar is away. Nothing is lost: load this page again in a few seconds.",
        **{"Retry-After": "5"},
    )


UNKNOWN: Final = (
    "This link does not work",
    "Nobody made such a link, or its task was deleted. Was its address copied whole?",
)
NOT_YOURS: Final = "Whom this link was made for may not decide here any more"
TOO_MANY: Final = (
    "Too many wrong links",
    "From your address somebody tried many links that do not exist. Try again in a minute.",
)
NOT_FROM_PAGE: Final = (
    "Nothing was decided",
    "This did not come from the page of the link. Open the link, look at it, and decide there.",
)
PERHAPS: Final = (
    "It is not known whether that worked. Nothing is lost: press again, or load this page again."
)
