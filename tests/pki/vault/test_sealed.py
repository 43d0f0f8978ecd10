"""Where values are sealed: rows that are swapped do not open, a stolen database opens nothing, destroyed is gone."""

import re
import sqlite3
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update

from pki.core import Core, open_keyring
from pki.errors import HsmFailure, Misconfigured, Sealed
from pki.mounts import Mount
from pki.seal.keyring import Keyring
from pki.storage.guard import inside_write
from pki.storage.tables import deks, kv_secrets, kv_versions
from pki.vault.secrets import Secrets
from tests.clocks import FrozenClock
from tests.pki.vault.conftest import a_mount
from tests.tokens import fresh_token

CANARY = "canary-7e5a1c"
_DAMAGE = {
    "sqlite": "UPDATE kv_versions SET value = ?",
    "postgresql": "UPDATE kv_versions SET value = %s",
}


def _ids(core: Core) -> dict[tuple[str, str], str]:
    with core.database.read() as tx:
        rows = tx.execute(select(kv_secrets.c.mount_id, kv_secrets.c.path, kv_secrets.c.id))
        return {(row.mount_id, row.path): row.id for row in rows}


def _value(core: Core, secret_id: str, version: int) -> Any:
    with core.database.read() as tx:
        here = (kv_versions.c.secret_id == secret_id, kv_versions.c.version == version)
        return tx.execute(select(kv_versions.c.value).where(*here)).scalar_one()


def _put(core: Core, secret_id: str, version: int, value: Any) -> None:
    here = (kv_versions.c.secret_id == secret_id, kv_versions.c.version == version)
    core.database.write(lambda tx: tx.execute(update(kv_versions).where(*here).values(value=value)))


def test_value_moved_to_another_place_does_not_open(core: Core, secrets: Secrets, mount: Mount) -> None:
    """K5: neither in another version, nor under another secret, nor in another mount."""
    other = a_mount("other")
    for place, path in ((mount, "a"), (mount, "a"), (mount, "b"), (other, "a")):
        secrets.write(place, path, {"n": 1})
    ids = _ids(core)
    stolen = _value(core, ids[mount.id, "a"], 1)
    for place, path, version in ((mount, "a", 2), (mount, "b", 1), (other, "a", 1)):
        _put(core, ids[place.id, path], version, stolen)
        with pytest.raises(Misconfigured, match="does not open where it is kept"):
            secrets.read(place, path, version)
    assert secrets.read(mount, "a", 1) is not None


@pytest.mark.parametrize("moved", [{"path": "b"}, {"mount_id": "idother"}, {"id": "another"}, {"mac": "0" * 64}])
def test_row_moved_to_another_place_is_refused(
    core: Core, secrets: Secrets, mount: Mount, moved: dict[str, str]
) -> None:
    """K5: the code of a row binds namespace, mount, path and id; what reads or writes the secret looks at it."""
    secrets.write(mount, "a", {"n": 1})
    core.database.write(lambda tx: tx.execute(update(kv_secrets).values(**moved)))
    place = a_mount("other") if "mount_id" in moved else mount
    path = moved.get("path", "a")
    for act in (
        lambda: secrets.read(place, path),
        lambda: secrets.metadata(place, path),
        lambda: secrets.write(place, path, {}),
        lambda: secrets.patch(place, path, {}),
        lambda: secrets.delete(place, path),
        lambda: secrets.undelete(place, path, [1]),
        lambda: secrets.destroy(place, path, [1]),
        lambda: secrets.remove(place, path),
    ):
        with pytest.raises(Misconfigured, match="not where it was written"):
            act()


def test_rows_of_two_secrets_cannot_be_exchanged(core: Core, secrets: Secrets, mount: Mount) -> None:
    """K5: who may write to the database and read one path does not come to the values of another."""
    secrets.write(mount, "mine", {"n": "mine"})
    secrets.write(mount, "theirs", {"n": "theirs"})
    ids = _ids(core)

    def exchange(tx: Any) -> None:
        for path, to in (("mine", "kept"), ("theirs", "mine"), ("kept", "theirs")):
            tx.execute(update(kv_secrets).where(kv_secrets.c.path == path).values(path=to))

    core.database.write(exchange)
    assert _ids(core) == {(mount.id, "mine"): ids[mount.id, "theirs"], (mount.id, "theirs"): ids[mount.id, "mine"]}
    for path in ("mine", "theirs"):
        with pytest.raises(Misconfigured):
            secrets.read(mount, path)


def test_damaged_value_is_refused(core: Core, secrets: Secrets, mount: Mount) -> None:
    """K5: one octet that changed, and octets that are no envelope, say that the row must be mended."""
    secrets.write(mount, "a", {"n": 1})
    octets = _value(core, _ids(core)[mount.id, "a"], 1).to_bytes()
    for damaged in (octets[:-1] + bytes([octets[-1] ^ 1]), b"", octets[:20], b"\x07" + octets[1:]):
        core.database.write(lambda tx, damaged=damaged: tx.exec_driver_sql(_DAMAGE[core.database.dialect], (damaged,)))
        with pytest.raises(Misconfigured, match="does not open where it is kept"):
            secrets.read(mount, "a")


def test_the_same_value_is_sealed_anew_each_time(core: Core, secrets: Secrets, mount: Mount) -> None:
    """K4: salt and nonce are never those of another version, so that equal values do not look equal."""
    for _ in range(10):
        secrets.write(mount, "a", {"n": 1})
    secret_id = _ids(core)[mount.id, "a"]
    sealed = [_value(core, secret_id, version) for version in range(1, 11)]
    assert len({(envelope.salt, envelope.nonce) for envelope in sealed}) == 10
    assert len({envelope.salt for envelope in sealed}) == 10


def test_each_mount_has_a_data_key_of_its_own(core: Core, secrets: Secrets, mount: Mount) -> None:
    """DESIGN 9: made at the first write, wrapped by the KEK, one however many secrets there are."""
    other = a_mount("other")
    assert secrets.read(mount, "a") is None
    for place, path in ((mount, "a"), (mount, "b"), (other, "a")):
        secrets.write(place, path, {})
    with core.database.read() as tx:
        found = tx.execute(select(deks.c.mount).where(deks.c.mount.in_([mount.id, other.id]))).scalars()
        assert sorted(found) == sorted([mount.id, other.id])


def test_another_process_reads_what_was_sealed_under_a_new_data_key(core: Core, secrets: Secrets, mount: Mount) -> None:
    """A data key that was made after a process began is loaded when it is first met, and used by it for writing too."""
    keyring = open_keyring(core.database, core.hsm, core.clock)
    other = Secrets(core.database, core.clock, core.ids, keyring, core.service_keys.get("kv paths"))
    secrets.write(mount, "a", {"n": 1})
    stored = other.read(mount, "a")
    assert stored is not None
    assert stored.data == {"n": 1}
    other.write(mount, "b", {"n": 2})
    assert core.database.point("SELECT COUNT(*) FROM deks WHERE mount = ?", (mount.id,)) == (1,)


def test_no_token_is_called_inside_a_write(secrets: Secrets, mount: Mount, house_clock: FrozenClock) -> None:
    """DESIGN 10: a write unwraps a forgotten data key before its transaction; inside one, the guard raises."""
    secrets.write(mount, "a", {"n": 1})
    house_clock.advance(timedelta(minutes=2))
    assert secrets.write(mount, "a", {"n": 2}).version.number == 2
    house_clock.advance(timedelta(minutes=2))
    with inside_write("a test"), pytest.raises(RuntimeError, match="unwrap_key inside a test"):
        secrets.read(mount, "a")


def test_sealed_service_neither_reads_nor_writes(core: Core, secrets: Secrets, mount: Mount) -> None:
    """A locked keyring refuses values; what is in clear can still be read."""
    secrets.write(mount, "a", {"n": 1})
    core.keyring.lock()
    for act in (lambda: secrets.read(mount, "a"), lambda: secrets.write(mount, "a", {})):
        with pytest.raises(Sealed):
            act()
    found = secrets.metadata(mount, "a")
    assert found is not None
    assert len(found.versions) == 1


def test_missing_keys_are_named_as_the_cause(core: Core, secrets: Secrets, mount: Mount) -> None:
    """A data key whose row is gone, one that no longer unwraps, and a KEK that is not open say what to restore."""
    secrets.write(mount, "a", {"n": 1})
    key = core.service_keys.get("kv paths")
    stranger = Secrets(core.database, core.clock, core.ids, Keyring([], "x", core.clock), key)
    for act in (lambda: stranger.read(mount, "a"), lambda: stranger.write(mount, "a", {})):
        with pytest.raises(Misconfigured, match="KEK"):
            act()
    core.database.write(lambda tx: tx.execute(update(deks).where(deks.c.mount == mount.id).values(wrapped=bytes(60))))
    fresh = Secrets(core.database, core.clock, core.ids, open_keyring(core.database, core.hsm, core.clock), key)
    with pytest.raises(HsmFailure, match="did not serve a data key"):
        fresh.read(mount, "a")
    core.database.write(lambda tx: tx.execute(deks.delete().where(deks.c.mount == mount.id)))
    fresh = Secrets(core.database, core.clock, core.ids, open_keyring(core.database, core.hsm, core.clock), key)
    with pytest.raises(Misconfigured, match="the data key of a secret is gone"):
        fresh.read(mount, "a")


def _file(core: Core) -> Path:
    return Path(core.database.url.database or "")


def _octets(core: Core) -> bytes:
    """Return everything that a thief of the database gets."""
    if core.database.dialect == "sqlite":
        return b"".join(file.read_bytes() for file in _file(core).parent.glob(f"{_file(core).name}*"))
    with core.database.read() as tx:
        tables = ("kv_secrets", "kv_versions", "deks", "sealed_values", "audit_events")
        rows = [tx.exec_driver_sql(f"SELECT t::text FROM {name} AS t").scalars().all() for name in tables]  # noqa: S608
    text = "\n".join(line for lines in rows for line in lines)
    return text.encode() + b"".join(bytes.fromhex(found) for found in re.findall(r"x((?:[0-9a-f]{2})+)", text))


def test_copy_of_the_database_shows_no_value(core: Core, secrets: Secrets, mount: Mount) -> None:
    """A01: paths and custom metadata are in clear, as the docs say; neither values nor the names in them are."""
    secrets.write(mount, f"path-{CANARY}", {f"name-{CANARY}": f"value-{CANARY}"})
    octets = _octets(core)
    assert f"path-{CANARY}".encode() in octets
    assert f"name-{CANARY}".encode() not in octets
    assert f"value-{CANARY}".encode() not in octets


def test_destroyed_octets_are_gone(core: Core, secrets: Secrets, mount: Mount) -> None:
    """S2: no octet of a destroyed, removed or dropped value is in a row, nor, after a checkpoint, in SQLite's files."""
    values: list[bytes] = []
    for path, size in (("destroyed", 10), ("destroyed-long", 40_000), ("removed", 50), ("dropped", 60)):
        secrets.write(mount, path, {"x": "y" * size})
        values.append(_value(core, _ids(core)[mount.id, path], 1).ciphertext)
    pieces = [value[start : start + 16] for value in values for start in range(0, len(value) - 16, 16)]
    assert len(pieces) > 2000
    assert sum(piece in _octets(core) for piece in pieces) > 2000
    secrets.destroy(mount, "destroyed", [1])
    secrets.destroy(mount, "destroyed-long", [1])
    secrets.remove(mount, "removed")
    for _ in range(11):
        secrets.write(mount, "dropped", {})
    if core.database.dialect == "sqlite":
        core.database.close()
        with closing(sqlite3.connect(_file(core))) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    octets = _octets(core)
    assert [piece for piece in pieces if piece in octets] == []


def test_copied_database_opens_nothing_without_its_token(core: Core, secrets: Secrets, mount: Mount) -> None:
    """A01: with every row, and even the key that binds paths, nothing opens where another token is."""
    secrets.write(mount, "a", {"n": 1})
    with fresh_token().open() as stranger:
        keyring = open_keyring(core.database, stranger, core.clock)
        thief = Secrets(core.database, core.clock, core.ids, keyring, core.service_keys.get("kv paths"))
        with pytest.raises(HsmFailure):
            thief.read(mount, "a")
    stored = secrets.read(mount, "a")
    assert stored is not None
    assert stored.data == {"n": 1}
