"""What needs no shell is started without one; and where it cannot be, the shell says why."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec import structs

from pandar_daemon.adapters.process.host import Host
from pandar_daemon.ports import Spec
from tests.support.trees import result_of, spec_of


def direct_of(command: str, cwd: Path) -> Spec:
    """Return a spec of plain words; a shell would say that it was one."""
    spec = spec_of(f"echo shell; {command}", cwd)
    return structs.replace(spec, direct=tuple(command.split()))


def program(cwd: Path, text: str, *, mode: int = 0o755) -> None:
    """Make ``it``, a program, in the folder."""
    (cwd / "it").write_text(text)
    (cwd / "it").chmod(mode)


async def test_it_is_found_on_its_path(host: Host, cwd: Path) -> None:
    """Not on ours, and with what it is told."""
    output, end = await result_of(host, direct_of("printenv PATH", cwd))
    assert (output.decode().strip(), end.exit_code) == (spec_of("", cwd).environment["PATH"], 0)


async def test_it_leads_its_session_as_a_shell_would(host: Host, cwd: Path) -> None:
    """On the terminal, in its folder, with the exit code it has itself."""
    program(cwd, "#!/bin/sh\ntest -t 0 && ps -o sid= -p $$ | grep -qw $$ && pwd -P; exit 5\n")
    output, end = await result_of(host, direct_of("./it", cwd))
    assert (output.decode().strip(), end.exit_code) == (str(cwd), 5)


@pytest.mark.parametrize(
    ("command", "code"), [("no-such-program", 127), ("./nowhere/at-all", 127), ("./folder", 126)]
)
async def test_a_shell_says_what_is_wrong(host: Host, cwd: Path, command: str, code: int) -> None:
    """When there is no such program, with the exit code it has for that."""
    (cwd / "folder").mkdir()
    output, end = await result_of(host, direct_of(command, cwd))
    assert end.exit_code == code
    assert output.startswith(b"shell\n")
    assert command.encode() in output


async def test_a_shell_says_that_it_may_not_be_started(host: Host, cwd: Path) -> None:
    """As of any file that is no program."""
    program(cwd, "echo never\n", mode=0o644)
    output, end = await result_of(host, direct_of("./it", cwd))
    assert end.exit_code == 126
    assert output.startswith(b"shell\n")


async def test_a_shell_reads_what_names_no_program_to_read_it(host: Host, cwd: Path) -> None:
    """A file of commands without a first line that says whose they are."""
    program(cwd, "echo read $1\n")
    output, end = await result_of(host, direct_of("./it well", cwd))
    assert (output, end.exit_code) == (b"shell\nread well\n", 0)


async def test_a_folder_that_is_not_there_is_named(host: Host, cwd: Path) -> None:
    """And no shell is tried for it."""
    spec = structs.replace(direct_of("true", cwd), cwd=str(cwd / "gone"))
    with pytest.raises(FileNotFoundError) as caught:
        await host.start(spec)
    assert caught.value.filename == str(cwd / "gone")
