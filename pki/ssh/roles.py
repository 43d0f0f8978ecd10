"""Where roles are kept: a row for each, read anew at each use, so that a change holds at once in every worker."""

import functools
import re

import msgspec
from sqlalchemy import delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from pki.clock import Clock, to_ms
from pki.errors import Conflict, Misconfigured, NotFound, Rejected
from pki.mounts import Mount
from pki.ssh.role import Role
from pki.storage.database import Database, Tx
from pki.storage.tables import ssh_roles

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_QUERY = "SELECT document FROM ssh_roles WHERE mount_id = ? AND name = ?"


class Roles:
    """Reads and writes roles. A stored one is decoded once a process."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def get(self, mount: Mount, name: str) -> Role:
        """Return the role of that name.

        Raises:
            NotFound: there is none.
            Misconfigured: what is stored is no role.
        """
        found = self.find(mount, name)
        if found is None:
            raise NotFound(f"there is no role {name!a}", advice=f"list them: {mount.path}roles")
        return found

    def find(self, mount: Mount, name: str) -> Role | None:
        """Return the role of that name, if any."""
        if _NAME.fullmatch(name) is None:
            return None
        row = self._database.point(_QUERY, (mount.id, name))
        return None if row is None else _decode(row[0])

    def names(self, mount: Mount) -> list[str]:
        """Return the names of the mount's roles, in order."""
        query = select(ssh_roles.c.name).where(ssh_roles.c.mount_id == mount.id).order_by(ssh_roles.c.name)
        with self._database.read() as tx:
            return list(tx.execute(query).scalars())

    def set(self, tx: Tx, mount: Mount, name: str, role: Role) -> None:
        """Write the role, in place of one that there is.

        Raises:
            Rejected: badRole; it could never be meant.
            Conflict: another made it in the same moment; nothing was written.
        """
        if _NAME.fullmatch(name) is None:
            raise Rejected(
                f"{name[:64]!a} cannot be a role's name", "badRole", advice="use letters, digits, and _ . - within"
            )
        role.check()
        document = msgspec.json.encode(role).decode()
        here = (ssh_roles.c.mount_id == mount.id, ssh_roles.c.name == name)
        changed = {"version": ssh_roles.c.version + 1, "document": document}
        if tx.execute(update(ssh_roles).where(*here).values(changed)).rowcount:
            return
        values = {"mount_id": mount.id, "name": name, "namespace_id": mount.namespace_id, "version": 1}
        values |= {"document": document, "created_at": to_ms(self._clock.now())}
        try:
            tx.execute(insert(ssh_roles).values(values))
        except IntegrityError:
            raise Conflict(
                f"the role {name} is just being made by another", advice="read it, and write again"
            ) from None

    def delete(self, tx: Tx, mount: Mount, name: str) -> None:
        """Forget the role; no error where there is none. Certificates made by it live on."""
        tx.execute(delete(ssh_roles).where(ssh_roles.c.mount_id == mount.id, ssh_roles.c.name == name))


@functools.lru_cache(maxsize=1024)
def _decode(document: str) -> Role:
    """Decode a stored role; the text itself is the key, since a version comes again when a name does."""
    try:
        return msgspec.json.decode(document, type=Role)
    except (msgspec.DecodeError, ValueError) as error:
        raise Misconfigured(f"a stored SSH role cannot be read: {error}", advice="write it anew") from None
