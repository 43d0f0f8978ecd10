"""The policies as they are kept, and what a set of them allows together.

What is compiled is remembered by the epoch: it is compiled anew only where a document of the set has changed.
"""

from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import ColumnElement, delete, select

from pki.clock import Clock, to_ms
from pki.errors import Conflict, Malformed, Misconfigured, NotFound, Rejected
from pki.policy import acl
from pki.policy.acl import Acl
from pki.policy.builtin import DEFAULT_NAME, DEFAULT_TEXT
from pki.policy.document import ROOT, Policy, check_name, parse
from pki.storage import epochs
from pki.storage.database import Database, Tx
from pki.storage.tables import policies

NAMESPACE = "root"
_REMEMBERED = 1024
"""Sets of policies of which a process keeps what they allow."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A policy as it was written. `version` counts from 1; 0 is one that comes with the house."""

    name: str
    version: int
    text: str


@dataclass(frozen=True, slots=True)
class _Compiled:
    epoch: int
    texts: tuple[tuple[str, str], ...]
    acl: Acl


_ROOT_ACL = acl.compile([ROOT])


class Policies:
    """Reads, writes and compiles policies, for all threads of a process."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._compiled: dict[tuple[str, ...], _Compiled] = {}

    def get(self, name: str) -> Stored:
        """Return a policy; root, which allows everything, has an empty text.

        Raises:
            NotFound: there is none of that name.
        """
        if name == ROOT.name:
            return Stored(ROOT.name, 0, "")
        if _is_name(name):
            with self._database.read() as tx:
                found = _find(tx, name)
            if found is not None:
                return found
        raise NotFound(f"there is no policy {name!a}")

    def names(self) -> list[str]:
        """Return the names of all policies, in order."""
        query = select(policies.c.name).where(policies.c.namespace_id == NAMESPACE)
        with self._database.read() as tx:
            return sorted({*tx.execute(query).scalars(), DEFAULT_NAME, ROOT.name})

    def set(self, tx: Tx, name: str, text: str, cas: int | None = None) -> Stored:
        """Write a policy in `tx`; the caller records it. With `cas`, only over that version, 0 being none.

        Raises:
            Malformed: the name is not canonical, or is root; or the text says what is not understood.
            Conflict: another version is there.
        """
        parse(name, text)
        epochs.bump(tx)
        found = _find(tx, name)
        version = 0 if found is None else found.version
        if cas is not None and cas != version:
            raise Conflict(
                "check-and-set parameter did not match the current version", advice=f"read it again: it is {version}"
            )
        values = {"version": version + 1, "document": text, "created_at": to_ms(self._clock.now())}
        if version:
            tx.execute(policies.update().where(*_named(name)).values(values))
        else:
            tx.execute(policies.insert().values(namespace_id=NAMESPACE, name=name, **values))
        return Stored(name, version + 1, text)

    def delete(self, tx: Tx, name: str) -> bool:
        """Delete a policy in `tx`, and return whether there was one; the caller records it.

        Raises:
            Rejected: it is root or default.
        """
        if name in {ROOT.name, DEFAULT_NAME}:
            raise Rejected(f"the policy {name} cannot be deleted", "protectedPolicy")
        if not _is_name(name):
            return False
        epochs.bump(tx)
        return tx.execute(delete(policies).where(*_named(name))).rowcount > 0

    def acl(self, names: Collection[str], *, epoch: int | None = None) -> Acl:
        """Return what policies of these names allow together; one that there is not allows nothing.

        `epoch` is the one that the caller has read already.

        Raises:
            Misconfigured: a policy that was stored cannot be read.
        """
        if ROOT.name in names:
            return _ROOT_ACL
        key = tuple(names)
        now = epochs.read(self._database) if epoch is None else epoch
        known = self._compiled.get(key)
        if known is not None and known.epoch == now:
            return known.acl
        texts = self._texts(key)
        allowed = known.acl if known is not None and known.texts == texts else _compile(texts)
        if len(self._compiled) >= _REMEMBERED:
            self._compiled.clear()
        self._compiled[key] = _Compiled(now, texts, allowed)
        return allowed

    def _texts(self, names: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
        with self._database.read() as tx:
            query = select(policies.c.name, policies.c.document).where(
                policies.c.namespace_id == NAMESPACE, policies.c.name.in_(names)
            )
            found = {row.name: row.document for row in tx.execute(query)}
        if DEFAULT_NAME in names:
            found.setdefault(DEFAULT_NAME, DEFAULT_TEXT)
        return tuple(sorted(found.items()))


def _compile(texts: tuple[tuple[str, str], ...]) -> Acl:
    return acl.compile([_stored(name, text) for name, text in texts])


def _stored(name: str, text: str) -> Policy:
    try:
        return parse(name, text)
    except Malformed as error:
        raise Misconfigured(
            f"the policy {name} cannot be read: {error}", advice="write it anew, with a root token"
        ) from None


def _find(tx: Tx, name: str) -> Stored | None:
    row = tx.execute(select(policies.c.version, policies.c.document).where(*_named(name))).first()
    if row is not None:
        return Stored(name, row.version, row.document)
    return Stored(name, 0, DEFAULT_TEXT) if name == DEFAULT_NAME else None


def _named(name: str) -> tuple[ColumnElement[bool], ...]:
    return policies.c.namespace_id == NAMESPACE, policies.c.name == name


def _is_name(name: str) -> bool:
    try:
        check_name(name)
    except Malformed:
        return False
    return True
