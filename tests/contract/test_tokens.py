"""Tokens of our own: what is accepted, and every way of being refused."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pandar_daemon.adapters.tokens import Tokens
from pandar_daemon.domain.access import Principal, Role
from pandar_daemon.domain.refusals import Unauthenticated
from pandar_daemon.ports import Verifier
from tests.support.clock import ManualClock
from tests.support.tokens import SECRET, START, claims, signed, text, why


@pytest.fixture
def tokens(clock: ManualClock) -> Tokens:
    """Return tokens of our own only."""
    return Tokens(secret=SECRET, clock=clock)


async def test_what_we_mint_we_accept(tokens: Tokens) -> None:
    """A minted token speaks for its user and roles."""
    verifier: Verifier = tokens
    token = tokens.mint("ada@example.com", ["user", "admin"], 60)
    assert await verifier.verify(token) == Principal(
        "ada@example.com", frozenset({Role.USER, Role.ADMIN})
    )
    runner = await verifier.verify(tokens.mint("build-1", [Role.RUNNER], 60))
    assert runner.actor == "runner:build-1"


@pytest.mark.parametrize(
    ("changed", "user"),
    [({}, "7"), ({"user_id": "7"}, "7"), ({"user_id": None, "sub": "a:b"}, "a:b"),
     ({"sub": "other"}, "7"), ({"user_id": 0}, "0")],
)  # fmt: skip
async def test_the_user_is_user_id_or_sub(
    tokens: Tokens, changed: dict[str, Any], user: str
) -> None:
    """Both spellings are read, numbers as text, ``user_id`` first; the role is ``user``."""
    assert (await tokens.verify(signed(claims(**changed)))) == Principal(user)


async def test_unknown_roles_allow_nothing(tokens: Tokens) -> None:
    """Roles we do not know are left out, and do not fall back to ``user``."""
    assert (await tokens.verify(signed(claims(roles=["root", "viewer"])))).roles == {Role.VIEWER}
    assert (await tokens.verify(signed(claims(roles=["root"])))).roles == frozenset()


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"exp": START.timestamp()}, "the token has expired"),
        ({"exp": START.timestamp() - 1}, "the token has expired"),
        ({"exp": None}, "the token cannot be read: its claim exp is wrong"),
        ({"exp": "tomorrow"}, "the token cannot be read: its claim exp is wrong"),
        ({"exp": True}, "the token cannot be read: its claim exp is wrong"),
        ({"exp": float("nan")}, "the token cannot be read"),
        ({"iat": START.timestamp() + 61}, "the token is not valid yet"),
        ({"nbf": START.timestamp() + 61}, "the token is not valid yet"),
        ({"type": "refresh"}, "the token has the wrong type: an access token is needed"),
        ({"type": None}, "the token has the wrong type: an access token is needed"),
        ({"user_id": None}, "the token names no user we can use (user_id or sub)"),
        ({"user_id": "a b"}, "the token names no user we can use (user_id or sub)"),
        ({"user_id": "u" * 129}, "the token names no user we can use (user_id or sub)"),
        ({"user_id": ""}, "the token names no user we can use (user_id or sub)"),
        ({"user_id": "a\n"}, "the token names no user we can use (user_id or sub)"),
        ({"user_id": ["a"]}, "the token cannot be read: its claim user_id is wrong"),
        ({"roles": "admin"}, "the token cannot be read: its claim roles is wrong"),
    ],
)
async def test_claims_are_checked(tokens: Tokens, changed: dict[str, Any], reason: str) -> None:
    """Every claim that breaks its rule is refused, and the refusal says which."""
    assert await why(tokens, signed(claims(**changed))) == reason


async def test_a_little_skew_is_forgiven(tokens: Tokens) -> None:
    """An issuer's clock may be a minute ahead."""
    assert (await tokens.verify(signed(claims(iat=START.timestamp() + 60)))).user == "7"


async def test_a_foreign_secret_is_refused(tokens: Tokens) -> None:
    """A signature by another secret is a bad one."""
    token = signed(claims(), secret=b"x" * 32)
    assert await why(tokens, token) == "the token has a bad signature"


async def test_a_changed_token_is_refused(tokens: Tokens) -> None:
    """Other claims under an old signature are refused."""
    head, _, signature = tokens.mint("7", ["user"], 60).split(".")
    forged = f"{head}.{text(json.dumps(claims(roles=['admin'])).encode())}.{signature}"
    assert await why(tokens, forged) == "the token has a bad signature"


@pytest.mark.parametrize("alg", ["none", "None", "NONE", "HS512", "RS256", "ES256", "dir", ""])
async def test_only_the_configured_algorithm_is_known(tokens: Tokens, alg: str) -> None:
    """No algorithm but ours, least of all none, whatever the signature."""
    assert await why(tokens, signed(claims(), alg=alg)) == "the token has an unknown algorithm"
    unsigned = ".".join([*signed(claims(), alg=alg).split(".")[:2], ""])
    assert await why(tokens, unsigned) == "the token has an unknown algorithm"


@pytest.mark.parametrize(
    "header", [{"crit": ["b64"], "b64": False}, {"crit": ["exp"]}, {"alg": None},
               {"alg": ["HS256"]}, {"alg": {"a": 1}}, {"kid": 3}]
)  # fmt: skip
async def test_odd_headers_are_refused(tokens: Tokens, header: dict[str, Any]) -> None:
    """Extensions we do not know and headers of the wrong shape are refused."""
    assert (await why(tokens, signed(claims(), **header))).startswith("the token cannot be read")


@pytest.mark.parametrize(
    "token",
    ["", ".", "..", "a.b.c", "not a token", "e30.e30.e30", "é.b.c", "\udcff", "a" * 8_193,
     f"{text(b'[' * 5_000)}.e30.e30", signed(claims()) + ".e30",
     signed([]), signed("x"), signed(claims(x="y" * 9_000))],
    ids=lambda token: repr(token[:12]),
)  # fmt: skip
async def test_garbage_is_refused(tokens: Tokens, token: str) -> None:
    """What is no token is refused like a bad one."""
    await why(tokens, token)


@given(st.text() | st.lists(st.text("ab_-=+/09"), min_size=3, max_size=3).map(".".join))
def test_verifying_only_ever_refuses(token: str) -> None:
    """Any text is refused with 401, never an exception of another kind."""
    with pytest.raises(Unauthenticated):
        asyncio.run(Tokens(secret=SECRET, clock=ManualClock()).verify(token))


async def test_a_token_seen_before_still_expires(tokens: Tokens, clock: ManualClock) -> None:
    """Remembering a verified token does not make it live longer."""
    token = tokens.mint("7", ["user"], 60)
    await tokens.verify(token)
    clock.advance(59)
    await tokens.verify(token)
    clock.advance(1)
    assert await why(tokens, token) == "the token has expired"


async def test_memory_of_tokens_is_bounded(tokens: Tokens) -> None:
    """Many different tokens do not pile up."""
    for number in range(1, 1_100):
        await tokens.verify(tokens.mint(str(number), ["user"], 60))
    assert len(tokens._verified) == 1_024


@pytest.mark.parametrize(
    ("name", "ours"), [("iss", "the token is of another issuer"),
                       ("aud", "the token is for another audience")]
)  # fmt: skip
async def test_issuer_and_audience(clock: ManualClock, name: str, ours: str) -> None:
    """When configured they are required, and minted."""
    tokens = Tokens(secret=SECRET, clock=clock, issuer="pandar", audience="api")
    whole = {"iss": "pandar", "aud": ["x", "api"]}
    assert (await tokens.verify(signed(claims(**whole)))).user == "7"
    assert (await tokens.verify(tokens.mint("7", ["user"], 60))).user == "7"
    assert await why(tokens, signed(claims(**{**whole, name: "x"}))) == ours
    assert await why(tokens, signed(claims(**{**whole, name: None}))) == ours


def test_unusable_settings_are_refused(clock: ManualClock) -> None:
    """A short secret and keys over plain HTTP are errors at the start."""
    with pytest.raises(ValueError, match="32 bytes"):
        Tokens(secret=b"short", clock=clock)
    for source in ("http://example.com/jwks", "ftp://127.0.0.1/x", "file:///x"):
        with pytest.raises(ValueError, match="https"):
            Tokens(secret=SECRET, clock=clock, jwks=source)


def test_minting_refuses_what_could_not_be_verified(tokens: Tokens) -> None:
    """Unknown roles and impossible users are errors of the caller."""
    with pytest.raises(ValueError, match="user"):
        tokens.mint("a b", ["user"], 60)
    with pytest.raises(ValueError, match="root"):
        tokens.mint("a", ["root"], 60)
