"""Secrets engine kv: versions of JSON objects under paths (key/value version 2 of the Vault HTTP API)."""

from collections.abc import Collection, Mapping
from datetime import timedelta
from typing import Any, ClassVar

import msgspec
from msgspec import UNSET, UnsetType

from pki.errors import Malformed, NotFound
from pki.mounts import Mount
from pki.operations.call import Call, Reply, keys, when
from pki.operations.declare import Engine, NoBody, Verb, operation
from pki.operations.wire import Pairs, Span
from pki.storage.database import Tx
from pki.vault.records import NEVER, Changes, Metadata, Stored, Version
from pki.vault.secrets import Recording, Secrets
from pki.vault.values import outline

VERSION = "2"
"""The only version of the key/value API that is served."""
_ABSENT = Reply(absent=True)


class Options(msgspec.Struct, frozen=True):
    """Options of a write: `cas` is the version that it must follow, 0 for none."""

    cas: int | UnsetType | None = UNSET


class Write(msgspec.Struct, frozen=True):
    """A value to store: `data` is a JSON object."""

    data: dict[str, Any] | UnsetType | None = UNSET
    options: Options | None = None


class Versions(msgspec.Struct, frozen=True):
    """Numbers of versions: a list, or a text with commas."""

    versions: list[int] | int | str = msgspec.field(default_factory=list)


class Config(msgspec.Struct, frozen=True):
    """How versions are kept in a mount."""

    max_versions: int | None = None
    cas_required: bool | None = None
    delete_version_after: Span | None = None


class MetadataChanges(msgspec.Struct, frozen=True):
    """How versions of one secret are kept, and what is noted beside it, in clear."""

    max_versions: int | None = None
    cas_required: bool | None = None
    delete_version_after: Span | None = None
    custom_metadata: Pairs | None = None


class MetadataPatch(msgspec.Struct, frozen=True):
    """A merge patch of metadata: null takes a setting, or a name in custom_metadata, away."""

    max_versions: int | UnsetType | None = UNSET
    cas_required: bool | UnsetType | None = UNSET
    delete_version_after: Span | UnsetType | None = UNSET
    custom_metadata: dict[str, str | None] | UnsetType | None = UNSET


class Kv(Engine):
    """Keeps secrets as versions of JSON objects, sealed under keys that only the HSM unwraps."""

    type: ClassVar[str] = "kv"

    def __init__(self, secrets: Secrets) -> None:
        self._secrets = secrets

    def forget(self, tx: Tx, mount: Mount) -> int:
        """Remove every secret of the mount, and its data keys, without which no copy opens."""
        return self._secrets.remove_mount(tx, mount)

    @staticmethod
    def check_options(options: Mapping[str, str]) -> None:
        """Refuse the options of a mount that cannot be served.

        Raises:
            Malformed: they do not ask for version 2, or ask for more than that.
        """
        unknown = sorted(options.keys() - {"version"})
        if unknown:
            raise Malformed(f"kv has no option {unknown[0]!a}", advice="its one option is version")
        if options.get("version") != VERSION:
            raise Malformed(
                "key/value version 1 keeps no versions, and is not served",
                advice='mount it with the option version "2" (the type kv-v2 does so)',
            )

    @operation(Verb.READ, "config")
    def read_config(self, call: Call, body: NoBody) -> Reply:  # noqa: ARG002 - every operation takes a body
        """Tell how versions are kept in this mount."""
        settings = self._secrets.settings(_mount(call))
        return Reply(
            {
                "cas_required": settings.cas_required,
                "delete_version_after": go_duration(settings.delete_after),
                "max_versions": settings.max_versions,
            }
        )

    @operation(Verb.UPDATE, "config", Config)
    def write_config(self, call: Call, body: Config) -> None:
        """Change how versions are kept in this mount."""
        changes = Changes(body.max_versions, body.cas_required, body.delete_version_after)
        self._secrets.configure(_mount(call), changes, _recording(call))

    def _has(self, call: Call, _body: object, path: str) -> bool:
        return self._secrets.exists(_mount(call), path)

    @operation(Verb.READ, "data/<path:path>")
    def read(self, call: Call, body: NoBody, path: str) -> Reply:  # noqa: ARG002
        """Read a version of a secret, the latest unless the query names one."""
        stored = self._secrets.read(_mount(call), path, _number(call, "version"))
        if stored is None:
            return _ABSENT
        return Reply({"data": stored.data, "metadata": _stored(stored)}, absent=stored.data is None)

    @operation(Verb.UPDATE, "data/<path:path>", Write, exists=_has)
    def write(self, call: Call, body: Write, path: str) -> Reply:
        """Store a new version of a secret."""
        stored = self._secrets.write(_mount(call), path, _data(body), cas=_cas(body), recording=_recording(call))
        return Reply(_stored(stored))

    @operation(Verb.PATCH, "data/<path:path>", Write)
    def patch(self, call: Call, body: Write, path: str) -> Reply:
        """Store a new version that is the latest, changed by a merge patch."""
        mount = _mount(call)
        try:
            stored = self._secrets.patch(mount, path, _data(body), cas=_cas(body), recording=_recording(call))
        except NotFound:
            latest = self._secrets.read(mount, path)
            return _ABSENT if latest is None else Reply(_stored(latest), absent=True)
        return Reply(_stored(stored))

    @operation(Verb.DELETE, "data/<path:path>")
    def delete(self, call: Call, body: NoBody, path: str) -> None:  # noqa: ARG002
        """Mark the latest version as deleted; undelete takes it back."""
        self._secrets.delete(_mount(call), path, None, _recording(call))

    @operation(Verb.UPDATE, "delete/<path:path>", Versions)
    def delete_versions(self, call: Call, body: Versions, path: str) -> None:
        """Mark versions as deleted; undelete takes it back."""
        self._secrets.delete(_mount(call), path, _versions(body), _recording(call))

    @operation(Verb.UPDATE, "undelete/<path:path>", Versions)
    def undelete(self, call: Call, body: Versions, path: str) -> None:
        """Take back the deletion of versions that are not destroyed."""
        self._secrets.undelete(_mount(call), path, _versions(body), _recording(call))

    @operation(Verb.UPDATE, "destroy/<path:path>", Versions)
    def destroy(self, call: Call, body: Versions, path: str) -> None:
        """Drop the values of versions for good."""
        self._secrets.destroy(_mount(call), path, _versions(body), _recording(call))

    @operation(Verb.READ, "subkeys/<path:path>")
    def read_subkeys(self, call: Call, body: NoBody, path: str) -> Reply:  # noqa: ARG002
        """Read the names in a version of a secret, without their values."""
        stored = self._secrets.read(_mount(call), path, _number(call, "version"))
        if stored is None:
            return _ABSENT
        names = None if stored.data is None else outline(stored.data, _number(call, "depth") or 0)
        return Reply({"metadata": _stored(stored), "subkeys": names}, absent=stored.data is None)

    @operation(Verb.READ, "metadata/<path:path>")
    def read_metadata(self, call: Call, body: NoBody, path: str) -> Reply:  # noqa: ARG002
        """Read what is known of a secret and its versions, apart from the values."""
        found = self._secrets.metadata(_mount(call), path)
        return _ABSENT if found is None else Reply(_metadata(found))

    @operation(Verb.UPDATE, "metadata/<path:path>", MetadataChanges, exists=_has)
    def write_metadata(self, call: Call, body: MetadataChanges, path: str) -> None:
        """Change how versions of a secret are kept, and replace its custom metadata."""
        changes = Changes(body.max_versions, body.cas_required, body.delete_version_after, body.custom_metadata)
        self._secrets.put_metadata(_mount(call), path, changes, _recording(call))

    @operation(Verb.PATCH, "metadata/<path:path>", MetadataPatch)
    def patch_metadata(self, call: Call, body: MetadataPatch, path: str) -> Reply | None:
        """Change how versions of a secret are kept, and those custom metadata that are named."""
        changes = Changes(
            _patched(body.max_versions, 0),
            _patched(body.cas_required, False),
            _patched(body.delete_version_after, NEVER),
            _patched(body.custom_metadata, None),
        )
        clear = body.custom_metadata is None
        try:
            self._secrets.patch_metadata(_mount(call), path, changes, clear=clear, recording=_recording(call))
        except NotFound:
            return _ABSENT
        return None

    @operation(Verb.DELETE, "metadata/<path:path>")
    def delete_metadata(self, call: Call, body: NoBody, path: str) -> None:  # noqa: ARG002
        """Remove a secret with all its versions, for good."""
        self._secrets.remove(_mount(call), path, _recording(call))

    @operation(Verb.LIST, "metadata")
    @operation(Verb.LIST, "metadata/<path:path>")
    def list_names(self, call: Call, body: NoBody, path: str = "") -> Reply:  # noqa: ARG002
        """List the secrets and folders in a folder."""
        names = self._secrets.names(_mount(call), path)
        after, limit = call.query.get("after", ""), _number(call, "limit")
        return keys([name for name in names if name > after][:limit])


def go_duration(span: timedelta) -> str:
    """Return a span as clients of the API write and read it: `0s`, `1m30s`, `3h25m19s`."""
    seconds, rest = divmod(span, timedelta(seconds=1))
    hours, minutes = seconds // 3600, seconds // 60 % 60
    fraction = f"{rest / timedelta(seconds=1):.3f}"[1:].rstrip("0").rstrip(".") if rest else ""
    text = f"{seconds % 60}{fraction}s"
    if hours:
        return f"{hours}h{minutes}m{text}"
    return f"{minutes}m{text}" if minutes else text


def _mount(call: Call) -> Mount:
    Kv.check_options(call.mount.options)
    return call.mount


def _recording(call: Call) -> Recording:
    def record(tx: Tx, detail: Mapping[str, Any]) -> None:
        call.record(tx, **detail)

    return record


def _number(call: Call, name: str) -> int | None:
    """Return a parameter of the query that is a number; None where it is absent, empty or 0."""
    text = call.query.get(name, "")
    if text and not (text.isascii() and text.isdigit() and len(text) < 20):  # noqa: PLR2004 - 64 bits have 20 digits
        raise Malformed(f"{name} in the query is no number", advice="write digits alone")
    return int(text or "0") or None


def _data(body: Write) -> dict[str, Any]:
    if body.data is UNSET or body.data is None:
        raise Malformed("no data provided", advice='send {"data": {...}}')
    return body.data


def _cas(body: Write) -> int | None:
    cas = UNSET if body.options is None else body.options.cas
    if cas is None:
        raise Malformed("error parsing check-and-set parameter", advice="give a version number, or leave it out")
    return None if cas is UNSET else cas


def _versions(body: Versions) -> Collection[int]:
    given = body.versions
    if isinstance(given, str):
        texts = [text.strip() for text in given.split(",") if text.strip()]
        if not all(text.isascii() and text.isdigit() and len(text) < 20 for text in texts):  # noqa: PLR2004
            raise Malformed("versions are numbers", advice="send a list of them")
        given = [int(text) for text in texts]
    numbers = {given} if isinstance(given, int) else set(given)
    if not numbers:
        raise Malformed("no version number provided", advice='send {"versions": [1, 2]}')
    return numbers


def _patched(value: Any, none: Any) -> Any:
    """Return what a patch says: None for no change, `none` where null takes the setting away."""
    if value is UNSET:
        return None
    return none if value is None else value


def _version(version: Version) -> dict[str, Any]:
    return {
        "created_time": when(version.created_at),
        "deletion_time": when(version.deleted_at) or "",
        "destroyed": version.destroyed,
    }


def _stored(stored: Stored) -> dict[str, Any]:
    return {
        **_version(stored.version),
        "custom_metadata": stored.custom_metadata or None,
        "version": stored.version.number,
    }


def _metadata(found: Metadata) -> dict[str, Any]:
    secret = found.secret
    return {
        "cas_required": secret.settings.cas_required,
        "created_time": when(secret.created_at),
        "current_version": secret.current_version,
        "custom_metadata": secret.custom_metadata or None,
        "delete_version_after": go_duration(secret.settings.delete_after),
        "max_versions": secret.settings.max_versions,
        "oldest_version": secret.oldest_version,
        "updated_time": when(secret.updated_at),
        "versions": {str(version.number): _version(version) for version in found.versions},
    }
