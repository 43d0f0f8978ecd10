"""The schema: migrated, compared, upgraded by one starter at a time."""

import threading

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect, text

from pki.errors import DatabaseUnavailable, Misconfigured
from pki.storage import migrate as migrate_module
from pki.storage.database import Database, Tx
from pki.storage.migrate import is_current, migrate, pending
from pki.storage.tables import metadata


def test_migrated_schema_equals_the_tables(database: Database) -> None:
    """A14: what the migrations build is what tables.py says, on both databases."""
    with database.read() as tx:
        context = MigrationContext.configure(tx, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, metadata) == []


def test_empty_database_is_not_current_until_migrated(empty_database: Database) -> None:
    """A database without tables has revisions pending; after migrate it has none."""
    assert not is_current(empty_database)
    assert pending(empty_database)[0] == "0001"
    migrate(empty_database)
    assert is_current(empty_database)
    assert pending(empty_database) == ()


def test_migrating_twice_changes_nothing(database: Database) -> None:
    """Migrate on a current database does nothing."""
    migrate(database)
    assert is_current(database)


def test_four_starters_migrate_once(database_url: str) -> None:
    """Starters at the same time do not race: one migrates, the others wait and find nothing to do."""
    databases = [Database.open(database_url) for _ in range(4)]
    failures: list[BaseException] = []

    def start(database: Database) -> None:
        try:
            migrate(database)
        except BaseException as error:  # noqa: BLE001 - reported below
            failures.append(error)

    threads = [threading.Thread(target=start, args=(database,)) for database in databases]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert is_current(databases[0])
    for database in databases:
        database.close()


def test_failed_migration_leaves_nothing(empty_database: Database) -> None:
    """A migration that fails half-way leaves no table, on SQLite too, and no revision."""

    def half(tx: Tx) -> None:
        migrate_module._upgrade(tx, empty_database.dialect)
        raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        empty_database.write(half)
    with empty_database.read() as tx:
        assert inspect(tx).get_table_names() == []


def test_newer_database_is_refused(empty_database: Database) -> None:
    """A database that a newer version has migrated is left alone, and the error says so."""
    migrate(empty_database)
    empty_database.write(lambda tx: tx.execute(text("UPDATE alembic_version SET version_num = '9999'")))
    with pytest.raises(Misconfigured, match="9999"):
        migrate(empty_database)
    with pytest.raises(Misconfigured):
        is_current(empty_database)


def test_query_before_migration_says_to_migrate(empty_database: Database) -> None:
    """A missing table is reported as a database that was not migrated."""
    with pytest.raises(DatabaseUnavailable, match="sealward migrate"):
        empty_database.point("SELECT value FROM settings WHERE name = ?", ("x",))
