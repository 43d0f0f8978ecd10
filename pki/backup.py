"""Backups of the embedded database: a consistent copy, sealed under the KEK in the HSM, and put back from there.

A backup opens only with the token, so that it may lie anywhere; neither is of use alone.
"""

import contextlib
import errno
import fcntl
import os
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, NoReturn

import msgspec

from hsm.device import Hsm
from hsm.errors import HsmError
from pki.audit.trail import Event
from pki.clock import Clock, SystemClock, rfc3339
from pki.config import Config, DatabaseConfig
from pki.core import Core, assemble, database_url, open_hsm, read_cluster_id
from pki.engines.kv import Kv
from pki.errors import Conflict, HsmFailure, Malformed, Misconfigured
from pki.seal.archive import open_archive, read_header, write_archive
from pki.seal.envelope import DEK_OCTETS, associated_data
from pki.seal.kek import HsmKek
from pki.storage.database import Database
from pki.storage.failures import raise_unavailable
from pki.storage.guard import outside_write
from pki.storage.migrate import migrate

OPERATOR = "house:operator"
TOKEN_KINDS = ("service", "root")
"""What a restore revokes: what was revoked after the backup would live again. Bootstrap tokens end within a day."""

_VERSION = b"sealward backup v1"
_URL = "sqlite:///"
_BESIDE = ("", "-wal", "-shm", "-journal")


class Header(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is in clear at a backup's beginning: whose it is, and under which of the token's keys it is sealed."""

    cluster_id: str
    made_at: str
    kek_id: str
    key_id_hex: str
    wrapped_hex: str

    @property
    def aad(self) -> bytes:
        """What the wrapped key is bound to."""
        return associated_data(_VERSION, self.cluster_id, self.made_at, self.kek_id)


@dataclass(frozen=True, slots=True)
class Restored:
    """What a restored database holds; every version of a secret that may be read was opened."""

    made_at: str
    certificates: int
    ssh_certificates: int
    versions: int


def database_file(url: str) -> Path:
    """Return the file of a SQLite database.

    Raises:
        Misconfigured: it is another database.
    """
    kind, _, name = url.partition("///")
    if kind.partition("+")[0].rstrip(":") != "sqlite" or not name:
        advice = "use pg_dump, and keep the dump with the token's backup"
        raise Misconfigured("only the embedded database is backed up here", advice=advice)
    return Path(name.partition("?")[0])


def back_up(core: Core, url: str, target: Path) -> Header:
    """Write a backup of the running service's database to `target`, which must not exist; the act is in the audit log.

    Raises:
        Misconfigured: the database is not the embedded one, or there is no such folder.
        Conflict: `target` exists, or is being written.
        HsmFailure, DatabaseUnavailable, OSError: nothing was written.
    """
    path = database_file(url)
    with _workshop(target) as folder:
        if target.is_symlink() or target.exists():
            raise Conflict(f"{target} exists", advice="name a new file for each backup")
        key = core.ids.octets(DEK_OCTETS)
        header = _new_header(core, key)
        _record(core, "backup.make", header)
        try:
            _write(path, folder, header, key)
        except BaseException:
            _record(core, "backup.make", header, "failed")
            raise
        (folder / "sealed").rename(target)
    _flush_folder(target.parent)
    return header


def _record(core: Core, action: str, header: Header, outcome: str = "success") -> None:
    event = Event(OPERATOR, action, header.made_at, outcome)
    core.database.write(lambda tx: core.trail.record(tx, event))


def _new_header(core: Core, key: bytes) -> Header:
    row = core.database.point("SELECT id, key_id_hex FROM keks WHERE state = ? ORDER BY created_at DESC", ("active",))
    if row is None:
        raise Misconfigured("there is no KEK", advice="run `sealward init`")
    unsealed = Header(read_cluster_id(core.database), rfc3339(core.clock.now()), row[0], row[1], "")
    try:
        wrapped = HsmKek(core.hsm, row[0], bytes.fromhex(row[1]), outside_write).wrap(key, unsealed.aad)
    except HsmError as error:
        raise HsmFailure(f"the HSM wrapped no key: {error.message}", advice=error.advice) from error
    return msgspec.structs.replace(unsealed, wrapped_hex=wrapped.hex())


def _write(path: Path, folder: Path, header: Header, key: bytes) -> None:
    """Write the database at `path` to `folder`/sealed."""
    copy = folder / "copy"
    _copy(path, copy)
    with copy.open("rb") as source, _private(folder / "sealed") as sealed:
        write_archive(source, sealed, msgspec.json.encode(header), key)
        _flush(sealed)


def _copy(path: Path, target: Path) -> None:
    """Copy a database that is in use, by SQLite itself: a plain copy of the file may be torn."""
    address = f"{path.absolute().as_uri()}?mode=ro"
    try:
        with closing(sqlite3.connect(address, uri=True)) as source, closing(sqlite3.connect(target)) as copy:
            source.backup(copy, pages=-1)
    except sqlite3.Error as error:
        if error.sqlite_errorname == "SQLITE_FULL":  # the disk of the copy: of the source, nothing is written
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(target.parent.parent)) from error
        raise_unavailable(error)
        raise


def restore(
    config: Config, backup: Path, use: Callable[[Core], object] = lambda _core: None, clock: Clock | None = None
) -> Restored:
    """Put the database of a backup in its place, where there must be none; the token must be the same, or its copy.

    Before it comes there, everything in it is opened, client tokens are revoked, the restore is noted in its audit
    log, and `use` is called.

    Raises:
        Conflict: there is a database already, or one is being put there.
        Malformed: the file is no backup, or was altered.
        HsmFailure, HsmError: the token does not serve, or does not hold the backup's key.
        Misconfigured, DatabaseUnavailable, OSError: it does not hold, or the place cannot be used.
    """
    path = database_file(database_url(config))
    with _workshop(path) as folder:
        for suffix in _BESIDE:
            present = path.with_name(path.name + suffix)
            if present.exists():
                advice = "stop the service, and move the database and its -wal and -shm files away first"
                raise Conflict(f"{present} exists", advice=advice)

        def settle(core: Core, header: Header) -> None:
            for kind in TOKEN_KINDS:
                core.tokens.revoke_kind(kind)
            _record(core, "backup.restore", header)
            use(core)

        restored = _rebuild(config, backup, folder / path.name, settle, clock or SystemClock())
        (folder / path.name).rename(path)
    _flush_folder(path.parent)
    return restored


def try_restore(config: Config, backup: Path, clock: Clock | None = None) -> Restored:
    """Do all that `restore` does in a folder for temporary files, and leave nothing of it; else as `restore`."""
    with tempfile.TemporaryDirectory(prefix="sealward-restore-") as folder:
        place = Path(folder) / "sealward.db"
        return _rebuild(config, backup, place, lambda _core, _header: None, clock or SystemClock())


def _rebuild(
    config: Config, backup: Path, place: Path, settle: Callable[[Core, Header], None], clock: Clock
) -> Restored:
    """Make the whole database at `place`, closed and flushed."""
    here = replace(config, database=DatabaseConfig(url=f"{_URL}{place}"))
    with closing(open_hsm(config)) as hsm:
        header = _unseal(hsm, backup, place)
        _examine(place, header)
        with closing(Database.open(here.database.url)) as database:
            migrate(database)
            core = assemble(here, database, hsm, clock)
            settle(core, header)
            opened = sum(core.secrets.open_all(mount) for mount in core.mounts.all() if mount.type == Kv.type)
            counts = [_count(database, table) for table in ("certificates", "ssh_certificates")]
    if place.with_name(f"{place.name}-wal").exists():
        raise Conflict("somebody else has opened the database that is being restored", advice="try again")
    return Restored(header.made_at, counts[0], counts[1], opened)


def _count(database: Database, table: str) -> int:
    row = database.point(f"SELECT COUNT(*) FROM {table} WHERE certificate IS NOT NULL")  # noqa: S608 - ours
    return 0 if row is None else int(row[0])


def _unseal(hsm: Hsm, backup: Path, target: Path) -> Header:
    with backup.open("rb") as source, _private(target) as plain:
        octets = read_header(source)
        try:
            header = msgspec.json.decode(octets, type=Header)
            kek = HsmKek(hsm, header.kek_id, bytes.fromhex(header.key_id_hex), outside_write)
            wrapped = bytes.fromhex(header.wrapped_hex)
        except ValueError:
            _refuse_altered()
        try:
            key = kek.unwrap(wrapped, header.aad)
        except HsmError as error:
            advice = "restore the token from its own backup first; if it is the right one, the backup was altered"
            raise HsmFailure(f"the token does not open this backup: {error.message}", advice=advice) from error
        open_archive(source, plain, octets, key)
        _flush(plain)
    return header


def _refuse_altered() -> NoReturn:
    advice = "take another copy of the backup: this one was altered"
    raise Malformed("the backup's header cannot be read", advice=advice)


def _examine(path: Path, header: Header) -> None:
    """Refuse a database that is not whole, or not of the installation that the header names."""
    try:
        with closing(sqlite3.connect(path)) as connection:
            found = connection.execute("PRAGMA integrity_check").fetchone()[0]
            row = connection.execute("SELECT value FROM settings WHERE name = 'cluster_id'").fetchone()
    except sqlite3.Error as error:
        raise_unavailable(error)
        raise
    if found != "ok" or row is None or row[0] != header.cluster_id:
        raise Malformed("the backup holds no whole database", advice="take an earlier backup, and report this")


@contextlib.contextmanager
def _workshop(target: Path) -> Iterator[Path]:
    """Give an empty folder beside `target`, for this process alone; it is gone at the end, with what is still in it.

    What a killed command left there is removed first.
    """
    if not target.parent.is_dir():
        raise Misconfigured(f"there is no folder {target.parent}", advice="make it, for the service's user alone")
    folder = target.with_name(f".{target.name}.part")
    folder.mkdir(mode=0o700, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if os.fstat(descriptor).st_uid != os.geteuid():
            raise Conflict(f"{folder} belongs to another user", advice="remove it, or choose another folder")
        _lock(descriptor, target)
        _empty(folder)
        try:
            yield folder
        finally:
            _empty(folder)
            folder.rmdir()
    finally:
        os.close(descriptor)


def _lock(descriptor: int, target: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise Conflict(f"{target} is being written by another command", advice="wait until that one ends") from None


def _empty(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()


def _private(path: Path) -> BinaryIO:
    """Open a new file for its owner alone."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb")


def _flush(file: BinaryIO) -> None:
    """Wait until what was written is on the disk."""
    file.flush()
    os.fsync(file.fileno())


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
