"""What only PostgreSQL does: deadlocks, lost connections, truncation."""

import threading
from collections.abc import Callable

import pytest
from sqlalchemy import exc, text

from pki.errors import DatabaseUnavailable
from pki.storage.database import Database, Tx
from tests.pki.storage.rows import event, setting


@pytest.fixture
def dialect() -> str:
    """Name PostgreSQL: this file is about it alone."""
    return "postgresql"


def _lock_in_order(first: str, second: str, meeting: threading.Barrier, runs: list[str]) -> Callable[[Tx], None]:
    def work(tx: Tx) -> None:
        runs.append(first)
        touch = text("UPDATE settings SET value = value || 'x' WHERE name = :name")
        tx.execute(touch, {"name": first})
        if len(runs) <= 2:
            meeting.wait(10)
        tx.execute(touch, {"name": second})

    return work


def test_deadlocked_write_is_run_again(database: Database) -> None:
    """Two writes that lock the same rows in opposite orders both succeed; one of them ran twice."""
    database.append(setting("a", ""), setting("b", ""))
    meeting, runs = threading.Barrier(2), list[str]()
    threads = [
        threading.Thread(target=database.write, args=(_lock_in_order(*order, meeting, runs),))
        for order in (("a", "b"), ("b", "a"))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(runs) == 3
    assert database.point("SELECT string_agg(value, ',') FROM settings") == ("xx,xx",)


def test_connections_that_the_server_ended_are_replaced(database: Database) -> None:
    """After the server ended every idle connection, reads, writes and appends are served at once."""
    database.append(setting("a"))
    other = Database.open(database.url.render_as_string(hide_password=False))
    with other.read() as tx:
        tx.execute(
            text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        )
    other.close()
    assert database.point("SELECT name FROM settings") == ("a",)
    database.append(setting("b"))
    assert database.write(lambda tx: tx.execute(text("SELECT count(*) FROM settings")).scalar_one()) == 2


def test_connection_lost_in_mid_write_is_reported_not_repeated(database: Database) -> None:
    """Nobody knows what became of such a write, so it is not run a second time."""
    runs = 0

    def work(tx: Tx) -> None:
        nonlocal runs
        runs += 1
        tx.execute(text("INSERT INTO settings VALUES ('a', '')"))
        tx.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))

    with pytest.raises(DatabaseUnavailable, match="reconnects"):
        database.write(work)
    assert runs == 1
    assert database.point("SELECT name FROM settings") is None


def test_truncate_is_refused(database: Database) -> None:
    """L3: TRUNCATE is deletion."""
    database.append(event("e"))
    for table in ("audit_events", "certificates"):
        with pytest.raises(exc.IntegrityError, match="never deleted"):
            database.write(lambda tx, table=table: tx.execute(text(f"TRUNCATE {table}")))  # type: ignore[misc]


def test_commits_are_synchronous_and_reads_are_read_only(database: Database) -> None:
    """O1: a commit is on disk before it returns, whatever the server's default."""
    names = ("synchronous_commit", "default_transaction_read_only", "default_transaction_isolation")

    def show(tx: Tx) -> list[str]:
        return [tx.execute(text(f"SHOW {name}")).scalar_one() for name in names]

    assert database.write(show) == ["on", "off", "read committed"]
    with database.read() as tx:
        assert show(tx) == ["on", "on", "repeatable read"]
