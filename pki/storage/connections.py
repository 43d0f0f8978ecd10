"""Opens the two pools of connections a `Database` has: one that can only read, one that writes.

SQLite: the driver's own transactions are off (`isolation_level=None`). With its defaults, rows of a transaction that
was rolled back stayed, and a lock failed at once instead of waiting; both stand as tests.
"""

import os
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event

from pki.errors import Misconfigured
from pki.storage.failures import Cause

BUSY_MS = 2_000
"""How long SQLite itself waits for a lock that did not come through the lock file (a shell, a backup)."""

_SQLITE_PRAGMAS = (
    f"PRAGMA busy_timeout={BUSY_MS}",
    "PRAGMA synchronous=FULL",  # NORMAL lost acknowledged rows in simulated power cuts, FULL none
    "PRAGMA foreign_keys=ON",
    "PRAGMA secure_delete=ON",
    "PRAGMA recursive_triggers=ON",  # else INSERT OR REPLACE deletes without firing the triggers that refuse it
    "PRAGMA temp_store=MEMORY",
    "PRAGMA trusted_schema=OFF",
)
_POSTGRESQL = {
    "connect_timeout": "5",
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "15000",
    "application_name": "sealward",
}
_POSTGRESQL_SETTINGS = "-c synchronous_commit=on -c lock_timeout=5s -c idle_in_transaction_session_timeout=60s"
_POSTGRESQL_READS = r" -c default_transaction_read_only=on -c default_transaction_isolation=repeatable\ read"


@dataclass(frozen=True, slots=True)
class Pools:
    """Connections that refuse to write, and connections that write.

    `check_file` raises DatabaseUnavailable if a SQLite file was removed or replaced since the pools were opened.
    """

    reads: Engine
    writes: Engine
    check_file: Callable[[], None]

    def close(self) -> None:
        """Close every connection at rest."""
        self.reads.dispose()
        self.writes.dispose()


def open_sqlite(path: Path) -> Pools:
    """Return the pools over the file at `path`, which exists; writes begin IMMEDIATE, and notice a removed file."""
    identity = _identity(path)
    reads = _sqlite_pool(path, size=16, closing=("PRAGMA query_only=ON",))
    writes = _sqlite_pool(path, size=1)

    @event.listens_for(reads, "begin")
    def begin_read(connection: Connection) -> None:
        sqlite_driver(connection).execute("BEGIN")

    @event.listens_for(writes, "begin")
    def begin_write(connection: Connection) -> None:
        check_file()
        sqlite_driver(connection).execute("BEGIN IMMEDIATE")

    def check_file() -> None:
        # SQLite would go on writing into a file that has been unlinked, and everything acknowledged would be lost.
        if _identity(path) != identity:
            raise Cause.GONE.error(
                "the file was removed or replaced under the running service; put it back, or restart over a backup"
            )

    return Pools(reads, writes, check_file)


def flush_commits(driver: sqlite3.Connection, *, wanted: bool) -> None:
    """Let the commits of a SQLite connection wait for the disk, as is the rule, or not; between two transactions.

    Not flushed, the end of the write-ahead log may be lost in a power cut, but in no crash of a process; a later
    commit that is flushed takes all before it along, and the file stays whole in any case.
    """
    driver.execute("PRAGMA synchronous=FULL" if wanted else "PRAGMA synchronous=NORMAL")


def create_file(path: Path) -> None:
    """Make the database file with mode 0600 unless it is there; Misconfigured or DatabaseUnavailable with advice."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except FileNotFoundError:
        raise Misconfigured(
            f"the directory of the database does not exist: {path.parent}",
            advice="create it, owned by the service's user and with mode 0700, or mend the database URL",
        ) from None
    except IsADirectoryError:
        raise Misconfigured(f"the database path is a directory: {path}", advice="name a file in it") from None
    except OSError as error:
        raise Cause.READ_ONLY.error(f"{path}: {error.strerror}") from error


def switch_to_wal(path: Path) -> None:
    """Put the file in write-ahead-log mode, which it keeps; the caller holds the turn at writing."""
    connection = sqlite3.connect(path, isolation_level=None, timeout=BUSY_MS / 1000)
    try:
        mode = connection.execute("PRAGMA journal_mode=WAL").fetchone()[0]
    finally:
        connection.close()
    if mode != "wal":
        raise Misconfigured(
            f"SQLite cannot keep a write-ahead log at {path}",
            advice="use a local file system: network file systems lack the shared memory it needs",
        )


def open_postgresql(url: URL) -> Pools:
    """Return the pools to the server at `url`; nothing is connected yet. Misconfigured without the driver."""
    return Pools(
        _postgresql_pool(url, _POSTGRESQL_SETTINGS + _POSTGRESQL_READS),
        _postgresql_pool(url, _POSTGRESQL_SETTINGS),
        lambda: None,
    )


def _sqlite_pool(path: Path, *, size: int, closing: tuple[str, ...] = ()) -> Engine:
    pool = create_engine(
        URL.create("sqlite", database=str(path)),
        connect_args={"isolation_level": None, "timeout": BUSY_MS / 1000, "check_same_thread": False},
        pool_size=size,
        max_overflow=size,
        pool_timeout=5,
        hide_parameters=True,  # an error's text never carries a row's values
    )

    @event.listens_for(pool, "connect")
    def prepare(driver: sqlite3.Connection, _record: object) -> None:
        for pragma in (*_SQLITE_PRAGMAS, *closing):
            driver.execute(pragma).close()

    return pool


def _postgresql_pool(url: URL, settings: str) -> Engine:
    own = url.query.get("options", "")
    options = f"{settings} {own if isinstance(own, str) else ' '.join(own)}".strip()
    try:
        return create_engine(
            url.set(drivername="postgresql+psycopg").difference_update_query(["options"]),
            connect_args={**_POSTGRESQL, "options": options},
            pool_size=8,
            max_overflow=8,
            pool_timeout=5,
            pool_pre_ping=True,
            hide_parameters=True,
        )
    except ModuleNotFoundError as error:
        raise Misconfigured("the PostgreSQL driver is not installed", advice="install sealward[postgres]") from error


def sqlite_driver(connection: Connection) -> sqlite3.Connection:
    """Return the driver's own connection beneath `connection`, which is to SQLite."""
    driver: Any = connection.connection.driver_connection
    assert isinstance(driver, sqlite3.Connection)  # noqa: S101 - for the type checker
    return driver


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = os.stat(path)  # noqa: PTH116 - at each write: Path.stat costs twice as much
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino
