"""Full CRLs (RFC 5280 5): a new one when a certificate was revoked, and before the last one ends.

Write-ahead as certificates are: number and TBS are committed before the token signs.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from cryptography import x509
from sqlalchemy import Row, func, select, update

from hsm.errors import HsmError
from pki.audit.trail import Event, Trail
from pki.authority import signatures
from pki.authority.extensions import key_identifier
from pki.authority.issuers import Issuer, Issuers
from pki.authority.profiles import NAMESPACE
from pki.authority.signatures import scheme_of
from pki.authority.tbs import RevokedSerial, assemble, encode_crl, encode_extension
from pki.clock import Clock, to_ms
from pki.errors import Conflict, HsmFailure, NotFound
from pki.ledger import entries
from pki.storage.database import Database, Tx
from pki.storage.guard import outside_write
from pki.storage.tables import crls

_ACTOR = "house:crl"
_FRESH = 0.5
"""The share of a CRL's life after which the next one is published."""


@dataclass(frozen=True, slots=True)
class _Intent:
    number: int
    body: bytes


class Crls:
    """Publishes the CRLs of all issuers; each lives for `lifetime`."""

    def __init__(self, database: Database, clock: Clock, trail: Trail, issuers: Issuers, lifetime: timedelta) -> None:
        self._database = database
        self._clock = clock
        self._trail = trail
        self._issuers = issuers
        self._lifetime = lifetime

    def publish_due(self) -> int:
        """Publish a CRL for each issuer that needs one; return how many were published.

        An issuer whose key is elsewhere is left out: its CRLs are carried in (`pki.ceremony.installation`).

        Raises:
            HsmFailure, DatabaseUnavailable: not now; the CRLs there are stay.
        """
        due = [issuer for issuer in self._issuers.active() if self._is_due(issuer)]
        for issuer in due:
            self.publish(issuer)
        return len(due)

    def latest(self, issuer: Issuer) -> bytes:
        """Return the last published CRL of `issuer`, in DER.

        Raises:
            NotFound: none was published yet.
        """
        query = select(crls.c.der).where(crls.c.issuer_id == issuer.id, crls.c.state == "published")
        with self._database.read() as tx:
            found = tx.execute(query.order_by(crls.c.number.desc()).limit(1)).scalar()
        if found is None:
            raise NotFound(f"issuer {issuer.name} has published no CRL yet", advice="try again in a second")
        return bytes(found)

    def publish(self, issuer: Issuer) -> int:
        """Publish a CRL of `issuer` now, and return its number.

        Raises:
            HsmFailure, DatabaseUnavailable: it was not published.
        """
        intent = self._reserve(issuer)
        outside_write("signing a CRL")
        try:
            signature = signatures.sign(self._issuers.key(issuer), intent.body)
        except HsmError as error:
            raise HsmFailure(f"the HSM did not sign a CRL: {error.message}", advice=error.advice) from error
        der = assemble(intent.body, scheme_of(issuer.certificate.public_key()), signature)
        self._record(issuer, intent, der)
        return intent.number

    def _is_due(self, issuer: Issuer) -> bool:
        now = self._clock.now()
        if not issuer.key_id:
            return False
        if not issuer.certificate.not_valid_before_utc <= now <= issuer.certificate.not_valid_after_utc:
            return False
        with self._database.read() as tx:
            last = _last_published(tx, issuer)
            if last is None:
                return True
            fresh_until = last.this_update + (last.next_update - last.this_update) * _FRESH
            return bool(to_ms(now) >= fresh_until or entries.count_revoked(tx, issuer.id, now) != last.entries)

    def _reserve(self, issuer: Issuer) -> _Intent:
        def work(tx: Tx) -> _Intent:
            self._trail.require_forward(tx)
            now = self._clock.now()
            last = tx.execute(select(func.max(crls.c.number)).where(crls.c.issuer_id == issuer.id)).scalar_one()
            # Not the last number plus one alone: a restored database must not give a number again.
            number = max((last or 0) + 1, to_ms(now))
            revoked = entries.revoked(tx, issuer.id, now)
            this_update = now.replace(microsecond=0)
            next_update = min(this_update + self._lifetime, issuer.certificate.not_valid_after_utc)
            body = encode_list(issuer, number, this_update, next_update, revoked)
            values = {
                "issuer_id": issuer.id,
                "number": number,
                "namespace_id": NAMESPACE,
                "state": "reserved",
                "tbs": body,
                "this_update": to_ms(this_update),
                "next_update": to_ms(next_update),
                "entries": len(revoked),
                "reserved_at": to_ms(now),
            }
            self._abandon_overdue(tx, issuer, now)
            tx.execute(crls.insert().values(values))
            return _Intent(number, body)

        return self._database.write(work)

    def _abandon_overdue(self, tx: Tx, issuer: Issuer, now: datetime) -> None:
        """Give up the numbers whose CRL was never recorded: whoever reserved them crashed, or had no token."""
        mine = crls.c.issuer_id == issuer.id
        overdue = mine & (crls.c.state == "reserved") & (crls.c.reserved_at < to_ms(now - entries.RESERVATION))
        for number in tx.execute(select(crls.c.number).where(overdue)).scalars().all():
            tx.execute(update(crls).where(mine, crls.c.number == number).values(state="abandoned"))
            detail = {"issuer": issuer.name, "number": number}
            self._trail.record(tx, Event(_ACTOR, "crl.abandon", issuer.id, detail=detail))

    def _record(self, issuer: Issuer, intent: _Intent, der: bytes) -> None:
        event = Event(_ACTOR, "crl.publish", issuer.id, detail={"issuer": issuer.name, "number": intent.number})

        def work(tx: Tx) -> None:
            done = tx.execute(
                update(crls)
                .where(crls.c.issuer_id == issuer.id, crls.c.number == intent.number, crls.c.state == "reserved")
                .values(state="published", der=der)
            )
            if done.rowcount != 1:
                raise Conflict(f"CRL {intent.number} of issuer {issuer.name} is no longer reserved")
            self._trail.record(tx, event)

        self._database.write(work)


def _last_published(tx: Tx, issuer: Issuer) -> Row[*tuple[Any, ...]] | None:
    query = (
        select(crls.c.this_update, crls.c.next_update, crls.c.entries)
        .where(crls.c.issuer_id == issuer.id, crls.c.state == "published")
        .order_by(crls.c.number.desc())
        .limit(1)
    )
    return tx.execute(query).first()


def encode_list(
    issuer: Issuer,
    number: int,
    this_update: datetime,
    next_update: datetime,
    revoked: Sequence[tuple[str, datetime, int]],
) -> bytes:
    """Return the TBSCertList; `revoked` holds serial (hex), moment and reason (RFC 5280 5.3.1) of each."""
    identifier = key_identifier(issuer.certificate)
    extensions = (
        encode_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False),
        encode_extension(x509.CRLNumber(number), critical=False),
    )
    lines = [RevokedSerial(int(serial, 16), at.replace(microsecond=0), reason) for serial, at, reason in revoked]
    scheme = scheme_of(issuer.certificate.public_key())
    return encode_crl(
        scheme,
        issuer.certificate.subject.public_bytes(),
        this_update=this_update,
        next_update=next_update,
        revoked=lines,
        extensions=extensions,
    )
