"""A founded house for tests: a real Core over a SoftHSM token, on each database, with a clock that tests move.

It is founded once a run, since each time leaves keys in the token; each test's database gets a copy of the rows. A
room's conftest imports what it wants: `from tests.house_fixture import core, house_clock, house_config, house_rows,
house_token`, and with them `from tests.tokens import token_folder` and `from tests.databases import dialect,
migrated_url`.
"""

import dataclasses
import ipaddress
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Table

from pki.config import (
    AcmeConfig,
    Config,
    DatabaseConfig,
    HsmConfig,
    HttpConfig,
    ServerConfig,
    ValidationConfig,
)
from pki.core import Core, open_core
from pki.founding import found
from pki.storage.database import Database, Tx
from pki.storage.tables import metadata
from tests.clocks import FrozenClock
from tests.tokens import SoftToken, fresh_token

Rows = dict[Table, list[dict[str, Any]]]

BASE_URL = "https://ca.example:8443"
_LOOPBACK = (ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128"))


def configure(url: str, token: SoftToken, folder: Path) -> Config:
    """Return a configuration over that database and token; loopback may be validated, and nothing listens anywhere."""
    pin_file = folder / "pin"
    pin_file.touch(mode=0o600)
    pin_file.write_text(token.pin)
    return Config(
        server=ServerConfig(base_url=BASE_URL, names=("ca.example",), tls_directory=folder / "tls"),
        http=HttpConfig(base_url="http://ca.example:8080"),
        database=DatabaseConfig(url=url),
        hsm=HsmConfig(module=str(token.module), token_label=token.label, pin_file=pin_file),
        acme=AcmeConfig(validation=ValidationConfig(allow=_LOOPBACK, deadline=2.0)),
    )


def with_validation(config: Config, **changes: object) -> Config:
    """Return `config` with changes to how challenges are checked."""
    validation = dataclasses.replace(config.acme.validation, **changes)  # type: ignore[arg-type]
    return dataclasses.replace(config, acme=dataclasses.replace(config.acme, validation=validation))


@pytest.fixture(scope="session")
def house_token(token_folder: Path) -> SoftToken:
    """Give the token that all houses of this run have their keys in."""
    assert token_folder.is_dir()
    return fresh_token()


@pytest.fixture(scope="session")
def house_rows(house_token: SoftToken, tmp_path_factory: pytest.TempPathFactory) -> Rows:
    """Give what founding writes; the keys that go with it are in `house_token`."""
    folder = tmp_path_factory.mktemp("founding")
    config = configure(f"sqlite:///{folder}/house.db", house_token, folder)
    found(config)
    database = Database.open(config.database.url)
    try:
        with database.read() as tx:
            tables = [(table, tx.execute(table.select()).mappings().all()) for table in metadata.sorted_tables]
    finally:
        database.close()
    return {table: [dict(row) for row in rows] for table, rows in tables if rows}


def copy_house(url: str, rows: Rows) -> None:
    """Put the rows of a founded house into a migrated, empty database."""

    def work(tx: Tx) -> None:
        for table, values in rows.items():
            tx.execute(table.insert(), values)

    database = Database.open(url)
    try:
        database.write(work)
    finally:
        database.close()


@pytest.fixture
def house_clock() -> FrozenClock:
    """Give the clock of the house, which begins at the present."""
    return FrozenClock(datetime.now(UTC).replace(microsecond=0))


@pytest.fixture
def house_config(migrated_url: str, house_token: SoftToken, house_rows: Rows, tmp_path: Path) -> Config:
    """Give the configuration of a founded house: `open_core(house_config)` opens it, as often as one likes."""
    copy_house(migrated_url, house_rows)
    return configure(migrated_url, house_token, tmp_path)


@pytest.fixture
def core(house_config: Config, house_clock: FrozenClock) -> Iterator[Core]:
    """Give a founded house, opened."""
    opened = open_core(house_config, house_clock)
    yield opened
    opened.close()
