"""Group commit: what waits is written in one transaction, and the callers go on after it.

A transaction a caller costs a disk flush a caller, and SQLite lets one in at a time; measured there, 16 threads with a
transaction each wrote 911 rows a second, grouped 2,274. There are no savepoints, which double the cost: a group that
fails is run again a caller at a time, so that an error reaches the one who made it.
"""

import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, TypeVar

from sqlalchemy import Connection, Table

from pki.errors import DatabaseUnavailable
from pki.storage.failures import Cause
from pki.storage.statements import Prepared

T = TypeVar("T")

GROUP_LIMIT = 256
"""Callers in one transaction, so that the first of a crowd does not wait for all of it."""


@dataclass(frozen=True, slots=True)
class Append:
    """A row to add to `table`: column names and values. Columns left out are null.

    `prepared` is the statement that inserts just these, for a row of the hot path.
    """

    table: Table
    values: Mapping[str, Any]
    prepared: Prepared | None = None

    def __post_init__(self) -> None:
        """Refuse a column that the table does not have."""
        unknown = self.values.keys() - self.table.columns.keys()
        if unknown:
            raise ValueError(f"{self.table.name} has no column {', '.join(sorted(unknown))}")

    def complete(self) -> dict[str, Any]:
        """Return a value for every column: an executemany takes its columns from its first row."""
        return {name: self.values.get(name) for name in self.table.columns.keys()}  # noqa: SIM118 - not a dict


@dataclass(slots=True, eq=False)
class _Waiting:
    rows: tuple[Append, ...] = ()
    durable: bool = True
    work: Callable[[Connection], Any] | None = None
    result: Any = None
    done: bool = False
    error: Exception | None = None


def insert_all(tx: Connection, rows: Sequence[Append], order: Mapping[Table, int]) -> None:
    """Insert `rows` in `tx`: tables in `order`, rows by primary key.

    The fixed order is what keeps two groups from waiting for each other's rows: unsorted hot rows deadlocked.
    """
    if len(rows) == 1 and rows[0].prepared is not None:
        rows[0].prepared.run(tx, rows[0].values)
        return
    tables: dict[Table, list[Append]] = {}
    for row in rows:
        tables.setdefault(row.table, []).append(row)
    for table in sorted(tables, key=order.__getitem__):
        _insert(tx, table, tables[table])


def _insert(tx: Connection, table: Table, rows: list[Append]) -> None:
    key, plain = itemgetter(*table.primary_key.columns.keys()), []
    for row in sorted(rows, key=lambda row: key(row.values)):
        if row.prepared is None:
            plain.append(row.complete())
        else:
            row.prepared.run(tx, row.values)
    if plain:
        tx.execute(table.insert(), plain)


class GroupWriter:
    """Commits what waits: the caller who is first does it for all who wait behind, and no thread is woken for it.

    `turn` gives the turn at writing; `commit` runs a function in one transaction, with what re-runs are worth it,
    under a name for the guard, and flushed to the disk or not; `order` is each table's place, parents before children;
    `patience` is how long a caller waits, in seconds.
    """

    def __init__(
        self,
        turn: AbstractContextManager[None],
        commit: Callable[[Callable[[Connection], None], str, bool], None],
        order: Mapping[Table, int],
        patience: float,
    ) -> None:
        self._turn = turn
        self._commit = commit
        self._order = order
        self._patience = patience
        self._leading = threading.Lock()
        self._state = threading.Lock()
        self._waiting: deque[_Waiting] = deque()
        self._closed = False

    def append(self, rows: tuple[Append, ...], *, durable: bool = True) -> None:
        """Return when `rows` are committed; raise what kept them out."""
        self._submit(_Waiting(rows=rows, durable=durable))

    def write(self, work: Callable[[Connection], T]) -> T:
        """Return what `work` does, after the commit; it may run in another caller's thread, and more than once."""
        waiting = _Waiting(work=work)
        self._submit(waiting)
        result: T = waiting.result
        return result

    def close(self) -> None:
        """Take no more, and return when what waits is committed."""
        with self._state:
            self._closed = True
        with self._leading:
            while self._waiting:
                self._lead()

    def _submit(self, waiting: _Waiting) -> None:
        with self._state:
            if self._closed:
                raise Cause.CLOSED.error()
            self._waiting.append(waiting)
        self._await(waiting)
        if isinstance(waiting.error, DatabaseUnavailable):  # shared by a group: each caller raises its own
            raise DatabaseUnavailable(waiting.error.message, advice=waiting.error.advice) from waiting.error
        if waiting.error is not None:
            raise waiting.error

    def _await(self, waiting: _Waiting) -> None:
        """Return when it is done: by another, or else by this thread when it is its turn to lead."""
        if not self._leading.acquire(timeout=self._patience):
            with self._state:
                if waiting in self._waiting:
                    self._waiting.remove(waiting)
                    raise Cause.LOCKED.error("another thread of this process")
            self._leading.acquire()  # a leader has it in hand
        try:
            while not waiting.done:
                self._lead()
        finally:
            self._leading.release()

    def _lead(self) -> None:
        try:
            with self._turn:
                self._commit_group(self._take())
        except Exception as error:  # noqa: BLE001 - whatever it is, the callers must hear of it
            _settle(self._take(), error)

    def _take(self) -> list[_Waiting]:
        with self._state:
            if len(self._waiting) > GROUP_LIMIT:
                return [self._waiting.popleft() for _ in range(GROUP_LIMIT)]
            group = list(self._waiting)
            self._waiting.clear()
            return group

    def _commit_group(self, group: list[_Waiting]) -> None:
        try:
            holder = "append" if all(waiting.work is None for waiting in group) else "write"
            durable = any(waiting.durable for waiting in group)
            self._commit(lambda tx: self._run(tx, group), f"Database.{holder}", durable)
        except DatabaseUnavailable as error:
            _settle(group, error)
        except Exception as error:  # noqa: BLE001 - one caller's fault must not become another's
            if len(group) == 1:
                _settle(group, error)
            else:
                for waiting in group:
                    self._commit_group([waiting])
        except BaseException:
            _settle(group, Cause.CLOSED.error())
            raise
        else:
            _settle(group, None)

    def _run(self, tx: Connection, group: list[_Waiting]) -> None:
        insert_all(tx, [row for waiting in group for row in waiting.rows], self._order)
        for waiting in group:
            if waiting.work is not None:
                waiting.result = waiting.work(tx)


def _settle(group: list[_Waiting], error: Exception | None) -> None:
    for waiting in group:
        waiting.error = error
        waiting.done = True
