"""A filter of system calls, as a program for the kernel's classic BPF machine.

It refuses what no build, test or agent needs and what has led out of boxes before: kernel keys,
modules, mounts, new namespaces, io_uring, BPF, handles of files, typing into a terminal, and
sockets of families that a network namespace does not cover (AF_VSOCK reaches the host of a
virtual machine). What is refused gets ``EPERM``, or the error that makes libraries fall back.
"""

from __future__ import annotations

import errno
import platform
import struct
from collections.abc import Sequence
from typing import Final

_ARCHITECTURES: Final = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}
"""Column of the tables below, and the name the kernel calls the architecture by."""

_REFUSED: Final[dict[str, tuple[int, int]]] = {
    "syslog": (103, 116),
    "personality": (135, 92),
    "pivot_root": (155, 41),
    "acct": (163, 89),
    "settimeofday": (164, 170),
    "mount": (165, 40),
    "umount2": (166, 39),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "reboot": (169, 142),
    "sethostname": (170, 161),
    "setdomainname": (171, 162),
    "init_module": (175, 105),
    "delete_module": (176, 106),
    "quotactl": (179, 60),
    "clock_settime": (227, 112),
    "kexec_load": (246, 104),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "perf_event_open": (298, 241),
    "fanotify_init": (300, 262),
    "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265),
    "clock_adjtime": (305, 266),
    "setns": (308, 268),
    "finit_module": (313, 273),
    "kexec_file_load": (320, 294),
    "bpf": (321, 280),
    "userfaultfd": (323, 282),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    "quotactl_fd": (443, 443),
}
_ABSENT: Final[dict[str, tuple[int, int]]] = {
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "clone3": (435, 435),  # its flags lie behind a pointer: libraries fall back to clone
}
_SHARED: Final[dict[str, tuple[int, int]]] = {
    "shmget": (29, 194),
    "shmat": (30, 196),
    "semget": (64, 190),
    "msgget": (68, 186),
    "mq_open": (240, 180),
}
"""What leads to whoever has the same user, where there is no namespace between."""
_CLONE: Final = ((56, 220), (272, 97))  # clone, unshare
_SOCKET: Final = ((41, 198), (53, 199))  # socket, socketpair
_LIMIT: Final = (302, 261)  # prlimit64
_IOCTL: Final = (16, 29)
_NEW_NAMESPACES: Final = 0x7E020000  # CLONE_NEWNS|CGROUP|UTS|IPC|USER|PID|NET
_TYPING: Final = (0x5412, 0x541C)  # TIOCSTI, TIOCLINUX
_FAMILIES: Final = (1, 2, 10, 16)  # AF_UNIX, AF_INET, AF_INET6, AF_NETLINK

_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW: Final = 0x7FFF0000
_KILL: Final = 0x80000000
_NUMBER, _ARCHITECTURE, _FIRST, _SECOND = 0, 4, 16, 24  # where the kernel's record has them
_X32: Final = 0x40000000


def filter_for(machine: str = "", *, is_apart: bool = True) -> bytes:
    """Return the program for a machine, this one if none is named.

    Who is not ``is_apart``, in namespaces of its own, gets no sockets but pairs of them, no memory
    shared by name, and no say over the limits of other processes. Raises ``NotImplementedError``
    for an architecture whose numbers are not known here.
    """
    machine = machine or platform.machine()
    if machine not in _ARCHITECTURES:
        raise NotImplementedError(f"no filter of system calls is known for {machine}")
    column, audit = _ARCHITECTURES[machine]
    program = [
        _step(_LOAD, _ARCHITECTURE),
        _step(_EQUAL, audit, yes=1),
        _step(_RETURN, _KILL),
        _step(_LOAD, _NUMBER),
    ]
    if machine == "x86_64":
        program += [_step(_AT_LEAST, _X32, no=1), _refusal(errno.ENOSYS)]
    for numbers in _REFUSED.values():
        program += [_step(_EQUAL, numbers[column], no=1), _refusal(errno.EPERM)]
    for numbers in _ABSENT.values():
        program += [_step(_EQUAL, numbers[column], no=1), _refusal(errno.ENOSYS)]
    for numbers in _CLONE:
        program += _when(numbers[column], _FIRST, [_step(_ANY_BIT, _NEW_NAMESPACES, no=1)])
    typing = [_step(_EQUAL, _TYPING[0], yes=1), _step(_EQUAL, _TYPING[1], no=1)]
    program += _when(_IOCTL[column], _SECOND, typing)
    if not is_apart:
        program += _kept_apart(column)
    for numbers, families in zip(_SOCKET, (_FAMILIES if is_apart else (), _FAMILIES), strict=True):
        program += _known_families(numbers[column], families)
    return b"".join([*program, _step(_RETURN, _ALLOW)])


def _kept_apart(column: int) -> list[bytes]:
    program = _when(_LIMIT[column], _FIRST, [_step(_EQUAL, 0, yes=1)])
    for numbers in _SHARED.values():
        program += [_step(_EQUAL, numbers[column], no=1), _refusal(errno.ENOSYS)]
    return program


def _when(number: int, argument: int, test: list[bytes]) -> list[bytes]:
    """Refuse a call whose argument passes a test; a test skips the refusal that follows it."""
    body = [_step(_LOAD, argument), *test, _refusal(errno.EPERM), _step(_RETURN, _ALLOW)]
    return [_step(_EQUAL, number, no=len(body)), *body]


def _known_families(number: int, families: Sequence[int]) -> list[bytes]:
    last = len(families)
    tests = [_step(_EQUAL, family, yes=last - nth) for nth, family in enumerate(families)]
    refusal = _refusal(errno.EAFNOSUPPORT)
    body = [_step(_LOAD, _FIRST), *tests, refusal, _step(_RETURN, _ALLOW)]
    return [_step(_EQUAL, number, no=len(body)), *body]


def _refusal(error: int) -> bytes:
    return _step(_RETURN, 0x00050000 | error)


def _step(code: int, operand: int, *, yes: int = 0, no: int = 0) -> bytes:
    return struct.pack("<HBBI", code, yes, no, operand)
