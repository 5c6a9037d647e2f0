"""Tokens of an outside issuer, by the keys a real web server publishes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web
from joserfc import jws
from joserfc.jwk import ECKey, KeySet, OctKey, RSAKey

from pandar_daemon.adapters.tokens import Tokens
from pandar_daemon.domain.access import Principal, Role
from pandar_daemon.domain.refusals import Unavailable
from tests.support.clock import ManualClock
from tests.support.tokens import SECRET, START, claims, issued, signed, why

RSA_KEY = RSAKey.generate_key(2_048, {"kid": "one", "use": "sig"})
EC_KEY = ECKey.generate_key("P-256", {"kid": "two"})
NEW_KEY = RSAKey.generate_key(2_048, {"kid": "three"})


class Issuer:
    """A real web server that publishes keys."""

    def __init__(self) -> None:
        """Publish one RSA and one EC key."""
        self.keys: list[RSAKey | ECKey] = [RSA_KEY, EC_KEY]
        self.status = 200
        self.reads = 0
        self.url = ""

    async def answer(self, _: web.Request) -> web.Response:
        """Publish the public halves, beside entries nobody can use."""
        self.reads += 1
        odd = [{"kty": "oct", "k": "c2VjcmV0", "kid": "oct"}, {"kty": "RSA", "kid": "broken"}, {}]
        public = KeySet(list(self.keys)).as_dict(private=False)["keys"]
        return web.json_response({"keys": [*odd, *public]}, status=self.status)


@pytest.fixture
async def issuer() -> AsyncIterator[Issuer]:
    """Run an issuer for one test."""
    server = Issuer()
    app = web.Application()
    app.router.add_get("/jwks", server.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}/jwks"
    yield server
    await runner.cleanup()


@pytest.fixture
def federated(clock: ManualClock, issuer: Issuer) -> Tokens:
    """Return tokens that trust the issuer, too."""
    return Tokens(secret=SECRET, clock=clock, jwks=issuer.url)


@pytest.mark.parametrize("key", [RSA_KEY, EC_KEY], ids=["RS256", "ES256"])
async def test_an_issuers_token_is_accepted(
    federated: Tokens, issuer: Issuer, key: RSAKey | ECKey
) -> None:
    """RS256 and ES256 by the published keys; read once."""
    assert await federated.verify(issued(key, claims(roles=["viewer"]))) == Principal(
        "7", frozenset({Role.VIEWER})
    )
    assert (await federated.verify(issued(key, claims()))).user == "7"
    assert issuer.reads == 1


async def test_our_own_tokens_still_work_beside_an_issuer(federated: Tokens) -> None:
    """Runners and the system keep theirs, by our secret."""
    assert (await federated.verify(federated.mint("r", ["runner"], 60))).actor == "runner:r"


async def test_standard_access_tokens_are_accepted(federated: Tokens) -> None:
    """RFC 9068 says the type in the header; our own kind of token may not do so."""
    plain = claims(type=None, user_id=None, sub="ada")
    assert (await federated.verify(issued(RSA_KEY, plain, typ="at+jwt"))).user == "ada"
    assert "wrong type" in await why(federated, issued(RSA_KEY, plain, typ="JWT"))
    assert "wrong type" in await why(federated, signed(plain, typ="at+jwt"))


@pytest.mark.parametrize("role", ["system", "runner"])
async def test_an_issuer_cannot_make_runners_or_the_system(federated: Tokens, role: str) -> None:
    """These roles are only ours to give."""
    token = issued(RSA_KEY, claims(roles=["user", role]))
    assert "only pandar itself" in await why(federated, token)


async def test_a_public_key_is_no_hmac_secret(federated: Tokens, issuer: Issuer) -> None:
    """Confusing the algorithm gains nothing, however the public key is written."""
    jwk = json.dumps(RSA_KEY.as_dict(private=False)).encode()
    for secret in (RSA_KEY.as_pem(private=False), RSA_KEY.as_der(private=False), jwk, b"secret"):
        for kid in ("one", "oct"):
            token = signed(claims(roles=["admin"]), secret=secret, kid=kid)
            assert await why(federated, token) == "the token has a bad signature"
    assert issuer.reads == 0


async def test_a_key_of_another_type_does_not_fit(federated: Tokens) -> None:
    """The algorithm and the type of the key must agree."""
    token = issued(RSA_KEY, claims(), kid="two")
    assert await why(federated, token) == "the token is signed with an unknown key"


async def test_without_a_key_id_the_only_key_is_meant(federated: Tokens, issuer: Issuer) -> None:
    """One key of its type needs no name; of several, none is guessed."""
    issuer.keys = [RSA_KEY]
    assert (await federated.verify(issued(RSA_KEY, claims(), kid="one"))).user == "7"
    bare = jws.serialize_compact({"alg": "RS256"}, json.dumps(claims()), RSA_KEY, ["RS256"])
    assert (await federated.verify(bare)).user == "7"


async def test_a_bad_signature_of_an_issuer(federated: Tokens) -> None:
    """Another key under a known name is refused."""
    token = issued(NEW_KEY, claims(), kid="one")
    assert await why(federated, token) == "the token has a bad signature"


async def test_rotation(federated: Tokens, issuer: Issuer, clock: ManualClock) -> None:
    """A new key is found within 30 s of its first use; strangers cannot make us read more."""
    await federated.verify(issued(RSA_KEY, claims()))
    issuer.keys = [NEW_KEY]
    new = issued(NEW_KEY, claims())
    for _ in range(5):
        assert await why(federated, new) == "the token is signed with an unknown key"
    assert issuer.reads == 1
    clock.advance(30)
    assert (await federated.verify(new)).user == "7"
    assert issuer.reads == 2


async def test_a_withdrawn_key_is_forgotten(
    federated: Tokens, issuer: Issuer, clock: ManualClock
) -> None:
    """After an hour the keys are read again, though all tokens seemed fine."""
    old = issued(RSA_KEY, claims(exp=START.timestamp() + 9_000))
    await federated.verify(old)
    issuer.keys = [NEW_KEY]
    clock.advance(3_601)
    assert await why(federated, old) == "the token is signed with an unknown key"


async def test_an_absent_issuer(federated: Tokens, issuer: Issuer, clock: ManualClock) -> None:
    """Never read: 503. Read before: the old keys stay in use."""
    issuer.status = 500
    token = issued(RSA_KEY, claims(exp=START.timestamp() + 9_000))
    with pytest.raises(Unavailable):
        await federated.verify(token)
    issuer.status = 200
    clock.advance(30)
    await federated.verify(token)
    issuer.status = 500
    clock.advance(3_700)
    assert (await federated.verify(token)).user == "7"


async def test_many_at_once_read_once(federated: Tokens, issuer: Issuer) -> None:
    """A rush on a cold cache is one request to the issuer."""
    rush = [federated.verify(issued(RSA_KEY, claims(user_id=n))) for n in range(10)]
    assert len(await asyncio.gather(*rush)) == 10
    assert issuer.reads == 1


async def test_keys_from_a_file(clock: ManualClock, tmp_path: Path) -> None:
    """A path works like a URL; one that is missing is an issuer that is away."""
    path = tmp_path / "jwks.json"
    tokens = Tokens(secret=SECRET, clock=clock, jwks=str(path))
    token = issued(EC_KEY, claims())
    with pytest.raises(Unavailable):
        await tokens.verify(token)
    path.write_text(json.dumps({"keys": [EC_KEY.as_dict(private=False)]}))
    clock.advance(30)
    assert (await tokens.verify(token)).user == "7"


async def test_weak_keys_are_not_used(clock: ManualClock, tmp_path: Path) -> None:
    """A symmetric key in a key set is ignored."""
    path = tmp_path / "jwks.json"
    oct_key = OctKey.import_key(SECRET[::-1], {"kid": "one"})
    path.write_text(json.dumps({"keys": [oct_key.as_dict()]}))
    tokens = Tokens(secret=SECRET, clock=clock, jwks=str(path))
    token = signed(claims(), secret=SECRET[::-1], kid="one")
    assert await why(tokens, token) == "the token has a bad signature"
