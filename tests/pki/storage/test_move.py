"""Moving a house between databases: everything arrives, or nothing does (A14)."""

import itertools
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import update

from pki.core import Core
from pki.errors import Conflict, Misconfigured
from pki.storage.database import Database
from pki.storage.move import digest, move
from pki.storage.tables import certificates, metadata, settings
from tests import postgres
from tests.pki.storage.rows import certificate, event, setting


@pytest.fixture
def target_url(dialect: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[str]:
    """Give the address of an empty database of the other dialect."""
    if dialect == "postgresql":
        yield f"sqlite:///{tmp_path}/target.db"
        return
    server = postgres.server(request.config)
    yield server.create("move_target").render_as_string(hide_password=False)
    server.drop("move_target")


@pytest.fixture
def target(target_url: str) -> Iterator[Database]:
    """Give that database, open."""
    opened = Database.open(target_url)
    yield opened
    opened.close()


def _count(database: Database) -> int:
    with database.read() as tx:
        return sum(digest(tx, table).rows for table in metadata.sorted_tables)


def test_everything_arrives_with_equal_counts_and_digests(core: Core, target: Database) -> None:
    """A14: from each dialect to the other, sealed values and octets included; and nothing of the source changes."""
    core.database.append(*(certificate(f"c{number}") for number in range(1_200)), event("e1"))
    with core.database.read() as tx:
        before = {table.name: digest(tx, table) for table in metadata.sorted_tables}
    assert move(core.database, target) == before
    with core.database.read() as tx:
        assert {table.name: digest(tx, table) for table in metadata.sorted_tables} == before
    assert before["certificates"].rows > 1_200
    assert before["sealed_values"].rows >= 1


def test_a_target_with_rows_is_refused(core: Core, target: Database) -> None:
    """Two houses are never mixed; what was there stays."""
    move(core.database, target)
    rows = _count(target)
    with pytest.raises(Conflict, match="holds rows already"):
        move(core.database, target)
    assert _count(target) == rows


def test_a_database_is_not_moved_into_itself(core: Core) -> None:
    """The same address twice is a mistake."""
    with pytest.raises(Misconfigured, match="same database"):
        move(core.database, core.database)


def test_the_digest_sees_one_changed_value(core: Core) -> None:
    """A comparison that could not fail would prove nothing."""
    core.database.append(setting("x", "1"), certificate("c1"))
    with core.database.read() as tx:
        before = digest(tx, settings), digest(tx, certificates)
    core.database.write(lambda tx: tx.execute(update(settings).where(settings.c.name == "x").values(value="2")))
    core.database.write(lambda tx: tx.execute(update(certificates).values(state="issued")))
    with core.database.read() as tx:
        after = digest(tx, settings), digest(tx, certificates)
    assert before[0] != after[0]
    assert before[1] != after[1]


def test_a_write_to_the_source_meanwhile_undoes_the_move(core: Core, target: Database) -> None:
    """A service that still runs is noticed, and the target is left empty."""
    stop, begun = threading.Event(), threading.Event()

    def serve() -> None:
        for number in itertools.count():
            core.database.append(setting(f"late {number}"))
            begun.set()
            if stop.is_set():
                return

    with ThreadPoolExecutor(1) as pool:
        pool.submit(serve)
        assert begun.wait(5)
        try:
            with pytest.raises(Conflict, match="written to meanwhile"):
                move(core.database, target)
        finally:
            stop.set()
    assert _count(target) == 0
