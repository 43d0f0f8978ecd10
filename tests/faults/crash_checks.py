"""What must hold in a house's database after any crash, whatever was lost: `violations` names what does not."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import orjson
from cryptography import x509
from sqlalchemy import Row, select

from pki.storage.database import Database, Tx
from pki.storage.tables import acme_orders, audit_events, certificates, crls, issuers

AnyRow = Row[*tuple[Any, ...]]

_EVENTS = {
    "reserved": {"certificate.reserve"},
    "issued": {"certificate.reserve", "certificate.issue"},
    "revoked": {"certificate.reserve", "certificate.issue", "certificate.revoke"},
    "abandoned": {"certificate.reserve", "certificate.abandon"},
}

_CRL_EVENTS = {"published": "crl.publish", "abandoned": "crl.abandon"}


def violations(database: Database) -> list[str]:
    """Return, one line each, what is unaudited, half-written, doubled or damaged; nothing in a sound house."""
    with database.read() as tx:
        found = [*_of_certificates(tx), *_of_crls(tx), *_of_references(tx)]
        if database.dialect == "sqlite":
            found += [str(row) for row in tx.exec_driver_sql("PRAGMA integrity_check") if row[0] != "ok"]
            found += [str(row) for row in tx.exec_driver_sql("PRAGMA foreign_key_check")]
    return found


def unreserved(database: Database, signed: Iterable[str]) -> list[str]:
    """Return what was given to the token (SHA-256 in hex of each message) that not exactly one row holds."""
    with database.read() as tx:
        rows = [*tx.execute(select(certificates.c.tbs)).scalars(), *tx.execute(select(crls.c.tbs)).scalars()]
    held = Counter(hashlib.sha256(row).hexdigest() for row in rows)
    return [digest for digest in signed if held[digest] != 1]


def left_reserved(database: Database) -> int:
    """Return how many certificates and CRLs are reserved, and neither issued nor given up."""
    with database.read() as tx:
        rows = [tx.execute(select(table.c.state).where(table.c.state == "reserved")) for table in (certificates, crls)]
        return sum(len(row.all()) for row in rows)


def missing(database: Database, acknowledged: Iterable[bytes]) -> list[str]:
    """Return the fingerprints of certificates (DER) that were answered, and that the ledger does not hold as issued."""
    query = select(certificates.c.certificate).where(certificates.c.state.in_(("issued", "revoked")))
    with database.read() as tx:
        held = set(tx.execute(query).scalars())
    return [hashlib.sha256(der).hexdigest() for der in acknowledged if der not in held]


def _of_certificates(tx: Tx) -> Iterator[str]:
    events: dict[str, set[str]] = {}
    for row in tx.execute(select(audit_events.c.object, audit_events.c.action)):
        events.setdefault(row.object, set()).add(row.action)
    serials: Counter[tuple[str, str]] = Counter()
    for row in tx.execute(select(certificates)):
        serials[row.issuer_id, row.serial] += 1
        told = {action for action in events.get(row.id, set()) if action.startswith("certificate.")}
        if told != _EVENTS[row.state]:
            yield f"certificate {row.id} is {row.state}, and the trail tells of {sorted(told)}"
        yield from _of_octets(row)
    yield from (f"serial {serial} of issuer {issuer} is used twice" for (issuer, serial), n in serials.items() if n > 1)


def _of_octets(row: AnyRow) -> Iterator[str]:
    if not row.tbs or hashlib.sha256(row.tbs).hexdigest() != row.tbs_sha256:
        yield f"certificate {row.id} is reserved without the octets to sign"
    if (row.certificate is not None) != (row.state in {"issued", "revoked"}):
        yield f"certificate {row.id} is {row.state}, which its octets are not"
    if row.certificate is not None:
        certificate = x509.load_der_x509_certificate(row.certificate)
        if certificate.tbs_certificate_bytes != row.tbs or certificate.serial_number != int(row.serial, 16):
            yield f"certificate {row.id} is not what was reserved"


def _of_crls(tx: Tx) -> Iterator[str]:
    query = select(audit_events).where(audit_events.c.action.in_(_CRL_EVENTS.values()))
    told = {(row.action, row.object, orjson.loads(row.detail)["number"]) for row in tx.execute(query)}
    done = set()
    for row in tx.execute(select(crls)):
        if row.state in _CRL_EVENTS:
            done.add((_CRL_EVENTS[row.state], row.issuer_id, row.number))
        if not row.tbs:
            yield f"CRL {row.number} is reserved without the octets to sign"
        if (row.der is not None) != (row.state == "published"):
            yield f"CRL {row.number} is {row.state}, which its octets are not"
        if row.der is not None:
            crl = x509.load_der_x509_crl(row.der)
            number = crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
            if number != row.number or crl.tbs_certlist_bytes != row.tbs:
                yield f"CRL {row.number} is not what was reserved"
    if done != told:
        yield f"CRLs done with and not told of, or the reverse: {sorted(done ^ told)}"


def _of_references(tx: Tx) -> Iterator[str]:
    known = {row.id: row for row in tx.execute(select(certificates))}
    for order in tx.execute(select(acme_orders).where(acme_orders.c.certificate_id.is_not(None))):
        if order.certificate_id not in known:
            yield f"order {order.id} names a certificate that is not there"
    issued = {row.certificate for row in known.values() if row.state == "issued"}
    for issuer in tx.execute(select(issuers).where(issuers.c.state == "active")):
        if issuer.certificate not in issued:
            yield f"issuer {issuer.name} is active without a certificate in the ledger"
