"""When the database does not serve, the error says why and what to do."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import errors as pg
from sqlalchemy import exc, text

from pki.errors import DatabaseUnavailable, Misconfigured
from pki.storage.database import Database
from pki.storage.failures import Cause, find_cause, is_transient
from pki.storage.turns import WriteTurn
from tests.pki.storage.rows import setting


@pytest.fixture
def sqlite(tmp_path: Path) -> Iterator[Database]:
    """Give a SQLite database with the one table that these tests write."""
    database = Database.open(f"sqlite:///{tmp_path}/house.db")
    database.write(lambda tx: tx.exec_driver_sql("CREATE TABLE settings (name TEXT PRIMARY KEY, value TEXT)"))
    yield database
    database.close()


def _pragma(database: Database, statement: str) -> None:
    """Set something on the one connection that writes."""
    database._drop_kept()
    with database._pools.writes.connect() as tx:
        tx.connection.driver_connection.execute(statement)  # type: ignore[union-attr]


def test_a_full_disk_loses_nothing(sqlite: Database) -> None:
    """Each caller hears of it; when there is space again, writes go on, and nothing was half-written."""
    _pragma(sqlite, "PRAGMA max_page_count = 4")
    for write in (
        lambda: sqlite.append(setting("a", "x" * 100_000)),
        lambda: sqlite.write(lambda tx: tx.exec_driver_sql("INSERT INTO settings VALUES ('b', zeroblob(100000))")),
    ):
        with pytest.raises(DatabaseUnavailable, match="free space"):
            write()
    assert sqlite.point("SELECT name FROM settings") is None
    _pragma(sqlite, "PRAGMA max_page_count = 100000")
    sqlite.append(setting("c", "x" * 100_000))


def test_lock_held_from_outside(sqlite: Database) -> None:
    """A transaction left open in a shell is named as the cause, for writes and appends."""
    _pragma(sqlite, "PRAGMA busy_timeout = 50")
    shell = sqlite3.connect(sqlite.url.database or "", isolation_level=None)
    shell.execute("BEGIN IMMEDIATE")
    with pytest.raises(DatabaseUnavailable, match="holds a transaction open"):
        sqlite.append(setting("a"))
    with pytest.raises(DatabaseUnavailable, match="holds a transaction open"):
        sqlite.write(lambda tx: tx)
    shell.close()
    sqlite.append(setting("a"))


def test_turn_held_by_another_process(sqlite: Database, tmp_path: Path) -> None:
    """A worker that was stopped in mid-write is named as the cause, and its end mends it."""
    assert sqlite._turn is not None
    sqlite._turn._timeout = 0.1
    with WriteTurn(tmp_path / "house.db.lock", 1):
        with pytest.raises(DatabaseUnavailable, match="another process"):
            sqlite.append(setting("a"))
        with pytest.raises(DatabaseUnavailable, match="another process"):
            sqlite.write(lambda tx: tx)
    sqlite._turn._timeout = 5
    sqlite.append(setting("a"))


def test_file_removed_under_the_service(sqlite: Database, tmp_path: Path) -> None:
    """Writing on into a file without a name would lose every row; it is refused."""
    (tmp_path / "house.db").unlink()
    with pytest.raises(DatabaseUnavailable, match="removed or replaced"):
        sqlite.append(setting("a"))


@pytest.mark.parametrize(
    "content", [b"this is no database at all, but text " * 200, b"SQLite format 3\0" + b"\xff" * 8192]
)
def test_a_corrupt_file_is_left_as_it_is(tmp_path: Path, content: bytes) -> None:
    """What is no database, or a damaged one, is left as it is, with the advice to restore."""
    (tmp_path / "house.db").write_bytes(content)
    with pytest.raises(DatabaseUnavailable, match="restore the last backup"):
        Database.open(f"sqlite:///{tmp_path}/house.db")
    assert (tmp_path / "house.db").read_bytes() == content


def test_a_damaged_page_is_no_empty_table(sqlite: Database, tmp_path: Path) -> None:
    """A table whose page was overwritten is reported as damage, not as an empty table."""
    url = f"sqlite:///{tmp_path}/house.db"
    sqlite.append(setting("a"))
    sqlite.close()
    with (tmp_path / "house.db").open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * 4096)
    damaged = Database.open(url)
    with pytest.raises(DatabaseUnavailable, match="damaged"):
        damaged.point("SELECT value FROM settings WHERE name = ?", ("a",))
    with pytest.raises(DatabaseUnavailable, match="damaged"), damaged.read() as tx:
        tx.execute(text("SELECT count(value) FROM settings")).scalar_one()
    damaged.close()


@pytest.mark.parametrize(("name", "words"), [("absent/house.db", "create it"), ("", "directory")])
def test_paths_that_cannot_be(tmp_path: Path, name: str, words: str) -> None:
    """A missing directory, or a directory in place of a file, is the operator's to mend."""
    with pytest.raises(Misconfigured, match=words):
        Database.open(f"sqlite:///{tmp_path / name}")


def test_file_system_that_takes_no_file() -> None:
    """Where no file can be made, the advice is about rights and mounts."""
    with pytest.raises((DatabaseUnavailable, Misconfigured), match=r"mount|create"):
        Database.open("sqlite:////sys/house.db")


def test_server_that_does_not_answer() -> None:
    """A refused connection is GONE, with the server's own words."""
    with pytest.raises(DatabaseUnavailable, match=r"cannot be reached.*start the server"):
        Database.open("postgresql+psycopg://nobody@127.0.0.1:1/house")


def test_missing_table_on_every_path(empty_database: Database) -> None:
    """Reads, writes and appends on a database that was not migrated all say so."""
    with pytest.raises(DatabaseUnavailable, match="sealward migrate"):
        empty_database.append(setting("a"))
    with pytest.raises(DatabaseUnavailable, match="sealward migrate"):
        empty_database.write(lambda tx: tx.execute(setting("a").table.select()))
    with pytest.raises(DatabaseUnavailable, match="sealward migrate"), empty_database.read() as tx:
        tx.execute(setting("a").table.select())


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (pg.DiskFull(), Cause.FULL),
        (pg.ReadOnlySqlTransaction(), Cause.READ_ONLY),
        (pg.LockNotAvailable(), Cause.LOCKED),
        (pg.AdminShutdown(), Cause.GONE),
        (pg.CannotConnectNow(), Cause.GONE),
        (pg.IoError(), Cause.DISK),
        (pg.InvalidPassword(), Cause.REFUSED),
        (pg.InvalidCatalogName(), Cause.REFUSED),
        (pg.TooManyConnections(), Cause.EXHAUSTED),
        (pg.UndefinedTable(), Cause.NOT_MIGRATED),
        (pg.DataCorrupted(), Cause.CORRUPT),
        (psycopg.OperationalError("connection failed: connection refused"), Cause.GONE),
        (psycopg.OperationalError('connection failed: FATAL:  password authentication failed for "x"'), Cause.REFUSED),
        (pg.UniqueViolation(), None),
        (pg.SyntaxError(), None),
        (psycopg.ProgrammingError("the query has 0 placeholders"), None),
        (exc.TimeoutError(), Cause.EXHAUSTED),
        (ValueError(), None),
    ],
    ids=lambda value: getattr(value, "name", type(value).__name__),
)
def test_each_sqlstate_means_one_thing(error: Exception, cause: Cause | None) -> None:
    """Each SQLSTATE means one thing; errors about the data mean none."""
    assert find_cause(error) is cause


def test_what_is_worth_another_try() -> None:
    """Serialization failures and deadlocks are; a lock that did not come within its time is not."""
    assert is_transient(pg.SerializationFailure())
    assert is_transient(pg.DeadlockDetected())
    assert not is_transient(pg.LockNotAvailable())
    assert not is_transient(pg.AdminShutdown())


def test_every_cause_advises() -> None:
    """Each cause says what happened and what to do, and no two say the same."""
    texts = [str(cause.error()) for cause in Cause]
    assert len(set(texts)) == len(texts)
    assert all("(" in words for words in texts)
