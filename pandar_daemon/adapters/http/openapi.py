"""The API's description of itself: an OpenAPI 3.1 document, made from the routes and the Structs.

Nothing in it is written down twice: shapes and limits are those of the Structs that handlers read
by, texts are the handlers' docstrings, errors are the refusals there are.
"""

from __future__ import annotations

import inspect
import re
from functools import cache
from http import HTTPStatus
from typing import Final, NamedTuple

import msgspec
from aiohttp import web
from aiohttp.typedefs import Handler

from events.envelope import Recorded
from events.problem import CONTENT_TYPE, FieldError, Problem
from events.task import Json
from pandar_daemon.adapters.http import answers
from pandar_daemon.adapters.http.bodies import answer
from pandar_daemon.adapters.http.operations import OPERATIONS, Operation
from pandar_daemon.adapters.http.output import Unsatisfiable
from pandar_daemon.adapters.http.parameters import (
    EVERYWHERE,
    IN_PATH,
    IN_QUERY,
    OF_ANSWERS,
    OF_REQUESTS,
)
from pandar_daemon.adapters.http.problems import INTERNAL, TooManyStreams, UnsupportedMedia
from pandar_daemon.domain import refusals
from pandar_daemon.domain.access import ACTION_PERMISSION
from pandar_daemon.domain.refusals import Refusal

VERSION: Final = "1.0.0"
"""Of the API: the first number is that of its prefix, the second grows with what it can do."""

_REF: Final = "#/components/schemas/{name}"
_JSON: Final = "application/json"
_TEXT: Final = "text/plain"
_SSE: Final = "text/event-stream"
_TEXTUAL: Final[Json] = {"type": "string"}
_RAW: Final[Json] = {"schema": _TEXTUAL}


class Served(NamedTuple):
    """What an application serves: routes below a prefix, and probes outside of it."""

    prefix: str
    routes: tuple[tuple[str, str, Handler], ...]
    probes: tuple[tuple[str, Handler], ...]


SERVED: Final = web.AppKey("SERVED", Served)


async def get(request: web.Request) -> web.Response:
    """Answer this description."""
    return answer(document(request.app[SERVED]))


@cache
def document(served: Served) -> Json:
    """Return the description of all that is served.

    Raises ``KeyError`` naming a route that `operations.OPERATIONS` does not describe.
    """
    paths: dict[str, Json] = {}
    for method, path, handler in served.routes:
        whole = f"{served.prefix}{path}"
        paths.setdefault(whole, {})[method.lower()] = _operation(method, path, handler)
    for path, handler in served.probes:
        paths.setdefault(path, {})["get"] = _operation("GET", path, handler)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Pandar",
            "version": VERSION,
            "summary": "Runs coding agents unattended.",
            "description": (
                "A slash at the end of a path makes no difference. Unknown parameters and fields"
                " are refused. Every error is a problem of RFC 9457. Fields are only ever added"
                " to answers: ignore those you do not know."
            ),
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "security": [{"bearerAuth": []}],
        "paths": paths,
        "components": _components(),
    }


def _operation(method: str, path: str, handler: Handler) -> Json:
    of = OPERATIONS[f"{method} {path}"]
    summary, _, rest = (inspect.getdoc(handler) or of.name).partition("\n\n")
    shown: Json = {
        "operationId": of.name,
        "tags": [path.split("/")[1] if of.security is None else "about"],
        "summary": " ".join(summary.replace("``", "`").split()),
        "description": rest.replace("``", "`"),
        "parameters": [*_in_path(path), *_in_query(of), *_in_headers(of)],
        "responses": _responses(of),
    }
    if of.body is not None:
        required = any(field.required for field in msgspec.structs.fields(of.body))
        content = {_JSON: {"schema": _schema(of.body)}}
        shown["requestBody"] = {"required": required, "content": content}
    if of.command is not None:
        shown |= {"x-command": of.command, "x-permission": ACTION_PERMISSION[of.command]}
    if of.security is not None:
        shown["security"] = of.security
    return {name: value for name, value in shown.items() if value or name == "security"}


# --- what comes in ---------------------------------------------------------------------------


def _in_path(path: str) -> list[Json]:
    return [
        {"name": name, "in": "path", "required": True, "schema": IN_PATH[name]}
        for name in re.findall(r"{(\w+)}", path)
    ]


def _in_query(of: Operation) -> list[Json]:
    if of.query is None:
        return []
    shape = _shapes().components[_name(_schema(of.query))]
    return [
        _parameter(name, schema, required=name in shape["required"])
        for name, schema in shape["properties"].items()
    ]


def _parameter(name: str, schema: Json, *, required: bool) -> Json:
    """Return one of the query; ``null`` is how handlers see that it is absent."""
    given = [one for one in schema.get("anyOf", [schema]) if one != {"type": "null"}]
    shown = {key: value for key, value in given[0].items() if value is not None}
    meaning = {"description": IN_QUERY[name]} if name in IN_QUERY else {}
    return {"name": name, "in": "query", **meaning, "required": required, "schema": shown}


def _in_headers(of: Operation) -> list[Json]:
    names = of.takes if of.security is not None else (*of.takes, *EVERYWHERE)
    return [{"$ref": f"#/components/parameters/{name}"} for name in names]


# --- what goes out ---------------------------------------------------------------------------


def _responses(of: Operation) -> Json:
    found = {str(status): _other(of, status) for status in of.others}
    found[str(of.status.value)] = _answered(of)
    found |= {str(status): {"$ref": f"#/components/responses/{status}"} for status in of.refusals}
    return dict(sorted(found.items()))


def _answered(of: Operation) -> Json:
    content = {} if of.answer is None else {_JSON: {"schema": _schema(of.answer)}}
    content |= {media: _stream(of) if media == _SSE else _RAW for media in of.media}
    names = of.gives if of.security is not None else (*of.gives, "X-Request-ID")
    shown: Json = {"description": of.status.phrase, "headers": _headers(*names)}
    return shown | ({"content": content} if content else {})


def _other(of: Operation, status: int) -> Json:
    shown: Json = {"description": HTTPStatus(status).phrase}
    match status:
        case HTTPStatus.NOT_MODIFIED:
            return shown | {"headers": _headers("ETag")}
        case HTTPStatus.PARTIAL_CONTENT:
            return shown | {"headers": _headers("Content-Range"), "content": {_TEXT: _RAW}}
        case _:
            return shown | {"content": {_JSON: {"schema": _schema(of.answer)}}}


def _stream(of: Operation) -> Json:
    """Return the content of a stream: OpenAPI 3.1 has no word yet for what its messages hold."""
    shapes: Json = {"*": _schema(Recorded)}
    if of.name == "streamTask":
        shapes["output"] = _schema(answers.OutputEvent)
    text = "Server-sent events; `event` is the type of the event. `x-data` is the shape of `data`."
    return {"schema": {**_TEXTUAL, "description": text}, "x-data": shapes}


def _headers(*names: str) -> Json:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def _refusal(status: int) -> Json:
    problems = [one.problem for one in _REFUSALS if one.problem.status == status]
    headers = {401: ("WWW-Authenticate",), 429: ("Retry-After",), 503: ("Retry-After",)}
    return {
        "description": " / ".join(problem.title for problem in problems),
        "headers": _headers(*headers.get(status, ()), "X-Request-ID"),
        "content": {
            CONTENT_TYPE: {
                "schema": _schema(Problem),
                "examples": {
                    problem.type.rpartition(":")[2]: {"value": msgspec.to_builtins(problem)}
                    for problem in problems
                },
            }
        },
    }


_REFUSALS: Final[tuple[Refusal, ...]] = (
    refusals.Malformed("the body is not JSON"),
    refusals.Unauthenticated("send Authorization: Bearer <token>; `pandar token` makes one"),
    refusals.Forbidden("task:write"),
    refusals.NotFound("task 42"),
    refusals.Rejected("start while completed", state="completed"),
    refusals.CommandIdReused("nightly-1"),
    refusals.VersionMismatch(3, 5),
    refusals.TooLarge("a body may have 1048576 bytes"),
    UnsupportedMedia("text/plain"),
    Unsatisfiable("there is no output from byte 4096 on, yet"),
    refusals.Invalid(FieldError(field="name", rule="at least 1 character")),
    TooManyStreams(50),
    refusals.TooMany("requests of one user", 600, 3),
    Refusal(INTERNAL),
    refusals.Unavailable("a part Pandar needs is away; ask again"),
)
"""One of each that there is."""


# --- what is shared --------------------------------------------------------------------------


class _Shapes(NamedTuple):
    of: dict[object, Json]
    components: dict[str, Json]


@cache
def _shapes() -> _Shapes:
    """Return the schema of each type an operation names, and the components these refer to."""
    found: dict[object, None] = dict.fromkeys((Problem, Recorded, answers.OutputEvent))
    for of in OPERATIONS.values():
        found |= dict.fromkeys(one for one in (of.answer, of.body, of.query) if one is not None)
    schemas, components = msgspec.json.schema_components(found, ref_template=_REF)
    return _Shapes(dict(zip(found, schemas, strict=True)), components)


def _schema(of: object) -> Json:
    return _shapes().of[of]


def _name(schema: Json) -> str:
    return str(schema["$ref"]).rpartition("/")[2]


def _components() -> Json:
    queries = {_name(_schema(of.query)) for of in OPERATIONS.values() if of.query is not None}
    statuses = {status for of in OPERATIONS.values() for status in of.refusals}
    return {
        "schemas": {
            name: _readable(schema)
            for name, schema in sorted(_shapes().components.items())
            if name not in queries
        },
        "responses": {str(status): _refusal(status) for status in sorted(statuses)},
        "parameters": {
            name: {"name": name, "in": "header", "description": meaning, "schema": schema}
            for name, (meaning, schema) in OF_REQUESTS.items()
        },
        "headers": {
            name: {"description": meaning, "schema": schema}
            for name, (meaning, schema) in OF_ANSWERS.items()
        },
        "securitySchemes": {
            "bearerAuth": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}
        },
    }


def _readable(schema: Json) -> Json:
    """Return a schema with its docstring as Markdown."""
    text = inspect.cleandoc(schema.get("description", "")).replace("``", "`")
    return {**schema, "description": text} if text else schema
