"""The rows of stored secrets and of their data keys: SQL, and nothing that decides or seals.

The row whose path is empty holds the settings of a mount: what its secrets leave at zero or false is read there.
"""

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

import orjson
from sqlalchemy import Update, delete, func, select, text, update

from pki.clock import from_ms, to_ms
from pki.mounts import Mount
from pki.seal.envelope import Envelope
from pki.seal.keyring import WrappedDek
from pki.storage.database import Database, Tx
from pki.storage.sealed import SealedColumn
from pki.storage.statements import Prepared
from pki.storage.tables import deks, keks, kv_secrets, kv_versions
from pki.vault.records import Changes, Metadata, Secret, Settings, Standing, Version

SETTINGS = ""
"""The path of the row that holds a mount's settings."""

_HERE = "mount_id = ? AND {0}.namespace_id = ? AND {0}.path"
_COLUMNS = (
    "id, mac, current_version, oldest_version, max_versions, cas_required, delete_after, custom_metadata, "
    "created_at, updated_at"
)
_STANDING = (
    f"SELECT {', '.join(f's.{name}' for name in _COLUMNS.split(', '))}, "  # noqa: S608 - ours
    "m.max_versions, m.cas_required, m.delete_after FROM (SELECT 1 AS one) AS o "
    f"LEFT JOIN kv_secrets AS m ON m.{_HERE.format('m')} = '' "
    f"LEFT JOIN kv_secrets AS s ON s.{_HERE.format('s')} = ?"
)
_VALUE = (
    "SELECT s.id, s.mac, s.custom_metadata, v.version, v.created_at, v.deleted_at, v.destroyed_at, v.value "  # noqa: S608
    "FROM kv_secrets AS s LEFT JOIN kv_versions AS v ON v.secret_id = s.id AND v.version = {} "
    f"WHERE s.{_HERE.format('s')} = ?"
)
_CURRENT_VALUE, _NUMBERED_VALUE = _VALUE.format("s.current_version"), _VALUE.format("?")
_EXISTS = f"SELECT 1 FROM kv_secrets AS s WHERE s.{_HERE.format('s')} = ?"  # noqa: S608 - ours

_ADD = Prepared(
    text(
        "INSERT INTO kv_secrets (id, namespace_id, mount_id, path, mac, current_version, oldest_version, max_versions, "
        "cas_required, delete_after, custom_metadata, created_at, updated_at) VALUES (:id, :namespace_id, :mount_id, "
        ":path, :mac, :current_version, :oldest_version, 0, :cas_required, 0, '{}', :now, :now) "
        "ON CONFLICT (mount_id, path) DO NOTHING"
    )
)
_ADVANCE = Prepared(
    text(
        "UPDATE kv_secrets SET current_version = :current_version + 1, oldest_version = :oldest_version, "
        "updated_at = :now WHERE id = :id AND current_version = :current_version AND cas_required = :cas_required"
    )
)
_ADD_VERSION = Prepared(kv_versions.insert(), tuple(kv_versions.columns.keys()))
_SEALED = SealedColumn()
_PRUNE = Prepared(text("DELETE FROM kv_versions WHERE secret_id = :id AND version < :oldest"))


def exists(database: Database, mount: Mount, path: str) -> bool:
    """Tell whether there is a secret, be its versions deleted or not."""
    return database.point(_EXISTS, (mount.id, mount.namespace_id, path)) is not None


def read_standing(database: Database, mount: Mount, path: str) -> Standing:
    """Return how things stand at a path."""
    here = (mount.id, mount.namespace_id)
    row = database.point(_STANDING, (*here, *here, path))
    if row is None:
        raise AssertionError("one row has one row")
    return Standing(None if row[0] is None else _secret(row), _settings(row[10:]))


def read_value(database: Database, mount: Mount, path: str, version: int | None) -> Sequence[Any] | None:
    """Return (secret id, mac, custom metadata, version, created, deleted, destroyed at, sealed value) by the driver.

    `version` None is the latest. From the version on, all are None where there is no such version.
    """
    here = (mount.id, mount.namespace_id, path)
    if version is None:
        return database.point(_CURRENT_VALUE, here)
    return database.point(_NUMBERED_VALUE, (version, *here))


def read_metadata(database: Database, mount: Mount, path: str) -> Metadata | None:
    """Return a secret and its versions as they are at one moment."""
    columns = [kv_secrets.c[name] for name in _COLUMNS.split(", ")]
    version = (kv_versions.c.version, kv_versions.c.created_at, kv_versions.c.deleted_at, kv_versions.c.destroyed_at)
    with database.read() as tx:
        row = tx.execute(select(*columns).where(*_at(mount), kv_secrets.c.path == path)).first()
        if row is None:
            return None
        query = select(*version).where(kv_versions.c.secret_id == row.id).order_by(kv_versions.c.version)
        return Metadata(_secret(row), tuple(to_version(item) for item in tx.execute(query)))


def to_version(row: Sequence[Any]) -> Version:
    """Return the version that (number, created, deleted, destroyed at) tells of."""
    return Version(row[0], from_ms(row[1]), None if row[2] is None else from_ms(row[2]), row[3] is not None)


def list_paths(database: Database, mount: Mount, folder: str) -> list[str]:
    """Return every path below `folder`, which ends in a slash or is empty; without that beginning, in no order."""
    # substr, for LIKE tells no capital from a small letter on SQLite, and on PostgreSQL < goes by the locale.
    inside = func.substr(kv_secrets.c.path, 1, len(folder)) == folder
    query = select(func.substr(kv_secrets.c.path, len(folder) + 1)).where(*_at(mount), inside)
    with database.read() as tx:
        return [path for path in tx.execute(query).scalars() if path != SETTINGS]


def add(tx: Tx, mount: Mount, path: str, secret: Secret, now: datetime) -> bool:
    """Add the row of a secret with its ids, version numbers and cas_required; False where the path has one already."""
    values = {
        "id": secret.id,
        "namespace_id": mount.namespace_id,
        "mount_id": mount.id,
        "path": path,
        "mac": secret.mac,
        "current_version": secret.current_version,
        "oldest_version": secret.oldest_version,
        "cas_required": secret.settings.cas_required,
        "now": to_ms(now),
    }
    return bool(_ADD.run(tx, values).rowcount == 1)


def advance(tx: Tx, secret: Secret, oldest: int, now: datetime) -> bool:
    """Count the secret's version up by one; False where it is no longer as it was read."""
    values = {
        "id": secret.id,
        "current_version": secret.current_version,
        "cas_required": secret.settings.cas_required,
        "oldest_version": oldest,
        "now": to_ms(now),
    }
    return bool(_ADVANCE.run(tx, values).rowcount == 1)


def add_version(tx: Tx, mount: Mount, secret_id: str, version: Version, value: Envelope) -> None:
    """Add a version with its value."""
    values = {
        "secret_id": secret_id,
        "version": version.number,
        "namespace_id": mount.namespace_id,
        "value": _SEALED.process_bind_param(value, tx.dialect),  # what the column would do by itself
        "created_at": to_ms(version.created_at),
        "deleted_at": None if version.deleted_at is None else to_ms(version.deleted_at),
        "destroyed_at": None,
    }
    _ADD_VERSION.run(tx, values)


def prune(tx: Tx, secret_id: str, oldest: int) -> None:
    """Drop the versions before `oldest`."""
    _PRUNE.run(tx, {"id": secret_id, "oldest": oldest})


def lock_custom_metadata(tx: Tx, mount: Mount, path: str) -> dict[str, str] | None:
    """Return the custom metadata of a secret, which nobody else changes until the transaction ends; None: no secret."""
    query = select(kv_secrets.c.custom_metadata).where(*_at(mount), kv_secrets.c.path == path).with_for_update()
    present = tx.execute(query).scalar_one_or_none()
    return None if present is None else orjson.loads(present)


def change(tx: Tx, mount: Mount, path: str, changes: Changes, now: datetime) -> bool:
    """Change the settings of a row, and put custom metadata in the place of those it has; False: no such row."""
    values: dict[str, Any] = {"updated_at": to_ms(now)}
    if changes.max_versions is not None:
        values["max_versions"] = changes.max_versions
    if changes.cas_required is not None:
        values["cas_required"] = changes.cas_required
    if changes.delete_after is not None:
        values["delete_after"] = changes.delete_after // timedelta(milliseconds=1)
    if changes.custom_metadata is not None:
        values["custom_metadata"] = orjson.dumps(changes.custom_metadata, option=orjson.OPT_SORT_KEYS).decode()
    statement = update(kv_secrets).where(*_at(mount), kv_secrets.c.path == path).values(values)
    return tx.execute(statement).rowcount == 1


def delete_versions(tx: Tx, secret_id: str, numbers: Collection[int], now: datetime) -> list[int]:
    """Mark versions as deleted from `now` on; return those that were not yet."""
    moment = to_ms(now)
    later = kv_versions.c.deleted_at.is_(None) | (kv_versions.c.deleted_at > moment)
    return _mark(tx, _versions(secret_id, numbers).where(later).values(deleted_at=moment))


def undelete_versions(tx: Tx, secret_id: str, numbers: Collection[int], until: datetime | None) -> list[int]:
    """Take deletions back, or put them off `until` then; return the versions that are not destroyed."""
    return _mark(tx, _versions(secret_id, numbers).values(deleted_at=None if until is None else to_ms(until)))


def destroy_versions(tx: Tx, secret_id: str, numbers: Collection[int], now: datetime) -> list[int]:
    """Drop the values of versions; return those that had one."""
    return _mark(tx, _versions(secret_id, numbers).values(value=None, destroyed_at=to_ms(now)))


def remove(tx: Tx, secret_id: str) -> bool:
    """Remove a secret and all its versions; False where it is gone already."""
    gone = tx.execute(delete(kv_secrets).where(kv_secrets.c.id == secret_id)).rowcount == 1
    tx.execute(delete(kv_versions).where(kv_versions.c.secret_id == secret_id))
    return gone


def remove_mount(tx: Tx, mount: Mount) -> int:
    """Remove all secrets of a mount, and its data keys; return how many secrets there were."""
    ids = select(kv_secrets.c.id).where(*_at(mount))
    tx.execute(delete(kv_versions).where(kv_versions.c.secret_id.in_(ids)))
    count: int = tx.execute(delete(kv_secrets).where(*_at(mount), kv_secrets.c.path != SETTINGS)).rowcount
    tx.execute(delete(kv_secrets).where(*_at(mount)))
    tx.execute(delete(deks).where(deks.c.namespace_id == mount.namespace_id, deks.c.mount == mount.id))
    return count


def find_dek(tx: Tx, dek_id: str) -> WrappedDek | None:
    """Return the data key of that id."""
    return _dek(tx.execute(select(deks).where(deks.c.id == dek_id)).first())


def find_mount_dek(tx: Tx, mount: Mount) -> WrappedDek | None:
    """Return the data key under which values of the mount are sealed now."""
    query = select(deks).where(
        deks.c.namespace_id == mount.namespace_id, deks.c.mount == mount.id, deks.c.state == "active"
    )
    return _dek(tx.execute(query.order_by(deks.c.created_at.desc(), deks.c.id)).first())


def find_kek(tx: Tx) -> str | None:
    """Return the id of the KEK that wraps new data keys."""
    query = select(keks.c.id).where(keks.c.state == "active").order_by(keks.c.created_at.desc(), keks.c.id)
    return tx.execute(query).scalars().first()


def lock_kek(tx: Tx, kek_id: str) -> None:
    """Wait for whoever else makes a data key under that KEK; SQLite lets in one writer anyway."""
    tx.execute(select(keks.c.id).where(keks.c.id == kek_id).with_for_update())


def add_dek(tx: Tx, row: dict[str, object]) -> None:
    """Add the row of a data key."""
    tx.execute(deks.insert().values(row))


def _at(mount: Mount) -> tuple[Any, ...]:
    return kv_secrets.c.mount_id == mount.id, kv_secrets.c.namespace_id == mount.namespace_id


def _versions(secret_id: str, numbers: Iterable[int]) -> Update:
    return update(kv_versions).where(
        kv_versions.c.secret_id == secret_id,
        kv_versions.c.version.in_(sorted(numbers)),
        kv_versions.c.destroyed_at.is_(None),
    )


def _mark(tx: Tx, statement: Update) -> list[int]:
    return sorted(tx.execute(statement.returning(kv_versions.c.version)).scalars())


def _secret(row: Sequence[Any]) -> Secret:
    return Secret(
        id=row[0],
        mac=row[1],
        current_version=row[2],
        oldest_version=row[3],
        settings=_settings(row[4:]),
        custom_metadata=orjson.loads(row[7]),
        created_at=from_ms(row[8]),
        updated_at=from_ms(row[9]),
    )


def _settings(row: Sequence[Any]) -> Settings:
    return Settings(row[0] or 0, bool(row[1]), timedelta(milliseconds=row[2] or 0))


def _dek(row: Any) -> WrappedDek | None:
    return None if row is None else WrappedDek(row.id, row.namespace_id, row.mount, row.kek_id, bytes(row.wrapped))
