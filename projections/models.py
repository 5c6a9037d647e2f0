"""The read models of this release, by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from projections.base import ReadModel
from projections.confirmations import CONFIRMATIONS
from projections.executions import EXECUTIONS
from projections.grants import GRANTS
from projections.notifications import NOTIFICATIONS
from projections.outputs import OUTPUTS
from projections.projects import PROJECTS
from projections.secrets import SECRETS
from projections.stats import STATS
from projections.tasks import TASKS
from projections.timeline import TIMELINE
from projections.usage import USAGE

MODELS: Final[Mapping[str, ReadModel]] = {
    model.name: model
    for model in (
        *(TASKS, EXECUTIONS, TIMELINE, STATS, OUTPUTS, PROJECTS, NOTIFICATIONS),
        *(CONFIRMATIONS, USAGE, GRANTS, SECRETS),
    )
}
