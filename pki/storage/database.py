"""The database: reads, writes that are re-run, and appends that are committed in groups.

Two kinds of write. `append` hands rows to the group-commit writer. `write` runs a function of a transaction, which
may run more than once and so must have no effect but on that transaction. Inside either, no token and no network is
called (`pki.storage.guard`).
"""

import os
import re
import sqlite3
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar, cast

from sqlalchemy import URL, Connection, PoolProxiedConnection, exc, make_url

from pki.errors import Misconfigured
from pki.storage import connections
from pki.storage.failures import is_misuse, is_transient, raise_unavailable
from pki.storage.guard import inside_write, outside_write
from pki.storage.kept import KeptConnection
from pki.storage.tables import metadata
from pki.storage.turns import WriteTurn
from pki.storage.writer import Append, GroupWriter

__all__ = ["Append", "Database", "Tx"]

Tx = Connection
"""A transaction in progress; functions that need one take it as their first argument."""

Row = tuple[Any, ...]

T = TypeVar("T")

ATTEMPTS = MappingProxyType({"sqlite": 2, "postgresql": 6})
"""How often a write is run when the database asks for another try."""

TURN_SECONDS = 5.0
"""How long a write waits for its turn on SQLite."""

_READERS = 8
"""Connections kept at hand for point reads: taking one from the pool costs more than the read."""

_URLS = "give sqlite:////absolute/path.db or postgresql+psycopg://user@host/name"
_PLACEHOLDER = re.compile(r"'(?:[^']|'')*'|[?%]")


class Database:
    """One database, of either dialect, for all threads of a process; it may be opened before a fork.

    `dialect` is "sqlite" or "postgresql".
    """

    def __init__(self, url: URL, pools: connections.Pools, turn_path: Path | None) -> None:
        self.dialect = "postgresql" if turn_path is None else "sqlite"
        self.url = url
        self._turn_path = turn_path
        self._inherited: list[object] = []
        self._statements: dict[str, str] = {}
        self._begin(pools)
        self._after_fork_in_children()

    def __repr__(self) -> str:
        """Return the address, without the password."""
        return f"Database({self.url.render_as_string(hide_password=True)!r})"

    @classmethod
    def open(cls, url: str) -> "Database":
        """Open `sqlite:////absolute/path.db` (made with mode 0600 if absent) or `postgresql+psycopg://...`.

        Misconfigured for a URL that cannot be one, DatabaseUnavailable where the database does not answer.
        """
        try:
            address = make_url(url)
        except exc.ArgumentError:
            raise Misconfigured("the database URL cannot be read", advice=_URLS) from None
        if address.drivername in {"sqlite", "sqlite+pysqlite"}:
            database = cls._open_sqlite(address)
        elif address.drivername in {"postgresql", "postgresql+psycopg"}:
            database = cls(address, connections.open_postgresql(address), None)
        else:
            raise Misconfigured(f"no such kind of database: {address.drivername}", advice=_URLS)
        try:
            database.point("SELECT 1")
        except BaseException:
            database.close()
            raise
        return database

    @classmethod
    def _open_sqlite(cls, address: URL) -> "Database":
        path = Path(address.database or "")
        if not path.is_absolute():
            raise Misconfigured("a SQLite database needs the absolute path of its file", advice=_URLS)
        connections.create_file(path)
        turn_path = path.with_name(path.name + ".lock")
        turn = WriteTurn(turn_path, TURN_SECONDS)
        try:
            with turn:
                connections.switch_to_wal(path)
        except sqlite3.Error as error:
            raise_unavailable(error)
            raise
        finally:
            turn.close()
        return cls(address, connections.open_sqlite(path), turn_path)

    @contextmanager
    def read(self) -> Iterator[Tx]:
        """Give a transaction that sees one state of the database and cannot write."""
        try:
            with self._pools.reads.connect() as tx:
                yield tx
        except (exc.SQLAlchemyError, self._driver_error) as error:
            if not is_misuse(error):
                raise_unavailable(error)
            raise

    def point(self, sql: str, params: Sequence[object] = ()) -> Row | None:
        """Return the first row of a query through the driver itself, or None: the quick way to one row by its key.

        `sql` marks parameters by `?`, whatever the dialect. Values come as the driver gives them: a boolean is 0 or
        1 on SQLite, a sealed value is octets.
        """
        try:
            connection = self._reader()
            try:
                row = self._fetch_one(connection, self._statement(sql), params)
            except BaseException:
                connection.invalidate()
                connection.close()
                raise
            self._keep_reader(connection)
        except (exc.SQLAlchemyError, self._driver_error) as error:
            if not is_misuse(error):
                raise_unavailable(error)
            raise
        return row

    def write(self, work: Callable[[Tx], T]) -> T:
        """Run `work` in one transaction of its own and return what it returns, after the commit.

        `work` is run again, from the start, when the database asks for it: it was busy, or another writer was first.
        On SQLite, works that wait at once share one transaction and its commit; where one of them raises, each is run
        again in a transaction of its own.
        Constraint errors (IntegrityError) and whatever `work` raises come through unchanged, after a roll-back.
        """
        outside_write("Database.write")
        if self.dialect == "sqlite":
            return self._writer.write(work)
        return self._attempt(work, "Database.write")

    def append(self, *rows: Append, durable: bool = True) -> None:
        """Add `rows`, all or none; return after the commit that holds them, which may hold other callers' too.

        With `durable` False, rows on SQLite outlive every process, but not a power cut: the commit is not flushed to
        the disk. That is for what means nothing after the machine has started again.
        """
        outside_write("Database.append")
        if rows:
            self._writer.append(rows, durable=durable)

    def close(self) -> None:
        """Commit what waits and close every connection."""
        self._writer.close()
        self._drop_kept()
        self._pools.close()
        if self._turn is not None:
            self._turn.close()

    def _begin(self, pools: connections.Pools) -> None:
        self._pools = pools
        dbapi: Any = pools.reads.dialect.loaded_dbapi
        self._driver_error: type[Exception] = dbapi.Error
        self._turn = None if self._turn_path is None else WriteTurn(self._turn_path, TURN_SECONDS)
        self._readers: deque[PoolProxiedConnection] = deque()
        self._kept: KeptConnection | None = None
        order = {table: position for position, table in enumerate(metadata.sorted_tables)}
        turn = nullcontext() if self._turn is None else self._turn
        self._writer = GroupWriter(turn, self._attempt, order, TURN_SECONDS)

    def _attempt(self, work: Callable[[Tx], T], holder: str, durable: bool = True) -> T:
        attempts = ATTEMPTS[self.dialect]
        for attempt in range(1, attempts + 1):
            try:
                with inside_write(holder):
                    return self._transact(work, durable=durable)
            except (exc.SQLAlchemyError, self._driver_error) as error:
                if not is_transient(error) or attempt == attempts:
                    raise_unavailable(error)
                    raise
            if self.dialect == "postgresql":  # SQLite has waited already
                time.sleep(0.005 * 2**attempt)
        raise AssertionError("unreachable")

    def _transact(self, work: Callable[[Tx], T], *, durable: bool) -> T:
        """Run `work` in one transaction, and return after its commit.

        On SQLite the turn is held, so that one connection will do, and it is kept: to take it from the pool and give
        it back costs as much as a commit. One that an error left in any doubt is closed.
        """
        if self._turn is None:
            with self._pools.writes.begin() as tx:
                return work(tx)
        kept = self._kept = self._kept or KeptConnection(self._pools)
        try:
            return kept.run(work, flushed=durable)
        finally:
            if not kept.is_clean():
                self._kept = None
                kept.close(reuse=False)

    def _reader(self) -> PoolProxiedConnection:
        try:
            return self._readers.pop()
        except IndexError:
            return self._pools.reads.raw_connection()

    def _keep_reader(self, connection: PoolProxiedConnection) -> None:
        """Keep a connection for the next point read; one to a server goes back to the pool, which tests it."""
        if self._turn is None or len(self._readers) >= _READERS:
            connection.close()
        else:
            self._readers.append(connection)

    def _drop_kept(self) -> None:
        while self._readers:
            self._readers.pop().close()
        if self._kept is not None:
            self._kept.close()
            self._kept = None

    def _fetch_one(self, connection: PoolProxiedConnection, sql: str, params: Sequence[object]) -> Row | None:
        driver: Any = connection.driver_connection
        if self.dialect == "sqlite":
            return cast("Row | None", driver.execute(sql, params).fetchone())
        driver.autocommit = True  # else BEGIN and ROLLBACK are a round trip each
        row: Row | None = driver.execute(sql, params).fetchone()
        driver.autocommit = False
        return row

    def _statement(self, sql: str) -> str:
        statement = self._statements.get(sql)
        if statement is None:
            statement = sql if self.dialect == "sqlite" else _PLACEHOLDER.sub(_psycopg_placeholder, sql)
            self._statements[sql] = statement
        return statement

    def _after_fork_in_children(self) -> None:
        me = weakref.ref(self)

        def start_afresh() -> None:
            database = me()
            if database is not None:
                database._restart()  # noqa: SLF001 - this is the database's own hook

        os.register_at_fork(after_in_child=start_afresh)

    def _restart(self) -> None:
        # The parent's connections, threads and locks are not the child's. SQLite forbids even closing its
        # connections here, so they are kept, unused, as long as the child lives.
        self._inherited += [self._pools.reads.pool, self._pools.writes.pool, self._writer]
        self._inherited += [self._readers, self._kept]
        if self._turn is not None:
            self._turn.close()  # this copy only: the lock stays with the parent
        for pool in (self._pools.reads, self._pools.writes):
            pool.dispose(close=False)
        self._begin(self._pools)


def _psycopg_placeholder(found: re.Match[str]) -> str:
    text = found.group()
    return {"?": "%s", "%": "%%"}.get(text) or text.replace("%", "%%")
