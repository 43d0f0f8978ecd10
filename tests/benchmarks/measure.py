"""What all benchmarks share: CPU per operation, and the settings under which it was measured.

CPU is that of the whole process, all threads: it repeats where wall-clock time does not. A run in which durability or
audit is off is void.
"""

import os
import platform
import sqlite3
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from sqlalchemy import func, select

from pki.core import Core
from pki.storage.database import Database, Tx
from pki.storage.tables import audit_events
from tests.service import processes_of

T = TypeVar("T")


class VoidRunError(Exception):
    """Durability or audit was off, so the figures mean nothing."""


@dataclass(frozen=True)
class Figure:
    """CPU and wall-clock time of one operation, in milliseconds."""

    name: str
    count: int
    cpu_ms: float
    wall_ms: float

    def __str__(self) -> str:
        """Return one line of a report."""
        rate = 1000 / self.wall_ms if self.wall_ms else 0.0
        return f"{self.name:<44} {self.cpu_ms:8.3f} ms CPU {self.wall_ms:8.3f} ms wall {rate:9.0f}/s  (n={self.count})"


def measure(name: str, work: Callable[[T], object], items: Iterable[T]) -> Figure:
    """Run `work` on each item and return what one of them costs."""
    listed = list(items)
    wall, cpu = time.perf_counter(), time.process_time()
    for item in listed:
        work(item)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    return Figure(name, len(listed), cpu * 1000 / len(listed), wall * 1000 / len(listed))


def measure_at_once(name: str, work: Callable[[T], object], items: Iterable[T], threads: int) -> Figure:
    """Run `work` on all items in so many threads, as a service does under load; what one of them costs."""
    listed = list(items)
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, listed[:threads]))  # each thread's own connections and sessions are there
        wall, cpu = time.perf_counter(), time.process_time()
        list(pool.map(work, listed[threads:]))
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    count = len(listed) - threads
    return Figure(name, count, cpu * 1000 / count, wall * 1000 / count)


def machine() -> str:
    """Return what the figures were measured on."""
    return f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.2f}, Python {platform.python_version()}"


def settings_of(core: Core) -> str:
    """Return the settings that decide what a durable operation costs; errors as `settings_of_database`."""
    return settings_of_database(core.database)


def settings_of_database(database: Database) -> str:
    """Return how the connections that write commit.

    Raises:
        VoidRunError: a commit would not reach the disk before it is acknowledged.
    """
    return database.write(_sqlite if database.dialect == "sqlite" else _postgresql)


def _sqlite(tx: Tx) -> str:
    synchronous = tx.exec_driver_sql("PRAGMA synchronous").scalar_one()
    journal = tx.exec_driver_sql("PRAGMA journal_mode").scalar_one()
    if (synchronous, journal) != (2, "wal"):
        raise VoidRunError(f"synchronous={synchronous}, journal_mode={journal}")
    return f"SQLite {sqlite3.sqlite_version}, WAL, synchronous=FULL; audit in each transaction"


def _postgresql(tx: Tx) -> str:
    commit = tx.exec_driver_sql("SHOW synchronous_commit").scalar_one()
    fsync = tx.exec_driver_sql("SHOW fsync").scalar_one()
    if (commit, fsync) != ("on", "on"):
        raise VoidRunError(f"synchronous_commit={commit}, fsync={fsync}")
    return "PostgreSQL, synchronous_commit=on, fsync=on; audit in each transaction"


def count_events(core: Core) -> int:
    """Return how many audit events there are, so that a run can show that each act left its own."""
    return count_events_in(core.database)


def count_events_in(database: Database) -> int:
    """Return how many audit events a database holds."""
    with database.read() as tx:
        return tx.execute(select(func.count()).select_from(audit_events)).scalar_one()


def count_successes(database: Database, action: str) -> int:
    """Return how many audit events of success a database holds of one action."""
    mine = audit_events.c.action == action, audit_events.c.outcome == "success"
    with database.read() as tx:
        return tx.execute(select(func.count()).select_from(audit_events).where(*mine)).scalar_one()


def cpu_of_tree(pid: int) -> float:
    """Return the seconds of CPU, user and system, of a process and all below it, with children that have ended."""
    seconds, ticks = 0.0, 0
    for process in (pid, *processes_of(pid)):
        seconds += time.clock_gettime((~process << 3) | 2)  # clock_getcpuclockid(3), to the nanosecond
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        ticks += sum(map(int, fields[13:15]))  # cutime, cstime (proc(5)), of those that are there no more
    return seconds + ticks / os.sysconf("SC_CLK_TCK")
