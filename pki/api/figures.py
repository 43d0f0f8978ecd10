"""What the tables say of the house as a whole, for metrics and for readiness: the same whichever process is asked."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Select, func, or_, select

from pki.clock import Clock, from_ms, to_ms
from pki.storage.database import Database, Tx
from pki.storage.tables import acme_orders, certificates, crls, issuers, ssh_certificates, tokens

_ACTIVE = "active"
_SIGNED = ("issued", "revoked")


@dataclass(frozen=True, slots=True)
class Sample:
    """One value of a metric, with its labels."""

    value: float
    labels: Mapping[str, str] = field(default_factory=dict)


class Figures:
    """Counts rows and reads dates."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def crls_until(self) -> dict[str, datetime | None]:
        """Return, for each active issuer whose key is in the HSM, when its present CRL ends; None: it has none."""
        last = _last_crls().subquery()
        query = select(issuers.c.name, last.c.until).outerjoin(last, last.c.issuer_id == issuers.c.id)
        with self._database.read() as tx:
            rows = tx.execute(query.where(issuers.c.state == _ACTIVE, issuers.c.key_id_hex != "")).all()
        return {row.name: None if row.until is None else from_ms(row.until) for row in rows}

    def samples(self) -> dict[str, list[Sample]]:
        """Return the samples of each metric, by its name without prefix."""
        with self._database.read() as tx:
            return {
                "certificates_issued_total": [*_x509(tx), *_ssh(tx)],
                "certificate_revocations_total": list(_revocations(tx)),
                "crl_next_update_timestamp_seconds": list(_crls(tx)),
                "ca_not_after_timestamp_seconds": list(_authorities(tx)),
                "acme_orders_total": list(_orders(tx)),
                "tokens_active": [Sample(self._active_tokens(tx))],
            }

    def _active_tokens(self, tx: Tx) -> int:
        is_live = or_(tokens.c.expires_at.is_(None), tokens.c.expires_at > to_ms(self._clock.now()))
        query = select(func.count()).select_from(tokens).where(tokens.c.revoked_at.is_(None), is_live)
        return int(tx.execute(query).scalar_one())


def _last_crls() -> Select[tuple[str, int]]:
    published = crls.c.state == "published"
    return select(crls.c.issuer_id, func.max(crls.c.next_update).label("until")).where(published).group_by("issuer_id")


def _x509(tx: Tx) -> Iterator[Sample]:
    columns = (issuers.c.name, certificates.c.profile, certificates.c.kind)
    query = select(*columns, func.count().label("number")).join(issuers, issuers.c.id == certificates.c.issuer_id)
    for row in tx.execute(query.where(certificates.c.state.in_(_SIGNED)).group_by(*columns)):
        yield Sample(row.number, {"issuer": row.name, "profile": row.profile, "type": row.kind})


def _ssh(tx: Tx) -> Iterator[Sample]:
    columns = (ssh_certificates.c.issuer_id, ssh_certificates.c.role, ssh_certificates.c.kind)
    query = select(*columns, func.count().label("number")).where(ssh_certificates.c.state.in_(_SIGNED))
    for row in tx.execute(query.group_by(*columns)):
        yield Sample(row.number, {"issuer": row.issuer_id, "profile": row.role, "type": f"ssh-{row.kind}"})


def _revocations(tx: Tx) -> Iterator[Sample]:
    query = select(issuers.c.name, func.count().label("number")).join(
        certificates, issuers.c.id == certificates.c.issuer_id
    )
    for row in tx.execute(query.where(certificates.c.state == "revoked").group_by(issuers.c.name)):
        yield Sample(row.number, {"issuer": row.name})


def _crls(tx: Tx) -> Iterator[Sample]:
    last = _last_crls().subquery()
    for row in tx.execute(select(issuers.c.name, last.c.until).join(last, last.c.issuer_id == issuers.c.id)):
        yield Sample(row.until / 1000, {"issuer": row.name})


def _authorities(tx: Tx) -> Iterator[Sample]:
    for row in tx.execute(select(issuers.c.name, issuers.c.not_after).where(issuers.c.state == _ACTIVE)):
        yield Sample(row.not_after / 1000, {"issuer": row.name})


def _orders(tx: Tx) -> Iterator[Sample]:
    query = select(acme_orders.c.status, func.count().label("number")).group_by(acme_orders.c.status)
    for row in tx.execute(query):
        yield Sample(row.number, {"state": row.status})
