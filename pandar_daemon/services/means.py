"""What executions are made with, the same for all of one runner."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec
from msgspec import Struct

from pandar_daemon.domain.money import Price
from pandar_daemon.domain.redaction import Redactor
from pandar_daemon.ports import Agents, Clock, Diffs, Outputs, ProcessHost, Spools, Vault
from pandar_daemon.services.asking import Asker
from pandar_daemon.services.confines import House
from pandar_daemon.services.openings import Openings
from pandar_daemon.services.trees import Trees
from pandar_daemon.telemetry import Metrics


class Means(Struct, frozen=True, kw_only=True):
    """``store`` names the data directory, for ever; ``path`` is the ``PATH`` of commands.

    ``prices`` are those of models, by name. ``redactor`` knows the secrets of this runner itself;
    each execution has one more of its own. ``openings`` serve the doors of boxes; ``house`` says
    how this machine confines tasks.
    """

    runner_id: str
    store: str
    agents: Agents
    data: Path
    host: ProcessHost
    spools: Spools
    outputs: Outputs
    asker: Asker
    clock: Clock
    metrics: Metrics
    path: str
    trees: Trees
    diffs: Diffs | None = None
    prices: Mapping[str, Price] = {}
    vault: Vault | None = None
    redactor: Redactor = msgspec.field(default_factory=Redactor)
    openings: Openings = Openings()
    house: House = House()
