"""An account changes its key: the old key asks, the new key agrees (RFC 8555 7.3.5)."""

from dataclasses import replace

from sqlalchemy.exc import IntegrityError

from acme_server import store
from acme_server.account_keys import AccountKey, load_jwk
from acme_server.authentication import Signed
from acme_server.door import Door
from acme_server.encoding import parse_object, text_member
from acme_server.jws import parse_inner, verify
from acme_server.problems import Problem, ProblemType, malformed
from acme_server.records import Account
from pki.audit.trail import Event
from pki.errors import Conflict
from pki.storage.database import Tx


def _new_key(door: Door, signed: Signed) -> AccountKey:
    """Return the new key, whose holder has signed that it shall replace the old one of this very account.

    Raises:
        Problem: malformed, badPublicKey, badSignatureAlgorithm, unauthorized (another URL, account or old key).
    """
    account = signed.owner
    inner = parse_inner(signed.message.payload)
    key = load_jwk(inner.jwk or {})
    verify(inner, key.public_key)
    payload = parse_object(inner.payload, "the inner payload")
    if inner.url != signed.message.url:
        raise Problem(ProblemType.UNAUTHORIZED, "the inner request is signed for another URL than the outer one")
    if text_member(payload, "account", "the inner payload") != door.links(account.profile).account(account.id):
        raise Problem(ProblemType.UNAUTHORIZED, "the inner payload's account is not the one that signed the request")
    old = payload.get("oldKey")
    if not isinstance(old, dict):
        raise malformed("the inner payload must have a member oldKey, which is a jwk")
    if load_jwk(old).thumbprint != account.thumbprint:
        raise Problem(ProblemType.UNAUTHORIZED, "the inner payload's oldKey is not the account's key")
    return key


def _in_use(door: Door, account: Account, key: AccountKey) -> Problem:
    """Return the refusal that names the account which has the key; both are the caller's, who holds the key."""
    holder = store.find_account(door.database, account.profile, thumbprint=key.thumbprint)
    if holder is None:
        return Problem(ProblemType.MALFORMED, "the account has changed in the meantime; try again", status=409)
    url = door.links(holder.profile).account(holder.id)
    return Problem(ProblemType.MALFORMED, "the new key is an account's already", status=409, headers={"Location": url})


def change_key(door: Door, signed: Signed) -> Account:
    """Give the account that signed the key that agrees to it.

    Raises:
        Problem: see `_new_key`; malformed with the status 409 and a Location when the key is an account's already.
    """
    account, key = signed.owner, _new_key(door, signed)

    def work(tx: Tx) -> None:
        store.change_key(tx, account, key.thumbprint, key.text)
        detail = {"old": account.thumbprint, "new": key.thumbprint}
        door.trail.record(tx, Event(f"acme:{account.id}", "acme.account.change-key", account.id, detail=detail))

    if key.thumbprint == account.thumbprint:
        raise _in_use(door, account, key)
    try:
        door.database.write(work)
    except (IntegrityError, Conflict):
        raise _in_use(door, account, key) from None
    return replace(account, thumbprint=key.thumbprint, jwk=key.text)
