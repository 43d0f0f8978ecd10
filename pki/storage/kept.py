"""The connection that writes on SQLite: kept open, its transactions begun and ended through the driver itself.

SQLAlchemy's own begin and commit cost more than SQLite's. So it is left in one transaction of its own for as long as
the connection lives, which keeps it from beginning others, and those of the file are BEGIN IMMEDIATE and COMMIT.
"""

import sqlite3
from collections.abc import Callable
from typing import TypeVar

from sqlalchemy import Connection

from pki.storage.connections import Pools, flush_commits, sqlite_driver
from pki.storage.statements import wrapped

T = TypeVar("T")


class KeptConnection:
    """A connection of the pool that writes; whoever uses it holds the turn at writing."""

    def __init__(self, pools: Pools) -> None:
        self._check_file = pools.check_file
        self._flushes = True
        self._connection = pools.writes.connect()
        try:
            self._outermost = self._connection.begin()
            self._driver = sqlite_driver(self._connection)
            self._driver.rollback()
        except BaseException:
            self._connection.close()
            raise

    def run(self, work: Callable[[Connection], T], *, flushed: bool) -> T:
        """Return what `work` does in one transaction, after its commit; flushed to the disk, as is the rule, or not.

        After an error the connection is of use only if `is_clean`.
        """
        if flushed:
            return self._run(work)
        self._flushes = False
        try:
            flush_commits(self._driver, wanted=False)
            return self._run(work)
        finally:
            flush_commits(self._driver, wanted=True)
            self._flushes = True

    def is_clean(self) -> bool:
        """Return whether nothing of the last transaction is left, neither for SQLite nor for SQLAlchemy."""
        connection = self._connection
        return (
            self._flushes
            and not self._driver.in_transaction
            and connection.get_transaction() is self._outermost
            and self._outermost.is_active
            and not connection.in_nested_transaction()
        )

    def close(self, *, reuse: bool = True) -> None:
        """Give the connection back to the pool, or have it closed."""
        if not reuse:
            self._connection.invalidate()
        self._connection.close()

    def _run(self, work: Callable[[Connection], T]) -> T:
        driver = self._driver
        self._check_file()
        try:
            driver.execute("BEGIN IMMEDIATE")
            result = work(self._connection)
            self._commit()
        except BaseException:
            driver.rollback()
            raise
        return result

    def _commit(self) -> None:
        if self._connection.get_transaction() is not self._outermost:
            raise RuntimeError("a work has committed or rolled back itself, which is for Database.write to do")
        try:
            self._driver.execute("COMMIT")
        except sqlite3.Error as error:
            raise wrapped("COMMIT", error, self._connection) from error
