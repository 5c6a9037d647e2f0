"""The public keys of a token issuer: a JWKS read from a URL or a file, cached."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

import aiohttp
import anyio
import msgspec
import structlog
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, RSAKey
from msgspec import Struct

from events.task import Json
from pandar_daemon.domain.refusals import Unavailable
from pandar_daemon.ports import Clock

log = structlog.get_logger(__name__)

PublicKey = RSAKey | ECKey

RETRY_SEC: Final = 30.0
"""An unknown key id makes us read again, at most this often, whoever sends how many."""

AGE_MAX_SEC: Final = 3_600.0
"""Keys are read again at this age, so that a withdrawn one is not trusted for ever."""

SIZE_MAX: Final = 256 * 1024
RSA_BITS_MIN: Final = 2_048
_TIMEOUT: Final = aiohttp.ClientTimeout(total=5)


class _Listed(Struct):
    keys: list[Json]


class Jwks:
    """Finds keys by id. While the source is away, the keys last read stay in use."""

    def __init__(self, source: str, clock: Clock) -> None:
        """Take an ``https://`` URL, an ``http://`` one on this machine, or the path of a file.

        Raises ``ValueError`` for any other URL.
        """
        self._source = _checked(source)
        self._clock = clock
        self._keys: list[PublicKey] | None = None
        self._read_at = self._tried_at = float("-inf")
        self._reading = asyncio.Lock()

    async def find(self, kid: str | None, key_type: str) -> PublicKey | None:
        """Return the ``RSA`` or ``EC`` key of that id; without an id, the only one of its type.

        Raises `Unavailable` while the keys have never been read.
        """
        key = self._pick(kid, key_type)
        if key is None or (self._is_old() and not self._reading.locked()):
            await self._refresh()
            key = self._pick(kid, key_type)
        if self._keys is None:
            raise Unavailable("the keys of the token issuer cannot be read")
        return key

    def _pick(self, kid: str | None, key_type: str) -> PublicKey | None:
        keys = [key for key in self._keys or [] if key.key_type == key_type]
        if kid is None:
            return keys[0] if len(keys) == 1 else None
        return next((key for key in keys if key.kid == kid), None)

    def _is_old(self) -> bool:
        return self._clock.boottime() - self._read_at > AGE_MAX_SEC

    async def _refresh(self) -> None:
        async with self._reading:
            now = self._clock.boottime()
            if now - self._tried_at < RETRY_SEC:
                return
            self._tried_at = now
            try:
                self._keys = list(_usable(await self._read()))
                self._read_at = now
            except (OSError, aiohttp.ClientError, msgspec.MsgspecError, ValueError) as error:
                log.warning("jwks.unreadable", error=type(error).__name__)

    async def _read(self) -> bytes:
        if "://" not in self._source:
            return await anyio.Path(self._source).read_bytes()
        body = b""
        async with (
            aiohttp.ClientSession(timeout=_TIMEOUT, raise_for_status=True) as session,
            session.get(self._source, allow_redirects=False) as response,
        ):
            async for chunk in response.content.iter_any():
                body += chunk
                if len(body) > SIZE_MAX:
                    msg = f"more than {SIZE_MAX} bytes"
                    raise ValueError(msg)
        return body


def _checked(source: str) -> str:
    url = urlsplit(source)
    if (
        "://" not in source
        or url.scheme == "https"
        or (url.scheme == "http" and _is_local(url.hostname))
    ):
        return source
    msg = "keys are read from an https:// URL or a file"
    raise ValueError(msg)


def _is_local(host: str | None) -> bool:
    try:
        return host == "localhost" or ip_address(host or "").is_loopback
    except ValueError:
        return False


def _usable(body: bytes) -> Iterator[PublicKey]:
    """Yield the signing keys we understand; one that is broken does not hide the others."""
    for entry in msgspec.json.decode(body, type=_Listed).keys:
        if entry.get("use", "sig") != "sig":
            continue
        try:
            key = _imported(entry)
        except (JoseError, ValueError, TypeError, KeyError) as error:
            log.warning("jwks.key_skipped", error=type(error).__name__)
        else:
            if key is not None:
                yield key


def _imported(entry: Json) -> PublicKey | None:
    if entry.get("kty") == "EC":
        return ECKey.import_key(entry)
    if entry.get("kty") != "RSA":
        return None
    key = RSAKey.import_key(entry)
    return key if key.raw_value.key_size >= RSA_BITS_MIN else None
