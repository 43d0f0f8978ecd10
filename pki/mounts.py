"""The mount table: which engine serves which paths. A change is seen by every worker at its next request."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import orjson
from sqlalchemy import delete, insert, select, update

from pki.clock import Clock, to_ms
from pki.errors import Conflict, Malformed, NotFound, Rejected
from pki.ids import Ids
from pki.storage import epochs
from pki.storage.database import Database, Tx
from pki.storage.tables import mounts

NAMESPACE = "root"
SECRET, AUTH = "secret", "auth"
_SHOWN = 255
_PATH = re.compile(r"(?=.{1,255}\Z)(?:[a-z0-9][a-z0-9._-]*/)+", re.ASCII)
_RESERVED = frozenset({"audit", "auth", "cubbyhole", "identity", "sys"})
_LINE_LIMIT = 1024


@dataclass(frozen=True, slots=True)
class Mount:
    """A path prefix bound to an engine or an auth method; the `id` never changes, and keys are bound to it.

    `path` ends in a slash and has no leading one: `secret/`, `auth/approle/`. `kind` is secret, auth or system.
    `options` are the engine's (`version` "2" of kv), as texts; `tuning` holds what every mount can be tuned in.
    """

    id: str
    namespace_id: str
    path: str
    kind: str
    type: str
    description: str = ""
    options: Mapping[str, str] = field(default_factory=dict)
    tuning: Mapping[str, Any] = field(default_factory=dict)
    version: int = 1


SYSTEM = Mount("system", NAMESPACE, "sys/", "system", "system", "the house itself: mounts, policies, health")
TOKEN = Mount("token", NAMESPACE, "auth/token/", AUTH, "token", "client tokens")
"""These two are always there, and cannot be changed."""
BUILTIN = (SYSTEM, TOKEN)


@dataclass(frozen=True, slots=True)
class _Table:
    epoch: int
    mounts: Mapping[str, Mount]


class Mounts:
    """Reads and changes the mount table, for all threads of a process."""

    def __init__(self, database: Database, clock: Clock, ids: Ids) -> None:
        self._database = database
        self._clock = clock
        self._ids = ids
        self._table = _Table(-1, {})

    def match(self, path: str, *, epoch: int | None = None) -> tuple[Mount, str] | None:
        """Return the mount of the longest prefix of `path`, and the rest of it; None where there is none.

        `epoch` is the one that the caller has read already.
        """
        table = self._current(epoch)
        end = path.rfind("/")
        while end >= 0:
            mount = table.get(path[: end + 1])
            if mount is not None:
                return mount, path[end + 1 :]
            end = path.rfind("/", 0, end)
        return None

    def all(self) -> list[Mount]:
        """Return every mount, in the order of paths, those that are always there among them."""
        table = self._current(None)
        return [table[path] for path in sorted(table)]

    def get(self, path: str) -> Mount:
        """Return the mount at exactly that path, slash included.

        Raises:
            NotFound: there is none.
        """
        mount = self._current(None).get(path)
        if mount is None:
            raise NotFound(f"there is no mount at {path!a}")
        return mount

    def add(
        self,
        tx: Tx,
        *,
        path: str,
        kind: str,
        type: str,  # noqa: A002 - the column's name
        description: str = "",
        options: Mapping[str, str] | None = None,
        tuning: Mapping[str, Any] | None = None,
    ) -> Mount:
        """Bind a path to an engine (kind secret) or an auth method (kind auth) in `tx`; the caller records it.

        Raises:
            Malformed: the path or the description is not canonical; the path does not go with the kind.
            Conflict: the path is taken, or overlaps with a mount's.
        """
        check_path(path, kind)
        _check_description(description)
        epochs.bump(tx)
        _check_free(tx, path, besides=None)
        made = Mount(self._ids.new(), NAMESPACE, path, kind, type, description, dict(options or {}), dict(tuning or {}))
        tx.execute(insert(mounts).values(id=made.id, created_at=to_ms(self._clock.now()), **_values(made)))
        return made

    def tune(
        self,
        tx: Tx,
        path: str,
        *,
        description: str | None = None,
        options: Mapping[str, str] | None = None,
        tuning: Mapping[str, Any] | None = None,
    ) -> Mount:
        """Change what is given of a mount, members that are not given staying as they are; the caller records it.

        Raises:
            NotFound: there is no mount there.
            Malformed: the description is not canonical.
            Rejected: it is one of those that cannot be changed.
        """
        old = self._held(tx, path)
        new = replace(
            old,
            description=old.description if description is None else description,
            options={**old.options, **(options or {})},
            tuning={**old.tuning, **(tuning or {})},
            version=old.version + 1,
        )
        _check_description(new.description)
        tx.execute(update(mounts).where(mounts.c.id == old.id).values(_values(new)))
        return new

    def remove(self, tx: Tx, path: str) -> Mount:
        """Remove a mount; what it kept is not reached any more. The caller records it.

        Raises:
            NotFound: there is no mount there.
            Rejected: it is one of those that cannot be changed.
        """
        old = self._held(tx, path)
        tx.execute(delete(mounts).where(mounts.c.id == old.id))
        return old

    def move(self, tx: Tx, old: str, new: str) -> Mount:
        """Bind a mount to another path; its id, and so all that it keeps, stays. The caller records it.

        Raises:
            NotFound: there is no mount at `old`.
            Malformed: `new` is not canonical, or is a path for the other kind of mount.
            Conflict: `new` is taken, or overlaps with a mount's path.
            Rejected: it is one of those that cannot be changed.
        """
        found = self._held(tx, old)
        check_path(new, found.kind)
        _check_free(tx, new, besides=found.id)
        moved = replace(found, path=new, version=found.version + 1)
        tx.execute(update(mounts).where(mounts.c.id == found.id).values(_values(moved)))
        return moved

    def _held(self, tx: Tx, path: str) -> Mount:
        """Return the mount at a path, which nobody else changes until `tx` ends."""
        if any(mount.path == path for mount in BUILTIN):
            raise Rejected(f"the mount {path} cannot be changed", "protectedMount")
        epochs.bump(tx)
        mine = mounts.c.namespace_id == NAMESPACE, mounts.c.path == path
        row = tx.execute(select(mounts).where(*mine)).first() if _PATH.fullmatch(path) else None
        if row is None:
            raise NotFound(f"there is no mount at {path!a}")
        return _mount(row)

    def _current(self, epoch: int | None) -> Mapping[str, Mount]:
        """Return the mounts by path, read again if the epoch has moved."""
        now = epochs.read(self._database) if epoch is None else epoch
        table = self._table
        if table.epoch != now:
            with self._database.read() as tx:
                rows = tx.execute(select(mounts).where(mounts.c.namespace_id == NAMESPACE)).all()
            found = (*BUILTIN, *(_mount(row) for row in rows))
            table = self._table = _Table(now, {mount.path: mount for mount in found})
        return table.mounts


def check_path(path: str, kind: str) -> None:
    """Refuse a mount's path that has a second spelling, or is none for that kind of mount. Nothing is repaired.

    Raises:
        Malformed: it is not made of segments of lower-case ASCII letters, digits and `.`, `_`, `-`, each followed by a
            slash; or an auth method's does not begin with `auth/`, or another one's with a reserved segment.
    """
    if _PATH.fullmatch(path) is None:
        raise Malformed(
            f"{path[:_SHOWN]!a} is no path for a mount",
            advice="write segments of a-z, 0-9, '.', '_' and '-', which begin with a letter or digit, as in team/kv/",
        )
    first, _, rest = path.partition("/")
    if kind == AUTH:
        if first != AUTH or not rest:
            raise Malformed("the path of an auth method begins with auth/", advice=f"write auth/{path}")
    elif first in _RESERVED:
        raise Malformed(f"the path {path} is reserved", advice="choose another path")


def _check_description(description: str) -> None:
    if not description.isprintable() or len(description) > _LINE_LIMIT:
        raise Malformed(f"a description is one printable line of up to {_LINE_LIMIT} characters")


def _check_free(tx: Tx, path: str, *, besides: str | None) -> None:
    """Refuse a path where another mount would hide behind it, or it behind another."""
    rows = tx.execute(select(mounts.c.id, mounts.c.path).where(mounts.c.namespace_id == NAMESPACE)).all()
    taken = [mount.path for mount in BUILTIN] + [row.path for row in rows if row.id != besides]
    for other in taken:
        if path.startswith(other) or other.startswith(path):
            raise Conflict(f"path is already in use at {other}", advice="choose another path, or remove that mount")


def _values(mount: Mount) -> dict[str, Any]:
    return {
        "namespace_id": mount.namespace_id,
        "path": mount.path,
        "kind": mount.kind,
        "type": mount.type,
        "description": mount.description,
        "options": orjson.dumps(mount.options, option=orjson.OPT_SORT_KEYS).decode(),
        "tuning": orjson.dumps(mount.tuning, option=orjson.OPT_SORT_KEYS).decode(),
        "version": mount.version,
    }


def _mount(row: Any) -> Mount:
    return Mount(
        id=row.id,
        namespace_id=row.namespace_id,
        path=row.path,
        kind=row.kind,
        type=row.type,
        description=row.description,
        options=orjson.loads(row.options),
        tuning=orjson.loads(row.tuning),
        version=row.version,
    )
