"""The data keys of mounts: one each, made under the KEK in the HSM when the first secret is written."""

import threading

from hsm.errors import HsmError
from pki.clock import Clock, to_ms
from pki.errors import HsmFailure, Malformed, Misconfigured, NotFound
from pki.ids import Ids
from pki.mounts import Mount
from pki.seal.envelope import Envelope
from pki.seal.keyring import Keyring, WrappedDek
from pki.storage.database import Database, Tx
from pki.vault import rows
from pki.vault.paths import tampered

_PURPOSE = "kv value"


class MountKeys:
    """Seals and opens values of secrets under the data key of their mount; for all threads of a process.

    The ids of secret and version, and by the data key those of namespace and mount, are bound to each value.
    """

    def __init__(self, database: Database, clock: Clock, ids: Ids, keyring: Keyring) -> None:
        self._database = database
        self._clock = clock
        self._ids = ids
        self._keyring = keyring
        self._known: dict[str, str] = {}
        self._making = threading.Lock()

    def seal(self, mount: Mount, plaintext: bytes, secret_id: str, version: int) -> Envelope:
        """Return the value, sealed for that version of that secret; never inside a write.

        Raises:
            Sealed, HsmFailure, DatabaseUnavailable: not now.
        """
        dek_id = self._known.get(mount.id) or self._find_or_make(mount)
        try:
            return self._keyring.seal(dek_id, plaintext, _PURPOSE, secret_id, str(version))
        except NotFound as error:
            raise Misconfigured(error.message, advice=error.advice) from error
        except HsmError as error:
            raise _failure(error) from error

    def open(self, sealed: bytes, secret_id: str, version: int) -> bytes:
        """Return the value that was sealed for that version of that secret; never inside a write.

        Raises:
            Misconfigured: it was sealed for another place, or its keys are gone.
            Sealed, HsmFailure, DatabaseUnavailable: not now.
        """
        try:
            envelope = Envelope.from_bytes(sealed)
            if not self._keyring.knows(envelope.dek_id):
                self._keyring.add(self._load(envelope.dek_id))
            return self._keyring.open(envelope, _PURPOSE, secret_id, str(version))
        except Malformed as error:
            raise tampered() from error
        except NotFound as error:
            raise Misconfigured(error.message, advice=error.advice) from error
        except HsmError as error:
            raise _failure(error) from error

    def _load(self, dek_id: str) -> WrappedDek:
        with self._database.read() as tx:
            found = rows.find_dek(tx, dek_id)
        if found is None:
            raise NotFound(
                "the data key of a secret is gone", advice="restore the table deks from a backup of the same time"
            )
        return found

    def _find_or_make(self, mount: Mount) -> str:
        with self._making:
            known = self._known.get(mount.id)
            if known is None:
                with self._database.read() as tx:
                    dek, kek_id = rows.find_mount_dek(tx, mount), rows.find_kek(tx)
                dek = dek or self._make(mount, kek_id)
                self._keyring.add(dek)
                known = self._known[mount.id] = dek.id
        return known

    def _make(self, mount: Mount, kek_id: str | None) -> WrappedDek:
        """Make a data key; where another process was first, its key is the one."""
        if kek_id is None:
            raise Misconfigured("there is no KEK", advice="run `sealward init`")
        try:
            fresh = self._keyring.new_dek(self._ids.new(), mount.namespace_id, mount.id, kek_id)
        except HsmError as error:
            raise _failure(error) from error
        row = fresh.row(to_ms(self._clock.now()))

        def work(tx: Tx) -> WrappedDek:
            rows.lock_kek(tx, kek_id)
            first = rows.find_mount_dek(tx, mount)
            if first is None:
                rows.add_dek(tx, row)
            return first or fresh

        return self._database.write(work)


def _failure(error: HsmError) -> HsmFailure:
    return HsmFailure(f"the HSM did not serve a data key: {error.message}", advice=error.advice)
