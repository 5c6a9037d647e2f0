"""The vault of an installation, and whether it opens what is stored."""

from __future__ import annotations

import asyncio

from pandar_daemon.adapters.postgres.pool import pool
from pandar_daemon.adapters.postgres.secret_reads import PgSecretReads
from pandar_daemon.adapters.sealing.master_keys import master_keys
from pandar_daemon.adapters.sealing.vault import AesVault
from pandar_daemon.config import ConfigError, Settings
from pandar_daemon.domain.refusals import Unavailable
from pandar_daemon.services.unlocking import NAME, unlocking
from pandar_daemon.services.verification import Check
from pandar_daemon.wiring.places import given

_LOOK_SEC = 5.0


def vault(settings: Settings, *, make: bool = True) -> AesVault:
    """Return the vault with the master keys that are given; with ``make`` there is one at least.

    Raises `ConfigError` for keys that cannot be used.
    """
    return AesVault(master_keys(settings, make=make))


async def sealed(settings: Settings) -> Check:
    """Return whether the master keys given here open the secrets of the Pandar that runs."""
    try:
        here = vault(settings, make=False)
    except ConfigError as error:
        return Check(name=NAME, ok=False, detail=str(error), hint="see docs/howto/secrets.md")
    try:
        place = given(settings)
    except ConfigError:
        detail = f"master key {here.present}" if here.present else "there is no master key yet"
        return Check(name=NAME, ok=None, detail=f"{detail}; no Pandar runs that could be asked")
    try:
        async with asyncio.timeout(_LOOK_SEC), pool(place.database_url) as database:
            return await unlocking(PgSecretReads(database), here)
    except (Unavailable, OSError, TimeoutError) as error:
        detail = str(error) or "the database did not answer"
        return Check(name=NAME, ok=None, detail=detail, hint="is the database up?")
