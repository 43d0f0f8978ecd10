"""Bring a database to this version's schema. Forward only; one transaction; one starter at a time."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import text

from pki.errors import Misconfigured
from pki.storage import migrations
from pki.storage.database import Database, Tx

_LOCK = 0x5EA1_3A4D
"""Names the advisory lock on PostgreSQL; on SQLite the turn at writing is the lock."""


def migrate(database: Database) -> None:
    """Run the migrations that the database lacks, all or none; nothing happens where it lacks none.

    Raises:
        Misconfigured: a newer version of Sealward has migrated it already.
        DatabaseUnavailable: the database does not serve now.
    """
    database.write(lambda tx: _upgrade(tx, database.dialect))


def is_current(database: Database) -> bool:
    """Return whether the database has exactly this version's schema."""
    return not pending(database)


def pending(database: Database) -> tuple[str, ...]:
    """Return the revisions that `migrate` would run, oldest first; Misconfigured if the database is newer than us."""
    with database.read() as tx:
        return _pending(tx, ScriptDirectory.from_config(_config()))


def _upgrade(tx: Tx, dialect: str) -> None:
    if dialect == "postgresql":
        tx.execute(text("SET LOCAL lock_timeout = '60s'"))
        tx.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
    config = _config()
    if _pending(tx, ScriptDirectory.from_config(config)):
        config.attributes["connection"] = tx
        command.upgrade(config, "head")


def _pending(tx: Tx, scripts: ScriptDirectory) -> tuple[str, ...]:
    revisions = [script.revision for script in scripts.walk_revisions()]  # newest first
    current = MigrationContext.configure(tx).get_current_revision()
    if current is None:
        return tuple(reversed(revisions))
    if current not in revisions:
        raise Misconfigured(
            f"the database is at revision {current}, which this version does not know",
            advice="run the newer version of Sealward that migrated it, or restore a backup from before",
        )
    return tuple(reversed(revisions[: revisions.index(current)]))


def _config() -> Config:
    config = Config()
    folder = str(Path(migrations.__path__[0]).resolve())
    config.set_main_option("script_location", folder.replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config
