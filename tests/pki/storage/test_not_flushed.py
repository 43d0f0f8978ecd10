"""Rows that need not outlive a power cut: they outlive everything else, and nobody else pays for them."""

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError

from pki.storage.database import Database, Tx
from pki.storage.tables import settings
from tests.pki.storage.rows import setting

FULL = 2


def _synchronous(tx: Tx) -> int | None:
    if tx.dialect.name != "sqlite":
        return None
    return int(tx.exec_driver_sql("PRAGMA synchronous").scalar_one())


def _count(database: Database) -> int:
    with database.read() as tx:
        return tx.execute(select(func.count()).select_from(settings)).scalar_one()


def test_the_next_write_waits_for_the_disk_again(database: Database) -> None:
    """DESIGN 11: whatever went before, a durable commit is flushed."""
    for number in range(5):
        database.append(setting(f"n{number}"), durable=False)
        assert database.write(_synchronous) in {FULL, None}
    assert _count(database) == 5


def test_one_that_fails_leaves_the_rule_in_force(database: Database) -> None:
    """A nonce that is spent twice must not make the next certificate's commit an unflushed one."""
    database.append(setting("n"), durable=False)
    with pytest.raises(IntegrityError):
        database.append(setting("n"), durable=False)
    assert database.write(_synchronous) in {FULL, None}
    assert _count(database) == 1


def test_a_group_with_one_durable_member_is_flushed(database: Database) -> None:
    """Callers share a commit: the strictest of them decides how."""

    def act(number: int) -> int | None:
        if number % 2:
            database.append(setting(f"n{number}"), durable=False)
            return None
        return database.write(_synchronous)

    with ThreadPoolExecutor(16) as pool:
        assert set(pool.map(act, range(400))) <= {FULL, None}
    assert _count(database) == 200


def test_they_outlive_a_killed_process(migrated_url: str) -> None:
    """A row is there although its process was killed right after the answer."""
    script = (
        "import os, signal, sys\n"
        "from pki.storage.database import Database\n"
        "from tests.pki.storage.rows import setting\n"
        "database = Database.open(sys.argv[1])\n"
        "database.append(setting('kept'), durable=False)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    root = Path(__file__).parents[3]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    done = subprocess.run([sys.executable, "-c", script, migrated_url], env=environment, check=False, cwd=root)
    assert done.returncode == -signal.SIGKILL
    database = Database.open(migrated_url)
    try:
        assert _count(database) == 1
    finally:
        database.close()
