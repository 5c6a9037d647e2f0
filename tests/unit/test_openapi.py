"""The description of the HTTP API tells of everything there is, and of nothing else."""

from __future__ import annotations

import re
from typing import Any

import msgspec
import pytest

from events.commands import ACTIONS
from events.problem import CONTENT_TYPE
from pandar_daemon.adapters.http import answers, openapi
from pandar_daemon.adapters.http.app import PREFIX, PROBES, ROUTES, SERVED
from pandar_daemon.adapters.http.operations import OPERATIONS
from pandar_daemon.domain.access import ACTION_PERMISSION
from projections.task_table import FIELDS
from tests.support.descriptions import references, resolve

Json = Any
DOCUMENT: Json = msgspec.json.decode(msgspec.json.encode(openapi.document(SERVED)))
SCHEMAS = DOCUMENT["components"]["schemas"]


def _operations() -> dict[tuple[str, str], Json]:
    return {
        (method.upper(), path): operation
        for path, item in DOCUMENT["paths"].items()
        for method, operation in item.items()
    }


def test_every_route_is_described() -> None:
    """Each route and probe has its operation, and no operation is without a route."""
    there = {(method, f"{PREFIX}{path}") for method, path, _ in ROUTES}
    assert set(_operations()) == there | {("GET", path) for path, _ in PROBES}
    assert len(OPERATIONS) == len(_operations())


def test_names_are_unique() -> None:
    """No two operations have the same id."""
    names = [operation["operationId"] for operation in _operations().values()]
    assert len(names) == len(set(names))


def test_every_reference_resolves() -> None:
    """Whatever the document refers to is in the document."""
    for reference in references(DOCUMENT):
        assert resolve(DOCUMENT, reference)


def test_every_component_is_used() -> None:
    """No shape, parameter, header or answer is described that nothing refers to."""
    used = set(references(DOCUMENT))
    for section in ("schemas", "responses", "parameters", "headers"):
        for name in DOCUMENT["components"][section]:
            assert f"#/components/{section}/{name}" in used, name


@pytest.mark.parametrize("name", sorted(OPERATIONS))
def test_bodies_are_the_structs(name: str) -> None:
    """What an operation takes has the fields and limits of the Struct it is read by."""
    of = OPERATIONS[name]
    if of.body is None:
        return
    content = _operation(name)["requestBody"]["content"]["application/json"]
    assert content["schema"] == {"$ref": f"#/components/schemas/{of.body.__name__}"}
    (_,), wanted = msgspec.json.schema_components(
        [of.body], ref_template="#/components/schemas/{name}"
    )
    for part, schema in wanted.items():
        assert _plain(SCHEMAS[part]) == _plain(schema)
    assert _operation(name)["requestBody"]["required"] == bool(wanted[of.body.__name__]["required"])


def _plain(schema: Json) -> Json:
    return {key: value for key, value in schema.items() if key != "description"}


def _operation(name: str) -> Json:
    method, path = name.split()
    found = _operations()
    return found.get((method, f"{PREFIX}{path}")) or found[method, path]


@pytest.mark.parametrize("name", sorted(OPERATIONS))
def test_commands_are_those_of_the_bus(name: str) -> None:
    """A write names the command it sends, which takes the same body, and its permission."""
    of, shown = OPERATIONS[name], _operation(name)
    if of.command is None:
        return
    assert of.body in {ACTIONS[of.command], None}
    assert shown["x-command"] == of.command
    assert shown["x-permission"] == ACTION_PERMISSION[of.command]


@pytest.mark.parametrize("name", sorted(OPERATIONS))
def test_parameters_are_all_described(name: str) -> None:
    """Each part of the path and each field of the query Struct is a parameter, once."""
    of, shown = OPERATIONS[name], _operation(name).get("parameters", [])
    inline = [(one["in"], one["name"]) for one in shown if "in" in one]
    query = () if of.query is None else of.query.__struct_encode_fields__
    wanted = [("path", part) for part in re.findall(r"{(\w+)}", name)]
    assert inline == wanted + [("query", field) for field in query]


def test_errors_are_problems() -> None:
    """Every refusal is a problem of its status, with an example of each code it may have."""
    for status, response in DOCUMENT["components"]["responses"].items():
        problem = response["content"][CONTENT_TYPE]
        assert problem["schema"] == {"$ref": "#/components/schemas/Problem"}
        assert problem["examples"], status
        for code, example in problem["examples"].items():
            assert example["value"]["status"] == int(status)
            assert example["value"]["type"] == f"urn:pandar:problem:{code}"


def test_everything_needs_a_token_but_probes_and_the_description() -> None:
    """Only what the server lets anybody have is described as free."""
    assert DOCUMENT["security"] == [{"bearerAuth": []}]
    free = {path for (_, path), one in _operations().items() if "security" in one}
    assert free == {f"{PREFIX}/openapi.json", *(path for path, _ in PROBES)}


def test_the_task_has_the_fields_of_its_table() -> None:
    """The described task is the row of the read model, field by field."""
    assert answers.Task.__struct_fields__ == tuple(name for name, _ in FIELDS)
    assert list(SCHEMAS["Task"]["properties"]) == [name for name, _ in FIELDS]
