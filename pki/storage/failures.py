"""What a database driver's error means, and what the operator does next.

SQLite names its causes by result code, PostgreSQL by SQLSTATE. Errors about the data (a constraint broken, a value of
the wrong type) have no cause here and pass through unchanged.
"""

import enum
import sqlite3

from sqlalchemy import exc

from pki.errors import DatabaseUnavailable


class Cause(enum.Enum):
    """Why the database does not serve: (what happened, what to do next)."""

    FULL = ("the disk under the database is full", "free space or enlarge the volume; nothing was half-written")
    READ_ONLY = (
        "the database is read-only",
        "remount its file system, let the service's user write the file and its directory, or name the primary server",
    )
    LOCKED = (
        "the database stays locked by somebody else",
        "look for a backup, a shell or a stopped process that holds a transaction open, and end it; then retry",
    )
    GONE = (
        "the database cannot be reached",
        "start the server, or mend the address or path; the service reconnects, and a write is there in full or not",
    )
    DISK = (
        "the disk under the database failed",
        "look in the kernel's log for an error, or a file system that became read-only; what was answered is there",
    )
    REFUSED = (
        "the database server refuses this login",
        "check user, password and database name in the database URL, and the server's pg_hba.conf",
    )
    NOT_MIGRATED = ("the database lacks tables of this version", "run `sealward migrate`")
    CORRUPT = (
        "the database is damaged, or is no database",
        "stop the service, keep a copy of the files, check the disk, and restore the last backup",
    )
    EXHAUSTED = (
        "no database connection is free",
        "retry later; raise the server's max_connections or run fewer workers if it goes on",
    )
    CLOSED = ("the database is closed", "the service is shutting down: retry when it is back")

    def error(self, detail: str = "") -> DatabaseUnavailable:
        """Return the error to raise; `detail` is the driver's own words, without values."""
        message, advice = self.value
        return DatabaseUnavailable(f"{message}: {detail}" if detail else message, advice=advice)


_SQLITE = {
    "SQLITE_FULL": Cause.FULL,
    "SQLITE_READONLY": Cause.READ_ONLY,
    "SQLITE_PERM": Cause.READ_ONLY,
    "SQLITE_BUSY": Cause.LOCKED,
    "SQLITE_LOCKED": Cause.LOCKED,
    "SQLITE_PROTOCOL": Cause.LOCKED,
    "SQLITE_CANTOPEN": Cause.GONE,
    "SQLITE_IOERR": Cause.DISK,
    "SQLITE_CORRUPT": Cause.CORRUPT,
    "SQLITE_NOTADB": Cause.CORRUPT,
}
_UNKNOWN_OBJECT = ("no such table", "no such column", "has no column named")

_SQLSTATE = {
    "53100": Cause.FULL,
    "25006": Cause.READ_ONLY,
    "55P03": Cause.LOCKED,
    "57014": Cause.LOCKED,
    "40001": Cause.LOCKED,
    "40P01": Cause.LOCKED,
    "3D000": Cause.REFUSED,
    "42P01": Cause.NOT_MIGRATED,
    "42703": Cause.NOT_MIGRATED,
    "53300": Cause.EXHAUSTED,
}
_SQLSTATE_CLASS = {"08": Cause.GONE, "28": Cause.REFUSED, "53": Cause.GONE, "57": Cause.GONE, "58": Cause.DISK,
                   "XX": Cause.CORRUPT}  # fmt: skip
_WORTH_ANOTHER_TRY = frozenset({"40001", "40P01"})


def find_cause(error: BaseException) -> Cause | None:
    """Return why the database does not serve, or None where `error` is about something else."""
    if isinstance(error, exc.TimeoutError):
        return Cause.EXHAUSTED
    driver = _driver_error(error)
    if isinstance(driver, sqlite3.Error):
        return _sqlite_cause(driver)
    if driver is None:
        return None
    state = getattr(driver, "sqlstate", None)
    if state is not None:
        return _SQLSTATE.get(state) or _SQLSTATE_CLASS.get(state[:2])
    return _stateless_cause(driver)


def is_transient(error: BaseException) -> bool:
    """Return whether the same work may succeed when run again at once: busy, serialization failure, deadlock."""
    driver = _driver_error(error)
    if isinstance(driver, sqlite3.Error):
        return _sqlite_cause(driver) is Cause.LOCKED
    return getattr(driver, "sqlstate", None) in _WORTH_ANOTHER_TRY


def is_misuse(error: BaseException) -> bool:
    """Return whether the program wrote through a connection for reading; the disk or server is not to blame."""
    driver = _driver_error(error)
    name = getattr(driver, "sqlite_errorname", None) or getattr(driver, "sqlstate", None)
    return name in {"SQLITE_READONLY", "25006"}


def raise_unavailable(error: BaseException) -> None:
    """Raise DatabaseUnavailable in place of the driver's `error`; return where the driver's error stands."""
    cause = find_cause(error)
    if cause is not None:
        words = str(_driver_error(error) or "").strip().splitlines()
        raise cause.error(words[0] if words else "") from error


def _driver_error(error: BaseException) -> BaseException | None:
    return error.orig if isinstance(error, exc.DBAPIError) else error


def _sqlite_cause(error: sqlite3.Error) -> Cause | None:
    name: str = getattr(error, "sqlite_errorname", "")
    if name == "SQLITE_ERROR" and any(words in str(error) for words in _UNKNOWN_OBJECT):
        return Cause.NOT_MIGRATED
    # Extended codes carry the primary code as their prefix: SQLITE_BUSY_SNAPSHOT, SQLITE_IOERR_FSYNC.
    return _SQLITE.get("_".join(name.split("_")[:2]))


def _stateless_cause(error: BaseException) -> Cause | None:
    """Return the cause of a PostgreSQL driver error without SQLSTATE: the server never answered, or hung up."""
    if type(error).__name__ not in {"OperationalError", "InterfaceError", "ConnectionTimeout", "PoolTimeout"}:
        return None
    return Cause.REFUSED if "authentication failed" in str(error) else Cause.GONE
