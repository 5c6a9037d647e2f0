"""Where the real agents are, and whether they may be run."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

INSIDE: Final = "PANDAR_TEST_AGENTS_INSIDE"
"""Set by ``python -m tests.agents``: without it nothing here is collected."""
FOLDER: Final = Path(os.environ.get("PANDAR_TEST_AGENTS", Path(__file__).parents[2] / ".agents"))
"""Where the agents are installed."""
