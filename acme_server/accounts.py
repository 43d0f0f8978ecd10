"""Accounts: created, found, updated and deactivated (RFC 8555 7.3)."""

from collections.abc import Mapping
from dataclasses import replace
from http import HTTPStatus
from typing import Any

from sqlalchemy.exc import IntegrityError

from acme_server import store
from acme_server.account_keys import AccountKey
from acme_server.door import Door
from acme_server.problems import Problem, ProblemType, malformed
from acme_server.records import Account
from pki.audit.trail import Event
from pki.storage.database import Tx

_CONTACT_LIMIT = 10
_CONTACT_LENGTH = 320


def _contacts(payload: Mapping[str, Any]) -> tuple[str, ...]:
    contacts = payload.get("contact", [])
    if not isinstance(contacts, list) or not all(isinstance(item, str) for item in contacts):
        raise malformed("contact must be a list of URLs")
    if len(contacts) > _CONTACT_LIMIT:
        raise Problem(ProblemType.INVALID_CONTACT, f"at most {_CONTACT_LIMIT} contacts are kept")
    for contact in contacts:
        _check_contact(contact)
    return tuple(contacts)


def _check_contact(contact: str) -> None:
    scheme, separator, address = contact.partition(":")
    if not separator or scheme.lower() != "mailto":
        raise Problem(ProblemType.UNSUPPORTED_CONTACT, "contacts are mailto: URLs")
    local, at, domain = address.partition("@")
    plain = address.isascii() and address.isprintable() and not set(address) & set('?,;<> %"\\()')
    if not (plain and local and at and domain and "@" not in domain and len(address) <= _CONTACT_LENGTH):
        raise Problem(ProblemType.INVALID_CONTACT, "a contact is one plain e-mail address, without header fields")


def _flag(payload: Mapping[str, Any], name: str) -> bool:
    value = payload.get(name, False)
    if not isinstance(value, bool):
        raise malformed(f"{name} must be true or false")
    return value


def document(door: Door, account: Account) -> dict[str, Any]:
    """Return the account object (RFC 8555 7.1.2), whole on every answer; never an external account binding."""
    result: dict[str, Any] = {
        "status": account.status,
        "contact": list(account.contact),
        "orders": door.links(account.profile).orders(account.id),
    }
    if account.terms_agreed:
        result["termsOfServiceAgreed"] = True
    return result


def new_account(door: Door, profile: str, key: AccountKey, payload: Mapping[str, Any]) -> tuple[Account, bool]:
    """Return the account of `key`, made now if need be, and whether it was (RFC 8555 7.3, 7.3.1).

    Raises:
        Problem: the contacts are no addresses, the terms are not agreed to, or the account exists but is deactivated,
            or does not exist and only an existing one was asked for.
        NotFound: the profile is not served.
    """
    door.profile(profile)
    found = store.find_account(door.database, profile, thumbprint=key.thumbprint)
    if found is not None:
        return require_valid(found), False
    if _flag(payload, "onlyReturnExisting"):
        raise Problem(ProblemType.ACCOUNT_DOES_NOT_EXIST, "no account has this key; create one first")
    agreed = _flag(payload, "termsOfServiceAgreed")
    if door.terms_of_service and not agreed:
        raise _terms_not_agreed(door.terms_of_service)
    account = Account(
        id=door.ids.new(),
        profile=profile,
        thumbprint=key.thumbprint,
        jwk=key.text,
        contact=_contacts(payload),
        status="valid",
        terms_agreed=agreed,
        created_at=door.clock.now(),
    )

    def work(tx: Tx) -> None:
        store.add_account(tx, account)
        door.trail.record(tx, Event(f"acme:{account.id}", "acme.account.create", account.id))

    try:
        door.database.write(work)
    except IntegrityError:
        found = store.find_account(door.database, profile, thumbprint=key.thumbprint)
        if found is None:
            raise
        return require_valid(found), False
    return account, True


def _terms_not_agreed(url: str) -> Problem:
    """RFC 8555 7.3.3: the terms stand in a link and as the problem's instance."""
    return Problem(
        ProblemType.USER_ACTION_REQUIRED,
        f"agree to the terms of service at {url}",
        instance=url,
        headers={"Link": f'<{url}>;rel="terms-of-service"'},
    )


def require_valid(account: Account) -> Account:
    """Return `account` unless it was deactivated.

    Raises:
        Problem: unauthorized, with the status 401 (RFC 8555 7.3.6).
    """
    if account.status != "valid":
        detail = f"the account is {account.status}; create another with a new key"
        raise Problem(ProblemType.UNAUTHORIZED, detail, status=HTTPStatus.UNAUTHORIZED)
    return account


def update(door: Door, account: Account, payload: Mapping[str, Any]) -> Account:
    """Change the contacts, or deactivate the account; other members are ignored (RFC 8555 7.3.2, 7.3.6)."""
    contact = _contacts(payload) if "contact" in payload else None
    status = payload.get("status")
    if status not in (None, "valid", "deactivated"):  # no set: a client's value may be a list
        raise malformed('an account\'s status can only be changed to "deactivated"')
    deactivate = status == "deactivated"
    if contact is None and not deactivate:
        return account

    def work(tx: Tx) -> None:
        store.update_account(tx, account, contact=contact, status="deactivated" if deactivate else None)
        action = "acme.account.deactivate" if deactivate else "acme.account.update"
        door.trail.record(tx, Event(f"acme:{account.id}", action, account.id))

    door.database.write(work)
    return replace(
        account,
        contact=account.contact if contact is None else contact,
        status="deactivated" if deactivate else account.status,
    )
