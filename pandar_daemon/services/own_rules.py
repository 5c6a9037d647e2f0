"""The rules a repository has for its own tasks: read from its root, told, never wider."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final

import msgspec
import structlog
from msgspec import Struct

from events.running import Assignment, ReportNarrowed
from pandar_daemon.domain.narrowing import FILE, SIZE_MAX, Narrowed, narrow, unreadable
from pandar_daemon.domain.refusals import Refusal
from pandar_daemon.services.line import Line

log = structlog.get_logger(__name__)

# A pipe must not make us wait, nor a link lead us anywhere.
_FLAGS: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class OwnRules(Struct, frozen=True, kw_only=True):
    """An assignment under a repository's rules; ``lines`` say to people what those did."""

    assignment: Assignment
    lines: tuple[str, ...] = ()
    narrowed: Narrowed | None = None

    async def tell(self, line: Line) -> None:
        """Record what they did, if anything; it stands in the output in any case."""
        if self.narrowed is None or not self.lines:
            return
        report = ReportNarrowed(
            task_id=self.assignment.task_id,
            execution_id=self.assignment.execution_id,
            epoch=self.assignment.epoch,
            changes=list(self.narrowed.changes),
            refused=list(self.narrowed.refused),
        )
        try:
            await line.send("narrowed", report)
        except Refusal as refusal:
            log.warning("narrowing.untold", task=report.task_id, reason=str(refusal))


def own_rules(assignment: Assignment, workspace: Path) -> OwnRules:
    """Return an assignment narrowed by the file in the root of its workspace, if there is one."""
    try:
        text = _read(workspace / FILE)
    except FileNotFoundError:
        return OwnRules(assignment=assignment)
    except OSError as error:
        found = unreadable(assignment.rules, assignment.confines, error.strerror or "unreadable")
    else:
        found = narrow(assignment.rules, assignment.confines, text)
    narrower = msgspec.structs.replace(assignment, rules=found.rules, confines=found.confines)
    lines = (
        *(f"{FILE}: {change}" for change in found.changes),
        *(f"{FILE}: ignored: {refused}" for refused in found.refused),
    )
    return OwnRules(assignment=narrower, lines=lines, narrowed=found)


def _read(path: Path) -> bytes:
    """Return the beginning of a file, one byte more than it may have; raises ``OSError``."""
    descriptor = os.open(path, _FLAGS)
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(0, "it is no file")
        return file.read(SIZE_MAX + 1)
