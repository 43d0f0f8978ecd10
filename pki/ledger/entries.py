"""The ledger's rows: one for each serial ever reserved, in the states reserved, issued, revoked and abandoned."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import orjson
from sqlalchemy import ColumnElement, bindparam, func, insert, select, tuple_, update

from pki.clock import from_ms, to_ms
from pki.errors import Conflict, NotFound
from pki.storage.database import Tx
from pki.storage.statements import Prepared
from pki.storage.tables import blocked_keys, certificates, issuers

RESERVATION = timedelta(seconds=60)
"""How long a worker has from reservation to record before another may finish its work."""
KEY_COMPROMISE = 1
_LONGEST_CRL = timedelta(days=31)


@dataclass(frozen=True, slots=True)
class Reservation:
    """What is committed before anything is signed. `serial` is hex; `names` are `type:value` texts."""

    id: str
    namespace_id: str
    issuer_id: str
    serial: str
    kind: str
    profile: str
    requester: str
    tbs: bytes
    tbs_sha256: str
    signature_algorithm: str
    spki_sha256: str
    subject: str
    names: Sequence[str]
    not_before: datetime
    not_after: datetime
    worker: str


@dataclass(frozen=True, slots=True)
class Entry:
    """A row of the ledger as readers see it; `certificate` is DER, None until it is issued."""

    id: str
    issuer_id: str
    serial: str
    state: str
    kind: str
    profile: str
    requester: str
    tbs: bytes
    signature_algorithm: str
    certificate: bytes | None
    spki_sha256: str
    names: tuple[str, ...]
    not_before: datetime
    not_after: datetime
    revoked_at: datetime | None
    revocation_reason: int | None


_COLUMNS = (
    certificates.c.id,
    certificates.c.issuer_id,
    certificates.c.serial,
    certificates.c.state,
    certificates.c.kind,
    certificates.c.profile,
    certificates.c.requester,
    certificates.c.tbs,
    certificates.c.signature_algorithm,
    certificates.c.certificate,
    certificates.c.spki_sha256,
    certificates.c.names,
    certificates.c.not_before,
    certificates.c.not_after,
    certificates.c.revoked_at,
    certificates.c.revocation_reason,
)


_RESERVED_COLUMNS = (*Reservation.__slots__, "state", "reserved_at", "deadline_at")
_RESERVE = Prepared(insert(certificates), _RESERVED_COLUMNS)
_RECORD = Prepared(
    update(certificates)
    .where(certificates.c.id == bindparam("row"), certificates.c.state == "reserved")
    .values(
        state="issued",
        certificate=bindparam("der"),
        fingerprint=bindparam("sha256"),
        issued_at=bindparam("now"),
    )
)
_KEY = Prepared(
    select(
        select(blocked_keys.c.reason).where(blocked_keys.c.spki_sha256 == bindparam("spki")).scalar_subquery(),
        select(func.min(issuers.c.id)).where(issuers.c.spki_sha256 == bindparam("spki")).scalar_subquery(),
    )
)
_GET = Prepared(select(*_COLUMNS).where(certificates.c.id == bindparam("row")))
_NAMES = tuple(column.name for column in _COLUMNS)


def _entry(row: Sequence[Any]) -> Entry:
    values = dict(zip(_NAMES, row, strict=True))
    values["names"] = tuple(orjson.loads(values["names"]))
    for name in ("not_before", "not_after", "revoked_at"):
        values[name] = None if values[name] is None else from_ms(values[name])
    return Entry(**values)


def reserve(tx: Tx, wanted: Reservation, now: datetime) -> None:
    """Write the intent to sign `wanted.tbs`.

    Raises:
        IntegrityError: the serial exists already with this issuer; draw another.
    """
    values = {name: getattr(wanted, name) for name in Reservation.__slots__}
    values |= {
        "names": orjson.dumps(list(wanted.names)).decode(),
        "not_before": to_ms(wanted.not_before),
        "not_after": to_ms(wanted.not_after),
        "state": "reserved",
        "reserved_at": to_ms(now),
        "deadline_at": to_ms(now + RESERVATION),
    }
    _RESERVE.run(tx, values)


def reserved(wanted: Reservation) -> Entry:
    """Return the entry that `reserve` wrote, without reading it back."""
    return Entry(
        id=wanted.id,
        issuer_id=wanted.issuer_id,
        serial=wanted.serial,
        state="reserved",
        kind=wanted.kind,
        profile=wanted.profile,
        requester=wanted.requester,
        tbs=wanted.tbs,
        signature_algorithm=wanted.signature_algorithm,
        certificate=None,
        spki_sha256=wanted.spki_sha256,
        names=tuple(wanted.names),
        not_before=wanted.not_before,
        not_after=wanted.not_after,
        revoked_at=None,
        revocation_reason=None,
    )


def record(tx: Tx, entry: Entry, certificate: bytes, fingerprint: str, now: datetime) -> Entry:
    """Store the signed `certificate` (DER) with its reservation; return the entry as it now stands.

    It is not read back: while it is reserved, no other column of an entry changes.

    Raises:
        Conflict: it is no longer reserved: another worker finished or abandoned it.
    """
    values = {"row": entry.id, "der": certificate, "sha256": fingerprint, "now": to_ms(now)}
    done = _RECORD.run(tx, values)
    if done.rowcount != 1:
        raise Conflict(f"certificate {entry.id} is no longer reserved")
    return replace(entry, state="issued", certificate=certificate)


def abandon(tx: Tx, certificate_id: str) -> bool:
    """Give up a reservation whose signature never left the token; its serial is never used again."""
    done = tx.execute(
        update(certificates)
        .where(certificates.c.id == certificate_id, certificates.c.state == "reserved")
        .values(state="abandoned")
    )
    return done.rowcount == 1


def release(tx: Tx, certificate_id: str, now: datetime) -> None:
    """Let another worker take a reservation over at once: this one could not get a signature."""
    tx.execute(
        update(certificates)
        .where(certificates.c.id == certificate_id, certificates.c.state == "reserved")
        .values(deadline_at=to_ms(now) - 1)
    )


def revoke(tx: Tx, entry: Entry, reason: int, now: datetime) -> None:
    """Mark an issued certificate as revoked; a compromised key is blocked for ever, for every issuer.

    Raises:
        Conflict: it is not in the state issued (revoked already, say).
    """
    done = tx.execute(
        update(certificates)
        .where(certificates.c.id == entry.id, certificates.c.state == "issued")
        .values(state="revoked", revoked_at=to_ms(now), revocation_reason=reason)
    )
    if done.rowcount != 1:
        raise Conflict("the certificate is already revoked")
    if reason == KEY_COMPROMISE and key_state(tx, entry.spki_sha256).blocked is None:
        tx.execute(blocked_keys.insert().values(spki_sha256=entry.spki_sha256, reason="keyCompromise", at=to_ms(now)))


@dataclass(frozen=True, slots=True)
class KeyState:
    """What is known of a public key: why it is blocked for ever, if it is, and whether it is an issuer's."""

    blocked: str | None
    of_issuer: bool


def key_state(tx: Tx, spki_sha256: str) -> KeyState:
    """Return what is known of the public key with this SPKI digest (hex)."""
    reason, issuer_id = _KEY.run(tx, {"spki": spki_sha256}).fetchone()
    return KeyState(reason, issuer_id is not None)


def get(tx: Tx, certificate_id: str) -> Entry:
    """Return the entry with this id.

    Raises:
        NotFound: there is none.
    """
    row = _GET.run(tx, {"row": certificate_id}).fetchone()
    if row is None:
        raise NotFound(f"there is no certificate {certificate_id}")
    return _entry(row)


def find_by_serial(tx: Tx, issuer_id: str, serial: str) -> Entry | None:
    """Return the entry of `issuer_id` with this serial (hex), if any."""
    query = select(*_COLUMNS).where(certificates.c.issuer_id == issuer_id, certificates.c.serial == serial)
    row = tx.execute(query).first()
    return None if row is None else _entry(row)


def find_all_by_serial(tx: Tx, namespace_id: str, serial: str) -> list[Entry]:
    """Return the entries with this serial (hex), of any issuer of the namespace: one, by every likelihood."""
    mine = select(issuers.c.id).where(issuers.c.namespace_id == namespace_id)
    query = select(*_COLUMNS).where(certificates.c.issuer_id.in_(mine), certificates.c.serial == serial)
    return [_entry(row) for row in tx.execute(query)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which entries are listed, the newest first: all conditions hold at once, and what is None is no condition.

    `states` and `kinds` list what may be; `name` is a name's value, of any type, and whole. There are up to `limit`,
    beginning behind the entry with the serial `after` (hex).
    """

    namespace_id: str
    states: Sequence[str] | None = None
    kinds: Sequence[str] | None = None
    profile: str | None = None
    requester: str | None = None
    name: str | None = None
    expires_after: datetime | None = None
    expires_before: datetime | None = None
    after: str | None = None
    limit: int

    def conditions(self) -> Iterator[ColumnElement[bool]]:
        """Yield the conditions, but for `after`, as the database takes them."""
        c = certificates.c
        yield c.namespace_id == self.namespace_id
        if self.states is not None:
            yield c.state.in_(self.states)
        if self.kinds is not None:
            yield c.kind.in_(self.kinds)
        if self.profile is not None:
            yield c.profile == self.profile
        if self.requester is not None:
            yield c.requester == self.requester
        if self.name is not None:
            yield c.names.contains(f':{self.name}"', autoescape=True)
        if self.expires_after is not None:
            yield c.not_after > to_ms(self.expires_after)
        if self.expires_before is not None:
            yield c.not_after <= to_ms(self.expires_before)


def _selected(tx: Tx, columns: Sequence[Any], wanted: Selection) -> Any:
    c = certificates.c
    query = select(*columns).where(*wanted.conditions()).order_by(c.reserved_at.desc(), c.id.desc())
    if wanted.after is not None:
        mine = c.namespace_id == wanted.namespace_id, c.serial == wanted.after
        last = tx.execute(select(c.reserved_at, c.id).where(*mine).limit(1)).first()
        if last is None:
            raise NotFound("there is no certificate with the serial number to go on after")
        query = query.where(tuple_(c.reserved_at, c.id) < tuple_(*last))
    return tx.execute(query.limit(wanted.limit))


def page(tx: Tx, wanted: Selection) -> list[Entry]:
    """Return the entries of a selection.

    Raises:
        NotFound: there is no entry with the serial to go on after.
    """
    return [_entry(row) for row in _selected(tx, _COLUMNS, wanted)]


def serials(tx: Tx, wanted: Selection) -> list[str]:
    """Return the serials (hex) of a selection; errors as `page`."""
    return list(_selected(tx, (certificates.c.serial,), wanted).scalars())


def find_by_fingerprint(tx: Tx, fingerprint: str) -> Entry | None:
    """Return the entry whose whole certificate has this SHA-256 (hex), if any."""
    row = tx.execute(select(*_COLUMNS).where(certificates.c.fingerprint == fingerprint)).first()
    return None if row is None else _entry(row)


def overdue(tx: Tx, now: datetime, limit: int = 100) -> list[Entry]:
    """Return reservations whose worker did not finish in time, oldest first."""
    query = (
        select(*_COLUMNS)
        .where(certificates.c.state == "reserved", certificates.c.deadline_at < to_ms(now))
        .order_by(certificates.c.deadline_at)
        .limit(limit)
    )
    return [_entry(row) for row in tx.execute(query)]


def adopt(tx: Tx, certificate_id: str, worker: str, now: datetime) -> bool:
    """Take over an overdue reservation; False when somebody else did."""
    done = tx.execute(
        update(certificates)
        .where(
            certificates.c.id == certificate_id,
            certificates.c.state == "reserved",
            certificates.c.deadline_at < to_ms(now),
        )
        .values(worker=worker, deadline_at=to_ms(now + RESERVATION))
    )
    return done.rowcount == 1


def _listed(issuer_id: str, now: datetime) -> tuple[ColumnElement[bool], ...]:
    """Return what selects the entries of a full CRL.

    An entry stays until one CRL after its certificate has expired has carried it (RFC 5280 3.3): it is kept for
    longer after expiry than any CRL may live.
    """
    return (
        certificates.c.issuer_id == issuer_id,
        certificates.c.state == "revoked",
        certificates.c.not_after > to_ms(now - _LONGEST_CRL),
    )


def revoked(tx: Tx, issuer_id: str, now: datetime) -> list[tuple[str, datetime, int]]:
    """Return (serial hex, revocation time, reason) of what a full CRL of `issuer_id` lists at `now`, by serial."""
    columns = (certificates.c.serial, certificates.c.revoked_at, certificates.c.revocation_reason)
    query = select(*columns).where(*_listed(issuer_id, now)).order_by(certificates.c.serial)
    return [(row[0], from_ms(row[1]), row[2]) for row in tx.execute(query)]


def count_revoked(tx: Tx, issuer_id: str, now: datetime) -> int:
    """Return how many entries a full CRL of `issuer_id` lists at `now`."""
    query = select(func.count()).select_from(certificates).where(*_listed(issuer_id, now))
    return tx.execute(query).scalar_one()
