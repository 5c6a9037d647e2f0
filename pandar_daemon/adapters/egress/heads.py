"""Heads of messages on their way through: what is for this hop alone stays here."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from fnmatch import fnmatchcase
from http import HTTPStatus
from typing import Final
from urllib.parse import SplitResult, unquote, unquote_plus, urlsplit

import h11

from pandar_daemon.adapters.egress.masking import Mask
from pandar_daemon.adapters.egress.refused import Refused, malformed, unreachable
from pandar_daemon.domain.egress import Host, called
from pandar_daemon.ports.sandbox import MODELS_PATH, Upstream

Header = tuple[bytes, bytes]

_OF_THIS_HOP: Final = frozenset(
    {
        *(b"connection", b"keep-alive", b"proxy-connection", b"te", b"trailer", b"upgrade"),
        *(b"transfer-encoding", b"content-length", b"http2-settings"),
        *(b"proxy-authenticate", b"proxy-authorization", b"proxy-authentication-info"),
    }
)
_FRAMING: Final = (b"transfer-encoding", b"content-length")
_KEYS: Final = frozenset(
    {
        *(b"authorization", b"x-api-key", b"x-goog-api-key", b"api-key", b"x-auth-token"),
        *(b"x-goog-iam-authorization-token", b"ocp-apim-subscription-key", b"cookie"),
    }
)
"""By whose account a model is called is the owner's affair: what a box says of it is dropped."""
_KEYS_ASKED: Final = frozenset(
    {"key", "api_key", "api-key", "apikey", "access_token", "oauth_token", "subscription-key"}
)
_UNPACKABLE: Final = frozenset({b"accept-encoding", b"range", b"if-range"})
"""An answer in another form, or in parts, could hold a key that nobody sees."""


def split_target(target: bytes) -> tuple[Host, bytes]:
    """Return host and path of an ``http://`` target; raises `Refused`."""
    text = target.decode("ascii")
    scheme, _, rest = text.partition("://")
    if scheme.lower() == "https":
        raise malformed("https is asked for with CONNECT")
    if scheme.lower() != "http" or "#" in rest:
        raise malformed("this is a proxy for http:// and, with CONNECT, for https://")
    end = min((at for at in (rest.find(c) for c in "/?") if at >= 0), default=len(rest))
    path = rest[end:]
    return host_in(rest[:end], 80), (path if path.startswith("/") else f"/{path}").encode()


def host_in(authority: str, port: int | None = None) -> Host:
    """Return whom a request names; raises `Refused`."""
    try:
        return called(authority, port)
    except ValueError as error:
        raise malformed(str(error)) from None


def onward(request: h11.Request, target: bytes, authority: str) -> h11.Request:
    """Return a request as the other side is to get it; raises `Refused`."""
    kept = [(b"host", authority.encode()), *_passing(request.headers, {b"host"})]
    kept += [*_framing(request.headers), (b"connection", b"close")]
    return h11.Request(method=request.method, target=target, headers=kept)


def to_model(request: h11.Request, target: bytes, upstream: Upstream) -> h11.Request:
    """Return a request as a model's server is to get it: with the owner's key, and no other."""
    own: list[Header] = [(n.lower().encode(), v.encode()) for n, v in upstream.headers.items()]
    replaced = {b"host", *_KEYS, *_UNPACKABLE, *(name for name, _ in own)}
    base = urlsplit(upstream.base_url)
    kept = [(b"host", _authority(base)), *_passing(request.headers, replaced), *own]
    kept += [(b"accept-encoding", b"identity"), *_framing(request.headers)]
    kept.append((b"connection", b"close"))
    try:
        return h11.Request(method=request.method, target=_joined(base, target), headers=kept)
    except h11.LocalProtocolError:  # its text would show the key
        raise unreachable("the key of this model has characters that cannot be sent") from None


def inward(response: h11.Response, mask: Mask) -> h11.Response:
    """Return an answer as the box is to get it: framed anew, and without secrets."""
    kept = [(name, mask.whole(value)) for name, value in _passing(response.headers, ())]
    lengths = [pair for pair in response.headers if pair[0] == b"content-length"]
    chunked = any(name == b"transfer-encoding" for name, _ in response.headers)
    kept += [] if chunked else lengths[:1]
    return h11.Response(
        status_code=response.status_code, reason=mask.whole(response.reason), headers=kept
    )


def model_of(target: bytes, models: Mapping[str, Upstream]) -> tuple[Upstream, bytes]:
    """Return where ``/pandar/NAME/rest`` leads, and ``/rest``; raises `Refused`."""
    path, question, query = target.decode("ascii").partition("?")
    name, slash, rest = path.removeprefix(MODELS_PATH).partition("/")
    if not path.startswith(MODELS_PATH) or name not in models:
        known = ", ".join(f"{MODELS_PATH}{name}/" for name in models) or "no models"
        raise malformed(f"this is a proxy: ask for http://HOST/…; here there are {known}")
    _check_path(f"/{rest}", models[name].paths)
    return models[name], f"{slash}{rest}{question}{query}".encode()


def server_of(upstream: Upstream) -> tuple[Host, bool]:
    """Return whom a model's URL names, and whether to talk in TLS; raises `Refused`."""
    base = urlsplit(upstream.base_url)
    encrypted = base.scheme == "https"
    authority = base.netloc.rpartition("@")[2]
    return host_in(authority, 443 if encrypted else 80), encrypted


def _authority(base: SplitResult) -> bytes:
    return base.netloc.rpartition("@")[2].encode()


def _joined(base: SplitResult, rest: bytes) -> bytes:
    path, _, query = rest.decode("ascii").partition("?")
    asked = [
        each
        for each in query.split("&")
        if unquote_plus(each.partition("=")[0]).lower() not in _KEYS_ASKED
    ]
    whole = f"{base.path.rstrip('/')}{path}" or "/"
    queries = "&".join(each for each in (base.query, *asked) if each)
    return (f"{whole}?{queries}" if queries else whole).encode("ascii")


def _check_path(path: str, patterns: Collection[str]) -> None:
    """Refuse a path that leads out of what the owner's URL names, or that no model needs."""
    seen = ""
    while seen != path:
        seen, path = path, unquote(path)
    if {".", ".."} & set(seen.replace("\\", "/").split("/")):
        raise malformed("a path may not have . or .. in it here")
    if patterns and not any(fnmatchcase(seen, pattern) for pattern in patterns):
        text = f"the door of a model leads to {', '.join(patterns)} alone"
        raise Refused(HTTPStatus.FORBIDDEN, "path", text)


def _passing(headers: Iterable[Header], dropped: Collection[bytes]) -> list[Header]:
    every = list(headers)
    named = {
        word.strip().lower()
        for name, value in every
        if name == b"connection"
        for word in value.split(b",")
    }
    kept_here = _OF_THIS_HOP | named | set(dropped)
    return [(name, value) for name, value in every if name not in kept_here]


def _framing(headers: Iterable[Header]) -> list[Header]:
    """Return how long a body is; raises `Refused` for one of two lengths."""
    found = [pair for pair in headers if pair[0] in _FRAMING]
    if len({name for name, _ in found}) > 1:
        raise malformed("a message has either Content-Length or Transfer-Encoding")
    return found[:1]
