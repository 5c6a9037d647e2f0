"""The doors of a box, served while its process ends, which closes them."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from events.calls import ToolCall
from pandar_daemon.adapters.control.server import ControlDoors
from pandar_daemon.adapters.egress.proxy import EgressProxy
from pandar_daemon.ports import Blocked, Ending, Order, Outward, Permission, Show
from pandar_daemon.ports.sandbox import CONTROL, PROXY
from pandar_daemon.services.openings import Openings

OPENINGS = Openings(control=ControlDoors(), egress=EgressProxy())


@pytest.fixture
def doors(tmp_path: Path) -> Iterator[dict[str, socket.socket]]:
    """Return both doors, listening, as a box hands them out."""
    control = socket.socket(socket.AF_UNIX)
    control.bind(str(tmp_path / "control"))
    proxy = socket.socket()
    proxy.bind(("127.0.0.1", 0))
    found = {CONTROL: control, PROXY: proxy}
    for door in found.values():
        door.listen()
        door.setblocking(False)
    yield found
    for door in found.values():
        door.close()


async def _orders(_order: Order, _show: Show) -> Ending:
    return Ending(exit_code=0)


async def _inquire(_call: ToolCall, _why: str) -> Permission:
    return Permission(allowed=False)


async def _blocked(_attempt: Blocked) -> None:
    return


async def test_a_process_may_end_while_its_doors_are_served(
    doors: dict[str, socket.socket],
) -> None:
    """It closes them then; who serves them ends in peace."""
    async with OPENINGS.serving(doors, _orders, Outward(), _inquire, _blocked):
        for door in doors.values():
            door.close()


async def test_a_process_may_end_before_its_doors_are_served(
    doors: dict[str, socket.socket],
) -> None:
    """There is nobody left to serve."""
    for door in doors.values():
        door.close()
    async with OPENINGS.serving(doors, _orders, Outward(), _inquire, _blocked):
        pass


async def test_nobody_is_let_in_afterwards(doors: dict[str, socket.socket]) -> None:
    """What is served is closed in the end."""
    name = doors[PROXY].getsockname()
    async with OPENINGS.serving(doors, _orders, Outward(), _inquire, _blocked):
        for door in doors.values():
            door.close()
        socket.create_connection(name).close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(name)
