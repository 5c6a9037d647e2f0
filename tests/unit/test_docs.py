"""What the reference says is what the code has."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pandar_daemon import config
from pandar_daemon.adapters.http.app import PROBES, ROUTES

DOCS = Path(__file__).parents[2] / "docs"


def test_settings_page_names_every_variable() -> None:
    """Each environment variable that is read has its row, and no other has one."""
    page = (DOCS / "reference" / "settings.md").read_text()
    rows = "".join(line for line in page.splitlines(keepends=True) if line.startswith("| `"))
    assert set(re.findall(r"`(PANDAR_[A-Z_]+)`", rows)) == set(config.VARIABLES)


def test_http_page_names_every_route() -> None:
    """Each route has its row, and no row names a route that is not there."""
    page = (DOCS / "reference" / "http.md").read_text()
    named = set(re.findall(r"`(GET|POST|PUT|DELETE) (/[^`?]*)", page))
    there = {(method, path) for method, path, _ in ROUTES}
    assert named == there | {("GET", path) for path, _ in PROBES}


@pytest.mark.parametrize("page", [*sorted(DOCS.rglob("*.md")), DOCS.parent / "README.md"], ids=str)
def test_links_lead_somewhere(page: Path) -> None:
    """Every relative link of a page leads to a file of the repository."""
    for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
        assert (page.parent / target).exists(), target
