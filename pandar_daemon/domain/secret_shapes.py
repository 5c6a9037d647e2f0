"""The secrets that are known by how they look, one line each.

What is not here, on purpose: hashes, ids and other random text that nothing tells from a key; and
words after ``password=``, which are as often none. What documents use as examples is none either.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from pandar_daemon.domain.secret_blocks import PRIVATE_KEY
from pandar_daemon.domain.secret_parts import ANCHOR_MAX, BORDER, Part, Run, Shape, word

_ALNUM: Final = "A-Za-z0-9"
_WORD: Final = "A-Za-z0-9_-"
_HEX: Final = "0-9a-fA-F"
_SIGNS: Final = "A-Za-z0-9._~+/=-"
_BETWEEN: Final = " \\t\"':=>\\\\"
_USER_SIGNS: Final = r"A-Za-z0-9._~!$&()*+,;=%-"
_AFTER_COLON: Final = r"!$%&(-.0-;=A-Z^-_a-~"
_PLACEHOLDER: Final = re.compile(rb"\$.*|\{.*|\*+|[xX]+|\.+")


def _has_digit(secret: bytes) -> bool:
    return any(48 <= byte <= 57 for byte in secret) and b"EXAMPLE" not in secret  # noqa: PLR2004 - 0 to 9


def _is_mixed(secret: bytes) -> bool:
    """Return whether it has digits, or small letters and capitals."""
    return _is_no_example(secret) and (
        _has_digit(secret) or secret not in {secret.lower(), secret.upper()}
    )


def _is_no_example(secret: bytes) -> bool:
    return b"EXAMPLE" not in secret


def _is_given(password: bytes) -> bool:
    """Return whether a password is none that a script is yet to fill in."""
    return _PLACEHOLDER.fullmatch(password) is None


def _prefixed(kind: str, prefixes: str, characters: str, least: int) -> Iterator[Shape]:
    """Yield the shapes of keys that begin in one of some ways, and go on in one."""
    for prefix in prefixes.split():
        anchor = prefix.encode()[:ANCHOR_MAX]
        parts = (word(prefix), Run(characters, least))
        yield Shape(kind=kind, anchor=anchor, parts=parts, likely=_has_digit)


def _after(
    kind: str, names: str, scheme: tuple[str, ...], characters: str, least: int
) -> Iterator[Shape]:
    """Yield the shapes of what stands behind a name that tells that it is a secret."""
    for name in names.split():
        parts: list[Part] = [word(name), Run(_BETWEEN, 1, 12)]
        if scheme:
            parts += [word(*scheme), Run(" ", 1, 4)]
        yield Shape(
            kind=kind,
            anchor=name.encode()[:ANCHOR_MAX],
            parts=(*parts, Run(characters, least)),
            kept=len(parts),
            likely=_is_mixed,
        )


def _urls(slashes: str) -> Shape:
    return Shape(
        kind="url_password",
        anchor=slashes.encode(),
        parts=(word(slashes), Run(_USER_SIGNS, 0, 128), word(":"), Run(_AFTER_COLON, 1, 512)),
        kept=3,
        after=word("@"),
        likely=_is_given,
        border=None,
    )


def _of(kind: str, *parts: str | tuple[str, int] | tuple[str, int, int], kept: int = 0) -> Shape:
    """Return a shape of texts, and of characters with the least and the most there are."""
    made = tuple(word(part) if isinstance(part, str) else Run(*part) for part in parts)
    first = str(parts[0])
    return Shape(
        kind=kind,
        anchor=first.encode()[:ANCHOR_MAX],
        parts=made,
        kept=kept,
        likely=_is_no_example,
        border=BORDER if first[0].isalnum() else None,
    )


SHAPES: Final = (
    PRIVATE_KEY,
    *_prefixed("anthropic_key", "sk-ant-", _WORD, 20),
    *_prefixed("openai_key", "sk-proj- sk-svcacct- sk-admin- sk-None-", _WORD, 20),
    *_prefixed("openrouter_key", "sk-or-v1-", _HEX, 32),
    *_prefixed("openai_key", "sk-", _ALNUM, 32),
    *_prefixed("github_token", "ghp_ gho_ ghu_ ghs_ ghr_", _ALNUM, 36),
    *_prefixed("github_token", "github_pat_", "A-Za-z0-9_", 22),
    *_prefixed(
        "gitlab_token",
        "glpat- gldt- glrt- glrtr- glcbt- glptt- glft- glimt- glagent- glsoat- glffct- gloas-",
        "A-Za-z0-9_.-",
        20,
    ),
    *(
        _of("aws_access_key", prefix, ("A-Z0-9", 16))
        for prefix in ("AKIA", "ASIA", "ABIA", "ACCA", "A3T")
    ),
    *_after(
        "aws_secret",
        "aws_secret_access_key AWS_SECRET_ACCESS_KEY SecretAccessKey secretAccessKey"
        " aws_secret_key AWS_SECRET_KEY secret_access_key",
        (),
        "A-Za-z0-9/+",
        40,
    ),
    *_prefixed(
        "slack_token", "xoxb- xoxp- xoxa- xoxr- xoxs- xoxe- xoxe. xapp- xwfp-", "A-Za-z0-9.-", 20
    ),
    *(
        _of("slack_webhook", f"hooks.slack.com/{path}/", ("A-Za-z0-9/_-", 24), kept=1)
        for path in ("services", "workflows", "triggers")
    ),
    *(
        _of(
            "discord_webhook",
            f"{host}.com/api/webhooks/",
            ("0-9", 15, 25),
            "/",
            (_WORD, 40),
            kept=3,
        )
        for host in ("discord", "discordapp")
    ),
    *_prefixed("google_api_key", "AIza", _WORD, 35),
    *_prefixed("google_oauth_secret", "GOCSPX-", _WORD, 24),
    *_prefixed("google_oauth_token", "ya29.", _WORD, 30),
    *_prefixed("stripe_key", "sk_live_ sk_test_ rk_live_ rk_test_ whsec_", _ALNUM, 20),
    *_prefixed("npm_token", "npm_", _ALNUM, 36),
    *_prefixed("pypi_token", "pypi-AgE", _WORD, 40),
    _of("huggingface_token", "hf_", (_ALNUM, 30)),
    _of("jwt", "eyJ", (_WORD, 8, 1_024), ".eyJ", ("A-Za-z0-9_.-", 8)),
    _of("jwt", "eyJ", (_WORD, 16, 1_024), ".", (_WORD, 0, 1_024), ".", ("A-Za-z0-9_.-", 32)),
    _of("sendgrid_key", "SG.", (_WORD, 16, 64), ".", (_WORD, 16)),
    *_prefixed("twilio_key", "SK", "0-9a-f", 32),
    *_after("azure_storage_key", "AccountKey", (), "A-Za-z0-9+/=", 64),
    *(_of("azure_signature", f"{mark}sig=", ("A-Za-z0-9%+/=", 40), kept=1) for mark in "?&"),
    *(
        Shape(
            kind="bearer",
            anchor=name.encode(),
            parts=(word(name), Run(" ", 0, 4), Run(_SIGNS, 20)),
            kept=2,
            likely=_is_mixed,
        )
        for name in ("Bearer ", "bearer ", "BEARER ")
    ),
    *_after(
        "authorization",
        "Authorization authorization AUTHORIZATION",
        ("Basic", "basic", "Token", "token", "ApiKey", "apikey"),
        _SIGNS,
        8,
    ),
    *_after("api_key", "X-Api-Key x-api-key X-API-Key X-API-KEY x-goog-api-key", (), _SIGNS, 16),
    *_after("gitlab_token", "PRIVATE-TOKEN Private-Token private-token", (), _SIGNS, 16),
    _urls("://"),
    _urls(r":\/\/"),
    Shape(
        kind="telegram_token",
        anchor=b":AA",
        parts=(word(":"), Run(_WORD, 34)),
        kept=1,
        border=re.compile(rb"(?:\A|[^0-9\]])[0-9]{8,10}\Z"),
        likely=_is_mixed,
    ),
    *_prefixed("age_key", "AGE-SECRET-KEY-1", "A-Z0-9", 40),
    *_prefixed("databricks_token", "dapi", "0-9a-f", 32),
    *_prefixed("digitalocean_token", "dop_v1_ doo_v1_ dor_v1_", "0-9a-f", 40),
    *_prefixed("docker_token", "dckr_pat_ dckr_oat_", _WORD, 20),
    *_prefixed("grafana_token", "glsa_ glc_", "A-Za-z0-9_+/=", 32),
    *_prefixed("groq_key", "gsk_", _ALNUM, 40),
    *_prefixed("linear_key", "lin_api_", _ALNUM, 32),
    *_prefixed("perplexity_key", "pplx-", _ALNUM, 40),
    *_prefixed("shopify_token", "shpat_ shpca_ shppa_ shpss_", _HEX, 32),
    *_prefixed("supabase_key", "sbp_ sb_secret_", "A-Za-z0-9_", 30),
    *_prefixed("vault_token", "hvs. hvb.", _WORD, 24),
    *_prefixed("xai_key", "xai-", _ALNUM, 60),
)
"""In the order in which they are tried where several begin at one place."""
