"""The epoch of access: a counter that tells every process that what it remembers of mounts, policies or tokens is old.

Whoever changes one of them bumps it in the same transaction, before anything else: on a server, that row's lock is
also what keeps two such changes apart. Whoever remembers something remembers the epoch with it, read beforehand.
"""

from sqlalchemy import text

from pki.storage.database import Database, Tx
from pki.storage.statements import Prepared

_POINT = "SELECT value FROM epochs WHERE name = 'access'"
_READ = Prepared(text(_POINT))
_BUMP = Prepared(
    text(
        "INSERT INTO epochs (name, value) VALUES ('access', 1) "
        "ON CONFLICT (name) DO UPDATE SET value = epochs.value + 1"
    )
)


def read(database: Database) -> int:
    """Return the epoch as it is committed; 0 before the first change."""
    row = database.point(_POINT)
    return 0 if row is None else int(row[0])


def current(tx: Tx) -> int:
    """Return the epoch as `tx` sees it, its own bump included."""
    row = _READ.run(tx, {}).fetchone()
    return 0 if row is None else int(row[0])


def bump(tx: Tx) -> None:
    """Tell that `tx` changes who may do what; at the beginning of the change, so that no two go on at once."""
    _BUMP.run(tx, {})
