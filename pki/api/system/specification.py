"""The OpenAPI document: `sys/internal/specs/openapi`."""

from pki.api.openapi import document
from pki.api.system.family import Family, bare
from pki.operations.call import Call, Reply
from pki.operations.declare import NoBody, Verb, operation


class Specification(Family):
    """Describes the HTTP API for programs."""

    @operation(Verb.READ, "internal/specs/openapi")
    def read_openapi(self, call: Call, body: NoBody) -> Reply:  # noqa: ARG002 - every operation takes a body
        """Read the OpenAPI 3.1 document of everything that is mounted."""
        return bare(document(self._rooms.mounts.all(), self._rooms.engines, self._rooms.version))
