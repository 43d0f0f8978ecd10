"""Keys of the service itself, such as the one that authenticates nonces: made once, sealed under the KEK in the HSM."""

from sqlalchemy import insert, select
from sqlalchemy.exc import IntegrityError

from pki.errors import Misconfigured
from pki.ids import Ids
from pki.seal.keyring import Keyring
from pki.storage.database import Database, Tx
from pki.storage.tables import deks, sealed_values

NAMESPACE = "root"
MOUNT = "service"
"""The mount of the data key under which these keys are sealed."""
_OCTETS = 32


class ServiceKeys:
    """Reads, or makes when it is first asked for, a key by its name; all replicas get the same."""

    def __init__(self, database: Database, keyring: Keyring, ids: Ids) -> None:
        self._database = database
        self._keyring = keyring
        self._ids = ids
        self._known: dict[str, bytes] = {}

    def get(self, name: str) -> bytes:
        """Return 32 octets that only this service knows.

        Raises:
            Sealed, HsmError, DatabaseUnavailable: not now.
        """
        known = self._known.get(name)
        if known is None:
            known = self._known[name] = self._read(name) or self._make(name)
        return known

    def _read(self, name: str) -> bytes | None:
        with self._database.read() as tx:
            envelope = tx.execute(
                select(sealed_values.c.value).where(sealed_values.c.name == name)
            ).scalar_one_or_none()
        return None if envelope is None else self._keyring.open(envelope, "service key", name)

    def _make(self, name: str) -> bytes:
        fresh = self._ids.octets(_OCTETS)
        envelope = self._keyring.seal(self._dek_id(), fresh, "service key", name)

        def work(tx: Tx) -> None:
            tx.execute(insert(sealed_values).values(name=name, namespace_id=NAMESPACE, value=envelope))

        try:
            self._database.write(work)
        except IntegrityError:  # another process was first: its key is the one
            return self._read(name) or fresh
        return fresh

    def _dek_id(self) -> str:
        query = select(deks.c.id).where(deks.c.namespace_id == NAMESPACE, deks.c.mount == MOUNT)
        with self._database.read() as tx:
            found: str | None = tx.execute(query.order_by(deks.c.created_at.desc())).scalars().first()
        if found is None:
            raise Misconfigured("the service has no data key", advice="run `sealward init`")
        return found
