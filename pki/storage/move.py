"""Move everything from one database to another, of whatever dialects, and prove that it arrived (A14)."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

import orjson
from sqlalchemy import Table, func, insert, select

from pki.errors import Conflict, Misconfigured
from pki.seal.envelope import Envelope
from pki.storage.database import Database, Tx
from pki.storage.migrate import is_current, migrate
from pki.storage.tables import metadata

_BATCH = 500
_MODULUS = 1 << 256


@dataclass(frozen=True, slots=True)
class Digest:
    """How many rows a table has, and the sum of their SHA-256 in hex, which no order of reading changes."""

    rows: int
    sha256_sum: str


def digest(tx: Tx, table: Table) -> Digest:
    """Read a whole table and return its digest; equal on both dialects for equal values."""
    rows = total = 0
    for row in _rows(tx, table):
        rows += 1
        total = (total + int.from_bytes(hashlib.sha256(_canonical(row)).digest())) % _MODULUS
    return Digest(rows, f"{total:064x}")


def move(source: Database, target: Database) -> dict[str, Digest]:
    """Copy every row of `source` into `target`, which is migrated and must be empty; return each table's digest.

    The source is read in one snapshot, and once more at the end: nothing may write to it meanwhile. Whatever fails,
    the target is left empty.

    Raises:
        Misconfigured: the source is not of this version, or both are one.
        Conflict: the target holds rows, or the source was written to meanwhile.
        DatabaseUnavailable: one of them does not serve.
    """
    if source.url == target.url:
        raise Misconfigured("source and target are the same database", advice="name another target")
    if not is_current(source):
        raise Misconfigured("the source lacks tables of this version", advice="run `sealward migrate` on it first")
    migrate(target)
    return target.write(lambda tx: _copy(source, tx))


def _copy(source: Database, target: Tx) -> dict[str, Digest]:
    _require_empty(target)
    with source.read() as snapshot:
        for table in metadata.sorted_tables:
            for batch in _batches(_rows(snapshot, table)):
                target.execute(insert(table), batch)
        before = _digests(snapshot)
    with source.read() as later:
        _require_equal(
            before, _digests(later), "the source was written to meanwhile", "stop the service, then try again"
        )
    after = _digests(target)
    _require_equal(before, after, "the target does not hold what the source does", "report this: nothing was kept")
    return after


def _digests(tx: Tx) -> dict[str, Digest]:
    return {table.name: digest(tx, table) for table in metadata.sorted_tables}


def _require_empty(tx: Tx) -> None:
    filled = [
        table.name
        for table in metadata.sorted_tables
        if tx.execute(select(func.count()).select_from(table)).scalar_one()
    ]
    if filled:
        raise Conflict(f"the target holds rows already, in {', '.join(filled)}", advice="name an empty database")


def _require_equal(one: Mapping[str, Digest], other: Mapping[str, Digest], what: str, advice: str) -> None:
    differing = [name for name in one if one[name] != other[name]]
    if differing:
        raise Conflict(f"{what}: {', '.join(differing)}", advice=advice)


def _rows(tx: Tx, table: Table) -> Iterator[dict[str, Any]]:
    names = [str(name) for name in table.columns.keys()]  # noqa: SIM118 - not a dict
    for row in tx.execute(select(table).execution_options(yield_per=_BATCH)):
        yield dict(zip(names, row, strict=True))


def _batches(rows: Iterable[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    iterator = iter(rows)
    while batch := list(islice(iterator, _BATCH)):
        yield batch


_PLAIN: Mapping[type, Callable[[Any], object]] = {
    Envelope: lambda value: value.to_bytes().hex(),
    bytes: bytes.hex,
    memoryview: lambda value: bytes(value).hex(),
}


def _canonical(row: Mapping[str, Any]) -> bytes:
    plain = {name: _PLAIN[type(value)](value) if type(value) in _PLAIN else value for name, value in row.items()}
    return orjson.dumps(plain, option=orjson.OPT_SORT_KEYS)
