"""Brings a spool's bytes to the bus, for as long as it takes."""

from __future__ import annotations

import asyncio

import structlog

from pandar_daemon.domain.refusals import Unavailable
from pandar_daemon.ports import Chunk, Outputs, Spool
from pandar_daemon.services.pauses import pauses

log = structlog.get_logger(__name__)

LINGER_SEC = 0.05
"""A program that writes byte by byte makes at most twenty messages a second."""

FULL_BYTES = 65_536


async def publish(spool: Spool, outputs: Outputs) -> None:
    """Return once the spool is sealed and all it keeps is stored on the bus; then delete it."""
    while chunks := await spool.unpublished():
        await _store(spool, outputs, chunks)
        last = chunks[-1]
        spool.acknowledge(last.offset + len(last.data))
        if len(last.data) < FULL_BYTES:
            await asyncio.sleep(LINGER_SEC)
    spool.remove()


async def _store(spool: Spool, outputs: Outputs, chunks: list[Chunk]) -> None:
    for pause in pauses():
        try:
            await outputs.write(spool.key, spool.execution_id, chunks)
        except Unavailable as error:
            execution = str(spool.execution_id)
            log.warning("output.waiting", execution=execution, reason=str(error), pause_sec=pause)
            await asyncio.sleep(pause)
        else:
            return
