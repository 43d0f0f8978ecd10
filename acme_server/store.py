"""ACME's rows: the SQL that reads and writes accounts, orders, authorizations and spent nonces.

Every state change is a compare-and-swap. Statements of the hot path are made once: SQLAlchemy takes five times as
long to build one as to run it.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar

import orjson
from sqlalchemy import delete, insert, select, text, update
from sqlalchemy.exc import IntegrityError

from acme_server.identifiers import Identifier
from acme_server.records import Account, Authorization, Challenge, Order, Standing
from pki.clock import from_ms, to_ms
from pki.errors import Conflict, NotFound
from pki.storage.database import Append, Database, Tx
from pki.storage.statements import Prepared
from pki.storage.tables import acme_accounts, acme_authorizations, acme_orders, acme_spent_nonces

T = TypeVar("T")

NAMESPACE = "root"
_ATTEMPTS = 4


class _Statement:
    """One statement, with `?` for its parameters, for `Database.point` and for transactions."""

    def __init__(self, sql: str) -> None:
        self._sql = sql
        first, *rest = sql.split("?")
        self._names = [f"p{number}" for number in range(len(rest))]
        named = (f":{name}{part}" for name, part in zip(self._names, rest, strict=True))
        self._prepared = Prepared(text(first + "".join(named)))

    def point(self, database: Database, *parameters: object) -> Sequence[Any] | None:
        """Return the first row as the driver gives it, outside any transaction."""
        return database.point(self._sql, parameters)

    def run(self, tx: Tx, *parameters: object) -> Any:
        """Run in a transaction, and return the driver's cursor."""
        return self._prepared.run(tx, dict(zip(self._names, parameters, strict=True)))

    def swap(self, tx: Tx, *parameters: object) -> None:
        """Run an update of one row; Conflict when the row is no longer as it was read."""
        if self.run(tx, *parameters).rowcount != 1:
            raise Conflict("the object has changed in the meantime", advice="read it again")


_ACCOUNT = (
    "SELECT id, thumbprint, jwk, contact, status, terms_agreed, created_at FROM acme_accounts "
    "WHERE namespace_id = ? AND profile = ? AND "
)
_ACCOUNT_BY_ID = _Statement(_ACCOUNT + "id = ?")
_ACCOUNT_BY_KEY = _Statement(_ACCOUNT + "thumbprint = ?")
_ANY_ACCOUNT_BY_KEY = _Statement("SELECT id FROM acme_accounts WHERE thumbprint = ?")
_AUTHORIZATION = (
    "SELECT id, profile, account_id, order_id, identifier_type, identifier_value, wildcard, status, token, challenges, "
    "expires_at, created_at, version FROM acme_authorizations WHERE "
)
_AUTHORIZATION_OF = _Statement(_AUTHORIZATION + "id = ? AND profile = ? AND account_id = ?")
_ANY_AUTHORIZATION = _Statement(_AUTHORIZATION + "id = ?")
_STUCK_AUTHORIZATIONS = _Statement(
    _AUTHORIZATION + "status = 'pending' AND expires_at > ? AND created_at <= ? AND challenges LIKE ? "
    "ORDER BY created_at LIMIT ?"
)
_COUNT = "(SELECT count(*) FROM acme_authorizations a WHERE a.order_id = o.id AND a.expires_at > ? AND a.status "
_ORDER_OF = _Statement(
    "SELECT o.id, o.profile, o.account_id, o.identifiers, o.authorizations, o.status, o.error, o.certificate_id, "  # noqa: S608 - ours
    "o.expires_at, o.created_at, o.version, " + _COUNT + "= 'valid'), " + _COUNT + "IN ('pending', 'valid')), "
    "(SELECT c.state FROM certificates c WHERE c.id = o.certificate_id) "
    "FROM acme_orders o WHERE o.id = ? AND o.profile = ? AND o.account_id = ?"
)
_ADD_ORDER = Prepared(
    insert(acme_orders),
    (
        "id",
        "namespace_id",
        "profile",
        "account_id",
        "identifiers",
        "authorizations",
        "status",
        "expires_at",
        "created_at",
        "version",
    ),
)
_ADD_AUTHORIZATION = Prepared(insert(acme_authorizations), acme_authorizations.columns.keys())
_SPEND_NONCE = Prepared(insert(acme_spent_nonces), ("nonce", "expires_at"))
_CLAIM_ORDER = _Statement(
    "UPDATE acme_orders SET status = 'processing', certificate_id = ?, version = version + 1 "
    "WHERE id = ? AND version = ?"
)
_FAIL_ORDER = _Statement(
    "UPDATE acme_orders SET status = 'invalid', error = ?, version = version + 1 WHERE id = ? AND status = 'pending'"
)
_CHANGE_AUTHORIZATION = _Statement(
    "UPDATE acme_authorizations SET status = ?, challenges = ?, version = version + 1 WHERE id = ? AND version = ?"
)


def _dump(value: object) -> str:
    return orjson.dumps(value, default=list).decode()


def add_account(tx: Tx, account: Account) -> None:
    """Insert `account`.

    Raises:
        IntegrityError: an account with this key exists already in this profile.
    """
    values = {
        "id": account.id,
        "namespace_id": NAMESPACE,
        "profile": account.profile,
        "thumbprint": account.thumbprint,
        "jwk": account.jwk,
        "contact": _dump(account.contact),
        "status": account.status,
        "terms_agreed": account.terms_agreed,
        "created_at": to_ms(account.created_at),
    }
    tx.execute(acme_accounts.insert(), values)


def find_account(database: Database, profile: str, *, account_id: str = "", thumbprint: str = "") -> Account | None:
    """Return the account of `profile` with this id, or else with this key thumbprint, if any."""
    statement = _ACCOUNT_BY_ID if account_id else _ACCOUNT_BY_KEY
    row = statement.point(database, NAMESPACE, profile, account_id or thumbprint)
    if row is None:
        return None
    return Account(
        id=row[0],
        profile=profile,
        thumbprint=row[1],
        jwk=row[2],
        contact=tuple(orjson.loads(row[3])),
        status=row[4],
        terms_agreed=bool(row[5]),
        created_at=from_ms(row[6]),
    )


def is_account_key(database: Database, thumbprint: str) -> bool:
    """Tell whether any account, in any profile, has the key with this thumbprint (RFC 8555 11.1)."""
    return _ANY_ACCOUNT_BY_KEY.point(database, thumbprint) is not None


def update_account(
    tx: Tx, account: Account, *, contact: Sequence[str] | None = None, status: str | None = None
) -> None:
    """Change what the account's owner may change; a deactivated account stays so.

    Raises:
        Conflict: the account is not valid any more.
    """
    values: dict[str, object] = {}
    if contact is not None:
        values["contact"] = _dump(list(contact))
    if status is not None:
        values["status"] = status
    if not values:
        return
    done = tx.execute(
        update(acme_accounts).where(acme_accounts.c.id == account.id, acme_accounts.c.status == "valid").values(values)
    )
    if done.rowcount != 1:
        raise Conflict("the account is not valid any more")


def change_key(tx: Tx, account: Account, thumbprint: str, jwk: str) -> None:
    """Give the account another key (RFC 8555 7.3.5).

    Raises:
        Conflict: the account is not valid any more, or has another key than was read.
        IntegrityError: another account of the profile has the key.
    """
    done = tx.execute(
        update(acme_accounts)
        .where(
            acme_accounts.c.id == account.id,
            acme_accounts.c.status == "valid",
            acme_accounts.c.thumbprint == account.thumbprint,
        )
        .values(thumbprint=thumbprint, jwk=jwk)
    )
    if done.rowcount != 1:
        raise Conflict("the account has changed in the meantime", advice="read it again")


def _challenges(text: str) -> tuple[Challenge, ...]:
    return tuple(
        Challenge(
            item["type"],
            item["status"],
            None if item["changed_at"] is None else from_ms(item["changed_at"]),
            item["error"],
        )
        for item in orjson.loads(text)
    )


def _challenges_text(challenges: Sequence[Challenge]) -> str:
    return _dump(
        [
            {
                "type": item.type,
                "status": item.status,
                "changed_at": None if item.changed_at is None else to_ms(item.changed_at),
                "error": item.error,
            }
            for item in challenges
        ]
    )


def _authorization(row: Sequence[Any]) -> Authorization:
    return Authorization(
        id=row[0],
        profile=row[1],
        account_id=row[2],
        order_id=row[3],
        identifier=Identifier(row[4], row[5]),
        wildcard=bool(row[6]),
        status=row[7],
        token=row[8],
        challenges=_challenges(row[9]),
        expires_at=from_ms(row[10]),
        created_at=from_ms(row[11]),
        version=row[12],
    )


def _order(row: Sequence[Any]) -> tuple[Order, Standing]:
    order = Order(
        id=row[0],
        profile=row[1],
        account_id=row[2],
        identifiers=tuple(Identifier(kind, value) for kind, value in orjson.loads(row[3])),
        authorizations=tuple(orjson.loads(row[4])),
        status=row[5],
        error=None if row[6] is None else orjson.loads(row[6]),
        certificate_id=row[7],
        expires_at=from_ms(row[8]),
        created_at=from_ms(row[9]),
        version=row[10],
    )
    return order, Standing(row[11], row[12], row[13])


def add_order(tx: Tx, order: Order, authorizations: Sequence[Authorization]) -> None:
    """Insert an order with its authorizations."""
    values = {
        "id": order.id,
        "namespace_id": NAMESPACE,
        "profile": order.profile,
        "account_id": order.account_id,
        "identifiers": _dump([[item.type, item.value] for item in order.identifiers]),
        "authorizations": _dump(order.authorizations),
        "status": order.status,
        "expires_at": to_ms(order.expires_at),
        "created_at": to_ms(order.created_at),
        "version": order.version,
    }
    _ADD_ORDER.run(tx, values)
    for item in authorizations:
        _add_authorization(tx, item)


def _add_authorization(tx: Tx, item: Authorization) -> None:
    values = {
        "id": item.id,
        "namespace_id": NAMESPACE,
        "profile": item.profile,
        "account_id": item.account_id,
        "order_id": item.order_id,
        "identifier_type": item.identifier.type,
        "identifier_value": item.identifier.value,
        "wildcard": item.wildcard,
        "status": item.status,
        "token": item.token,
        "challenges": _challenges_text(item.challenges),
        "expires_at": to_ms(item.expires_at),
        "created_at": to_ms(item.created_at),
        "version": item.version,
    }
    _ADD_AUTHORIZATION.run(tx, values)


def _found(row: Sequence[Any] | None, what: str, object_id: str) -> Sequence[Any]:
    if row is None:
        raise NotFound(f"this account has no {what} {object_id}")
    return row


def get_order(source: Database | Tx, account: Account, order_id: str, now: datetime) -> tuple[Order, Standing]:
    """Return an order of `account` and what its status follows from, read by itself or in a transaction.

    Raises:
        NotFound: the account has no such order.
    """
    parameters = (to_ms(now), to_ms(now), order_id, account.profile, account.id)
    if isinstance(source, Database):
        row = _ORDER_OF.point(source, *parameters)
    else:
        row = _ORDER_OF.run(source, *parameters).fetchone()
    return _order(_found(row, "order", order_id))


def get_authorization(source: Database | Tx, account: Account, authorization_id: str) -> Authorization:
    """Return an authorization of `account`, read by itself or in a transaction.

    Raises:
        NotFound: the account has no such authorization.
    """
    parameters = (authorization_id, account.profile, account.id)
    if isinstance(source, Database):
        row = _AUTHORIZATION_OF.point(source, *parameters)
    else:
        row = _AUTHORIZATION_OF.run(source, *parameters).fetchone()
    return _authorization(_found(row, "authorization", authorization_id))


def find_authorization(tx: Tx, authorization_id: str) -> Authorization | None:
    """Return an authorization of whatever account, if there is such."""
    row = _ANY_AUTHORIZATION.run(tx, authorization_id).fetchone()
    return None if row is None else _authorization(row)


def proven_names(tx: Tx, account: Account, among: Sequence[str], now: datetime) -> set[str]:
    """Return those of the names (`type:value`) for which `account` holds a valid authorization of just that name.

    A wildcard is proven by an authorization for the wildcard, and a name by one for the name (RFC 8555 7.1.4).
    """
    table = acme_authorizations
    values = {name.partition(":")[2].removeprefix("*.") for name in among}
    query = select(table.c.identifier_type, table.c.identifier_value, table.c.wildcard).where(
        table.c.account_id == account.id,
        table.c.status == "valid",
        table.c.expires_at > to_ms(now),
        table.c.identifier_value.in_(sorted(values)),
    )
    return {f"{kind}:{'*.' if wildcard else ''}{value}" for kind, value, wildcard in tx.execute(query)} & set(among)


def list_orders(tx: Tx, account: Account, after: str, limit: int, now: datetime) -> list[str]:
    """Return up to `limit` ids of the account's unexpired orders that sort behind `after` (RFC 8555 7.1.2.1)."""
    query = (
        select(acme_orders.c.id)
        .where(
            acme_orders.c.account_id == account.id,
            acme_orders.c.id > after,
            acme_orders.c.status != "invalid",
            acme_orders.c.expires_at > to_ms(now),
        )
        .order_by(acme_orders.c.id)
        .limit(limit)
    )
    return list(tx.execute(query).scalars())


def claim_order(tx: Tx, order: Order, certificate_id: str) -> None:
    """Tie the order to the certificate that is being made for it, if nobody changed it since it was read.

    Raises:
        Conflict: somebody did.
    """
    _CLAIM_ORDER.swap(tx, certificate_id, order.id, order.version)


def fail_order(tx: Tx, order_id: str, error: Mapping[str, Any]) -> None:
    """Make a pending order invalid; one that has its certificate, or is invalid already, stays as it is."""
    _FAIL_ORDER.run(tx, _dump(error), order_id)


def change_authorization(tx: Tx, before: Authorization, after: Authorization) -> None:
    """Write the status and challenges of `after` if nobody changed the row since `before` was read.

    Raises:
        Conflict: somebody did.
    """
    _CHANGE_AUTHORIZATION.swap(tx, after.status, _challenges_text(after.challenges), before.id, before.version)


def swap(database: Database, work: Callable[[Tx], T]) -> T:
    """Run `work`, which reads an object and changes it, again while somebody else's change comes between.

    Raises:
        Conflict: somebody else's change always did.
    """
    for _ in range(_ATTEMPTS - 1):
        try:
            return database.write(work)
        except Conflict:
            continue
    return database.write(work)


def stuck_authorizations(tx: Tx, now: datetime, before: datetime, limit: int) -> list[Authorization]:
    """Return unexpired pending authorizations, made until `before`, with a challenge in processing; oldest first."""
    found = _STUCK_AUTHORIZATIONS.run(tx, to_ms(now), to_ms(before), '%"processing"%', limit)
    return [_authorization(row) for row in found]


def spend_nonce(database: Database, nonce: str, until: int) -> bool:
    """Record that a nonce is used; False when it was used before. It may be forgotten at `until`, unix milliseconds."""
    try:
        row = Append(acme_spent_nonces, {"nonce": nonce, "expires_at": until}, _SPEND_NONCE)
        database.append(row, durable=False)  # nonces end with the machine's run (`door.nonce_key`)
    except IntegrityError:
        return False
    return True


def forget_nonces(tx: Tx, now: datetime) -> None:
    """Delete spent nonces that are too old to be accepted anyway."""
    tx.execute(delete(acme_spent_nonces).where(acme_spent_nonces.c.expires_at < to_ms(now)))
