"""The OpenAPI 3.1 document of the HTTP API, made from the declarations of the operations that are mounted."""

import inspect
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from pki.mounts import Mount
from pki.operations.declare import Engine, NoBody, Operation, Verb
from pki.operations.wire import Pairs, Span, Words

_VARIABLE = re.compile(r"<(?:(\w+):)?(\w+)>")
_METHODS: Mapping[Verb, str] = {
    Verb.READ: "get",
    Verb.LIST: "get",
    Verb.CREATE: "post",
    Verb.UPDATE: "post",
    Verb.PATCH: "patch",
    Verb.DELETE: "delete",
}
_REFERENCE = "#/components/schemas/{name}"
_LIST_PARAMETER = {
    "name": "list",
    "in": "query",
    "required": True,
    "schema": {"type": "string", "enum": ["true"]},
    "description": "asks for a list; the method LIST does the same without it",
}
_WIRE_SCHEMAS: Mapping[type, dict[str, Any]] = {
    Span: {
        "type": ["string", "integer"],
        "description": "a span of time: 90s, 1h30m, or a number of seconds",
        "examples": ["1h"],
    },
    Words: {
        "oneOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}],
        "description": "texts: a list, or one text with commas",
    },
    Pairs: {
        "oneOf": [{"type": "object", "additionalProperties": {"type": "string"}}, {"type": "string"}],
        "description": "names and texts: an object, or that as JSON in a text",
    },
}
_ENVELOPE = {
    "type": "object",
    "required": [
        "request_id",
        "lease_id",
        "renewable",
        "lease_duration",
        "data",
        "wrap_info",
        "warnings",
        "auth",
    ],
    "properties": {
        "request_id": {"type": "string"},
        "lease_id": {"type": "string"},
        "renewable": {"type": "boolean"},
        "lease_duration": {"type": "integer", "description": "seconds"},
        "data": {"type": ["object", "null"]},
        "wrap_info": {"type": ["object", "null"]},
        "warnings": {"type": ["array", "null"], "items": {"type": "string"}},
        "auth": {"type": ["object", "null"]},
    },
}
_ERRORS = {
    "type": "object",
    "required": ["errors"],
    "properties": {
        "errors": {"type": "array", "items": {"type": "string"}},
        "code": {"type": "string", "description": "a word that programs can rely on"},
        "advice": {"type": "string", "description": "what to do next"},
        "request_id": {"type": "string"},
    },
}


def document(mounts: Iterable[Mount], engines: Mapping[str, Engine], version: str) -> dict[str, Any]:
    """Return the document as JSON values: the operations of every mount that has an engine."""
    served = [(mount, operation) for mount in mounts for operation in _operations(engines.get(mount.type))]
    bodies = sorted(
        {operation.body for _, operation in served} - {NoBody}, key=lambda kind: (kind.__module__, kind.__name__)
    )
    described = [_without_defaults(kind) for kind in bodies]
    schemas, components = msgspec.json.schema_components(described, schema_hook=_schema, ref_template=_REFERENCE)
    references = dict(zip(bodies, schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for mount, operation in served:
        path, variables = _path(mount, operation)
        methods = paths.setdefault(path, {"parameters": variables} if variables else {})
        methods.setdefault(_METHODS[operation.verb], _describe(mount, operation, path, references))
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Sealward",
            "version": version,
            "description": "The HTTP API. It works with clients of the Vault HTTP API.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/v1"}],
        "security": [{"token": []}, {"bearer": []}],
        "paths": paths,
        "components": {
            "schemas": {**components, "Envelope": _ENVELOPE, "Errors": _ERRORS},
            "securitySchemes": {
                "token": {"type": "apiKey", "in": "header", "name": "X-Vault-Token"},
                "bearer": {"type": "http", "scheme": "bearer"},
            },
        },
    }


def _operations(engine: Engine | None) -> Iterator[Operation]:
    if engine is not None:
        yield from engine.operations()


def _without_defaults(kind: type[msgspec.Struct]) -> type[msgspec.Struct]:
    """Return the like of a Struct whose defaults are not told: msgspec cannot write down those of our own types."""
    fields = [
        (item.name, item.type) if item.required else (item.name, item.type, msgspec.field(default_factory=_nothing))
        for item in msgspec.structs.fields(kind)
    ]
    namespace = {"__doc__": kind.__doc__}
    module = f"{kind.__module__}.body"  # not the same name twice, where one is part of another
    return msgspec.defstruct(kind.__name__, fields, module=module, namespace=namespace, kw_only=True)


def _nothing() -> None:
    return None


def _schema(kind: type) -> dict[str, Any]:
    try:
        return dict(_WIRE_SCHEMAS[kind])
    except KeyError:
        raise NotImplementedError(kind) from None


def _path(mount: Mount, operation: Operation) -> tuple[str, list[dict[str, Any]]]:
    """Return the path and its parameters; what is listed ends in a slash, and so has a path of its own."""
    variables = [
        {
            "name": name,
            "in": "path",
            "required": True,
            "schema": {"type": "string"},
            "description": "may hold slashes" if kind == "path" else "one segment",
        }
        for kind, name in _VARIABLE.findall(operation.pattern)
    ]
    path = "/" + mount.path + _VARIABLE.sub(r"{\2}", operation.pattern)
    return (f"{path.removesuffix('/')}/" if operation.verb is Verb.LIST else path), variables


def _describe(mount: Mount, operation: Operation, path: str, references: Mapping[type, Any]) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": re.sub(r"\W+", "_", f"{operation.verb}{path}").strip("_"),
        "summary": operation.summary,
        "description": inspect.getdoc(operation.function) or "",
        "tags": [mount.path],
        "responses": {
            "200": _response("what was asked for", "Envelope"),
            "204": {"description": "done, and there is nothing to say"},
            "default": _response("what was refused, and why", "Errors"),
        },
    }
    if operation.verb is Verb.LIST:
        described["parameters"] = [_LIST_PARAMETER]
    if operation.body is not NoBody:
        content = {"application/json": {"schema": references[operation.body]}}
        described["requestBody"] = {"required": False, "content": content}
    if operation.open:
        described["security"] = []
    return described


def _response(description: str, schema: str) -> dict[str, Any]:
    content = {"application/json": {"schema": {"$ref": _REFERENCE.format(name=schema)}}}
    return {"description": description, "content": content}
