"""The files a page asks for, each under an address that changes with its content."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Final

from msgspec import Struct

_FOLDER: Final = Path(__file__).parent / "static"
_TYPES: Final = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


class Asset(Struct, frozen=True):
    """A file, whole; ``digest`` tells its content."""

    body: bytes
    content_type: str
    digest: str


def _read(path: Path) -> Asset:
    body = path.read_bytes()
    return Asset(body, _TYPES[path.suffix], hashlib.sha256(body).hexdigest()[:16])


ASSETS: Final = {path.name: _read(path) for path in sorted(_FOLDER.iterdir())}
"""Every file there is, by its name."""


def address(name: str) -> str:
    """Return where a page of ours, one folder below the root, finds a file."""
    return f"../assets/{name}?v={ASSETS[name].digest}"
