"""What `?help=1` answers: the declarations of an engine's operations, in words."""

import inspect
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
import orjson

from pki.api.errors import CONTENT_TYPE
from pki.api.routes import Routes
from pki.errors import NotFound
from pki.mounts import Mount
from pki.operations.call import Reply
from pki.operations.declare import NoBody, Operation


def help_reply(routes: Mapping[str, Routes], mount: Mount | None, path: str) -> Reply:
    """Return the help for a path: its operations, or else a list of what its mount serves.

    Raises:
        NotFound: nothing is mounted there.
    """
    if mount is None:
        raise NotFound(f'no handler for route "{path}". route entry not found.')
    served = routes[mount.type]
    found = served.all_at(path.removeprefix(mount.path) if path.startswith(mount.path) else "")
    lines = [line for operation in found for line in _describe(operation)] if found else list(_overview(mount, served))
    document: dict[str, Any] = {"help": "\n".join(lines) + "\n", "see_also": [], "openapi": None}
    return Reply(raw=(CONTENT_TYPE, orjson.dumps(document)))


def _overview(mount: Mount, served: Routes) -> Iterator[str]:
    yield f"{mount.path} ({mount.type}): {served.summary}"
    yield ""
    for operation in served.operations:
        yield f"{operation.verb:7} {mount.path}{operation.pattern}: {operation.summary}"


def _describe(operation: Operation) -> Iterator[str]:
    yield f"{operation.verb.upper()} {operation.pattern}"
    yield ""
    yield inspect.getdoc(operation.function) or operation.summary
    if operation.body is not NoBody:
        yield ""
        yield "Members of the body:"
        for member in msgspec.structs.fields(operation.body):
            kind = getattr(member.type, "__name__", str(member.type))
            yield f"  {member.encode_name} ({kind}){'' if member.required else ', optional'}"
    yield ""
