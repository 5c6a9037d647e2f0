"""The composition root: the only place that names concrete adapters and puts services on them."""

from pandar_daemon.wiring.archiving import archive, due_for_archive
from pandar_daemon.wiring.daemon import Ready, serve, up
from pandar_daemon.wiring.parts import mint_token
from pandar_daemon.wiring.places import announced, is_embedded_running
from pandar_daemon.wiring.upkeep import (
    Check,
    VerifyReport,
    advance_epoch,
    doctor,
    migrate,
    rebuild,
    verify,
)

__all__ = [
    "Check",
    "Ready",
    "VerifyReport",
    "advance_epoch",
    "announced",
    "archive",
    "doctor",
    "due_for_archive",
    "is_embedded_running",
    "migrate",
    "mint_token",
    "rebuild",
    "serve",
    "up",
    "verify",
]
