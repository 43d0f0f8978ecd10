"""The ledger's rows of SSH certificates: one for each serial ever reserved, as `entries` keeps those of X.509."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
from sqlalchemy import bindparam, insert, select, update
from sqlalchemy.exc import IntegrityError

from pki.clock import from_ms, to_ms
from pki.errors import Conflict, NotFound
from pki.ledger.entries import RESERVATION
from pki.storage.database import Tx
from pki.storage.statements import Prepared
from pki.storage.tables import ssh_certificates


class SerialTaken(Exception):
    """The issuer has used this serial before: draw another. A sound source of randomness never shows it."""


@dataclass(frozen=True, slots=True)
class SshReservation:
    """What is committed before anything is signed; `tbs` is the certificate up to its signature."""

    id: str
    namespace_id: str
    mount_id: str
    issuer_id: str
    serial: int
    kind: str
    role: str
    requester: str
    key_id: str
    valid_principals: Sequence[str]
    public_key_sha256: str
    tbs: bytes
    tbs_sha256: str
    not_before: datetime
    not_after: datetime
    worker: str


@dataclass(frozen=True, slots=True)
class SshEntry:
    """A row as readers see it; `certificate` is None until it is issued."""

    id: str
    issuer_id: str
    serial: int
    state: str
    kind: str
    role: str
    requester: str
    key_id: str
    valid_principals: tuple[str, ...]
    public_key_sha256: str
    tbs: bytes
    certificate: bytes | None
    not_before: datetime
    not_after: datetime


_COLUMNS = tuple(ssh_certificates.c[name] for name in SshEntry.__slots__)
_RESERVE = Prepared(insert(ssh_certificates), (*SshReservation.__slots__, "state", "reserved_at", "deadline_at"))
_RESERVED = (ssh_certificates.c.id == bindparam("row"), ssh_certificates.c.state == "reserved")
_RECORD = Prepared(
    update(ssh_certificates)
    .where(*_RESERVED)
    .values(state="issued", certificate=bindparam("octets"), issued_at=bindparam("now"))
)
_ABANDON = Prepared(update(ssh_certificates).where(*_RESERVED).values(state="abandoned"))


def reserve(tx: Tx, wanted: SshReservation, now: datetime) -> None:
    """Write the intent to sign `wanted.tbs`.

    Raises:
        SerialTaken: the transaction must be given up.
    """
    values: dict[str, Any] = {name: getattr(wanted, name) for name in SshReservation.__slots__}
    values |= {
        "valid_principals": orjson.dumps(list(wanted.valid_principals)).decode(),
        "not_before": to_ms(wanted.not_before),
        "not_after": to_ms(wanted.not_after),
        "state": "reserved",
        "reserved_at": to_ms(now),
        "deadline_at": to_ms(now + RESERVATION),
    }
    try:
        _RESERVE.run(tx, values)
    except IntegrityError as error:
        raise SerialTaken(f"{wanted.serial:x}") from error


def record(tx: Tx, certificate_id: str, certificate: bytes, now: datetime) -> None:
    """Store the signed certificate with its reservation.

    Raises:
        Conflict: it is no longer reserved: its deadline passed, and it was given up.
    """
    if _RECORD.run(tx, {"row": certificate_id, "octets": certificate, "now": to_ms(now)}).rowcount != 1:
        raise Conflict("the certificate was not signed in time, and is given up", advice="ask again")


def abandon(tx: Tx, certificate_id: str) -> bool:
    """Give up a reservation whose certificate nobody has; its serial is never used again."""
    return bool(_ABANDON.run(tx, {"row": certificate_id}).rowcount == 1)


def overdue(tx: Tx, now: datetime, limit: int = 100) -> list[str]:
    """Return the ids of reservations whose worker did not finish in time, oldest first."""
    query = (
        select(ssh_certificates.c.id)
        .where(ssh_certificates.c.state == "reserved", ssh_certificates.c.deadline_at < to_ms(now))
        .order_by(ssh_certificates.c.deadline_at)
        .limit(limit)
    )
    return list(tx.execute(query).scalars())


def get(tx: Tx, certificate_id: str) -> SshEntry:
    """Return the entry with this id.

    Raises:
        NotFound: there is none.
    """
    row = tx.execute(select(*_COLUMNS).where(ssh_certificates.c.id == certificate_id)).first()
    if row is None:
        raise NotFound(f"there is no SSH certificate {certificate_id}")
    values = dict(row._mapping)  # noqa: SLF001 - SQLAlchemy's public name for it
    values["valid_principals"] = tuple(orjson.loads(values["valid_principals"]))
    values |= {name: from_ms(values[name]) for name in ("not_before", "not_after")}
    return SshEntry(**values)
