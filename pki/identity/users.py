"""Local users: a name, a password's verifier, and what their tokens are like; with the lock-out.

A user has one name in one spelling (A1). Failures are counted in the user's row, in the transaction that ends the
attempt, so that all processes count together and a restart forgets nothing.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import Any, TypeVar

import msgspec
from sqlalchemy import ColumnElement, and_, case, delete, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from pki.clock import Clock, to_ms
from pki.errors import Conflict, Malformed, Misconfigured, NotFound
from pki.identity.passwords import Passwords
from pki.identity.terms import TokenTerms
from pki.mounts import Mount
from pki.storage.database import Database, Tx
from pki.storage.tables import userpass_users as users

FAILURES = 5
WINDOW = timedelta(minutes=15)
"""After so many failures, none later than this after the one before, no login succeeds for as long."""

T = TypeVar("T")
_NAME = re.compile(r"[a-z0-9][a-z0-9._@-]{0,99}", re.ASCII)
_BY_NAME = "SELECT verifier, document FROM userpass_users WHERE mount_id = ? AND name = ?"


class Ending(StrEnum):
    """How an attempt to log in ended; only the audit log tells the failures apart."""

    RIGHT = "right"
    WRONG = "wrong password"
    LOCKED = "locked out"
    UNKNOWN = "unknown user"


@dataclass(frozen=True, slots=True)
class User:
    """A user, as far as his tokens go."""

    name: str
    terms: TokenTerms


@dataclass(frozen=True, slots=True)
class Attempt:
    """A password that was compared. `verifier` is what it was compared with, None where there is no such user."""

    name: str
    verifier: str | None = field(repr=False)
    is_right: bool


@dataclass(frozen=True, slots=True)
class Judgement:
    """What an attempt came to; `terms` where it was right. `failures` is how many there are now in a row."""

    ending: Ending
    terms: TokenTerms | None = None
    failures: int = 0


class Users:
    """Keeps the users of all mounts of this kind, and judges their logins."""

    def __init__(self, database: Database, clock: Clock, passwords: Passwords) -> None:
        self._database = database
        self._clock = clock
        self._passwords = passwords

    def write(self, work: Callable[[Tx], T]) -> T:
        """Run `work` in one transaction.

        Raises:
            Conflict: the user was made at the same time by somebody else.
        """
        try:
            return self._database.write(work)
        except IntegrityError:
            raise Conflict("somebody else wrote the user at the same time", advice="read it, and try again") from None

    def names(self, mount: Mount) -> list[str]:
        """Return the names of the mount's users, in order."""
        query = select(users.c.name).where(users.c.mount_id == mount.id).order_by(users.c.name)
        with self._database.read() as tx:
            return list(tx.execute(query).scalars())

    def find(self, mount: Mount, name: str) -> User | None:
        """Return the user of that name, if any."""
        row = self._row(mount, name)
        return None if row is None else User(name, _terms(row[1]))

    def get(self, mount: Mount, name: str) -> User:
        """Return the user of that name.

        Raises:
            NotFound: there is none.
        """
        found = self.find(mount, name)
        if found is None:
            raise _absent(name)
        return found

    def verifier(self, mount: Mount, name: str, password: str) -> str:
        """Return what is kept of a user's new password; before the write, since it takes a while.

        Raises:
            Malformed: the name is not canonical, or the password is refused.
            RateLimited: too many passwords are being hashed now.
        """
        check_user_name(name)
        return self._passwords.verifier(_owner(mount, name), name, password)

    def set(
        self,
        tx: Tx,
        mount: Mount,
        name: str,
        change: Callable[[TokenTerms], TokenTerms],
        verifier: str | None = None,
    ) -> User:
        """Make a user, or change one, in `tx`; the caller records it. A new password ends a lock-out.

        Raises:
            Malformed: the name is not canonical, the terms are not, or a new user has no verifier.
        """
        check_user_name(name)
        old = self._held(tx, mount, name)
        terms = change(old or TokenTerms())
        terms.check()
        values = {"document": _document(terms)}
        fresh = {} if verifier is None else {"verifier": verifier, "failures": 0, "failed_at": None}
        if old is not None:
            tx.execute(update(users).where(_at(mount, name)).values(version=users.c.version + 1, **values, **fresh))
            return User(name, terms)
        if verifier is None:
            raise Malformed("missing password", advice="a new user needs one: send `password`")
        fixed = {"mount_id": mount.id, "namespace_id": mount.namespace_id, "name": name, "version": 1}
        tx.execute(insert(users).values(created_at=to_ms(self._clock.now()), **fixed, **values, **fresh))
        return User(name, terms)

    def change(self, tx: Tx, mount: Mount, name: str, change: Callable[[TokenTerms], TokenTerms]) -> User:
        """Change the terms of a user that there is, in `tx`; the caller records it.

        Raises:
            NotFound: there is no such user.
            Malformed: the terms are not canonical.
        """
        old = self._held(tx, mount, name)
        if old is None:
            raise _absent(name)
        terms = change(old)
        terms.check()
        values = {"document": _document(terms), "version": users.c.version + 1}
        tx.execute(update(users).where(_at(mount, name)).values(values))
        return User(name, terms)

    def set_password(self, tx: Tx, mount: Mount, name: str, verifier: str) -> None:
        """Give a user another password in `tx`, which ends a lock-out; the caller records it.

        Raises:
            NotFound: there is no such user.
        """
        values: dict[str, Any] = {"verifier": verifier, "failures": 0, "failed_at": None}
        values["version"] = users.c.version + 1
        if not tx.execute(update(users).where(_at(mount, name)).values(values)).rowcount:
            raise _absent(name)

    def delete(self, tx: Tx, mount: Mount, name: str) -> bool:
        """Delete a user in `tx`, and return whether there was one; tokens that he has live on till they expire."""
        return _is_name(name) and tx.execute(delete(users).where(_at(mount, name))).rowcount > 0

    # Log in

    def compare(self, mount: Mount, name: str, password: str) -> Attempt:
        """Compare a password with a user's; as much is done where there is no such user (A2). Then `settle` it.

        Raises:
            RateLimited: too many passwords are being hashed now.
        """
        row = self._row(mount, name)
        verifier = None if row is None else str(row[0])
        known = name if row is not None else ""
        return Attempt(known, verifier, self._passwords.matches(_owner(mount, known), verifier, password))

    def settle(self, tx: Tx, mount: Mount, attempt: Attempt) -> Judgement:
        """Judge an attempt in `tx`, and count it if it failed; the caller records it.

        Attempts on one user are judged one after the other, as their transactions are: of a hundred at the same time,
        only the first five can succeed. Whether an attempt is right or not is told to nobody while the user is locked.
        """
        now = self._clock.now()
        since = to_ms(now - WINDOW)
        is_recent = users.c.failed_at > since
        is_open = or_(users.c.failures < FAILURES, users.c.failed_at.is_(None), users.c.failed_at <= since)
        # A verifier has a salt of its own: it names the password that was compared, whatever has changed since.
        here = and_(_at(mount, attempt.name), users.c.verifier == (attempt.verifier or ""), is_open)
        if attempt.is_right:
            cleared = update(users).where(here).values(failures=0, failed_at=None).returning(users.c.document)
            row = tx.execute(cleared).first()
            return Judgement(Ending.LOCKED) if row is None else Judgement(Ending.RIGHT, _terms(row.document))
        counted = {"failures": case((is_recent, users.c.failures + 1), else_=1), "failed_at": to_ms(now)}
        row = tx.execute(update(users).where(here).values(counted).returning(users.c.failures)).first()
        if attempt.verifier is None:
            return Judgement(Ending.UNKNOWN)
        return Judgement(Ending.LOCKED) if row is None else Judgement(Ending.WRONG, failures=row.failures)

    def _held(self, tx: Tx, mount: Mount, name: str) -> TokenTerms | None:
        """Return a user's terms, which nobody else changes until `tx` ends."""
        if not _is_name(name):
            return None
        row = tx.execute(select(users.c.document).where(_at(mount, name)).with_for_update()).first()
        return None if row is None else _terms(row.document)

    def _row(self, mount: Mount, name: str) -> tuple[Any, ...] | None:
        return self._database.point(_BY_NAME, (mount.id, name if _is_name(name) else ""))


def check_user_name(name: str) -> None:
    """Refuse a user's name that has a second spelling. Nothing is repaired.

    Raises:
        Malformed: it is not made of lower-case ASCII letters, digits and `.`, `_`, `-`, `@`, beginning with a letter or
            a digit, 100 characters at most.
    """
    if not _is_name(name):
        raise Malformed(
            f"{name[:64]!a} is no name for a user",
            advice="use up to 100 of the characters a-z, 0-9, '.', '_', '-' and '@', and begin with a letter or digit",
        )


def _is_name(name: str) -> bool:
    return _NAME.fullmatch(name) is not None


def _at(mount: Mount, name: str) -> ColumnElement[bool]:
    return and_(users.c.mount_id == mount.id, users.c.name == name)


def _owner(mount: Mount, name: str) -> str:
    return f"{mount.id}\0{name}"


def _absent(name: str) -> NotFound:
    return NotFound(f"there is no user {name[:64]!a}", advice="list them: LIST users")


def _document(terms: TokenTerms) -> str:
    return msgspec.json.encode(terms).decode()


def _terms(document: str) -> TokenTerms:
    try:
        return msgspec.json.decode(document, type=TokenTerms)
    except (msgspec.DecodeError, ValueError) as error:
        raise Misconfigured(f"a stored user cannot be read: {error}", advice="delete it, and make it anew") from None
