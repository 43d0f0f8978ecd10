"""Works that wait share a transaction on SQLite, and what one of them does wrong stays its own."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import exc

from pki.errors import Conflict, DatabaseUnavailable
from pki.storage.database import Database, Tx
from tests.pki.storage.commits import watch_commits
from tests.pki.storage.rows import setting


@pytest.fixture
def sqlite(tmp_path: Path) -> Iterator[Database]:
    """Give a SQLite database with the one table that these tests write."""
    database = Database.open(f"sqlite:///{tmp_path}/house.db")
    database.write(lambda tx: tx.exec_driver_sql("CREATE TABLE settings (name TEXT PRIMARY KEY, value TEXT)"))
    yield database
    database.close()


def _insert(name: str) -> Callable[[Tx], str]:
    def work(tx: Tx) -> str:
        row = setting(name)
        tx.execute(row.table.insert(), dict(row.values))
        return name

    return work


def _refuse(tx: Tx) -> str:
    _insert("refused")(tx)
    raise Conflict("no")


def _names(database: Database) -> set[str]:
    with database.read() as tx:
        return set(tx.exec_driver_sql("SELECT name FROM settings").scalars())


def _run_behind(database: Database, works: list[Callable[[Tx], str]]) -> tuple[list[Any], list[str]]:
    """Let the works queue up behind one that is under way; return what came of each, and the commits."""
    inside, go_on = threading.Event(), threading.Event()
    outcomes: list[Any] = [None] * len(works)

    def hold(tx: Tx) -> None:
        inside.set()
        assert go_on.wait(10)
        _insert("first")(tx)

    def run(place: int) -> None:
        try:
            outcomes[place] = database.write(works[place])
        except (Conflict, exc.IntegrityError) as error:
            outcomes[place] = type(error)

    threads = [threading.Thread(target=database.write, args=(hold,))]
    threads[0].start()
    assert inside.wait(10)
    threads += [threading.Thread(target=run, args=(place,)) for place in range(len(works))]
    for thread in threads[1:]:
        thread.start()
    while len(database._writer._waiting) < len(works):
        pass
    commits = watch_commits(database)
    go_on.set()
    for thread in threads:
        thread.join()
    return outcomes, commits


def test_works_that_wait_share_one_commit(sqlite: Database) -> None:
    """Ten callers that wait cost two disk flushes with the one they wait for, and each has its own result."""
    names = [f"n{number}" for number in range(10)]
    outcomes, commits = _run_behind(sqlite, [_insert(name) for name in names])
    assert outcomes == names
    assert len(commits) == 2
    assert _names(sqlite) == {"first", *names}


def test_a_work_that_raises_fails_alone(sqlite: Database) -> None:
    """What it wrote is gone, and the others, who shared its transaction, are committed once."""
    outcomes, _ = _run_behind(sqlite, [_insert("a"), _refuse, _insert("b"), _insert("first"), _insert("c")])
    assert outcomes == ["a", Conflict, "b", exc.IntegrityError, "c"]
    assert _names(sqlite) == {"first", "a", "b", "c"}


def test_who_waits_too_long_is_told_and_writes_nothing(sqlite: Database) -> None:
    """A caller that gave up is not served later: it was told that nothing happened."""
    sqlite._writer._patience = 0.05
    inside, go_on = threading.Event(), threading.Event()

    def hold(_tx: Tx) -> None:
        inside.set()
        assert go_on.wait(10)

    holder = threading.Thread(target=sqlite.write, args=(hold,))
    holder.start()
    assert inside.wait(10)
    with pytest.raises(DatabaseUnavailable, match="another thread of this process"):
        sqlite.write(_insert("late"))
    go_on.set()
    holder.join()
    sqlite.write(_insert("next"))
    assert _names(sqlite) == {"next"}
