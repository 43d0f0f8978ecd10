"""The OpenAPI document: made from the declarations, and true."""

import pytest

from pki.core import Core
from tests.pki.api.gateway_client import Client, Things
from tests.pki.api.gateway_fixtures import anonymous, house, root, things

__all__ = ["anonymous", "house", "root", "things"]

METHODS = {"get", "post", "patch", "delete"}


def test_the_document_conforms_to_openapi_3_1(root: Client) -> None:
    """A validator of that standard accepts it."""
    validator = pytest.importorskip("openapi_spec_validator", reason="install openapi-spec-validator")
    document = root.get("sys/internal/specs/openapi").document
    validator.validate(document)
    assert document["openapi"] == "3.1.0"


def test_every_operation_of_every_mount_is_in_it(root: Client, house: Core) -> None:
    """One declaration, one entry: none is forgotten, and none has a name twice."""
    paths = root.get("sys/internal/specs/openapi").document["paths"]
    entries = [entry[method] for entry in paths.values() for method in METHODS & entry.keys()]
    names = [entry["operationId"] for entry in entries]
    assert len(set(names)) == len(names)
    declared = {(item.verb, item.pattern) for engine in (Things,) for item in engine.operations()}
    assert len([path for entry in entries if (path := entry["tags"]) == ["things/"]]) == len(declared)
    assert house.mounts.get("things/").type == "things"


def test_bodies_come_from_the_structs(root: Client) -> None:
    """Members, their types and the texts about them; spans and lists in every spelling."""
    document = root.get("sys/internal/specs/openapi").document
    body = document["paths"]["/things/item/{name}"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    schema = document["components"]["schemas"][body["$ref"].rpartition("/")[2]]
    assert schema["properties"]["ttl"]["type"] == ["string", "integer"]
    assert schema["properties"]["names"]["oneOf"][0] == {"type": "string"}
    assert document["paths"]["/things/login"]["post"]["security"] == []
    assert document["paths"]["/things/item/"]["get"]["parameters"][0]["name"] == "list"
