"""Installs the pinned agents and runs the tests of this folder on them.

``python -m tests.agents [ARGUMENT OF PYTEST]...``. Where npm does not answer, it says so in one
line and is content. Where it can, it runs the tests in a network that has 127.0.0.1 alone.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from pandar_daemon.adapters.agents.install import install, installed, pinned
from pandar_daemon.adapters.agents.profiles import PROFILES
from tests.agents.installed import FOLDER, INSIDE

SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 1


def main(arguments: list[str]) -> int:
    """Install what is missing, then run the tests; return an exit code."""
    if os.environ.get(INSIDE) == "alone":
        raise_loopback()
    if os.environ.get(INSIDE):
        return int(pytest.main([str(Path(__file__).parent), *arguments]))
    try:
        fill(FOLDER)
    except OSError as error:
        print(f"SKIPPED: the tests of real agents, for {error}")  # noqa: T201 - it is for people
        return 0
    return run(arguments)


def fill(folder: Path) -> None:
    """Install what is missing or of another version; raises ``OSError`` that says why not."""
    for name in PROFILES:
        if installed(folder, name) != pinned(name):
            print(f"installing {name} {pinned(name)} …", flush=True)  # noqa: T201 - as above
            install(folder, name)


def run(arguments: list[str]) -> int:
    """Run the tests in a network namespace, or without one where there can be none."""
    command = [sys.executable, "-m", "tests.agents", *arguments]
    unshare = shutil.which("unshare")
    alone = [unshare, "--map-root-user", "--net"] if unshare else []
    if alone and subprocess.run([*alone, "true"], capture_output=True, check=False).returncode == 0:
        return subprocess.run(
            [*alone, *command], env=os.environ | {INSIDE: "alone"}, check=False
        ).returncode
    print("no network namespace here: only their settings keep the agents on 127.0.0.1")  # noqa: T201
    return subprocess.run(command, env=os.environ | {INSIDE: "beside"}, check=False).returncode


def raise_loopback() -> None:
    """Give a new network namespace its 127.0.0.1."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        asked = struct.pack("16sh14x", b"lo", 0)
        told = fcntl.ioctl(any_socket, SIOCGIFFLAGS, asked)
        flags = struct.unpack_from("16sh", told)[1] | IFF_UP
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", flags))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
