"""Two test runs at once, as two people on one machine have them."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SMALL = "tests/integration/test_test_servers.py"

pytestmark = [pytest.mark.servers, pytest.mark.fault]


async def run(name: str, base: Path) -> tuple[int, str]:
    """Run a small test of the servers, which kills them too; return exit code and output."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "pytest", SMALL, f"--basetemp={base / name}"),
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "HOME": str(base), "LANG": "C.UTF-8"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    printed, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, printed.decode()


async def test_two_test_runs_do_not_disturb_each_other(tmp_path: Path) -> None:
    """Both pass, though each kills and restarts its servers meanwhile."""
    for code, printed in await asyncio.gather(run("one", tmp_path), run("other", tmp_path)):
        assert code == 0, printed
        assert "3 passed" in printed
