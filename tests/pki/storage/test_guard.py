"""No token and no network inside a write."""

import pytest
from sqlalchemy import event

from pki.storage.database import Database
from pki.storage.guard import inside_write, outside_write
from tests.pki.storage.rows import setting


def test_calls_outside_a_write_pass(database: Database) -> None:
    """Before, after and between writes, and inside a read, anything may be called."""
    outside_write("C_Sign")
    database.append(setting("a"))
    with database.read():
        outside_write("C_Sign")
    assert database.point("SELECT name FROM settings") == ("a",)


def test_token_call_inside_a_write_raises(database: Database) -> None:
    """The guard names the call and where it was made, and the write is rolled back."""

    def work(tx: object) -> None:
        del tx
        outside_write("C_Sign")

    with pytest.raises(RuntimeError, match=r"C_Sign inside Database\.write"):
        database.write(work)
    outside_write("C_Sign")


@pytest.mark.parametrize("nested", ["write", "append"])
def test_nested_writes_raise(database: Database, nested: str) -> None:
    """A write inside a write would wait for itself; it raises instead."""

    def work(tx: object) -> None:
        del tx
        if nested == "write":
            database.write(lambda inner: inner)
        else:
            database.append(setting("a"))

    with pytest.raises(RuntimeError, match=rf"Database\.{nested} inside Database\.write"):
        database.write(work)
    assert database.point("SELECT name FROM settings") is None


def test_the_writer_thread_is_guarded_too(database: Database) -> None:
    """What runs while a group is committed is inside a write."""
    raised: list[str] = []

    def call(*_: object) -> None:
        try:
            outside_write("C_Sign")
        except RuntimeError as error:
            raised.append(str(error))

    event.listen(database._pools.writes, "before_cursor_execute", call)
    database.append(setting("a"))
    assert raised
    assert "Database.append" in raised[0]


def test_guard_ends_with_its_block_even_after_an_error() -> None:
    """A write that raised leaves the thread outside."""
    with pytest.raises(ValueError, match="work"), inside_write("Database.write"):
        raise ValueError("work")
    outside_write("C_Sign")
