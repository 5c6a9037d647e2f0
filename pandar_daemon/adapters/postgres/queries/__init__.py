"""One SQL query a file, named ``verb_noun.sql``."""

from __future__ import annotations

from functools import cache
from pathlib import Path


@cache
def query(name: str) -> str:
    """Return the text of a query: ``query("move_checkpoint")``."""
    return (Path(__file__).parent / f"{name}.sql").read_text()
