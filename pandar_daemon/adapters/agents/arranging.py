"""What an agent gets of what its owner set: beside the runner, and in a box.

In a box it gets the door of its model instead of the URL, and a placeholder instead of the key.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from pandar_daemon.adapters.agents.doors import (
    DOOR_URL,
    MODEL,
    Key,
    chosen,
    host_of,
    is_secret,
    own_key,
    upstream,
)
from pandar_daemon.adapters.agents.profiles import Profile
from pandar_daemon.ports.sandbox import Upstream

_VALUE: Final = re.compile(r"\$(home|api_key|base_url|model)\b")
_YES: Final = frozenset({"yes", "true", "1"})


class Arrangement(Struct, frozen=True, kw_only=True):
    """The part of `ports.agents.Launch` that depends on what is set."""

    environment: Mapping[str, str]
    files: Mapping[str, str]
    model: str
    models: Mapping[str, Upstream] = {}
    hosts: tuple[str, ...] = ()


def arranged(profile: Profile, given: Mapping[str, str], home: Path) -> Arrangement:
    """Return what an agent gets that is in no box: all that was set."""
    return _made(profile, given, home, profile.defaults)


def enclosed(profile: Profile, given: Mapping[str, str], home: Path, name: str) -> Arrangement:
    """Return what an agent gets in a box; raises ``PermissionError`` rather than give it a secret.

    ``name`` is how the variables begin that set it.
    """
    profile = _inside(profile)
    hosts = tuple(given.get("HOSTS", "").replace(",", " ").split())
    server = _server(profile, given)
    if given.get("KEY_INSIDE", "").lower() in _YES:
        own = (host_of(server),) if server else ()
        return replace(arranged(profile, given, home), hosts=(*own, *hosts))
    outer = arranged(profile, given, home)
    key = chosen(profile.keys, outer.environment) or own_key(given.get("KEY_HEADER"))
    value = outer.environment.get(key.variable) or given.get("API_KEY", "")
    inner = _without_keys(profile, given, key)
    _check(inner, key, value, name)
    door = {"base_url": DOOR_URL} if server else {}
    found = _made(profile, inner, home, {**profile.defaults, **door})
    paths = tuple(given.get("PATHS", "").split()) or profile.paths
    models = {MODEL: upstream(server, key if value else None, value, paths)} if server else {}
    return replace(found, models=models, hosts=hosts)


def _made(
    profile: Profile, given: Mapping[str, str], home: Path, defaults: Mapping[str, str]
) -> Arrangement:
    values = {**defaults, **_values(given), "home": str(home)}
    texts = dict(profile.environment)
    texts |= {key.removeprefix("ENV_"): given[key] for key in given if key.startswith("ENV_")}
    told = {variable: _told(text, values) for variable, text in texts.items()}
    return Arrangement(
        environment={variable: text for variable, text in told.items() if text is not None},
        files={path: _file(text, values) for path, text in profile.files.items()},
        model=values.get("model") or "",
    )


def _inside(profile: Profile) -> Profile:
    """Return a profile as it counts in a box."""
    return replace(
        profile,
        environment={**profile.environment, **profile.inside.environment},
        files={**profile.files, **profile.inside.files},
    )


def _server(profile: Profile, given: Mapping[str, str]) -> str:
    """Return where the model of an agent is; empty for one that nobody told of."""
    named = [f"ENV_{v}" for v, text in profile.environment.items() if text == "$base_url"]
    stated = next((given[name] for name in ("BASE_URL", *named) if name in given), None)
    return stated or profile.server


def _without_keys(profile: Profile, given: Mapping[str, str], key: Key) -> dict[str, str]:
    """Return what is set for an agent, as it is set inside."""
    keys = {f"ENV_{each.variable}" for each in profile.keys}
    urls = {f"ENV_{v}" for v, text in profile.environment.items() if text == "$base_url"}
    inner = {name: text for name, text in given.items() if name not in {"BASE_URL", *keys, *urls}}
    inner.pop("API_KEY", None)
    if f"ENV_{key.variable}" in given:
        inner[f"ENV_{key.variable}"] = key.placeholder
    else:
        inner["API_KEY"] = key.placeholder
    return inner


def _check(inner: Mapping[str, str], key: Key, value: str, name: str) -> None:
    """Raise ``PermissionError`` for a secret that would be inside."""
    for setting, text in inner.items():
        variable = setting.removeprefix("ENV_")
        shown = setting != variable and not _VALUE.search(text) and text != key.placeholder
        if shown and (is_secret(variable) or (value and value in text)):
            raise PermissionError(
                f"{variable} would be readable in the box: use $api_key and $base_url in"
                f" {name}_{setting}, or set {name}_KEY_INSIDE=yes to accept it"
            )


def _values(given: Mapping[str, str]) -> dict[str, str]:
    named = {"api_key": "API_KEY", "base_url": "BASE_URL", "model": "MODEL"}
    return {name: given[key] for name, key in named.items() if key in given}


def _told(text: str, values: Mapping[str, str], *, quoted: bool = False) -> str | None:
    """Return a text with its values, ``None`` when one of them is not set."""
    if any(found not in values for found in _VALUE.findall(text)):
        return None
    return _VALUE.sub(lambda m: json.dumps(values[m[1]]) if quoted else values[m[1]], text)


def _file(text: str, values: Mapping[str, str]) -> str:
    lines = (_told(line, values, quoted=True) for line in text.splitlines(keepends=True))
    return "".join(line for line in lines if line is not None)
