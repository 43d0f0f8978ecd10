"""What the operations of this engine stand on."""

from dataclasses import dataclass

from cryptography import x509

from pki.authority.crl import Crls
from pki.authority.issue import Gate
from pki.authority.issuers import Issuer, Issuers
from pki.authority.profiles import Profiles
from pki.authority.revoke import Revocation
from pki.clock import Clock
from pki.engines.pki.roles import DEFAULT_ISSUER
from pki.engines.pki.settings import DEFAULT_ISSUER_REF
from pki.ledger import entries
from pki.ledger.entries import Entry
from pki.operations.call import Call
from pki.operations.declare import Engine
from pki.storage.database import Database

_REQUESTER_LENGTH = 255
_EXISTING = frozenset({"issued", "revoked"})


@dataclass(frozen=True, slots=True)
class Rooms:
    """The rooms of the authority that the engine needs."""

    database: Database
    clock: Clock
    gate: Gate
    profiles: Profiles
    issuers: Issuers
    revocation: Revocation
    crls: Crls


class OverRooms(Engine):
    """An engine, or a part of one, over those rooms."""

    def __init__(self, rooms: Rooms) -> None:
        self._rooms = rooms

    def _issuer(self, reference: str) -> Issuer:
        """Return the issuer with this name or id; `default` and nothing at all are the default one.

        Raises:
            NotFound: there is none.
        """
        issuers, name = self._rooms.issuers, DEFAULT_ISSUER if reference in {"", DEFAULT_ISSUER_REF} else reference
        return issuers.find(name) or issuers.get(name)

    def _path(self, issuer: Issuer) -> list[x509.Certificate]:
        """Return the certificates of an issuer and those above it, the root last."""
        return [item.certificate for item in self._rooms.issuers.path(issuer)]

    def _find(self, call: Call, serial: str) -> Entry | None:
        """Return the one entry with this serial (hex) in the call's namespace, if there is exactly one."""
        with self._rooms.database.read() as tx:
            found = entries.find_all_by_serial(tx, call.mount.namespace_id, serial)
        return found[0] if len(found) == 1 else None

    def _find_existing(self, call: Call, serial: str) -> Entry | None:
        """Return it if it was issued, whether or not it was revoked since."""
        found = self._find(call, serial)
        return found if found is not None and found.state in _EXISTING else None


def requester(call: Call) -> str:
    """Return who acts, as the ledger keeps it: of a name that is too long, its end, which holds the accessor."""
    return call.actor[-_REQUESTER_LENGTH:]
