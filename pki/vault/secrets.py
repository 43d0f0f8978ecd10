"""Stored secrets: versions of JSON objects under paths, sealed for their place (key/value version 2 on the wire).

A value is sealed before the transaction that stores it, for the version that it will be; the transaction counts the
version up only if nobody else has done so in the meantime. So exactly one writer wins each version (S2).
"""

import threading
from collections.abc import Callable, Collection, Mapping
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import orjson

from pki.clock import Clock
from pki.errors import Conflict, Malformed, NotFound
from pki.ids import Ids
from pki.mounts import Mount
from pki.seal.keyring import Keyring
from pki.storage.database import Database, Tx
from pki.vault import rows, values
from pki.vault.keys import MountKeys
from pki.vault.paths import bind, check_path, require_bound
from pki.vault.records import Changes, Metadata, Secret, Settings, Standing, Stored, Version

Recording = Callable[[Tx, Mapping[str, Any]], None]
"""(tx, detail): writes the audit event of a change in its transaction; it may be run again."""

VERSIONS_LIMIT = 10_000
"""The most versions of a secret that can be asked for."""
_LARGEST = 2**31 - 1
_ATTEMPTS = 200
_TURNS = 256
_MISMATCH = "check-and-set parameter did not match the current version"  # clients look for this text
_REQUIRED = "check-and-set parameter required for this call"


def nothing(_tx: Tx, _detail: Mapping[str, Any]) -> None:
    """Record no event: for callers that record one of their own."""


class Secrets:
    """Keeps secrets; one object serves every mount. `key` is the service key that binds paths to ids.

    Whatever is asked for a path that may be none raises Malformed. A row that was altered or moved raises
    Misconfigured. Sealed, HsmFailure and DatabaseUnavailable mean: not now, and nothing was changed.
    """

    def __init__(self, database: Database, clock: Clock, ids: Ids, keyring: Keyring, key: bytes) -> None:
        self._database = database
        self._clock = clock
        self._ids = ids
        self._keys = MountKeys(database, clock, ids, keyring)
        self._key = key
        self._turns = tuple(threading.Lock() for _ in range(_TURNS))

    def exists(self, mount: Mount, path: str) -> bool:
        """Tell whether there is a secret at the path, be its versions deleted or not."""
        check_path(path)
        return rows.exists(self._database, mount, path)

    def read(self, mount: Mount, path: str, version: int | None = None) -> Stored | None:
        """Return a version, the latest if `version` is None; None where there is no such secret or version.

        What is deleted or destroyed comes without its data.
        """
        check_path(path)
        if version is not None and not 0 < version <= _LARGEST:
            return None
        row = rows.read_value(self._database, mount, path, version)
        if row is None:
            return None
        secret_id, mac, custom_metadata, number, *_, sealed = row
        require_bound(self._key, mount, path, secret_id, mac)
        if number is None:
            return None
        found, data = rows.to_version(row[3:7]), None
        if sealed is not None and found.is_readable(self._clock.now()):
            data = values.decode(self._keys.open(sealed, secret_id, number))
        return Stored(found, orjson.loads(custom_metadata), data)

    def write(
        self,
        mount: Mount,
        path: str,
        data: Mapping[str, Any],
        *,
        cas: int | None = None,
        recording: Recording = nothing,
    ) -> Stored:
        """Store `data` as the next version, and drop the versions that are one too many; the answer has no data.

        `cas` is the version it must follow, 0 for none.

        Raises:
            Conflict: another version is the latest, or others write without a pause.
            Malformed: the data cannot be stored, or `cas` is missing where it is required.
        """
        plaintext = values.encode(data)
        return self._save(mount, path, cas, recording, lambda _standing: plaintext)

    def patch(
        self,
        mount: Mount,
        path: str,
        patch: Mapping[str, Any],
        *,
        cas: int | None = None,
        recording: Recording = nothing,
    ) -> Stored:
        """Store the latest version, changed by a merge patch (RFC 7396), as the next one; else as `write`.

        Raises:
            NotFound: there is no latest version that could be read.
        """
        values.encode(patch)  # so that it is not nested too deeply to be merged

        def merged(standing: Standing) -> bytes:
            latest = self.read(mount, path, standing.current_version)
            if latest is None or latest.data is None:
                raise NotFound("there is no version to patch", advice="write one first, or undelete it")
            return values.encode(values.merge(latest.data, patch))

        return self._save(mount, path, cas, recording, merged)

    def delete(
        self, mount: Mount, path: str, versions: Collection[int] | None = None, recording: Recording = nothing
    ) -> None:
        """Mark versions as deleted, the latest if None; what is not there is left out."""
        now = self._clock.now()
        self._mark(mount, path, versions, recording, lambda tx, key, found: rows.delete_versions(tx, key, found, now))

    def undelete(self, mount: Mount, path: str, versions: Collection[int], recording: Recording = nothing) -> None:
        """Take back the deletion of versions; where versions live for a span, it begins anew."""
        until = self._standing(mount, path).deletion(self._clock.now())
        self._mark(
            mount, path, versions, recording, lambda tx, key, found: rows.undelete_versions(tx, key, found, until)
        )

    def destroy(self, mount: Mount, path: str, versions: Collection[int], recording: Recording = nothing) -> None:
        """Drop the values of versions for good; that they were there stays known."""
        now = self._clock.now()
        self._mark(mount, path, versions, recording, lambda tx, key, found: rows.destroy_versions(tx, key, found, now))

    def metadata(self, mount: Mount, path: str) -> Metadata | None:
        """Return a secret with all its versions; None where there is none."""
        check_path(path)
        found = rows.read_metadata(self._database, mount, path)
        if found is not None:
            require_bound(self._key, mount, path, found.secret.id, found.secret.mac)
        return found

    def put_metadata(self, mount: Mount, path: str, changes: Changes, recording: Recording = nothing) -> None:
        """Change settings of a secret and replace its custom metadata; a secret without versions is made if need be."""
        if changes.any:
            self._require_fitting(changes)
            self._standing(mount, path)
            self._put(mount, path, changes, recording)

    def patch_metadata(
        self, mount: Mount, path: str, changes: Changes, *, clear: bool = False, recording: Recording = nothing
    ) -> None:
        """Change settings of a secret, and those custom metadata that are named; None removes a name, `clear` all.

        Raises:
            NotFound: there is no such secret.
        """
        self._require_fitting(changes)
        self._standing(mount, path)

        def work(tx: Tx) -> None:
            present = rows.lock_custom_metadata(tx, mount, path)
            if present is None:
                raise NotFound("there is no such secret", advice="write it first")
            merged = values.merge({} if clear else present, changes.custom_metadata or {})
            values.check_custom_metadata(merged)
            rows.change(tx, mount, path, replace(changes, custom_metadata=merged), self._clock.now())
            recording(tx, {})

        self._database.write(work)

    def remove(self, mount: Mount, path: str, recording: Recording = nothing) -> None:
        """Remove a secret with all its versions and metadata, for good."""
        secret = self._standing(mount, path).secret
        if secret is None:
            return

        def work(tx: Tx) -> None:
            if rows.remove(tx, secret.id):
                recording(tx, {"versions": secret.current_version})

        self._database.write(work)

    def names(self, mount: Mount, folder: str = "") -> list[str]:
        """Return what lies in a folder ("" is the mount itself), in order: secrets, and folders with a slash."""
        inside = folder.strip("/")
        if inside:
            check_path(inside)
            inside += "/"
        paths = (path.partition("/") for path in rows.list_paths(self._database, mount, inside))
        return sorted({name + slash for name, slash, _ in paths})

    def settings(self, mount: Mount) -> Settings:
        """Return how versions are kept in a mount, where a secret does not say otherwise."""
        return rows.read_standing(self._database, mount, rows.SETTINGS).mount

    def configure(self, mount: Mount, changes: Changes, recording: Recording = nothing) -> None:
        """Change how versions are kept in a mount."""
        self._require_fitting(changes)
        self._put(mount, rows.SETTINGS, changes, recording)

    def open_all(self, mount: Mount) -> int:
        """Open every version of a mount that may be read, and return how many there were: a restored backup is good.

        Raises:
            Misconfigured: one does not open.
        """
        found = 0
        for path in rows.list_paths(self._database, mount, ""):
            metadata = self.metadata(mount, path)
            for version in () if metadata is None else metadata.versions:
                stored = self.read(mount, path, version.number)
                found += stored is not None and stored.data is not None
        return found

    def remove_mount(self, tx: Tx, mount: Mount) -> int:
        """Remove all secrets of a mount that is being removed, and its data keys; return how many secrets it held."""
        return rows.remove_mount(tx, mount)

    def _save(
        self, mount: Mount, path: str, cas: int | None, recording: Recording, make: Callable[[Standing], bytes]
    ) -> Stored:
        # Without a turn, all writers of a process seal and one wins; who names a version loses at the second look.
        turn = self._turns[hash((mount.id, path)) % _TURNS] if cas is None else nullcontext()
        with turn:
            for _ in range(_ATTEMPTS):
                stored = self._try(mount, path, cas, recording, make)
                if stored is not None:
                    return stored
        raise Conflict("others write this secret without a pause", advice="try again")

    def _try(
        self, mount: Mount, path: str, cas: int | None, recording: Recording, make: Callable[[Standing], bytes]
    ) -> Stored | None:
        """Store the next version; None where another writer was first, and nothing was changed."""
        standing = self._standing(mount, path)
        if cas is None and standing.cas_required:
            raise Malformed(_REQUIRED, advice="give the current version as options.cas")
        if cas is not None and cas != standing.current_version:
            raise Conflict(_MISMATCH)
        now, number = self._clock.now(), standing.current_version + 1
        secret = standing.secret or self._new_secret(mount, path)
        version = Version(number, now, standing.deletion(now), destroyed=False)
        envelope = self._keys.seal(mount, make(standing), secret.id, number)
        oldest = standing.oldest_version

        def work(tx: Tx) -> bool:
            if standing.secret is None:
                first = replace(secret, current_version=number, oldest_version=oldest)
                if not rows.add(tx, mount, path, first, now):
                    return False
            elif not rows.advance(tx, secret, oldest, now):
                return False
            rows.add_version(tx, mount, secret.id, version, envelope)
            if oldest > 1:
                rows.prune(tx, secret.id, oldest)
            recording(tx, {"version": number})
            return True

        return Stored(version, secret.custom_metadata) if self._database.write(work) else None

    def _mark(
        self,
        mount: Mount,
        path: str,
        versions: Collection[int] | None,
        recording: Recording,
        mark: Callable[[Tx, str, list[int]], list[int]],
    ) -> None:
        secret = self._standing(mount, path).secret
        if secret is None:
            return
        wanted = {secret.current_version} if versions is None else set(versions)
        found = sorted(n for n in wanted if max(1, secret.oldest_version) <= n <= secret.current_version)

        def work(tx: Tx) -> None:
            changed = mark(tx, secret.id, found)
            if changed:
                recording(tx, {"versions": changed})

        if found:
            self._database.write(work)

    def _put(self, mount: Mount, path: str, changes: Changes, recording: Recording) -> None:
        fresh = self._new_secret(mount, path)

        def work(tx: Tx) -> None:
            now = self._clock.now()
            rows.add(tx, mount, path, fresh, now)
            rows.change(tx, mount, path, changes, now)
            recording(tx, {})

        self._database.write(work)

    def _standing(self, mount: Mount, path: str) -> Standing:
        check_path(path)
        standing = rows.read_standing(self._database, mount, path)
        if standing.secret is not None:
            require_bound(self._key, mount, path, standing.secret.id, standing.secret.mac)
        return standing

    def _new_secret(self, mount: Mount, path: str) -> Secret:
        secret_id, now = self._ids.new(), self._clock.now()
        return Secret(secret_id, bind(self._key, mount, path, secret_id), 0, 0, Settings(), {}, now, now)

    def _require_fitting(self, changes: Changes) -> None:
        if changes.max_versions is not None and not 0 <= changes.max_versions <= VERSIONS_LIMIT:
            raise Malformed(f"max_versions is from 0 to {VERSIONS_LIMIT}", advice="0 is the default")
        if changes.custom_metadata is not None:
            values.check_custom_metadata(changes.custom_metadata)
