"""Revocation: bound to the very octets that were issued, for a reason that may be given."""

import hashlib
from collections.abc import Callable

from pki.audit.trail import Event, Trail
from pki.clock import Clock
from pki.errors import NotFound, Rejected
from pki.ledger import entries
from pki.ledger.entries import Entry
from pki.storage.database import Database, Tx

REASONS = {0: "unspecified", 1: "keyCompromise", 3: "affiliationChanged", 4: "superseded", 5: "cessationOfOperation"}
"""The reasons that may be given (RFC 5280 5.3.1); the others are for CAs, for holds, and for attributes."""


class Revocation:
    """Revokes certificates; the CRLs follow by themselves (`crl.Crls`)."""

    def __init__(self, database: Database, clock: Clock, trail: Trail) -> None:
        self._database = database
        self._clock = clock
        self._trail = trail

    def find(self, certificate: bytes) -> Entry:
        """Return the ledger's entry for exactly these octets (DER).

        Raises:
            NotFound: this certificate was not issued here, whatever its serial number says.
        """
        with self._database.read() as tx:
            entry = entries.find_by_fingerprint(tx, hashlib.sha256(certificate).hexdigest())
        if entry is None or entry.certificate != certificate:
            raise NotFound("this certificate was not issued here")
        return entry

    def revoke(self, entry: Entry, reason: int, actor: str, *, checking: Callable[[Tx], None] | None = None) -> None:
        """Revoke an issued end-entity certificate. `checking` runs in the transaction and may refuse.

        A key that is said to be compromised (reason 1) is never certified again, by any issuer.

        Raises:
            Conflict: it is revoked already.
            Rejected: badRevocationReason; unauthorized for a certificate of the house itself.
        """
        if reason not in REASONS:
            given = ", ".join(f"{number} ({name})" for number, name in REASONS.items())
            raise Rejected(f"reason {reason} is not given here", "badRevocationReason", advice=f"give one of {given}")
        if entry.kind != "leaf":
            raise Rejected("this is a certificate of the authority itself", "unauthorized", advice="ask its operator")
        event = Event(actor, "certificate.revoke", entry.id, detail={"serial": entry.serial, "reason": REASONS[reason]})

        def work(tx: Tx) -> None:
            if checking is not None:
                checking(tx)
            entries.revoke(tx, entry, reason, self._clock.now())
            self._trail.record(tx, event)

        self._database.write(work)
