"""What a token may do: `sys/capabilities`, and the same of oneself and by accessor."""

import msgspec

from pki.api.system.family import Family
from pki.errors import Malformed
from pki.operations.call import Call, Reply
from pki.operations.declare import Verb, operation
from pki.operations.wire import Words

_PATHS_LIMIT = 1024


class Paths(msgspec.Struct, frozen=True):
    """The paths asked for: `paths`, or `path`."""

    paths: Words = Words()
    path: Words = Words()

    def all(self) -> tuple[str, ...]:
        """Return the paths, without a slash before them.

        Raises:
            Malformed: there is none, or there are too many.
        """
        found = tuple(path.removeprefix("/") for path in (*self.paths, *self.path))
        if not 0 < len(found) <= _PATHS_LIMIT:
            raise Malformed("which paths?", advice=f"send `paths`: a list of 1 to {_PATHS_LIMIT}")
        return found


class TokenPaths(Paths, frozen=True):
    """Paths, and the token whose capabilities are asked for."""

    token: str = ""


class AccessorPaths(Paths, frozen=True):
    """Paths, and the accessor of the token whose capabilities are asked for."""

    accessor: str = ""


class Capabilities(Family):
    """Tells what a token may do."""

    @operation(Verb.UPDATE, "capabilities-self", Paths)
    def capabilities_self(self, call: Call, body: Paths) -> Reply:
        """Tell what the caller's own token may do to paths."""
        return self._reply(call.caller().policies, body.all())

    @operation(Verb.UPDATE, "capabilities", TokenPaths)
    def capabilities(self, call: Call, body: TokenPaths) -> Reply:  # noqa: ARG002 - every operation takes a call
        """Tell what another token may do to paths."""
        if not body.token:
            raise Malformed("which token?", advice="send `token`, or ask capabilities-self")
        return self._reply(self._rooms.tokens.lookup_token(body.token).policies, body.all())

    @operation(Verb.UPDATE, "capabilities-accessor", AccessorPaths)
    def capabilities_accessor(self, call: Call, body: AccessorPaths) -> Reply:  # noqa: ARG002
        """Tell what the token of an accessor may do to paths."""
        if not body.accessor:
            raise Malformed("which token?", advice="send its `accessor`")
        return self._reply(self._rooms.tokens.lookup(body.accessor).policies, body.all())

    def _reply(self, policies: tuple[str, ...], paths: tuple[str, ...]) -> Reply:
        acl = self._rooms.policies.acl(policies)
        data = {path: list(acl.capabilities(path)) for path in paths}
        if len(paths) == 1:
            data = {"capabilities": data[paths[0]], **data}
        return Reply(data, also_flat=True)
