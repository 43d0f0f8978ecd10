"""The kept connection that writes on SQLite: nothing of one write is left to the next, whatever ended it."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import exc, text

from pki.errors import Conflict
from pki.storage.database import Database, Tx
from pki.storage.tables import settings

_TABLES = (
    "CREATE TABLE settings (name TEXT PRIMARY KEY, value TEXT)",
    "CREATE TABLE notes (name TEXT REFERENCES settings DEFERRABLE INITIALLY DEFERRED)",
)


@pytest.fixture
def sqlite(tmp_path: Path) -> Iterator[Database]:
    """Give a SQLite database with a table, and one whose rows are checked against it at the commit."""
    database = Database.open(f"sqlite:///{tmp_path}/house.db")
    for statement in _TABLES:
        database.write(lambda tx, statement=statement: tx.exec_driver_sql(statement))  # type: ignore[misc]
    yield database
    database.close()


def _add(tx: Tx, name: str) -> None:
    tx.execute(settings.insert().values(name=name, value=""))


def _names(database: Database) -> list[str]:
    with database.read() as tx:
        return list(tx.execute(text("SELECT name FROM settings ORDER BY name")).scalars())


def _leave_savepoint(tx: Tx) -> None:
    _add(tx, "outside")
    tx.begin_nested()
    _add(tx, "inside")
    raise Conflict("no")


def _commit_oneself(tx: Tx) -> None:
    tx.commit()
    _add(tx, "half")


def _roll_back_oneself(tx: Tx) -> None:
    _add(tx, "half")
    tx.rollback()


def _interrupt(tx: Tx) -> None:
    _add(tx, "half")
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("work", "error"),
    [
        (_leave_savepoint, Conflict),
        (_commit_oneself, RuntimeError),
        (_roll_back_oneself, RuntimeError),
        (_interrupt, KeyboardInterrupt),
    ],
)
def test_what_a_work_leaves_open_is_no_part_of_the_next(
    sqlite: Database, work: Callable[[Tx], None], error: type[BaseException]
) -> None:
    """A savepoint, a transaction of SQLAlchemy's or an interrupted one ends with the write that began it."""
    with pytest.raises(error):
        sqlite.write(work)
    sqlite.write(lambda tx: _add(tx, "next"))
    assert _names(sqlite) == ["next"]


def test_a_savepoint_left_open_in_a_work_that_returns_is_committed(sqlite: Database) -> None:
    """COMMIT takes it along, and the next write begins without it."""

    def work(tx: Tx) -> None:
        tx.begin_nested()
        _add(tx, "inside")

    sqlite.write(work)
    sqlite.write(lambda tx: _add(tx, "next"))
    assert _names(sqlite) == ["inside", "next"]


def test_an_error_at_the_commit_comes_as_any_other(sqlite: Database) -> None:
    """A deferred constraint breaks at COMMIT: it is an IntegrityError, nothing stays, and the next write is served."""

    def work(tx: Tx) -> None:
        _add(tx, "a")
        tx.exec_driver_sql("INSERT INTO notes VALUES ('nowhere')")

    with pytest.raises(exc.IntegrityError):
        sqlite.write(work)
    assert _names(sqlite) == []
    sqlite.write(lambda tx: _add(tx, "next"))
    assert _names(sqlite) == ["next"]


def test_a_refusal_does_not_cost_the_connection(sqlite: Database) -> None:
    """A work that raises is rolled back, and the same connection serves the next."""

    def refuse(tx: Tx) -> None:
        _add(tx, "refused")
        raise Conflict("no")

    sqlite.write(lambda tx: _add(tx, "first"))
    kept = sqlite._kept
    for _ in range(3):
        with pytest.raises(Conflict):
            sqlite.write(refuse)
    sqlite.write(lambda tx: _add(tx, "last"))
    assert sqlite._kept is kept
    assert _names(sqlite) == ["first", "last"]
