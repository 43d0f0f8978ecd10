"""Transactions: reads that cannot write, writes that are all or nothing, point reads."""

import threading
from pathlib import Path

import pytest
from sqlalchemy import exc, func, select, update

from pki.errors import Conflict, DatabaseUnavailable, Misconfigured
from pki.storage.database import Database, Tx
from pki.storage.tables import keks, kv_versions, settings
from tests.pki.storage.rows import certificate, setting

_COUNT = select(func.count()).select_from(settings)


def _add(tx: Tx, name: str, value: str = "value") -> None:
    tx.execute(settings.insert().values(name=name, value=value))


def test_write_returns_what_its_work_returns_after_the_commit(database: Database) -> None:
    """A write's result comes after its commit, so that another connection sees the row."""

    def work(tx: Tx) -> str:
        _add(tx, "a")
        return "done"

    assert database.write(work) == "done"
    assert database.point("SELECT value FROM settings WHERE name = ?", ("a",)) == ("value",)


def test_work_that_raises_leaves_nothing(database: Database) -> None:
    """What work raises comes through unchanged, and its rows are rolled back."""

    def work(tx: Tx) -> None:
        _add(tx, "a")
        raise Conflict("somebody was first")

    with pytest.raises(Conflict, match="somebody was first"):
        database.write(work)
    assert database.point("SELECT name FROM settings") is None


def test_constraint_errors_come_through_without_the_values(database: Database) -> None:
    """An IntegrityError is the caller's to read, and SQLAlchemy's text of it shows no parameters."""
    database.append(setting("a"))
    with pytest.raises(exc.IntegrityError) as caught:
        database.write(lambda tx: _add(tx, "a", "very private"))
    assert "very private" not in str(caught.value)


def test_read_sees_one_state(database: Database) -> None:
    """Two queries of one read agree, though a write was committed between them."""
    with database.read() as tx:
        before = tx.execute(_COUNT).scalar_one()
        database.append(setting("a"))
        assert tx.execute(_COUNT).scalar_one() == before
    with database.read() as tx:
        assert tx.execute(_COUNT).scalar_one() == before + 1


def test_read_cannot_write(database: Database) -> None:
    """A write through a read is the program's error: it fails loudly, and the disk is not blamed."""
    with pytest.raises(exc.DBAPIError), database.read() as tx:
        _add(tx, "a")
    with pytest.raises(Exception, match=r"read-?only") as caught:
        database.point("INSERT INTO settings (name, value) VALUES ('a', 'b')")
    assert not isinstance(caught.value, DatabaseUnavailable)
    database.append(setting("a"))


def test_compare_and_swap_has_one_winner(database: Database) -> None:
    """X13: of eight threads that move a state on from what they saw, one does."""
    database.append(setting("state", "0"))
    wins: list[int] = []

    def swap(number: int) -> None:
        change = update(settings).where(settings.c.name == "state", settings.c.value == "0").values(value=str(number))
        if database.write(lambda tx: tx.execute(change).rowcount):
            wins.append(number)

    threads = [threading.Thread(target=swap, args=(number,)) for number in range(1, 9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert database.point("SELECT value FROM settings") == (str(wins[0]),)
    assert len(wins) == 1


def test_foreign_keys_hold(database: Database) -> None:
    """A data key cannot name a KEK that is not there, on SQLite too."""
    with pytest.raises(exc.IntegrityError):
        database.write(
            lambda tx: tx.exec_driver_sql(
                "INSERT INTO deks (id, namespace_id, mount, kek_id, wrapped, state, created_at) "
                "VALUES ('d', 'root', 'm', 'none', '', 'active', 0)"
            )
        )
    assert database.point("SELECT count(*) FROM keks") == (0,)
    assert keks.c.id.primary_key


@pytest.mark.parametrize(
    "value", ["plain", "100% ?", "it's", "'; DROP TABLE settings; --", "\N{SNOWMAN}"], ids=range(5)
)
def test_point_read_passes_values_as_parameters(database: Database, value: str) -> None:
    """Whatever a value holds, it is a value."""
    database.append(setting(value, value))
    assert database.point("SELECT value FROM settings WHERE name = ?", (value,)) == (value,)


def test_point_read_leaves_literals_alone(database: Database) -> None:
    """Question and percent marks inside a literal are not parameters."""
    found = database.point("SELECT '100% sure? it''s so', 7 % 4, ?", ("x",))
    assert found == ("100% sure? it's so", 3, "x")


def test_point_read_of_nothing_is_none_and_octets_are_bytes(database: Database) -> None:
    """Absent is None, and binary columns come as bytes on both databases."""
    assert database.point("SELECT tbs FROM certificates WHERE id = ?", ("none",)) is None
    database.append(certificate("one", tbs=bytes(range(256))))
    assert database.point("SELECT tbs, certificate FROM certificates WHERE id = ?", ("one",)) == (
        bytes(range(256)),
        None,
    )


def test_failed_point_read_does_no_harm(database: Database) -> None:
    """After an error the next read is served."""
    for _ in range(40):  # more than the pool holds: none may leak
        with pytest.raises(Exception, match="syntax"):
            database.point("SELEKT 1")
    assert database.point("SELECT 1") == (1,)


def test_times_are_64_bit(database: Database) -> None:
    """Milliseconds of the year 9999 fit."""
    late = 253_402_300_799_000
    database.write(
        lambda tx: tx.execute(
            kv_versions.insert().values({"secret_id": "s", "version": 1, "namespace_id": "root", "created_at": late})
        )
    )
    assert database.point("SELECT created_at, deleted_at FROM kv_versions") == (late, None)


def test_repr_shows_no_password(tmp_path: Path) -> None:
    """L1: an address is shown without its password, and so is the error of a server that is not there."""
    url = "postgresql+psycopg://user:hunter2@127.0.0.1:1/house"
    with pytest.raises(DatabaseUnavailable) as caught:
        Database.open(url)
    assert "hunter2" not in str(caught.value)
    database = Database.open(f"sqlite:///{tmp_path}/house.db")
    assert "house.db" in repr(database)
    database.close()


@pytest.mark.parametrize("url", ["", "nonsense", "mysql://host/name", "sqlite://", "sqlite:///relative.db"])
def test_urls_that_cannot_be_are_refused_with_an_example(url: str) -> None:
    """A URL of another kind, or a relative path, is a misconfiguration."""
    with pytest.raises(Misconfigured, match=r"sqlite:////absolute/path\.db"):
        Database.open(url)
