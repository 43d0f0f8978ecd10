"""Client tokens: bearer secrets of which the database keeps a keyed digest only (A10 T4).

A token is read anew at each request, by its digest: what was revoked is refused at once, in every process. A child
never outlives its parent: its end is never later, and a revocation takes the children with it, in one transaction.
"""

import hashlib
import hmac
import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any, Literal

import orjson
from sqlalchemy import ColumnElement, delete, insert, select, update

from pki.audit.trail import Event, Trail
from pki.clock import Clock, from_ms, to_ms
from pki.errors import Denied, NotFound, Rejected
from pki.identity.principals import Principal
from pki.identity.records import (
    DEFAULT_LIFETIME,
    DEFAULT_POLICY,
    MAX_LIFETIME,
    NAMESPACE,
    SERVICE,
    Made,
    NewToken,
    Token,
)
from pki.ids import Ids
from pki.policy.document import ROOT, check_name
from pki.storage import epochs
from pki.storage.database import Database, Row, Tx
from pki.storage.statements import Prepared
from pki.storage.tables import tokens

__all__ = ["DEFAULT_LIFETIME", "MAX_LIFETIME", "NAMESPACE", "Made", "NewToken", "Token", "Tokens", "without_tokens"]

_PREFIX = "sw."
_TOKEN = re.compile(r"sw\.[A-Za-z0-9_-]{43}", re.ASCII)
_ACCESSOR = re.compile(r"[a-z2-7]{26}", re.ASCII)
_DENIED = "permission denied"
_HOUSE = "house:tokens"
_CAPPED = "the token lives shorter than was asked for: its maximum, or the end of its parent, comes first"
_CHUNK = 500
"""Ids in one statement: a database takes some thousands of parameters."""

_FIELDS = (
    "id, namespace_id, kind, display_name, path, policies, metadata, created_at, expires_at, revoked_at, uses_left"
)
_BY_DIGEST = f"SELECT {_FIELDS} FROM tokens WHERE digest = ?"  # noqa: S608 - ours
_BY_ACCESSOR = f"SELECT {_FIELDS} FROM tokens WHERE id = ?"  # noqa: S608 - ours
_EXPIRES_AT, _REVOKED_AT, _USES_LEFT = 8, 9, 10
_ALL = tuple(tokens.columns.keys())
_WHOLE = f"SELECT {', '.join(_ALL)} FROM tokens WHERE namespace_id = ? AND "  # noqa: S608 - ours
_COLUMNS = tuple(name for name in tokens.columns.keys() if name not in {"used_at", "revoked_at"})  # noqa: SIM118
_INSERT = Prepared(insert(tokens), _COLUMNS)


def without_tokens(text: str) -> str:
    """Return `text` with every client token in it replaced, dead ones and invented ones too: for logs."""
    return _TOKEN.sub("(token)", text)


class Tokens:
    """Makes, checks and revokes tokens. `key` is the service key of the digests: without it none can even be tried."""

    def __init__(self, database: Database, clock: Clock, ids: Ids, trail: Trail, key: bytes) -> None:
        self._database = database
        self._clock = clock
        self._ids = ids
        self._trail = trail
        self._key = key

    # Use

    def authenticate(self, token: str) -> Principal:
        """Return who holds `token`, and count one use of it where its uses are numbered. Once a request.

        It is looked up by a keyed digest, so the time that it takes tells nothing about tokens that there are.

        Raises:
            Denied: it is not one, or is expired, revoked or used up; the message is the same for all of them.
        """
        row = self._point(_BY_DIGEST, self._digest(token)) if _TOKEN.fullmatch(token) else None
        if row is None or not self._is_live(row):
            raise Denied(_DENIED)
        if row[_USES_LEFT] is not None and not self._database.write(lambda tx: self._use(tx, row[0])):
            raise Denied(_DENIED)
        return _principal(row)

    def confirm(self, principal: Principal) -> Principal:
        """Return the principal as it stands now, later in the request that it makes; this counts no use.

        Raises:
            Denied: its token was revoked since, or has expired.
        """
        row = self._point(_BY_ACCESSOR, principal.accessor)
        if row is None or not self._is_live(row):
            raise Denied(_DENIED)
        return _principal(row)

    def _use(self, tx: Tx, accessor: str) -> bool:
        """Take one of the uses that are left, if there is one; it is what decides between requests at the same time."""
        left = tokens.c.id == accessor, tokens.c.uses_left > 0, tokens.c.revoked_at.is_(None)
        changes = {"uses_left": tokens.c.uses_left - 1, "used_at": to_ms(self._clock.now())}
        return tx.execute(update(tokens).where(*left).values(changes)).rowcount == 1

    def _is_live(self, row: Row) -> bool:
        expires_at = row[_EXPIRES_AT]
        return row[_REVOKED_AT] is None and (expires_at is None or to_ms(self._clock.now()) < expires_at)

    def _point(self, sql: str, key: str) -> Row | None:
        return self._database.point(sql, (key,))

    def _digest(self, token: str) -> str:
        return hmac.digest(self._key, token.encode(), hashlib.sha256).hex()

    # Look up

    def lookup(self, accessor: str, *, spent: bool = False) -> Token:
        """Return what is kept of a live token; with `spent`, also of one whose last use is under way.

        Raises:
            NotFound: there is none.
        """
        return self._live("id = ?", accessor if _ACCESSOR.fullmatch(accessor) else None, spent=spent)

    def lookup_token(self, token: str) -> Token:
        """Return what is kept of a live token, given the token; this counts no use of it.

        Raises:
            NotFound: there is none.
        """
        return self._live("digest = ?", self._digest(token) if _TOKEN.fullmatch(token) else None)

    def _live(self, where: str, key: str | None, *, spent: bool = False) -> Token:
        row = None if key is None else self._database.point(_WHOLE + where, (NAMESPACE, key))
        found = None if row is None else _token(SimpleNamespace(**dict(zip(_ALL, row, strict=True))))
        if found is None or not found.is_live(self._clock.now()) or (found.uses_left == 0 and not spent):
            raise NotFound("there is no such token")
        return found

    def accessors(self) -> list[str]:
        """Return the accessors of all live tokens, in order."""
        now = to_ms(self._clock.now())
        live = (
            tokens.c.namespace_id == NAMESPACE,
            tokens.c.revoked_at.is_(None),
            tokens.c.expires_at.is_(None) | (tokens.c.expires_at > now),
            tokens.c.uses_left.is_(None) | (tokens.c.uses_left > 0),
        )
        with self._database.read() as tx:
            return list(tx.execute(select(tokens.c.id).where(*live).order_by(tokens.c.id)).scalars())

    # Make and renew

    def add(self, tx: Tx, new: NewToken) -> Made:
        """Make a token in `tx`; the caller records it.

        Raises:
            Malformed: a policy's name, the display name or the metadata are not canonical.
            Denied: the parent has been revoked or has expired since.
            Rejected: the parent is one whose uses are numbered.
        """
        new.check()
        policies = tuple(sorted({*new.policies, *([DEFAULT_POLICY] if new.default_policy else [])}))
        for name in policies:
            check_name(name)
        now = self._clock.now()
        parent = None if new.parent is None else self._parent(tx, new.parent, now)
        wanted = new.lifetime or DEFAULT_LIFETIME
        max_expires_at = now + min(new.max_lifetime or MAX_LIFETIME, MAX_LIFETIME)
        expires_at = _earliest(now + wanted, max_expires_at, None if parent is None else parent.expires_at)
        values = {
            "display_name": new.display_name,
            "path": new.path,
            "metadata": orjson.dumps(dict(new.metadata)).decode(),
            "parent_id": new.parent,
            "lifetime": _ms(wanted),
            "renewable": new.renewable,
            "uses_left": new.uses or None,
            "expires_at": to_ms(expires_at),
            "max_expires_at": to_ms(max_expires_at),
        }
        token, accessor = self._insert(tx, SERVICE, policies, values, now)
        return Made(
            token=token,
            accessor=accessor,
            policies=policies,
            lifetime=max(1, int((expires_at - now).total_seconds())),
            renewable=new.renewable,
            metadata=new.metadata,
            orphan=parent is None,
            uses=new.uses or None,
            display_name=new.display_name,
            warnings=() if expires_at == now + wanted else (_CAPPED,),
        )

    def make(self, kind: str, policies: Sequence[str], lifetime: timedelta | None) -> str:
        """Return a new token of that kind (bootstrap, root, service), which is shown this once.

        Only bootstrap and root tokens can have the policy root. `lifetime` None means until it is revoked.

        Raises:
            Malformed: a policy's name is not canonical, or is root and the kind is service.
        """
        for name in policies:
            if kind == SERVICE or name != ROOT.name:
                check_name(name)
        now = self._clock.now()
        values = {
            "display_name": kind,
            "path": "auth/token/create",
            "metadata": "{}",
            "parent_id": None,
            "lifetime": _ms(lifetime or timedelta()),
            "renewable": False,
            "uses_left": None,
            "expires_at": None if lifetime is None else to_ms(now + lifetime),
            "max_expires_at": None if lifetime is None else to_ms(now + lifetime),
        }

        def work(tx: Tx) -> str:
            token, accessor = self._insert(tx, kind, tuple(sorted(policies)), values, now)
            self._trail.record(tx, Event(_HOUSE, "token.create", accessor, detail={"kind": kind}))
            return token

        return self._database.write(work)

    def _insert(
        self, tx: Tx, kind: str, policies: tuple[str, ...], values: dict[str, Any], now: datetime
    ) -> tuple[str, str]:
        """Add a row and return (token, accessor)."""
        token, accessor = _PREFIX + self._ids.token(), self._ids.new()
        fixed = {
            "id": accessor,
            "namespace_id": NAMESPACE,
            "digest": self._digest(token),
            "kind": kind,
            "policies": orjson.dumps(policies).decode(),
            "created_at": to_ms(now),
        }
        _INSERT.run(tx, {**values, **fixed})
        return token, accessor

    def _parent(self, tx: Tx, accessor: str, now: datetime) -> Token:
        """Return the parent, held until `tx` ends: a revocation comes before it or waits for it (T2).

        On SQLite nothing else is written meanwhile. On PostgreSQL the row is locked against the revocation's update,
        which looks for children only after that.
        """
        parent = _find(tx, tokens.c.id == accessor, lock="share")
        if parent is None or not parent.is_live(now):
            raise Denied(_DENIED)
        if parent.uses_left is not None:
            raise Rejected(
                "a token whose uses are numbered makes no other token",
                "limitedUses",
                advice="use a token without num_uses",
            )
        return parent

    def renew(self, tx: Tx, accessor: str, increment: timedelta | None) -> Made:
        """Let a token live for `increment` from now, or as long as it was made for; the caller records it.

        It lives no longer at once than it was made for, not past its maximum, and not past its parent's end. Its
        present end never comes nearer.

        Raises:
            NotFound: there is no such live token.
            Rejected: it is not renewable.
        """
        now = self._clock.now()
        token, parent = self._hold(tx, accessor, now)
        if not token.renewable or token.expires_at is None or token.lifetime is None:
            raise Rejected("the token is not renewable", "notRenewable", advice="log in again")
        wanted = now + min(increment or token.lifetime, token.lifetime)
        end = _earliest(wanted, token.max_expires_at, None if parent is None else parent.expires_at)
        expires_at = max(end, token.expires_at)
        tx.execute(update(tokens).where(tokens.c.id == accessor).values(expires_at=to_ms(expires_at)))
        return Made(
            token="",
            accessor=accessor,
            policies=token.policies,
            lifetime=max(1, int((expires_at - now).total_seconds())),
            renewable=True,
            metadata=token.metadata,
            orphan=token.parent is None,
            uses=token.uses_left,
            display_name=token.display_name,
            warnings=() if end == wanted == now + (increment or token.lifetime) else (_CAPPED,),
        )

    def _hold(self, tx: Tx, accessor: str, now: datetime) -> tuple[Token, Token | None]:
        """Return a token and its parent, both held until `tx` ends: the parent first, as a revocation takes them."""
        seen = _find(tx, tokens.c.id == accessor) if _ACCESSOR.fullmatch(accessor) else None
        parent = None if seen is None or seen.parent is None else _find(tx, tokens.c.id == seen.parent, lock="share")
        token = None if seen is None else _find(tx, tokens.c.id == accessor, lock="update")
        if token is None or not token.is_live(now):
            raise NotFound("there is no such token")
        return token, None if token.parent is None else parent

    # Revoke

    def revoke(self, tx: Tx, accessor: str) -> int:
        """Revoke a token and all below it; return how many there were, 0 if it was dead. The caller records it."""
        return self._revoke(tx, tokens.c.id == accessor) if _ACCESSOR.fullmatch(accessor) else 0

    def revoke_orphan(self, tx: Tx, accessor: str) -> int:
        """Revoke a token alone: its children go on without a parent. Return 1, or 0 if it was dead already."""
        if not _ACCESSOR.fullmatch(accessor):
            return 0
        epochs.bump(tx)
        revoked = len(self._mark(tx, tokens.c.id == accessor))
        tx.execute(update(tokens).where(tokens.c.parent_id == accessor).values(parent_id=None))
        return revoked

    def revoke_below(self, tx: Tx, path: str) -> int:
        """Revoke every token that was made below a path, such as that of an auth method which is removed."""
        return self._revoke(tx, tokens.c.path.startswith(path, autoescape=True))

    def revoke_kind(self, kind: str) -> int:
        """Revoke every token of that kind and all below them; return how many there were."""

        def work(tx: Tx) -> int:
            count = self._revoke(tx, tokens.c.kind == kind)
            if count:
                self._trail.record(tx, Event(_HOUSE, "token.revoke", kind, detail={"count": count}))
            return count

        return self._database.write(work)

    def forget(self, tx: Tx, *, ended_for: timedelta) -> int:
        """Delete rows of tokens that ended so long ago, some at a time; return how many. The audit log keeps the rest.

        Children end no later than their parents, so no living one loses its parent by it.
        """
        old = select(tokens.c.id).where(tokens.c.expires_at < to_ms(self._clock.now() - ended_for)).limit(_CHUNK)
        return tx.execute(delete(tokens).where(tokens.c.id.in_(old))).rowcount

    def _revoke(self, tx: Tx, which: ColumnElement[bool]) -> int:
        """Revoke level by level: once a level is marked, no child can be added to it, so the next one is complete."""
        epochs.bump(tx)
        level = self._mark(tx, which)
        count = len(level)
        while level:
            chunks = [level[start : start + _CHUNK] for start in range(0, len(level), _CHUNK)]
            level = [child for chunk in chunks for child in self._mark(tx, tokens.c.parent_id.in_(chunk))]
            count += len(level)
        return count

    def _mark(self, tx: Tx, which: ColumnElement[bool]) -> list[str]:
        live = tokens.c.namespace_id == NAMESPACE, tokens.c.revoked_at.is_(None), which
        changes = update(tokens).where(*live).values(revoked_at=to_ms(self._clock.now()))
        return list(tx.execute(changes.returning(tokens.c.id)).scalars())


def _find(tx: Tx, which: ColumnElement[bool], *, lock: Literal["share", "update"] | None = None) -> Token | None:
    """Return the token; with `lock`, its row is held until `tx` ends (on SQLite one writes at a time)."""
    query = select(tokens).where(tokens.c.namespace_id == NAMESPACE, which)
    row = tx.execute(query.with_for_update(read=lock == "share") if lock else query).first()
    return None if row is None else _token(row)


def _token(row: Any) -> Token:
    return Token(
        accessor=row.id,
        namespace_id=row.namespace_id,
        kind=row.kind,
        display_name=row.display_name,
        path=row.path,
        policies=tuple(orjson.loads(row.policies)),
        metadata=orjson.loads(row.metadata),
        parent=row.parent_id,
        lifetime=timedelta(milliseconds=row.lifetime) if row.lifetime else None,
        renewable=bool(row.renewable),  # 0 or 1 where the driver gives it
        uses_left=row.uses_left,
        created_at=from_ms(row.created_at),
        expires_at=_moment(row.expires_at),
        max_expires_at=_moment(row.max_expires_at),
        revoked_at=_moment(row.revoked_at),
    )


def _principal(row: Row) -> Principal:
    accessor, namespace_id, kind, display_name, path, policies, metadata, created_at, expires_at, *_ = row
    return Principal(
        accessor=accessor,
        namespace_id=namespace_id,
        kind=kind,
        display_name=display_name,
        policies=tuple(orjson.loads(policies)),
        path=path,
        created_at=from_ms(created_at),
        expires_at=_moment(expires_at),
        metadata=orjson.loads(metadata),
    )


def _moment(value: int | None) -> datetime | None:
    return None if value is None else from_ms(value)


def _ms(span: timedelta) -> int:
    return int(span.total_seconds() * 1000)


def _earliest(*moments: datetime | None) -> datetime:
    return min(moment for moment in moments if moment is not None)
