"""Statements of the hot path: compiled once a dialect, and run through the driver itself.

Building, compiling and binding a statement costs several times what running it does: measured on SQLite, an insert
takes 120 us through SQLAlchemy and 15 us so. What is run this way must need no conversion of values: no sealed column.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

from sqlalchemy import Connection, Delete, Insert, Select, TextClause, Update, exc

_Statement = Select[*tuple[Any, ...]] | Insert | Update | Delete | TextClause
_Values = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class _Compiled:
    """SQL, how the driver takes its parameters, the values that stand in the statement, and the driver's errors."""

    sql: str
    bind: Callable[[_Values], Any]
    constants: _Values
    errors: type[Exception]


class Prepared:
    """A statement whose parameters are given by name at each run; of an insert, `columns` are those given."""

    def __init__(self, statement: _Statement, columns: Sequence[str] | None = None) -> None:
        self._statement = statement
        self._columns = columns
        self._compiled: dict[str, _Compiled] = {}

    def run(self, tx: Connection, values: Mapping[str, object]) -> Any:
        """Run it in `tx` and return the driver's cursor (PEP 249).

        Raises:
            DBAPIError: IntegrityError and the like, as SQLAlchemy raises them.
        """
        compiled = self._compiled.get(tx.dialect.name) or self._compile(tx)
        given = {**compiled.constants, **values} if compiled.constants else values
        driver: Any = tx.connection.dbapi_connection
        try:
            return driver.execute(compiled.sql, compiled.bind(given))
        except compiled.errors as error:
            raise wrapped(compiled.sql, error, tx) from error

    def _compile(self, tx: Connection) -> _Compiled:
        made: Any = self._statement.compile(dialect=tx.dialect, column_keys=self._columns)
        constants = {name: value for name, value in made.params.items() if value is not None}
        driver: Any = tx.dialect.loaded_dbapi
        found = _Compiled(str(made), _binder(made.positiontup), constants, driver.Error)
        self._compiled[tx.dialect.name] = found
        return found


def wrapped(sql: str, error: Exception, tx: Connection) -> Exception:
    """Return the driver's `error` as SQLAlchemy raises it, without values."""
    driver: Any = tx.dialect.loaded_dbapi
    return exc.DBAPIError.instance(sql, None, error, driver.Error, hide_parameters=True, dialect=tx.dialect)


def _binder(order: Sequence[str] | None) -> Callable[[_Values], Any]:
    """Return what makes a statement's parameters of named values: `order` is that of parameters without names."""
    if order is None:
        return lambda values: values
    if len(order) > 1:
        return itemgetter(*order)
    return lambda values: [values[name] for name in order]
