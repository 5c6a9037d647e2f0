"""Texts with made-up secrets, each beside what is to be seen of it; and texts that have none.

Keys are put together here, so that no file has one.
"""

from __future__ import annotations

import base64
from typing import Final

WORD: Final = "Zx9" + "aB3dE5gH7jK9mN1pQ3rS5tU7vW9xY1zA3bC5dE7fG9hJ"
HEX: Final = "0f1e2d3c4b5a69788796a5b4c3d2e1f0"
UPPER: Final = "QWERTYUIOPASDFGH"
JWT: Final = "eyJhbGciOiJIUzI1NiJ9" + ".eyJzdWIiOiIxMjM0NTY3ODkwIn0" + ".c2lnbmF0dXJlLWlz"
LINES: Final = "\n".join(["MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj"] * 8)


def pem(label: str, lines: str = LINES, eol: str = "\n") -> str:
    """Return a private key as a file has it."""
    text = f"-----BEGIN {label}-----\n{lines}\nabc=\n-----END {label}-----"
    return text.replace("\n", eol)


SHAPED: Final = {
    "anthropic_key": "sk-" + f"ant-api03-{WORD}{WORD}-AA",
    "openai_key": "sk-" + f"proj-{WORD}_{WORD}",
    "openrouter_key": "sk-" + f"or-v1-{HEX}{HEX}",
    "github_token": "gh" + f"p_{WORD[:36]}",
    "gitlab_token": "gl" + f"pat-{WORD[:20]}",
    "aws_access_key": "AK" + f"IA{UPPER}",
    "slack_token": "xo" + f"xb-123456789012-{WORD[:24]}",
    "google_api_key": "AI" + f"za{WORD[:35]}",
    "google_oauth_token": "ya" + f"29.{WORD}",
    "stripe_key": "sk" + f"_live_{WORD[:24]}",
    "npm_token": "np" + f"m_{WORD[:36]}",
    "pypi_token": "py" + f"pi-AgEIcHlwaS5vcmc{WORD}",
    "huggingface_token": "h" + f"f_{WORD[:34]}",
    "jwt": JWT,
    "sendgrid_key": "S" + f"G.{WORD[:22]}.{WORD[:43]}",
    "twilio_key": "S" + f"K{HEX}",
    "private_key": pem("RSA PRIVATE KEY"),
    "vault_token": "hv" + f"s.{WORD}",
    "digitalocean_token": "do" + f"p_v1_{HEX}{HEX}",
    "groq_key": "gs" + f"k_{WORD}{WORD[:12]}",
    "docker_token": "dc" + f"kr_pat_{WORD[:27]}",
}
"""A secret of each kind that all of it is taken out of."""

AFTER: Final = (
    ("aws_secret_access_key = {}", "aws_secret", "q/8+" + WORD[:36]),
    ('"SecretAccessKey": "{}"', "aws_secret", WORD[:40]),
    ("https://hooks.slack.com/services/{}", "slack_webhook", f"T0AB12CD3/B0AB12CD3/{WORD[:24]}"),
    ("DefaultEndpointsProtocol=https;AccountKey={};", "azure_storage_key", WORD + WORD[:40] + "=="),
    ("https://x.blob.core.windows.net/a?sv=1&sig={}", "azure_signature", WORD + "%3D"),
    ("> Authorization: Bearer {}", "bearer", WORD),
    ("Authorization: Basic {}", "authorization", "dXNlcjpwYXNzd29yZA=="),
    ('{{"authorization": "token {}"}}', "authorization", WORD),
    ("x-api-key: {}", "api_key", WORD),
    ("PRIVATE-TOKEN: {}", "gitlab_token", WORD),
    ("https://ann:{}@example.org/r.git", "url_password", "hunter2"),
    ("postgres://app:{}@db:5432/app", "url_password", "p%40ss:w0rd"),
    ("redis://:{}@cache", "url_password", "s3cr3t"),
    ("https://api.telegram.org/bot123456789:{}/send", "telegram_token", f"AA{WORD[:33]}"),
)
"""What stands round a secret and stays, the kind, the secret."""

HARMLESS: Final = (
    "commit 9fceb02d0ae598e95dc970b74767f19372d61af8",
    "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "sha512-z4PhNX7vuL3xVChQ1m2AB9Yg5AULVxXcg/SpIdNs6c5H0NE8XYXysP+DGNKHfuwvY7kxvUdBeoGlODJ6+SfaPg==",
    "0195512a-7c00-7000-8000-000000000101",
    "task-0195512a7c0070008000000000000101 risk-0195512a7c0070008000000000000101",
    "r-0195512a7c0070008000000000000101 pandar/42-make-it-so",
    "pip install sk-learn scikit-learn sk-learn-contrib-something-quite-long-indeed",
    "set AKIA as the prefix; AKIAIOSFODNN7" + "EXAMPLE is from the manual",
    "wJalrXUtnFEMI/K7MDENG/bPxRfiCY" + "EXAMPLEKEY",
    "npm_config_registry=https://packages.example.org/ npm_lifecycle_event",
    "hf_hub_download(repo_id='bert-base-uncased')",
    "ghp_ is how a token begins; eyJ is how JSON begins in base64",
    "A Bearer token is needed; bearer authentication; Authorization: required",
    "Authorization: Bearer $GITHUB_TOKEN",
    "https://user:$TOKEN@github.com/o/r.git https://user:${TOKEN}@github.com/o/r.git",
    "look for -----BEGIN RSA PRIVATE KEY----- in files",
    "-----BEGIN CERTIFICATE-----\n" + LINES + "\n-----END CERTIFICATE-----",
    "-----BEGIN PUBLIC KEY-----\n" + LINES + "\n-----END PUBLIC KEY-----",
    "http://localhost:3000/@scope/name https://example.org:8443/a?mail=a@b.c",
    "git@github.com:o/r.git ssh://git@github.com/o/r.git",
    "//# sourceMappingURL=data:application/json;base64,"
    + base64.b64encode(b'{"version":3,"sources":["' + b"a" * 3_000 + b'"]}').decode(),
    base64.b64encode(bytes(range(256)) * 4).decode(),
    "password=hunter2 PASSWORD: none SK = 1 SG.x AccountKey",
    "xoxb- and glpat- are prefixes; pypi-server, npm_, sk_test_",
)
"""What anybody may see."""
