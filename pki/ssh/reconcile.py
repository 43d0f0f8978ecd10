"""Give up what a crash or a lost HSM left between reservation and record (docs/explanation/ssh.md)."""

import logging

from pki.clock import Clock
from pki.ledger import ssh as ledger
from pki.ssh.sign import RECONCILER, SshGate
from pki.storage.database import Database

logger = logging.getLogger("sealward.reconcile")


class SshReconciler:
    """Abandons reservations whose worker did not finish in time.

    Nobody has such a certificate and nobody can fetch it: whoever asked was never answered, and asks again. So it is
    not signed a second time, as what an ACME order waits for is.
    """

    def __init__(self, database: Database, clock: Clock, gate: SshGate) -> None:
        self._database = database
        self._clock = clock
        self._gate = gate

    def run(self) -> int:
        """Abandon every overdue reservation; return how many there were.

        Raises:
            DatabaseUnavailable: not now; what is left stays reserved.
        """
        with self._database.read() as tx:
            found = ledger.overdue(tx, self._clock.now())
        for certificate_id in found:
            self._gate.abandon(certificate_id, RECONCILER)
            logger.warning("SSH certificate %s was left half-made and is abandoned", certificate_id)
        return len(found)
