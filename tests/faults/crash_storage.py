"""What goes wrong under a database: each fault says where the database is, and can be made and mended."""

import contextlib
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import psycopg

from tests.faults.crash_disks import Image, fill, immutable
from tests.faults.crash_postgres import OwnServer


@dataclass(frozen=True, slots=True)
class Fault:
    """`url` is the address of an empty database; while `present` is entered it fails, with `words` in the error."""

    url: str
    words: str
    present: Callable[[], AbstractContextManager[None]]


@contextlib.contextmanager
def _full(folder: Path) -> Iterator[None]:
    ballast = fill(folder)
    try:
        yield
    finally:
        ballast.unlink()


@contextlib.contextmanager
def _renamed(path: Path) -> Iterator[None]:
    away = path.with_suffix(".away")
    path.rename(away)
    try:
        yield
    finally:
        away.rename(path)


@contextlib.contextmanager
def sqlite_disk_full(folder: Path) -> Iterator[Fault]:
    """Let the file system of the database have no room."""
    with Image(folder / "disk.img", 8).mounted() as disk:
        words = "the disk under the database is full.*free space"
        yield Fault(f"sqlite:///{disk}/house.db", words, lambda: _full(disk))


@contextlib.contextmanager
def sqlite_read_only(folder: Path) -> Iterator[Fault]:
    """Let nobody write the files that the service has open."""
    with Image(folder / "disk.img", 8).mounted() as disk:
        files = (disk / "house.db", disk / "house.db-wal")
        words = "disk under the database failed.*read-only"
        yield Fault(f"sqlite:///{disk}/house.db", words, lambda: immutable(*files))


@contextlib.contextmanager
def sqlite_renamed(folder: Path) -> Iterator[Fault]:
    """Let the file have another name for a while."""
    path = folder / "house.db"
    yield Fault(f"sqlite:///{path}", "removed or replaced.*put it back", lambda: _renamed(path))


@contextlib.contextmanager
def postgresql_stopped(_folder: Path) -> Iterator[Fault]:
    """Let the server be killed, and started again."""
    with OwnServer() as server:
        server.admin.create("house")

        @contextlib.contextmanager
        def present() -> Iterator[None]:
            server.stop()
            try:
                yield
            finally:
                server.start()

        yield Fault(server.url("house"), "cannot be reached.*start the server", present)


@contextlib.contextmanager
def postgresql_read_only(_folder: Path) -> Iterator[Fault]:
    """Let every transaction be read-only, as on a standby."""
    with OwnServer() as server:
        server.admin.create("house")

        @contextlib.contextmanager
        def present() -> Iterator[None]:
            _set_read_only(server, "on")
            try:
                yield
            finally:
                _set_read_only(server, "off")

        yield Fault(server.url("house"), "the database is read-only.*name the primary", present)


def _set_read_only(server: OwnServer, value: str) -> None:
    """Change the default of all connections, and return when the server has told them."""
    server.admin.run(f"ALTER SYSTEM SET default_transaction_read_only = {value}")
    server.admin.run("SELECT pg_reload_conf()")
    for _ in range(100):
        with psycopg.connect(server.url("postgres").replace("+psycopg", "")) as connection:
            row = connection.execute("SHOW default_transaction_read_only").fetchone()
        time.sleep(0.1)  # those that are connected hear of it a moment after those that come
        if row == (value,):
            return
    raise TimeoutError("the server did not take up its configuration")


@contextlib.contextmanager
def postgresql_disk_full(folder: Path) -> Iterator[Fault]:
    """Let the file system of the tables have no room; the server's own log of writes has some."""
    with OwnServer() as server, Image(folder / "disk.img", 32).mounted() as disk:
        tables = server.home / "tables"
        tables.mkdir()
        subprocess.run(["mount", "--bind", disk, tables], check=True)
        try:
            server.give(tables)
            (tables / "lost+found").rmdir()
            server.admin.run(f"CREATE TABLESPACE small LOCATION '{tables}'")
            server.admin.run("CREATE DATABASE house TEMPLATE template0 TABLESPACE small")
            yield Fault(server.url("house"), "disk under the database is full.*free space", lambda: _full(tables))
            server.stop()
        finally:
            subprocess.run(["umount", "--lazy", tables], check=True)


FAULTS: Mapping[str, Callable[[Path], AbstractContextManager[Fault]]] = MappingProxyType(
    {
        "sqlite-disk-full": sqlite_disk_full,
        "sqlite-read-only": sqlite_read_only,
        "sqlite-renamed": sqlite_renamed,
        "postgresql-disk-full": postgresql_disk_full,
        "postgresql-read-only": postgresql_read_only,
        "postgresql-stopped": postgresql_stopped,
    }
)
