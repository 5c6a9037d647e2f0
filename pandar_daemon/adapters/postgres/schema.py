"""The schema as text: what all migrations come to, for people to read and for diffs."""

from __future__ import annotations

import asyncio
import os
import re
from asyncio.subprocess import PIPE
from urllib.parse import unquote, urlsplit

from pandar_daemon.adapters.embedded.binaries import postgres_bin

_HEADER = "-- Made by `make generate` from the migrations; do not edit.\n\n"
_NOISE = re.compile(
    r"^(--\n-- (Name: .*|PostgreSQL database dump.*)\n--"  # what the statement below says itself
    r"|-- Dumped (from|by) .*"
    r"|\\(un)?restrict .*"  # a random word
    r"|SET default_table(space|_access_method) = .*)\n",
    re.MULTILINE,
)
_SESSION = re.compile(r"\A(\s*(SET|SELECT pg_catalog\.set_config).*;\n)*")


class DumpFailed(Exception):
    """``pg_dump`` said no; the message is its own."""


async def dump_schema(url: str) -> str:
    """Return the schema of a database as SQL, the same text for the same schema.

    Owners, data, the runner's own table and everything that differs between runs are left out.
    Needs a ``pg_dump`` beside the embedded Postgres; raises `CannotStart` when there is no such
    Postgres and `DumpFailed` when the dump fails.
    """
    address = urlsplit(url)
    host = address.netloc.rpartition("@")[2]
    user = unquote(address.username or "")
    process = await asyncio.create_subprocess_exec(
        str(postgres_bin(os.environ) / "pg_dump"),
        *("--schema-only", "--no-owner", "--exclude-table=schema_migrations"),
        address._replace(netloc=f"{user}@{host}").geturl(),
        stdout=PIPE,
        stderr=PIPE,
        # In the environment, since everybody may read a command line.
        env=os.environ | {"PGPASSWORD": unquote(address.password or "")},
    )
    out, err = await process.communicate()
    if process.returncode != 0:
        raise DumpFailed(err.decode(errors="replace"))
    return _normalised(out.decode())


def _normalised(dump: str) -> str:
    bare = _SESSION.sub("", _NOISE.sub("", dump))
    return _HEADER + re.sub(r"\n{3,}", "\n\n", bare).strip() + "\n"
