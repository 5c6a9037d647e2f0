"""Why an embedded server could not be started."""

from __future__ import annotations


class CannotStart(Exception):
    """An embedded server cannot start here; the message names the reason and what to do."""
