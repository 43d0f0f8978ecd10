"""Every signature that a token made, held against what was committed before it (DESIGN 3.5)."""

from collections import Counter
from collections.abc import Iterable

from sqlalchemy import select

from pki.storage.database import Database
from pki.storage.tables import certificates, crls, issuers
from tests.faults.shim import Signature, digest_signed

Signed = tuple[str, str]
"""The CKA_ID of the key, and the SHA-256 of what C_Sign was given, both in hex."""

_SCHEMES = {"ec-p256": "ecdsa-with-SHA256", "ec-p384": "ecdsa-with-SHA384"}


def intents(database: Database) -> Counter[Signed]:
    """Return what was committed to be signed, each with the number of rows that hold it."""
    with database.read() as tx:
        keys = {row.id: (row.key_id_hex, _SCHEMES[row.key_algorithm]) for row in tx.execute(select(issuers))}
        of_certificates = select(certificates.c.issuer_id, certificates.c.tbs)
        rows = [*tx.execute(of_certificates), *tx.execute(select(crls.c.issuer_id, crls.c.tbs))]
    return Counter((keys[row.issuer_id][0], digest_signed(row.tbs, keys[row.issuer_id][1])) for row in rows)


def without_intent(database: Database, signatures: Iterable[Signature]) -> list[Signature]:
    """Return the signatures that do not match exactly one row; there must be none (Z-B1)."""
    rows = intents(database)
    return [item for item in signatures if rows[(item.key_id, item.digest)] != 1]
