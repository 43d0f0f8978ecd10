"""What SQLite needs to be told, and what goes wrong without."""

import os
import sqlite3
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.exc import IntegrityError, OperationalError

from pki.storage.database import Database, Tx
from tests.counts import count
from tests.pki.storage.rows import certificate, event, setting


@pytest.fixture
def dialect() -> str:
    """Name SQLite: this file is about it alone."""
    return "sqlite"


@pytest.fixture
def path(database: Database) -> Path:
    """Give the path of the database's file."""
    return Path(database.url.database or "")


def test_driver_defaults_keep_rows_of_a_rolled_back_transaction(tmp_path: Path, database: Database) -> None:
    """The trap: with the driver's own transactions a row survives the outer roll-back; with ours it does not."""
    defaults = create_engine(f"sqlite:///{tmp_path}/defaults.db")
    with defaults.connect() as tx:
        tx.execute(text("CREATE TABLE settings (name TEXT, value TEXT)"))
        tx.commit()
        with tx.begin_nested():
            tx.execute(text("SELECT 1"))
            tx.execute(text("INSERT INTO settings VALUES ('a', 'b')"))
        tx.rollback()
        survivors = tx.execute(text("SELECT count(*) FROM settings")).scalar_one()
    defaults.dispose()
    assert survivors == 1, "the driver has changed: the reason for isolation_level=None is gone"

    with database._pools.writes.connect() as tx:
        with tx.begin_nested():
            tx.execute(text("INSERT INTO settings VALUES ('a', 'b')"))
        tx.rollback()
        assert tx.execute(text("SELECT count(*) FROM settings")).scalar_one() == 0


def test_driver_defaults_fail_at_once_where_immediate_waits(path: Path, database: Database) -> None:
    """The trap: a transaction that reads before it writes fails at once, whatever the timeout; ours takes its turn."""
    defaults = create_engine(f"sqlite:///{path}", connect_args={"timeout": 30})
    with defaults.connect() as tx, tx.begin_nested():
        tx.execute(text("SELECT count(*) FROM settings")).scalar_one()
        database.append(setting("between"))
        with pytest.raises(OperationalError, match="database is locked"):
            tx.execute(text("INSERT INTO settings VALUES ('late', '')"))
    defaults.dispose()

    def read_then_write(name: str) -> None:
        def work(tx: Tx) -> None:
            seen = tx.execute(text("SELECT count(*) FROM settings")).scalar_one()
            tx.execute(text("INSERT INTO settings VALUES (:name, :seen)"), {"name": name, "seen": str(seen)})

        database.write(work)

    threads = [threading.Thread(target=read_then_write, args=(str(number),)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with database.read() as tx:
        seen = sorted(tx.execute(text("SELECT value FROM settings WHERE name <> 'between'")).scalars())
    assert seen == sorted(str(number) for number in range(1, 9)), "each saw the rows of all before it"


def test_connections_are_durable_and_strict(database: Database) -> None:
    """O1: WAL with synchronous=FULL, foreign keys, deleted rows overwritten, nothing temporary on disk."""
    wanted = {
        "journal_mode": "wal",
        "synchronous": 2,
        "foreign_keys": 1,
        "secure_delete": 1,
        "recursive_triggers": 1,
        "temp_store": 2,
    }
    for pool in (database._pools.reads, database._pools.writes):
        with pool.connect() as tx:
            assert {name: tx.exec_driver_sql(f"PRAGMA {name}").scalar_one() for name in wanted} == wanted


def test_files_are_private_whatever_the_umask(tmp_path: Path) -> None:
    """The database, its log and its lock are made with mode 0600."""
    previous = os.umask(0)
    try:
        database = Database.open(f"sqlite:///{tmp_path}/new.db")
        database.write(lambda tx: tx.exec_driver_sql("CREATE TABLE t (x)"))
    finally:
        os.umask(previous)
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()}
    database.close()
    assert set(modes) == {"new.db", "new.db-wal", "new.db-shm", "new.db.lock"}
    assert set(modes.values()) == {0o600}


def test_replace_does_not_get_round_the_triggers(database: Database) -> None:
    """L3: INSERT OR REPLACE deletes the old row, and so is refused for the ledger and the audit log."""
    database.append(certificate("c"), event("first", leaf_index=0), event("second"))
    for statement in (
        "INSERT OR REPLACE INTO certificates SELECT * FROM certificates",
        "INSERT OR REPLACE INTO audit_events SELECT * FROM audit_events",
        "UPDATE OR REPLACE audit_events SET leaf_index = 0 WHERE id = 'second'",
    ):
        with pytest.raises(IntegrityError, match="never deleted"):
            database.write(lambda tx, statement=statement: tx.exec_driver_sql(statement))  # type: ignore[misc]


def test_write_waits_for_a_lock_from_outside(path: Path, database: Database) -> None:
    """A shell or a backup that holds SQLite's own lock for a moment delays a write and does not fail it."""
    shell = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    shell.execute("BEGIN IMMEDIATE")
    ending = threading.Timer(0.3, shell.execute, ("COMMIT",))
    ending.start()
    database.append(setting("a"))
    ending.join()
    shell.close()
    assert database.point("SELECT name FROM settings") == ("a",)


def test_two_processes_take_turns(migrated_url: str) -> None:
    """Two workers that append without pause both get on, and none waits long."""
    seconds = str(count(1, 10))
    programs = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.pki.storage.appender", migrated_url, name, "4", seconds],
            stdout=subprocess.PIPE,
            text=True,
        )
        for name in ("a", "b")
    ]
    outputs = [program.communicate(timeout=60)[0].splitlines() for program in programs]
    assert [program.returncode for program in programs] == [0, 0]
    written = [len(lines) - 1 for lines in outputs]
    assert min(written) > sum(written) * 0.2
    assert max(float(lines[-1].removeprefix("longest ")) for lines in outputs) < 1.0
