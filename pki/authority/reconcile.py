"""Finish what a crash or a lost token left between reservation and record (docs/explanation/issuance.md)."""

import logging

from pki.authority.issue import RECONCILER, Gate
from pki.clock import Clock
from pki.errors import Conflict, HsmFailure, NotFound
from pki.ledger import entries
from pki.ledger.entries import Entry
from pki.storage.database import Database

logger = logging.getLogger("sealward.reconcile")


class Reconciler:
    """Takes over reservations whose worker did not finish in time: the same TBS is signed again, and recorded."""

    def __init__(self, database: Database, clock: Clock, gate: Gate, worker: str) -> None:
        self._database = database
        self._clock = clock
        self._gate = gate
        self._worker = worker

    def run(self) -> int:
        """Finish or abandon every overdue reservation; return how many there were.

        A CA's own certificate is abandoned: whoever was making the CA starts again, with another key. So is what has
        expired meanwhile.

        Raises:
            HsmFailure, DatabaseUnavailable: not now; what is left stays reserved.
        """
        with self._database.read() as tx:
            found = entries.overdue(tx, self._clock.now())
        for entry in found:
            self._finish(entry)
        return len(found)

    def _finish(self, entry: Entry) -> None:
        now = self._clock.now()
        if not self._database.write(lambda tx: entries.adopt(tx, entry.id, self._worker, now)):
            return
        if entry.kind in {"root", "ca"} or entry.not_after <= now:
            self._gate.abandon(entry.id, RECONCILER)
            logger.warning("certificate %s was left half-made and is abandoned", entry.id)
            return
        try:
            self._gate.finish(entry)
        except HsmFailure:
            # Else it would rest for a whole reservation after the HSM is back.
            self._database.write(lambda tx: entries.release(tx, entry.id, self._clock.now()))
            raise
        except (Conflict, NotFound) as error:
            logger.warning("certificate %s cannot be finished: %s", entry.id, error)
            self._gate.abandon(entry.id, RECONCILER)
            return
        logger.warning("certificate %s was left half-made and is now issued", entry.id)
