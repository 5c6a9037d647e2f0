"""Giving up the lead of a role in order: the next process need not wait for it to expire."""

from __future__ import annotations

import asyncio

import structlog

from pandar_daemon.ports import Leadership

log = structlog.get_logger(__name__)

PATIENCE_SEC = 2.0


async def resign(leadership: Leadership, role: str, holder: str) -> None:
    """Give the lead up if it is held; a database that is away lets it expire instead."""
    try:
        async with asyncio.timeout(PATIENCE_SEC):
            await leadership.resign(role, holder)
    except (TimeoutError, ConnectionError):
        log.info("lead.left_to_expire", role=role)
