"""Authorizations: made with their order, read and deactivated (RFC 8555 7.1.4, 7.5)."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from acme_server import store
from acme_server.door import Door
from acme_server.identifiers import Identifier
from acme_server.problems import Problem, ProblemType, malformed
from acme_server.records import Account, Authorization, Challenge
from pki.audit.trail import Event
from pki.clock import rfc3339
from pki.storage.database import Tx


def offered_challenges(identifier: Identifier) -> tuple[str, ...]:
    """Return the types of challenge that can prove control of `identifier`.

    One host cannot speak for all that a wildcard stands for (RFC 8555 8.3, RFC 8737 3), and an address has no place
    for a TXT record (RFC 8738 7).
    """
    if identifier.is_wildcard:
        return ("dns-01",)
    return ("http-01", "tls-alpn-01") if identifier.type == "ip" else ("http-01", "dns-01", "tls-alpn-01")


def pending(door: Door, account: Account, order_id: str, identifier: Identifier, now: datetime) -> Authorization:
    """Return a new authorization of `account`, which nothing has proven yet; the caller stores it."""
    return Authorization(
        id=door.ids.new(),
        profile=account.profile,
        account_id=account.id,
        order_id=order_id,
        identifier=identifier.base,
        wildcard=identifier.is_wildcard,
        status="pending",
        token=door.ids.token(),
        challenges=tuple(Challenge(item, "pending") for item in offered_challenges(identifier)),
        expires_at=now + door.order_lifetime,
        created_at=now,
        version=1,
    )


def view(door: Door, account: Account, authorization_id: str) -> Authorization:
    """Return an authorization of `account`.

    Raises:
        NotFound: the account has no such authorization.
    """
    return store.get_authorization(door.database, account, authorization_id)


def challenge_document(door: Door, authorization: Authorization, challenge: Challenge) -> dict[str, Any]:
    """Return the challenge object (RFC 8555 8)."""
    links = door.links(authorization.profile)
    result: dict[str, Any] = {
        "type": challenge.type,
        "url": links.challenge(authorization.id, challenge.type),
        "status": challenge.status,
        "token": authorization.token,
    }
    if challenge.status == "valid" and challenge.changed_at is not None:
        result["validated"] = rfc3339(challenge.changed_at)
    if challenge.error is not None:
        result["error"] = challenge.error
    return result


def document(door: Door, authorization: Authorization) -> dict[str, Any]:
    """Return the authorization object, with those challenges that brought it into its state (RFC 8555 7.1.4)."""
    status = authorization.status_at(door.clock.now())
    decisive = [item for item in authorization.challenges if item.status == status]
    result: dict[str, Any] = {
        "identifier": authorization.identifier.to_document(),
        "status": status,
        "expires": rfc3339(authorization.expires_at),
        "challenges": [
            challenge_document(door, authorization, item)
            for item in (decisive if status in {"valid", "invalid"} else authorization.challenges)
        ],
    }
    if authorization.wildcard:
        result["wildcard"] = True
    return result


def is_processing(authorization: Authorization) -> bool:
    """Tell whether a validation is under way, so that a client had better ask again soon."""
    return authorization.status == "pending" and any(item.status == "processing" for item in authorization.challenges)


def deactivate(door: Door, account: Account, authorization_id: str, payload: Mapping[str, Any]) -> Authorization:
    """Give an authorization up; an order that still needs it becomes invalid (RFC 8555 7.5.2, 7.1.6; X12).

    Raises:
        Problem: malformed: something else is asked for, or the authorization is invalid or expired.
        NotFound: the account has no such authorization.
    """
    if payload.get("status") != "deactivated":
        raise malformed('an authorization\'s status can only be changed to "deactivated"; to read it, send no payload')
    error = Problem(ProblemType.UNAUTHORIZED, "an authorization of this order was deactivated; make a new order")

    def work(tx: Tx) -> Authorization:
        before = store.get_authorization(tx, account, authorization_id)
        status = before.status_at(door.clock.now())
        if status == "deactivated":
            return before
        if status not in {"pending", "valid"}:
            raise malformed(f"the authorization is {status} and stays so")
        after = replace(before, status="deactivated")
        store.change_authorization(tx, before, after)
        store.fail_order(tx, before.order_id, error.to_document())
        event = Event(f"acme:{account.id}", "acme.authorization.deactivate", before.id, detail=_named(before))
        door.trail.record(tx, event)
        return after

    return store.swap(door.database, work)


def _named(authorization: Authorization) -> dict[str, object]:
    identifier = authorization.identifier
    return {"name": f"{identifier.type}:{'*.' if authorization.wildcard else ''}{identifier.value}"}
