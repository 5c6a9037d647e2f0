"""Signatures, checked by what the Standard Webhooks specification says and not by our own code.

Of the text: the signed content is the id, the timestamp and the raw body, joined by full stops; it
is signed with HMAC-SHA256; the key is base64 behind ``whsec_``; the header holds ``v1,`` and base64
of the signature, several of them separated by blanks while a secret is rotated; a consumer refuses
a timestamp that is too old or too new.
"""

from __future__ import annotations

import base64
import hashlib
import hmac

import pytest

from pandar_daemon.domain.webhook import secret_of, signed_headers

BODY = '{"type":"notification.task_failed","title":"žluťoučký"}'.encode()
URL = "https://example.org/in"


def is_signed(headers: dict[str, str], body: bytes, secret: str, *, now: int) -> bool:
    """Verify a message as its receiver would."""
    if abs(now - int(headers["webhook-timestamp"])) > 300:
        return False
    key = base64.standard_b64decode(secret[len("whsec_") :])
    content = b".".join(
        [headers["webhook-id"].encode(), headers["webhook-timestamp"].encode(), body]
    )
    expected = hmac.new(key, content, hashlib.sha256).digest()
    given = [one.split(",", 1) for one in headers["webhook-signature"].split(" ")]
    return any(
        version == "v1" and hmac.compare_digest(base64.standard_b64decode(signature), expected)
        for version, signature in given
    )


def test_the_example_of_the_specification() -> None:
    """The vector its libraries are tested with."""
    headers = signed_headers(
        ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"],
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        1_614_265_330,
        b'{"test": 2432232314}',
    )
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_a_receiver_can_check_it() -> None:
    """With the secret that belongs to its address."""
    secret = secret_of(b"master", URL)
    headers = signed_headers([secret], "m1", 1_000, BODY)
    assert is_signed(headers, BODY, secret, now=1_200)
    assert len(base64.b64decode(secret.removeprefix("whsec_"))) == 32


@pytest.mark.parametrize(
    ("body", "changed", "now"),
    [
        (BODY + b" ", {}, 1_000),
        (BODY, {"webhook-id": "m2"}, 1_000),
        (BODY, {"webhook-timestamp": "1001"}, 1_000),
        (BODY, {}, 2_000),
        (BODY, {"webhook-signature": "v1,AAAA v2,AAAA"}, 1_000),
    ],
)
def test_what_was_changed_is_found_out(body: bytes, changed: dict[str, str], now: int) -> None:
    """Body, id and time are signed."""
    secret = secret_of(b"master", URL)
    headers = signed_headers([secret], "m1", 1_000, BODY) | changed
    assert not is_signed(headers, body, secret, now=now)


def test_secrets_are_rotated() -> None:
    """While there are two, a receiver may have either."""
    old, new = secret_of(b"old", URL), secret_of(b"new", URL)
    headers = signed_headers([new, old], "m1", 1_000, BODY)
    assert is_signed(headers, BODY, old, now=1_000)
    assert is_signed(headers, BODY, new, now=1_000)
    assert not is_signed(headers, BODY, secret_of(b"other", URL), now=1_000)


def test_each_address_has_its_own_secret() -> None:
    """Who receives our messages cannot forge them for others."""
    assert secret_of(b"master", URL) == secret_of(b"master", URL)
    assert secret_of(b"master", URL) != secret_of(b"master", f"{URL}/2")
    assert secret_of(b"master", URL) != secret_of(b"other", URL)
