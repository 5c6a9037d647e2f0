"""The filter of system calls, run by a small machine as the kernel would run it."""

from __future__ import annotations

import errno
import struct

import pytest

from pandar_daemon.adapters.sandbox import seccomp

ALLOW, KILL, REFUSE = 0x7FFF0000, 0x80000000, 0x00050000
AUDIT = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
MACHINES = tuple(AUDIT)
CLONE = {"x86_64": 56, "aarch64": 220}
UNSHARE = {"x86_64": 272, "aarch64": 97}
SOCKET = {"x86_64": 41, "aarch64": 198}
SOCKETPAIR = {"x86_64": 53, "aarch64": 199}
IOCTL = {"x86_64": 16, "aarch64": 29}
PRLIMIT = {"x86_64": 302, "aarch64": 261}
ORDINARY = {  # read, write, execve, openat, mmap, futex, ptrace, chmod, kill, accept4
    "x86_64": (0, 1, 59, 257, 9, 202, 101, 90, 62, 288),
    "aarch64": (63, 64, 221, 56, 222, 98, 117, 53, 129, 242),
}
NAMESPACES = {
    "mount": 0x00020000,
    "cgroup": 0x02000000,
    "uts": 0x04000000,
    "ipc": 0x08000000,
    "user": 0x10000000,
    "pid": 0x20000000,
    "network": 0x40000000,
}


def answer(program: bytes, machine: str, number: int, *arguments: int, audit: int = 0) -> int:
    """Return what the program says to a system call; fails for a step the filter must not have."""
    filled = (*arguments, 0, 0, 0, 0, 0, 0)[:6]
    record = struct.pack("<IIQ6Q", number, audit or AUDIT[machine], 0, *filled)
    steps = list(struct.iter_unpack("<HBBI", program))
    held, at = 0, 0
    while True:
        code, yes, no, operand = steps[at]
        at += 1
        match code:
            case 0x06:
                return int(operand)
            case 0x20:
                held = struct.unpack_from("<I", record, operand)[0]
            case 0x15:
                at += yes if held == operand else no
            case 0x35:
                at += yes if held >= operand else no
            case 0x45:
                at += yes if held & operand else no
            case _:
                raise AssertionError(f"no such step: {code:#x}")


def refused(error: int) -> int:
    """Return the answer that gives an error."""
    return REFUSE | error


@pytest.fixture(params=MACHINES)
def machine(request: pytest.FixtureRequest) -> str:
    """Return each architecture there is a filter for."""
    return str(request.param)


@pytest.mark.parametrize("is_apart", [True, False])
def test_what_is_refused(machine: str, is_apart: bool) -> None:
    """Each number gives its error, whatever the arguments are."""
    program, column = seccomp.filter_for(machine, is_apart=is_apart), MACHINES.index(machine)
    for name, numbers in seccomp._REFUSED.items():
        assert answer(program, machine, numbers[column], 1) == refused(errno.EPERM), name
    for name, numbers in seccomp._ABSENT.items():
        assert answer(program, machine, numbers[column], 1) == refused(errno.ENOSYS), name


def test_what_is_not(machine: str) -> None:
    """What every program does is left alone."""
    for is_apart in (True, False):
        program = seccomp.filter_for(machine, is_apart=is_apart)
        for number in ORDINARY[machine]:
            assert answer(program, machine, number, 1, 2, 3) == ALLOW, number


@pytest.mark.parametrize("kind", NAMESPACES)
def test_no_namespace_is_made(machine: str, kind: str) -> None:
    """Neither by clone nor by unshare; a thread or a child is."""
    program, flag = seccomp.filter_for(machine), NAMESPACES[kind]
    for number in (CLONE[machine], UNSHARE[machine]):
        assert answer(program, machine, number, flag) == refused(errno.EPERM)
        assert answer(program, machine, number, flag | 0x11) == refused(errno.EPERM)
        assert answer(program, machine, number, 0x003D0F00) == ALLOW


def test_nobody_types_into_a_terminal(machine: str) -> None:
    """The two calls that would are refused; how wide it is may be asked."""
    program = seccomp.filter_for(machine)
    for order in (0x5412, 0x541C):
        assert answer(program, machine, IOCTL[machine], 0, order) == refused(errno.EPERM)
    assert answer(program, machine, IOCTL[machine], 0, 0x5413) == ALLOW


def test_sockets_of_a_namespace(machine: str) -> None:
    """The families that a network namespace covers, and no other."""
    program = seccomp.filter_for(machine)
    for number in (SOCKET[machine], SOCKETPAIR[machine]):
        for family in range(48):
            known = family in {1, 2, 10, 16}
            expected = ALLOW if known else refused(errno.EAFNOSUPPORT)
            assert answer(program, machine, number, family, 1) == expected, family


def test_sockets_without_one(machine: str) -> None:
    """None but pairs, which lead to nobody."""
    program = seccomp.filter_for(machine, is_apart=False)
    for family in range(48):
        assert answer(program, machine, SOCKET[machine], family, 1) == refused(errno.EAFNOSUPPORT)
    assert answer(program, machine, SOCKETPAIR[machine], 1, 1) == ALLOW


def test_others_of_the_same_user(machine: str) -> None:
    """Without namespaces between, nobody sets their limits or shares memory with them by name."""
    apart, fenced = (seccomp.filter_for(machine, is_apart=each) for each in (True, False))
    assert answer(fenced, machine, PRLIMIT[machine], 0) == ALLOW
    assert answer(fenced, machine, PRLIMIT[machine], 42) == refused(errno.EPERM)
    assert answer(apart, machine, PRLIMIT[machine], 42) == ALLOW
    for numbers in seccomp._SHARED.values():
        number = numbers[MACHINES.index(machine)]
        assert answer(fenced, machine, number) == refused(errno.ENOSYS)
        assert answer(apart, machine, number) == ALLOW


def test_other_tables_of_numbers(machine: str) -> None:
    """Calls by the numbers of another architecture kill; those of x32 are not there."""
    program = seccomp.filter_for(machine)
    assert answer(program, machine, 0, audit=0x40000003) == KILL
    if machine == "x86_64":
        assert answer(program, machine, 0x40000000) == refused(errno.ENOSYS)
        assert answer(program, machine, 0x40000000 + 165) == refused(errno.ENOSYS)


def test_a_machine_nobody_knows() -> None:
    """There is no filter rather than one with the wrong numbers."""
    with pytest.raises(NotImplementedError, match="s390x"):
        seccomp.filter_for("s390x")
