"""`sealward migrate`: bring the database to this version's tables."""

from contextlib import closing
from pathlib import Path

import click

from cli.offline.settings import config_option
from pki.config import load
from pki.core import database_url
from pki.storage.database import Database
from pki.storage.grants import grant
from pki.storage.migrate import migrate, pending


@click.command
@config_option
@click.option("--grant", "role", help="PostgreSQL role of the service, which gets the rights it needs and no others.")
def command(*, file: Path, role: str | None) -> None:
    """Bring the database to this version's tables, all of them or none."""
    with closing(Database.open(database_url(load(file)))) as database:
        missing = pending(database)
        migrate(database)
        if role is not None:
            grant(database, role)
    click.echo(f"The database is migrated: {', '.join(missing)}." if missing else "The database was up to date.")
