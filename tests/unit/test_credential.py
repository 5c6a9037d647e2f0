"""What a repository is reached with, as the value of a secret says."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from hypothesis import given
from hypothesis import strategies as st

from pandar_daemon.domain.credential import TOKEN_USER, Login, Remote, SshKey, credential, remote_of

ED25519 = ed25519.Ed25519PrivateKey.generate()
RSA = rsa.generate_private_key(65_537, 2_048)
ECDSA = ec.generate_private_key(ec.SECP256R1())
OPENSSH = serialization.PrivateFormat.OpenSSH
PLAIN = serialization.NoEncryption()


def _pem(
    key: ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey,
    form: serialization.PrivateFormat = OPENSSH,
    encryption: serialization.KeySerializationEncryption = PLAIN,
) -> str:
    return key.private_bytes(serialization.Encoding.PEM, form, encryption).decode()


def test_a_login_and_a_token() -> None:
    """A password may hold colons; a token has the user that hosts expect of tokens."""
    assert credential("ann:pass:word") == Login("ann", "pass:word")
    assert credential("ghp_abc") == Login(TOKEN_USER, "ghp_abc")


@pytest.mark.parametrize(
    "pem",
    [
        *(_pem(key) for key in (ED25519, RSA, ECDSA)),
        _pem(RSA, serialization.PrivateFormat.PKCS8),
        _pem(RSA, serialization.PrivateFormat.TraditionalOpenSSL),
        _pem(ECDSA, serialization.PrivateFormat.TraditionalOpenSSL),
    ],
)
def test_ssh_keys(pem: str) -> None:
    """Of all kinds; without the end of the last line, as a shell leaves it; from Windows."""
    assert credential(pem) == credential(pem.rstrip("\n")) == SshKey(pem)
    assert credential(pem.replace("\n", "\r\n")) == SshKey(pem)


@pytest.mark.parametrize(
    "pem",
    [
        _pem(RSA, form, serialization.BestAvailableEncryption(b"passphrase"))
        for form in (
            serialization.PrivateFormat.PKCS8,
            serialization.PrivateFormat.TraditionalOpenSSL,
        )
    ],
)
def test_a_key_with_a_passphrase_is_refused(pem: str) -> None:
    """There is nobody to type it at night."""
    with pytest.raises(ValueError, match="without a passphrase"):
        credential(pem)


def test_an_openssh_key_with_a_passphrase_is_refused() -> None:
    """Its own format says by which cipher, in place of `none`."""
    head = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAACmFlczI1Ni1jdHI=\n"
    with pytest.raises(ValueError, match="without a passphrase"):
        credential(f"{head}-----END OPENSSH PRIVATE KEY-----\n")


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("", "expected user:password"),
        ("two words", "expected user:password"),
        ("line\nline", "expected user:password"),
        ("user:", "both of"),
        (":password", "both of"),
        (_pem(ED25519)[:-40], "one whole private key"),
        (_pem(ED25519) * 2, "one whole private key"),
        ("-----BEGIN CERTIFICATE-----\nYQ==\n-----END CERTIFICATE-----\n", "one whole"),
    ],
)
def test_anything_else_is_refused(value: str, said: str) -> None:
    """By what is expected."""
    with pytest.raises(ValueError, match=said):
        credential(value)


@given(st.text())
def test_no_text_is_shown(value: str) -> None:
    """Neither by an error nor by what prints a credential."""
    try:
        shown = repr(credential(f"hunter2{value}"))
    except ValueError as error:
        shown = str(error)
    assert "hunter2" not in shown or ":" in value


@pytest.mark.parametrize(
    ("url", "remote", "logins"),
    [
        ("https://git.example.org/a/b.git", Remote("https", "https://git.example.org/"), True),
        (
            "https://ann:pw@Git.example.org:8443/a",
            Remote("https", "https://git.example.org:8443/"),
            True,
        ),
        ("https://git.example.org@evil.example/a", Remote("https", "https://evil.example/"), True),
        ("http://git.example.org/a", Remote("http", "http://git.example.org/"), False),
        (
            "http://127.0.0.1.evil.example/a",
            Remote("http", "http://127.0.0.1.evil.example/"),
            False,
        ),
        ("http://127.0.0.1:3000/a", Remote("http", "http://127.0.0.1:3000/"), True),
        ("ssh://git@git.example.org/a", Remote("ssh"), False),
        ("git@git.example.org:a/b.git", Remote("ssh"), False),
        ("git://git.example.org/a", Remote("git"), False),
        ("/srv/git/a.git", Remote("file"), False),
        ("./a:b", Remote("file"), False),
        ("file:///srv/git/a.git", Remote("file"), False),
    ],
)
def test_where_a_repository_is(url: str, remote: Remote, logins: bool) -> None:
    """A password goes to one host alone, and to none in the clear."""
    assert remote_of(url) == remote
    assert remote.takes_logins is logins
