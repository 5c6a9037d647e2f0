"""How an agent in a box reaches its model: by a door of the proxy, which adds the key outside.

Inside, the agent has the door's URL and a placeholder where it would have a key.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

from msgspec import Struct

from pandar_daemon.ports.sandbox import MODELS_PATH, PROXY_URL, Upstream

MODEL: Final = "model"
DOOR_URL: Final = f"{PROXY_URL}{MODELS_PATH}{MODEL}"
PLACEHOLDER: Final = "pandar-adds-the-key-outside"

_SECRET: Final = re.compile(
    r"(?:.*_)?(?:SECRET|TOKEN|PASSWORD|PASSWD|PASSPHRASE|CREDENTIALS?|APIKEY|KEY|AUTH|PAT)(?:_.*)?"
)


class Key(Struct, frozen=True):
    """A variable an agent takes its key from, and the header it sends it in.

    ``placeholder`` stands in its place inside, in a form the agent takes for one of its own.
    """

    variable: str
    header: str = "Authorization"
    scheme: str = "Bearer "
    placeholder: str = PLACEHOLDER

    def headers(self, value: str) -> dict[str, str]:
        """Return what a server wants to see of a key."""
        return {self.header: f"{self.scheme}{value}"}


def own_key(header: str | None) -> Key:
    """Return how the key of an agent of the owner's is sent: as a bearer, or as ``header`` says."""
    return Key("") if header is None else Key("", header, "")


def is_secret(variable: str) -> bool:
    """Return whether a variable is called as if it held a secret."""
    return _SECRET.fullmatch(variable) is not None


def upstream(base_url: str, key: Key | None, value: str, paths: tuple[str, ...]) -> Upstream:
    """Return the server behind a door."""
    headers = {} if key is None else key.headers(value.strip())
    return Upstream(base_url=base_url, headers=headers, paths=paths)


def host_of(base_url: str) -> str:
    """Return the pattern of the host of a URL, for an agent that calls it by itself."""
    parts = urlsplit(base_url)
    authority = parts.netloc.rpartition("@")[2]
    if parts.port is not None:
        return authority
    return f"{authority}:{443 if parts.scheme == 'https' else 80}"


def chosen(keys: tuple[Key, ...], environment: Mapping[str, str]) -> Key | None:
    """Return the first key that is set."""
    return next((key for key in keys if environment.get(key.variable)), None)
