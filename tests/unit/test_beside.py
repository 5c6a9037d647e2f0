"""What is done beside something that lasts begins late, ends with it, and its failure counts."""

from __future__ import annotations

import asyncio

import pytest

from pandar_daemon.services.beside import beside


class Service:
    """Runs until cancelled, and says so."""

    def __init__(self) -> None:
        self.begun, self.ended = asyncio.Event(), asyncio.Event()

    async def run(self) -> None:
        """Wait to be cancelled."""
        self.begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.ended.set()


async def test_what_is_over_before_never_began() -> None:
    """Something short has nothing beside it."""
    service = Service()
    async with asyncio.TaskGroup() as group:
        with beside(group, 3_600.0, service.run):
            await asyncio.sleep(0)
    assert not service.begun.is_set()


async def test_what_lasts_has_it_beside_until_its_end() -> None:
    """Something that lasts has it, and not a moment longer."""
    service = Service()
    async with asyncio.TaskGroup() as group:
        with beside(group, 0.0, service.run):
            await service.begun.wait()
            assert not service.ended.is_set()
    assert service.ended.is_set()


async def test_what_fails_beside_ends_all() -> None:
    """A failure is not lost because it happened beside."""

    async def fail() -> None:
        raise OSError("no space")

    async def last() -> None:
        async with asyncio.TaskGroup() as group:
            with beside(group, 0.0, fail):
                await asyncio.Event().wait()

    with pytest.raises(ExceptionGroup) as failed:
        await last()
    assert [str(error) for error in failed.value.exceptions] == ["no space"]


async def test_what_fails_itself_leaves_nothing_beside() -> None:
    """What was beside a failure ends with it."""
    service = Service()

    async def fail() -> None:
        async with asyncio.TaskGroup() as group:
            with beside(group, 0.0, service.run):
                await service.begun.wait()
                raise OSError

    with pytest.raises(ExceptionGroup):
        await fail()
    assert service.ended.is_set()
