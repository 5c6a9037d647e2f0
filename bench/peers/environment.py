"""The peers' own virtual environment, made from a lock file and kept for the next run."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
LOCK = ROOT / "requirements" / "peers.txt"
PLACE = ROOT / ".bench-peers"
NAMES = ("procrastinate", "dbos")
INSTALL_SEC = 300.0
_STAMP = "installed"


class NoPeers(Exception):
    """There is no environment and none can be made; the message says why."""


def versions() -> dict[str, str]:
    """Return the peers' versions, as locked."""
    found = re.findall(r"^(\S+)==(\S+)", LOCK.read_text(), re.MULTILINE)
    return {name: version for name, version in found if name in NAMES}


def peers_python() -> str:
    """Return the Python of an environment with the locked packages, each checked by its hash.

    Raises `NoPeers`, usually because the package index cannot be reached.
    """
    python, stamp = PLACE / "bin" / "python", PLACE / _STAMP
    wanted = hashlib.sha256(LOCK.read_bytes() + sys.version.encode()).hexdigest()
    if not stamp.exists() or stamp.read_text() != wanted:
        shutil.rmtree(PLACE, ignore_errors=True)
        _run(sys.executable, "-m", "venv", str(PLACE))
        (PLACE / ".gitignore").write_text("*\n")
        _run(
            *(str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"),
            *("--retries", "1", "--only-binary", ":all:", "--require-hashes", "-r", str(LOCK)),
        )
        stamp.write_text(wanted)
    return str(python)


def _run(*argv: str) -> None:
    try:
        subprocess.run(argv, check=True, stdout=subprocess.DEVNULL, timeout=INSTALL_SEC)
    except (OSError, subprocess.SubprocessError) as error:
        shutil.rmtree(PLACE, ignore_errors=True)
        raise NoPeers(f"the peers could not be installed ({type(error).__name__})") from error
