"""`sealward db`: what is done to the database as a whole."""

from contextlib import closing
from pathlib import Path

import click

from cli.offline.settings import config_option
from pki.config import load
from pki.core import database_url, read_secret
from pki.storage.database import Database
from pki.storage.move import move


@click.group
def command() -> None:
    """Act on the database as a whole."""


@command.command("move")
@config_option
@click.option(
    "--to-url-file",
    "url_file",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="File of mode 0600 that holds the URL of the new database, which must be empty.",
)
def move_command(*, file: Path, url_file: Path) -> None:
    """Copy everything into another database, SQLite or PostgreSQL, and compare counts and digests.

    Stop the service first. The old database stays as it is: when the counts agree, name the new one in the
    configuration.
    """
    with (
        closing(Database.open(database_url(load(file)))) as source,
        closing(Database.open(read_secret(url_file, "--to-url-file"))) as target,
    ):
        found = move(source, target)
    width = max(map(len, found))
    for name, digest in found.items():
        click.echo(f"{name:<{width}}  {digest.rows:>9}  {digest.sha256_sum[:16]}")
    click.echo("Everything arrived: counts and digests are equal. Name the new database in [database], then start.")
