"""The programs in the documentation work as they stand, against a running Pandar."""

from __future__ import annotations

import asyncio
import re
import sys
from pathlib import Path

from tests.acceptance.conftest import Pandar
from tests.support.daemon import clean_environment

DOCS = Path(__file__).parents[2] / "docs"


async def run_program(page: str, folder: Path, *arguments: str) -> str:
    """Run the Python program of a page in a process of its own; return what it printed."""
    source = re.search(r"```python\n(.*?)```", (DOCS / page).read_text(), re.DOTALL)
    assert source is not None
    program = folder / "program.py"
    program.write_text(source[1])
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        program,
        *arguments,
        env=clean_environment(folder),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(60):
        out, _ = await process.communicate()
    assert process.returncode == 0, out.decode()
    return out.decode()


async def test_queued_command_is_answered(pandar: Pandar, tmp_path: Path) -> None:
    """A command left on the queue with a proof, by nats-py alone, is done and answered."""
    printed = await run_program(
        "howto/queue-commands.md", tmp_path, pandar.nats_reader_url, pandar.token
    )
    assert printed.startswith("ok "), printed
    assert '"status":"pending"' in printed
