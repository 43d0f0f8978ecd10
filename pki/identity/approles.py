"""AppRoles: a role has a role-id, which names it, and secret-ids, each of which lets a machine log in.

Of a secret-id the database keeps a digest only, keyed by a service key (A10). An accessor names it without being it.
"""

import hashlib
import hmac
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Literal, TypeVar

import msgspec
import orjson
from sqlalchemy import ColumnElement, and_, delete, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from pki.clock import Clock, from_ms, to_ms
from pki.errors import Conflict, Malformed, Misconfigured, NotFound
from pki.identity.networks import allow, are_within, check_networks
from pki.identity.terms import USES_LIMIT, TokenTerms
from pki.ids import Ids
from pki.mounts import Mount
from pki.storage.database import Database, Tx
from pki.storage.tables import approle_roles as roles
from pki.storage.tables import approle_secret_ids as secret_ids

T = TypeVar("T")
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,127}", re.ASCII)
_ROLE_ID = re.compile(r"[A-Za-z0-9._-]{1,128}", re.ASCII)
_SECRET_ID = re.compile(r"[!-~]{32,256}", re.ASCII)
ROLE_NAME = "role_name"
"""What the token's metadata call the role."""


class RoleTerms(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a role says. `secret_id_ttl` is in seconds, and with `secret_id_uses` 0 is without end."""

    token: TokenTerms = TokenTerms()
    networks: tuple[str, ...] = ()
    secret_id_ttl: int = 0
    secret_id_uses: int = 0

    def check(self) -> None:
        """Refuse what no login can be made by.

        Raises:
            Malformed: always names the member.
        """
        self.token.check()
        check_networks("secret_id_bound_cidrs", self.networks)
        if not 0 <= self.secret_id_uses <= USES_LIMIT:
            raise Malformed(f"secret_id_num_uses is from 0, for any number, to {USES_LIMIT}")


@dataclass(frozen=True, slots=True)
class Role:
    """A role. The role-id is no secret, but is of no use to others."""

    name: str
    role_id: str
    terms: RoleTerms


@dataclass(frozen=True, slots=True)
class NewSecretId:
    """A secret-id to be made; None is what the role says. `secret` None: a random one."""

    metadata: Mapping[str, str] = field(default_factory=dict)
    networks: tuple[str, ...] = ()
    ttl: int | None = None
    uses: int | None = None
    secret: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class SecretId:
    """What is kept of a secret-id. `uses_left` 0 is any number; `expires_at` None: it does not expire."""

    accessor: str
    metadata: Mapping[str, str]
    networks: tuple[str, ...]
    uses_left: int
    created_at: datetime
    expires_at: datetime | None

    @property
    def ttl(self) -> int:
        """How long it was made for, in seconds; 0 is without end."""
        return 0 if self.expires_at is None else int((self.expires_at - self.created_at).total_seconds())


class Ending(StrEnum):
    """How a login ended; only the audit log tells the failures apart."""

    RIGHT = "right"
    NO_ROLE = "unknown role-id"
    NO_SECRET_ID = "unknown, expired or spent secret-id"  # noqa: S105 - a reason
    NETWORK = "address not allowed"


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a login came to: `metadata` are the token's where it was right; `role` as far as there is one."""

    ending: Ending
    role: Role | None = None
    accessor: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)


class Approles:
    """Keeps roles and secret-ids of all mounts of this kind, and judges logins. `key` is that of the digests."""

    def __init__(self, database: Database, clock: Clock, ids: Ids, key: bytes) -> None:
        self._database = database
        self._clock = clock
        self._ids = ids
        self._key = key

    def write(self, work: Callable[[Tx], T]) -> T:
        """Run `work` in one transaction.

        Raises:
            Conflict: a name, role-id or secret-id was taken at the same time by somebody else.
        """
        try:
            return self._database.write(work)
        except IntegrityError:
            raise Conflict("somebody else wrote the same at the same time", advice="read it, and try again") from None

    # Roles

    def names(self, mount: Mount) -> list[str]:
        """Return the names of the mount's roles, in order."""
        query = select(roles.c.name).where(roles.c.mount_id == mount.id).order_by(roles.c.name)
        with self._database.read() as tx:
            return list(tx.execute(query).scalars())

    def find(self, mount: Mount, name: str) -> Role | None:
        """Return the role of that name, if any."""
        with self._database.read() as tx:
            return _find(tx, _at(mount, name)) if _is_name(name) else None

    def get(self, mount: Mount, name: str) -> Role:
        """Return the role of that name.

        Raises:
            NotFound: there is none.
        """
        found = self.find(mount, name)
        if found is None:
            raise _absent(name)
        return found

    def set(
        self, tx: Tx, mount: Mount, name: str, change: Callable[[RoleTerms], RoleTerms], role_id: str | None = None
    ) -> Role:
        """Make a role, or change one, in `tx`; the caller records it. A new role's id is random unless it is given.

        Raises:
            Malformed: the name, the role-id or the terms are not canonical.
            Conflict: the role-id is another role's.
        """
        if not _is_name(name):
            raise Malformed(
                f"{name[:64]!a} is no name for a role",
                advice="use up to 128 of the characters a-z, 0-9, '.', '_' and '-', and begin with a letter or a digit",
            )
        old = _find(tx, _at(mount, name), lock="update")
        terms = change(RoleTerms() if old is None else old.terms)
        terms.check()
        if role_id is not None:
            _check_role_id(tx, mount, name, role_id)
        made = Role(name, role_id or (self._ids.new() if old is None else old.role_id), terms)
        values = {"role_id": made.role_id, "document": msgspec.json.encode(terms).decode()}
        if old is not None:
            tx.execute(update(roles).where(_at(mount, name)).values(version=roles.c.version + 1, **values))
            return made
        fixed = {"mount_id": mount.id, "namespace_id": mount.namespace_id, "name": name, "version": 1}
        tx.execute(insert(roles).values(created_at=to_ms(self._clock.now()), **fixed, **values))
        return made

    def set_role_id(self, tx: Tx, mount: Mount, name: str, role_id: str) -> Role:
        """Give a role another role-id in `tx`: the old one is of no use any more. The caller records it.

        Raises:
            NotFound: there is no such role.
            Malformed: the role-id is not canonical.
            Conflict: it is another role's.
        """
        self._require(tx, mount, name, "update")
        return self.set(tx, mount, name, lambda terms: terms, role_id)

    def delete(self, tx: Tx, mount: Mount, name: str) -> bool:
        """Delete a role and its secret-ids in `tx`, and return whether there was one; tokens live on."""
        if not _is_name(name) or not tx.execute(delete(roles).where(_at(mount, name))).rowcount:
            return False
        tx.execute(delete(secret_ids).where(_of(mount, name)))
        return True

    # Secret-ids

    def add_secret_id(self, tx: Tx, mount: Mount, name: str, new: NewSecretId) -> tuple[str, SecretId]:
        """Make a secret-id in `tx`, and return (it, what is kept of it); the caller records it, but not the secret.

        Raises:
            NotFound: there is no such role.
            Malformed: it would outlast what the role allows, or is not canonical.
            Conflict: the role has this secret-id already.
        """
        role = self._require(tx, mount, name)
        uses, ttl = _check_new(role, new)
        secret = self._ids.token() if new.secret is None else new.secret
        digest, now = self._digest(mount, name, secret), self._clock.now()
        if new.secret is not None:
            tx.execute(delete(secret_ids).where(secret_ids.c.digest == digest, _is_over(now)))
            if tx.execute(select(secret_ids.c.id).where(secret_ids.c.digest == digest)).first() is not None:
                raise Conflict("the role has this secret-id already", advice="leave secret_id out: it is random then")
        expires_at = now + timedelta(seconds=ttl) if ttl else None
        made = SecretId(self._ids.new(), dict(new.metadata), new.networks, uses, now, expires_at)
        tx.execute(
            insert(secret_ids).values(
                id=made.accessor,
                namespace_id=mount.namespace_id,
                mount_id=mount.id,
                role=name,
                digest=digest,
                metadata=orjson.dumps(made.metadata).decode(),
                networks=orjson.dumps(made.networks).decode(),
                uses_left=uses or None,
                created_at=to_ms(now),
                expires_at=None if expires_at is None else to_ms(expires_at),
            )
        )
        return secret, made

    def accessors(self, mount: Mount, name: str) -> list[str]:
        """Return the accessors of a role's secret-ids that are live, oldest first."""
        query = select(secret_ids.c.id).where(_of(mount, name), _is_live(self._clock.now()))
        with self._database.read() as tx:
            return list(tx.execute(query.order_by(secret_ids.c.created_at, secret_ids.c.id)).scalars())

    def find_secret_id(
        self, mount: Mount, name: str, *, secret: str | None = None, accessor: str | None = None
    ) -> SecretId | None:
        """Return what is kept of a live secret-id of a role, given it or its accessor, if there is one."""
        which = self._which(mount, name, secret, accessor)
        with self._database.read() as tx:
            row = tx.execute(select(secret_ids).where(which, _is_live(self._clock.now()))).first()
        return None if row is None else _secret_id(row)

    def destroy_secret_id(
        self, tx: Tx, mount: Mount, name: str, *, secret: str | None = None, accessor: str | None = None
    ) -> str | None:
        """Destroy a role's secret-id in `tx`, given it or its accessor, and return the accessor, None if absent."""
        gone = delete(secret_ids).where(self._which(mount, name, secret, accessor)).returning(secret_ids.c.id)
        found: str | None = tx.execute(gone).scalars().first()
        return found

    def delete_expired(self, tx: Tx, mount: Mount | None = None) -> int:
        """Delete secret-ids that have expired, of a mount or of all, in `tx`, and return how many there were."""
        which = [_is_over(self._clock.now()), *([] if mount is None else [secret_ids.c.mount_id == mount.id])]
        return tx.execute(delete(secret_ids).where(*which)).rowcount

    # Log in

    def login(self, tx: Tx, mount: Mount, role_id: str, secret: str, address: str) -> Judgement:
        """Judge a login from `address` in `tx`, and take one use of the secret-id if it is right (A11).

        The caller records it. A use is taken by compare-and-swap, and committed together with what it is taken for: of
        any number of logins at the same time, just as many succeed as uses were left.
        """
        role = _find(tx, _by_role_id(mount, role_id), lock="share") if _ROLE_ID.fullmatch(role_id) else None
        if role is None:
            return Judgement(Ending.NO_ROLE)
        now = self._clock.now()
        which = secret_ids.c.digest == self._digest(mount, role.name, secret)
        row = tx.execute(select(secret_ids).where(_of(mount, role.name), which, _is_live(now))).first()
        if row is None:
            return Judgement(Ending.NO_SECRET_ID, role)
        found = _secret_id(row)
        if not (allow(role.terms.networks, address) and allow(found.networks, address)):
            return Judgement(Ending.NETWORK, role, found.accessor)
        if not _use(tx, found):
            return Judgement(Ending.NO_SECRET_ID, role, found.accessor)
        return Judgement(Ending.RIGHT, role, found.accessor, {**found.metadata, ROLE_NAME: role.name})

    def _require(self, tx: Tx, mount: Mount, name: str, lock: Literal["share", "update"] = "share") -> Role:
        """Return a role, which nobody deletes until `tx` ends."""
        role = _find(tx, _at(mount, name), lock=lock) if _is_name(name) else None
        if role is None:
            raise _absent(name)
        return role

    def _which(self, mount: Mount, name: str, secret: str | None, accessor: str | None) -> ColumnElement[bool]:
        if accessor is not None:
            return and_(_of(mount, name), secret_ids.c.id == accessor)
        return and_(_of(mount, name), secret_ids.c.digest == self._digest(mount, name, secret or ""))

    def _digest(self, mount: Mount, name: str, secret: str) -> str:
        """Return the digest of a secret-id as this role's; in another row it would be another."""
        message = f"{mount.id}\0{name}\0{secret}".encode(errors="surrogatepass")
        return hmac.digest(self._key, message, hashlib.sha256).hex()


def _check_role_id(tx: Tx, mount: Mount, name: str, role_id: str) -> None:
    if not _ROLE_ID.fullmatch(role_id):
        raise Malformed("a role_id has up to 128 of the characters A-Z, a-z, 0-9, '.', '_' and '-'")
    holder = _find(tx, _by_role_id(mount, role_id))
    if holder is not None and holder.name != name:
        raise Conflict("role_id already in use", advice="choose another, or leave it out: it is random then")


def _check_new(role: Role, new: NewSecretId) -> tuple[int, int]:
    """Return (uses, ttl) of a secret-id to be made, 0 being without end."""
    most, longest = role.terms.secret_id_uses, role.terms.secret_id_ttl
    uses = most if new.uses is None else new.uses
    ttl = longest if new.ttl is None else new.ttl
    if most and not 0 < uses <= most:
        raise Malformed("num_uses cannot be higher than the role's secret_id_num_uses", advice=f"that is {most}")
    if longest and not 0 < ttl <= longest:
        raise Malformed("ttl cannot be longer than the role's secret_id_ttl", advice=f"that is {longest} seconds")
    if not 0 <= uses <= USES_LIMIT:
        raise Malformed(f"num_uses is from 0, for any number, to {USES_LIMIT}")
    if new.secret is not None and not _SECRET_ID.fullmatch(new.secret):
        raise Malformed(
            "a secret_id has 32 to 256 printable ASCII characters without blanks",
            advice="use secret-id instead of custom-secret-id: it is random then",
        )
    check_networks("cidr_list", new.networks)
    if not are_within(new.networks, role.terms.networks):
        raise Malformed("cidr_list leaves the role's secret_id_bound_cidrs", advice="name networks within those")
    if ROLE_NAME in new.metadata:
        raise Malformed(f"metadata cannot say {ROLE_NAME}", advice="the house says it")
    role.terms.token.token("approle", "", {**new.metadata, ROLE_NAME: role.name}).check()
    return uses, ttl


def _use(tx: Tx, found: SecretId) -> bool:
    """Take one use, if there is one left; the last one leaves nothing behind."""
    here = secret_ids.c.id == found.accessor
    if not found.uses_left:  # any number: only, it must not be destroyed meanwhile
        return tx.execute(select(secret_ids.c.id).where(here).with_for_update(read=True)).first() is not None
    taken = update(secret_ids).where(here, secret_ids.c.uses_left > 0).values(uses_left=secret_ids.c.uses_left - 1)
    row = tx.execute(taken.returning(secret_ids.c.uses_left)).first()
    if row is not None and row.uses_left == 0:
        tx.execute(delete(secret_ids).where(here))
    return row is not None


def _find(tx: Tx, which: ColumnElement[bool], *, lock: Literal["share", "update"] | None = None) -> Role | None:
    query = select(roles.c.name, roles.c.role_id, roles.c.document).where(which)
    row = tx.execute(query.with_for_update(read=lock == "share") if lock else query).first()
    return None if row is None else Role(row.name, row.role_id, _terms(row.document))


def _terms(document: str) -> RoleTerms:
    try:
        return msgspec.json.decode(document, type=RoleTerms)
    except (msgspec.DecodeError, ValueError) as error:
        raise Misconfigured(f"a stored role cannot be read: {error}", advice="delete it, and make it anew") from None


def _secret_id(row: Any) -> SecretId:
    return SecretId(
        accessor=row.id,
        metadata=orjson.loads(row.metadata),
        networks=tuple(orjson.loads(row.networks)),
        uses_left=row.uses_left or 0,
        created_at=from_ms(row.created_at),
        expires_at=None if row.expires_at is None else from_ms(row.expires_at),
    )


def _is_name(name: str) -> bool:
    return _NAME.fullmatch(name) is not None


def _at(mount: Mount, name: str) -> ColumnElement[bool]:
    return and_(roles.c.mount_id == mount.id, roles.c.name == name)


def _by_role_id(mount: Mount, role_id: str) -> ColumnElement[bool]:
    return and_(roles.c.mount_id == mount.id, roles.c.role_id == role_id)


def _of(mount: Mount, name: str) -> ColumnElement[bool]:
    return and_(secret_ids.c.mount_id == mount.id, secret_ids.c.role == name)


def _is_live(now: datetime) -> ColumnElement[bool]:
    return or_(secret_ids.c.expires_at.is_(None), secret_ids.c.expires_at > to_ms(now))


def _is_over(now: datetime) -> ColumnElement[bool]:
    return secret_ids.c.expires_at <= to_ms(now)


def _absent(name: str) -> NotFound:
    return NotFound(f'role "{name[:64]}" does not exist', advice="list them: LIST role")
