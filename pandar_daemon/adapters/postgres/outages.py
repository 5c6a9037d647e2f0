"""What asyncpg raises, as what the ports promise."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg

from pandar_daemon.domain.refusals import Unavailable
from pandar_daemon.ports import ChangeRefused

AWAY = (
    OSError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # killed in the middle of an answer
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
)
"""The database is away, starting, stopping or full."""

BUSY = (*AWAY, asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError)
"""The database is away, or another process is in the way: the same may work later."""

REFUSED = (
    asyncpg.DataError,
    asyncpg.IntegrityConstraintViolationError,
    asyncpg.ProgramLimitExceededError,
    OverflowError,
    UnicodeError,
)
"""The database, or its driver, cannot hold a value."""


NOT_SERVED = (
    asyncpg.UndefinedTableError,
    asyncpg.UndefinedColumnError,
    asyncpg.InvalidSchemaNameError,
)
"""No generation of this release's shape is served yet."""


@contextmanager
def calling() -> Iterator[None]:
    """Turn an outage into ``ConnectionError``, whatever asyncpg calls it."""
    try:
        yield
    except AWAY as error:
        raise ConnectionError(f"the database is away: {type(error).__name__}") from error


@contextmanager
def writing() -> Iterator[None]:
    """Turn a refused value into `ChangeRefused`, an outage into ``ConnectionError``."""
    try:
        yield
    except REFUSED as error:
        raise ChangeRefused(f"{type(error).__name__}: {error}") from error
    except BUSY as error:
        raise ConnectionError(f"the database is away: {type(error).__name__}") from error


@contextmanager
def reading() -> Iterator[None]:
    """Turn an outage, or a read model still to be made, into `Unavailable`."""
    try:
        yield
    except NOT_SERVED as error:
        raise Unavailable("the read models are being made; they will be there soon") from error
    except BUSY as error:
        raise Unavailable("the database is away") from error
