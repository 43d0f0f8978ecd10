"""Fixtures: every test that stores something runs on SQLite and on PostgreSQL.

`database` is migrated, `empty_database` is not; `migrated_url` and `database_url` are such databases' addresses. A
room's conftest imports those it needs. A migrated SQLite file is made once a session, and copied; a migrated
PostgreSQL database too, and emptied after each test: a new one takes 30 times as long. So a test that changes the
schema itself starts from `empty_database`.
"""

import shutil
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import make_url

from pki.storage.database import Database
from pki.storage.migrate import migrate
from pki.storage.tables import metadata
from tests import postgres

DIALECTS = ("sqlite", "postgresql")

ADDRESSES = pytest.StashKey[dict[str, str]]()
"""The dialects that tests have run on, each with an address, its password left out."""

_sqlite_template = pytest.StashKey[Path]()
_postgresql_house = pytest.StashKey["_House"]()


class _House:
    """The session's migrated PostgreSQL database."""

    def __init__(self, config: pytest.Config) -> None:
        server = postgres.server(config)
        name = f"house_{uuid.uuid4().hex}"
        self.url = server.create(name).render_as_string(hide_password=False)
        config.add_cleanup(lambda: server.drop(name))
        _migrate(self.url)

    def empty(self) -> None:
        """Delete every row, in spite of the triggers, and end connections that a test has left."""
        frozen = ("certificates", "audit_events", "ssh_certificates")
        statements = [f"ALTER TABLE {table} DISABLE TRIGGER USER" for table in frozen]
        statements += [f"DELETE FROM {table.name}" for table in reversed(metadata.sorted_tables)]  # noqa: S608 - ours
        statements += [f"ALTER TABLE {table} ENABLE TRIGGER USER" for table in frozen]
        with psycopg.connect(self.url.replace("+psycopg", "")) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            connection.execute("; ".join(statements).encode())


@pytest.fixture(params=DIALECTS)
def dialect(request: pytest.FixtureRequest) -> str:
    """Name the dialect on which the test runs."""
    return str(request.param)


def _noted(config: pytest.Config, url: str) -> str:
    """Keep the address for the summary, and return it."""
    address = make_url(url)
    seen = config.stash.setdefault(ADDRESSES, {})
    seen.setdefault(address.get_backend_name(), address.render_as_string(hide_password=True))
    return url


@pytest.fixture
def database_url(dialect: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[str]:
    """Give the address of an empty database."""
    if dialect == "sqlite":
        yield _noted(request.config, f"sqlite:///{tmp_path}/house.db")
    else:
        server = postgres.server(request.config)
        name = f"test_{uuid.uuid4().hex}"
        yield _noted(request.config, server.create(name).render_as_string(hide_password=False))
        server.drop(name)


@pytest.fixture
def empty_database(database_url: str) -> Iterator[Database]:
    """Give an open database that was never migrated."""
    database = Database.open(database_url)
    yield database
    database.close()


@pytest.fixture
def migrated_url(dialect: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[str]:
    """Give the address of a database with every table and no row."""
    if dialect == "sqlite":
        shutil.copyfile(_migrated_file(request.config), tmp_path / "house.db")
        yield _noted(request.config, f"sqlite:///{tmp_path}/house.db")
    else:
        house = request.config.stash.get(_postgresql_house, None)
        if house is None:
            house = request.config.stash[_postgresql_house] = _House(request.config)
        yield _noted(request.config, house.url)
        house.empty()


@pytest.fixture
def database(migrated_url: str) -> Iterator[Database]:
    """Give an open database with every table and no row."""
    database = Database.open(migrated_url)
    yield database
    database.close()


def _migrated_file(config: pytest.Config) -> Path:
    if _sqlite_template not in config.stash:
        folder = Path(tempfile.mkdtemp(prefix="sealward-test-"))
        config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))
        _migrate(f"sqlite:///{folder}/template.db")
        config.stash[_sqlite_template] = folder / "template.db"
    return config.stash[_sqlite_template]


def _migrate(url: str) -> None:
    database = Database.open(url)
    try:
        migrate(database)
    finally:
        database.close()
