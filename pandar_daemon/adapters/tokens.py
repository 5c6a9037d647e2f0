"""Bearer tokens: JWTs of our own (HS256), and of an issuer whose public keys are configured.

The algorithm never comes from the token alone: HS256 is only ever checked with our secret, RS256
and ES256 only with a key of the configured JWKS of the fitting type, nothing else is known. What
a refusal says never contains any of the token.
"""

from __future__ import annotations

import hashlib
import re
from base64 import urlsafe_b64decode
from collections.abc import Collection
from datetime import datetime
from typing import Final

import msgspec
from joserfc import jws
from joserfc.errors import BadSignatureError, JoseError
from joserfc.jwk import OctKey
from joserfc.jws import JWSRegistry
from msgspec import Raw, Struct

from pandar_daemon.adapters.jwks import Jwks, PublicKey
from pandar_daemon.domain import proof as proofs
from pandar_daemon.domain.access import Principal, Role
from pandar_daemon.domain.reading import fault_of
from pandar_daemon.domain.refusals import Unauthenticated
from pandar_daemon.ports import Clock

TOKEN_MAX: Final = 8_192
SECRET_MIN: Final = 32
LEEWAY_SEC: Final = 60.0
"""How far an issuer's clock may be ahead of ours."""

_USER: Final = re.compile(r"[A-Za-z0-9_.@:-]{1,128}")
_OURS: Final = "HS256"
_THEIRS: Final = {"RS256": "RSA", "ES256": "EC"}
_ACCESS_TYP: Final = frozenset({"at+jwt", "application/at+jwt"})  # RFC 9068
_PRIVATE_ROLES: Final = frozenset({Role.RUNNER, Role.SYSTEM})
_CACHED_MAX: Final = 1_024
_CACHED_SEC: Final = 300.0
"""A verified token is looked at again after this, in case its key was withdrawn."""


class _Header(Struct):
    alg: str
    kid: str | None = None
    typ: str | None = None
    crit: Raw | None = None
    b64: Raw | None = None


class _Claims(Struct):
    exp: float
    iat: float | None = None
    nbf: float | None = None
    type: str | None = None
    user_id: int | str | None = None
    sub: int | str | None = None
    roles: tuple[str, ...] = ("user",)
    iss: str | None = None
    aud: str | list[str] | None = None


class _Registry(JWSRegistry):
    max_header_length = 2_048


class Tokens:
    """Mints and verifies; see the module's header for what is accepted."""

    def __init__(
        self,
        *,
        secret: bytes,
        clock: Clock,
        jwks: str | None = None,
        issuer: str | None = None,
        audience: str | None = None,
    ) -> None:
        """Raise ``ValueError`` for a secret under 32 bytes or an unusable ``jwks``."""
        if len(secret) < SECRET_MIN:
            msg = f"the token secret must have at least {SECRET_MIN} bytes"
            raise ValueError(msg)
        self._secret = secret
        self._key = OctKey.import_key(secret)
        self._clock = clock
        self._jwks = Jwks(jwks, clock) if jwks else None
        self._issuer = issuer
        self._audience = audience
        self._verified: dict[bytes, tuple[Principal, float]] = {}

    def mint(self, user: str, roles: Collection[str], ttl_sec: float) -> str:
        """Return a token for ``user``, valid from now on for ``ttl_sec`` seconds.

        Raises ``ValueError`` for a user or role that could not be verified.
        """
        if not _USER.fullmatch(user):
            msg = "a user is 1 to 128 characters of [A-Za-z0-9_.@:-]"
            raise ValueError(msg)
        now = self._clock.now().timestamp()
        claims = {
            "user_id": user,
            "type": "access",
            "roles": sorted(Role(role).value for role in roles),
            "iat": int(now),
            "exp": int(now + ttl_sec),
        }
        named = {"iss": self._issuer, "aud": self._audience}
        claims |= {name: value for name, value in named.items() if value is not None}
        header = {"alg": _OURS, "typ": "JWT"}
        return jws.serialize_compact(header, msgspec.json.encode(claims), self._key, [_OURS])

    async def verify(self, token: str) -> Principal:
        """Return whom a bearer token speaks for.

        Raises `Unauthenticated` saying what is wrong with it, `Unavailable` when the issuer's
        keys have never been read.
        """
        if len(token) > TOKEN_MAX or not token.isascii():
            raise Unauthenticated("the token is too long or no token at all")
        digest = hashlib.sha256(token.encode()).digest()
        now = self._clock.now().timestamp()
        principal, until = self._verified.pop(digest, (None, 0.0))
        if principal is None or now >= until:
            principal, until = await self._check(token, now)
        self._remember(digest, principal, until)
        return principal

    async def verify_proof(
        self, proof: str, *, subject: str, command_id: str, body: bytes, at: datetime
    ) -> Principal:
        """Return who queued this very command, their token being valid ``at`` that time.

        Raises `Unauthenticated` saying what is wrong with it.
        """
        try:
            parsed = proofs.parse(proof)
            header = _header(parsed.signing_input)
            if header.alg != _OURS:
                raise Unauthenticated("queued commands need a token minted by pandar")
            signature = proofs.sign(parsed.signing_input, self._secret)
            fits = parsed.covers(signature, subject=subject, command_id=command_id, body=body)
        except proofs.BadProof as error:
            raise Unauthenticated(f"the proof cannot be read: {error}") from None
        if not fits:
            raise Unauthenticated("the proof has a bad signature, or is of another command")
        claims = _claims(_unbase64(parsed.signing_input.partition(".")[2]))
        return self._principal(header, claims, at.timestamp())

    def _remember(self, digest: bytes, principal: Principal, until: float) -> None:
        self._verified[digest] = (principal, until)
        if len(self._verified) > _CACHED_MAX:
            del self._verified[next(iter(self._verified))]

    async def _check(self, token: str, now: float) -> tuple[Principal, float]:
        header = _header(token)
        key = await self._key_for(header)
        claims = _claims(_payload(token, header.alg, key))
        return self._principal(header, claims, now), min(claims.exp, now + _CACHED_SEC)

    async def _key_for(self, header: _Header) -> OctKey | PublicKey:
        if header.alg == _OURS:
            return self._key
        if self._jwks is None or header.alg not in _THEIRS:
            raise Unauthenticated("the token has an unknown algorithm")
        key = await self._jwks.find(header.kid, _THEIRS[header.alg])
        if key is None:
            raise Unauthenticated("the token is signed with an unknown key")
        return key

    def _principal(self, header: _Header, claims: _Claims, now: float) -> Principal:
        self._check_claims(header, claims, now)
        user = claims.user_id if claims.user_id is not None else claims.sub
        if user is None or not _USER.fullmatch(str(user)):
            raise Unauthenticated("the token names no user we can use (user_id or sub)")
        roles = frozenset(Role(role) for role in claims.roles if role in _ROLES)
        if header.alg != _OURS and roles & _PRIVATE_ROLES:
            raise Unauthenticated("only pandar itself mints tokens of runners and of the system")
        return Principal(str(user), roles)

    def _check_claims(self, header: _Header, claims: _Claims, now: float) -> None:
        if now >= claims.exp:
            raise Unauthenticated("the token has expired")
        if max(claims.iat or 0.0, claims.nbf or 0.0) > now + LEEWAY_SEC:
            raise Unauthenticated("the token is not valid yet")
        if claims.type != "access" and not _is_access_by_header(header, claims):
            raise Unauthenticated("the token has the wrong type: an access token is needed")
        if self._issuer is not None and claims.iss != self._issuer:
            raise Unauthenticated("the token is of another issuer")
        audience = [claims.aud] if isinstance(claims.aud, str) else claims.aud or []
        if self._audience is not None and self._audience not in audience:
            raise Unauthenticated("the token is for another audience")


_ROLES: Final = frozenset(Role)


def _is_access_by_header(header: _Header, claims: _Claims) -> bool:
    typ = (header.typ or "").lower()
    return claims.type is None and header.alg != _OURS and typ in _ACCESS_TYP


def _unreadable(why: str = "") -> Unauthenticated:
    return Unauthenticated(f"the token cannot be read{why}")


def _header(token: str) -> _Header:
    try:
        header = msgspec.json.decode(_unbase64(token.partition(".")[0]), type=_Header)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        raise _unreadable() from None
    if header.crit is not None or header.b64 is not None:
        raise _unreadable(": it needs an extension")
    return header


def _payload(token: str, alg: str, key: OctKey | PublicKey) -> bytes:
    """Return the signed payload; raises `Unauthenticated` when the signature is not the key's."""
    registry = _Registry(algorithms=[alg], strict_check_header=False)
    try:
        signed = jws.deserialize_compact(token, key, registry=registry)
    except BadSignatureError:
        raise Unauthenticated("the token has a bad signature") from None
    except (JoseError, ValueError, TypeError, RecursionError):
        raise _unreadable() from None
    return signed.payload or b""


def _claims(payload: bytes) -> _Claims:
    try:
        return msgspec.json.decode(payload, type=_Claims)
    except msgspec.ValidationError as error:
        raise _unreadable(f": its claim {fault_of(str(error)).field[:40]} is wrong") from None
    except (msgspec.MsgspecError, ValueError, RecursionError):
        raise _unreadable() from None


def _unbase64(text: str) -> bytes:
    try:
        return urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except ValueError:
        raise _unreadable() from None
