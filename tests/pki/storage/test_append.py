"""Group commit: what waits is written together, durable before its caller goes on, and errors stay with their maker."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import event, exc

from pki.errors import DatabaseUnavailable
from pki.storage.database import Append, Database
from pki.storage.tables import deks, keks, sealed_values
from tests.counts import count
from tests.pki.storage.commits import watch_commits
from tests.pki.storage.rows import certificate, setting
from tests.pki.storage.rows import event as audit_event


def _count(database: Database, table: str) -> int:
    found = database.point(f"SELECT count(*) FROM {table}")  # noqa: S608 - a table's name of ours
    assert found is not None
    return int(found[0])


def _hold_writer(database: Database) -> Callable[[], None]:
    """Keep the writer inside a commit until the returned function is called, so that others queue up behind it."""
    inside, go_on = threading.Event(), threading.Event()

    def wait(*_: Any) -> None:
        inside.set()
        go_on.wait(10)

    event.listen(database._pools.writes, "before_cursor_execute", wait, once=True)
    first = threading.Thread(target=database.append, args=(setting("first"),))
    first.start()
    assert inside.wait(10)

    def release() -> None:
        go_on.set()
        first.join()

    return release


def _queued(database: Database, wanted: int) -> None:
    while len(database._writer._waiting) < wanted:
        pass


def test_rows_that_wait_share_one_transaction(database: Database) -> None:
    """Twenty callers that wait are written by one commit."""
    commits = watch_commits(database)
    release = _hold_writer(database)
    threads = [
        threading.Thread(target=database.append, args=(certificate(f"c{number}"), audit_event(f"e{number}")))
        for number in range(20)
    ]
    for thread in threads:
        thread.start()
    _queued(database, 20)
    release()
    for thread in threads:
        thread.join()
    assert (_count(database, "certificates"), _count(database, "audit_events")) == (20, 20)
    assert len(commits) == 2


def test_error_reaches_its_maker_alone(database: Database) -> None:
    """A duplicate in a group fails for the caller that made it; the others' rows are committed."""
    database.append(setting("taken"))
    release = _hold_writer(database)
    errors: dict[str, Exception] = {}

    def append(name: str) -> None:
        try:
            database.append(audit_event(name), setting(name))
        except exc.IntegrityError as error:
            errors[name] = error

    threads = [threading.Thread(target=append, args=(name,)) for name in ("a", "taken", "b", "c")]
    for thread in threads:
        thread.start()
    _queued(database, 4)
    release()
    for thread in threads:
        thread.join()
    assert list(errors) == ["taken"]
    assert _count(database, "settings") == 5
    assert _count(database, "audit_events") == 3, "the failed caller's event is not there either"


def test_append_is_all_or_nothing(database: Database) -> None:
    """Of rows handed over together, none stays if one cannot."""
    with pytest.raises(exc.IntegrityError):
        database.append(setting("a"), setting("b"), setting("a"))
    assert _count(database, "settings") == 0


def test_parents_are_written_before_children(database: Database) -> None:
    """The tables' order, not the caller's, is the order of writing; rows of a table go by primary key."""
    orders: list[list[str]] = []

    def record(_connection: object, statement: Any, rows: list[Any], params: dict[str, Any], _options: object) -> None:
        orders.append([statement.table.name, *(row["id"] for row in rows or [params])])

    event.listen(database._pools.writes, "before_execute", record)
    kek = {"key_id_hex": "00", "label": "kek", "state": "active", "created_at": 0}
    dek = {"namespace_id": "root", "mount": "m", "kek_id": "k", "wrapped": b"w", "state": "active", "created_at": 0}
    database.append(
        Append(deks, {"id": "2", **dek}), Append(deks, {"id": "1", **dek}), Append(keks, {"id": "k", **kek})
    )
    assert orders == [["keks", "k"], ["deks", "1", "2"]]


def test_columns_left_out_are_null_in_every_row(database: Database) -> None:
    """Rows of one statement with different columns keep their own."""
    database.append(certificate("a", revocation_reason=1), certificate("b"), certificate("c", revocation_reason=4))
    with database.read() as tx:
        rows = tx.exec_driver_sql("SELECT id, revocation_reason FROM certificates ORDER BY id").all()
    assert [tuple(row) for row in rows] == [("a", 1), ("b", None), ("c", 4)]


def test_unknown_column_is_refused_where_the_row_is_made() -> None:
    """A misspelt column raises at once."""
    with pytest.raises(ValueError, match="settings has no column vlaue"):
        Append(setting("a").table, {"name": "a", "vlaue": "b"})


def test_clear_text_never_reaches_a_sealed_column(database: Database) -> None:
    """A01: octets that are no envelope are refused before a statement leaves."""
    row = Append(sealed_values, {"name": "key", "namespace_id": "root", "value": b"clear text"})
    with pytest.raises(exc.StatementError, match="takes an Envelope"):
        database.append(row)
    assert _count(database, "sealed_values") == 0


def test_threads_append_every_row_once(database: Database) -> None:
    """Sixteen threads lose nothing and double nothing."""
    each = count(20, 500)

    def append(thread: int) -> None:
        for number in range(each):
            database.append(setting(f"{thread}-{number}"))

    threads = [threading.Thread(target=append, args=(thread,)) for thread in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert _count(database, "settings") == 16 * each


def test_close_commits_what_waits_and_refuses_the_rest(database: Database) -> None:
    """Rows handed over before close are committed; later ones are refused with advice."""
    release = _hold_writer(database)
    late = threading.Thread(target=database.append, args=(setting("late"),))
    late.start()
    _queued(database, 1)
    release()
    database._writer.close()
    late.join()
    assert _count(database, "settings") == 2
    with pytest.raises(DatabaseUnavailable, match="shutting down"):
        database.append(setting("too late"))


def test_append_of_nothing_returns(database: Database) -> None:
    """No rows, no transaction."""
    commits = watch_commits(database)
    database.append()
    assert commits == []


def test_database_opened_before_a_fork_serves_in_the_child(database: Database) -> None:
    """The child has its own connections, turn and writer thread; the parent's go on."""
    database.append(setting("before"))
    child = os.fork()
    if child == 0:
        try:
            database.append(setting("child append"))
            database.write(lambda tx: tx.execute(setting("x").table.insert().values(name="child write", value="")))
            found = database.point("SELECT count(*) FROM settings WHERE name <> 'parent'")
        except BaseException:  # noqa: BLE001 - the parent reads the status
            os._exit(1)
        os._exit(0 if found == (3,) else 2)
    database.append(setting("parent"))
    assert os.waitpid(child, 0)[1] == 0
    assert _count(database, "settings") == 4


def test_killed_process_loses_nothing_it_acknowledged(migrated_url: str) -> None:
    """X6: after kill -9 in the middle of appends, every row whose append had returned is there."""
    for round_ in range(count(1, 30)):
        command = [sys.executable, "-m", "tests.pki.storage.appender", migrated_url, f"r{round_}", "4", "60"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            acknowledged = [process.stdout.readline().strip() for _ in range(200)]
            process.send_signal(signal.SIGKILL)
            acknowledged += [line.strip() for line in process.stdout if line.endswith("\n")]
        database = Database.open(migrated_url)
        with database.read() as tx:
            stored = {row[0] for row in tx.exec_driver_sql("SELECT name FROM settings")}
        database.close()
        assert set(acknowledged) - stored == set()
