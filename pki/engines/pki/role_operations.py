"""Operations on roles: what the authority calls profiles."""

from pki.authority.profiles import Profile
from pki.engines.pki.roles import DEFAULT_ISSUER, DOOR, profile_of, shown, warnings
from pki.engines.pki.rooms import OverRooms
from pki.engines.pki.settings import DEFAULT_ISSUER_REF, RoleBody
from pki.errors import Misconfigured, NotFound, Rejected
from pki.operations.call import Call, Reply, keys
from pki.operations.declare import NoBody, Verb, operation
from pki.storage.database import Tx


class RoleOperations(OverRooms):
    """Reads and writes roles."""

    @operation(Verb.LIST, "roles")
    def list_roles(self, call: Call, body: NoBody) -> Reply:  # noqa: ARG002 - every operation takes a body
        """List the names of the roles."""
        return keys(self._rooms.profiles.names())

    @operation(Verb.READ, "roles/<name:role>")
    def read_role(self, call: Call, body: NoBody, role: str) -> Reply:  # noqa: ARG002
        """Read what a role allows."""
        return Reply(shown(self._rooms.profiles.get(role)))

    def _has_role(self, _call: Call, _body: object, role: str) -> bool:
        return role in self._rooms.profiles.names()

    @operation(Verb.UPDATE, "roles/<name:role>", RoleBody, exists=_has_role)
    def write_role(self, call: Call, body: RoleBody, role: str) -> Reply:
        """Write a role anew: what the body leaves out has its default, and allows nothing."""
        standing = self._find_profile(role)
        doors = (DOOR,) if standing is None else standing.doors
        wanted = profile_of(role, body, self._issuer_name(body.issuer_ref), doors)

        def work(tx: Tx) -> Profile:
            stored = self._rooms.profiles.set(tx, wanted, self._rooms.clock.now(), body.cas)
            call.record(tx, version=stored.version, issuer=stored.issuer, doors=list(stored.doors))
            return stored

        stored = self._rooms.database.write(work)
        return Reply(shown(stored), warnings=warnings(stored))

    @operation(Verb.DELETE, "roles/<name:role>")
    def delete_role(self, call: Call, body: NoBody, role: str) -> None:  # noqa: ARG002
        """Delete a role: what was issued by it stays valid."""

        def work(tx: Tx) -> None:
            if self._rooms.profiles.delete(tx, role, self._rooms.clock.now()):
                call.record(tx)

        self._rooms.database.write(work)

    def _find_profile(self, name: str) -> Profile | None:
        """Return the profile that stands there, unless it cannot be read: writing it anew is what helps then."""
        try:
            return self._rooms.profiles.get(name)
        except (NotFound, Misconfigured):
            return None

    def _issuer_name(self, reference: str) -> str:
        """Return the name of the issuer that a role means, which must be able to issue for end entities."""
        if reference in {"", DEFAULT_ISSUER_REF}:
            return DEFAULT_ISSUER
        issuer = self._issuer(reference)
        if issuer.kind == "root":
            raise Rejected(
                "issuer_ref is a root, which issues no end-entity certificates",
                "malformed",
                advice="name an intermediate, or leave it out",
            )
        return issuer.name
