"""Orders: made, read and finalized (RFC 8555 7.1.3, 7.4)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from acme_server import authorizations, store
from acme_server.account_keys import thumbprint_of
from acme_server.door import Door
from acme_server.encoding import decode_base64url
from acme_server.identifiers import Identifier, parse_identifier
from acme_server.problems import Problem, ProblemType, Subproblem, from_error, malformed
from acme_server.records import Account, Order
from pki.audit.trail import Event
from pki.authority import name_constraints
from pki.authority.issue import Wanted
from pki.authority.names import Name
from pki.authority.profiles import Profile
from pki.authority.requests import parse_csr
from pki.clock import rfc3339
from pki.errors import Conflict, HsmFailure, NotFound, Rejected
from pki.storage.database import Database, Tx

_IDENTIFIER_LIMIT = 100
_ORDERS_PAGE = 100
_SHOWN_LIMIT = 300


@dataclass(frozen=True, slots=True)
class OrderView:
    """An order with the status that follows from its authorizations and its certificate."""

    order: Order
    status: str


def view(door: Door, account: Account, order_id: str) -> OrderView:
    """Return an order of `account` as it stands now.

    Raises:
        NotFound: the account has no such order.
    """
    return _view(door, account, order_id, door.database)


def _view(door: Door, account: Account, order_id: str, source: Database | Tx) -> OrderView:
    now = door.clock.now()
    order, standing = store.get_order(source, account, order_id, now)
    return OrderView(order, order.status_with(standing, now))


def document(door: Door, seen: OrderView) -> dict[str, Any]:
    """Return the order object (RFC 8555 7.1.3), whole on every answer: some clients read it again and again."""
    order, links = seen.order, door.links(seen.order.profile)
    result: dict[str, Any] = {
        "status": seen.status,
        "expires": rfc3339(order.expires_at),
        "identifiers": [item.to_document() for item in order.identifiers],
        "authorizations": [links.authorization(item) for item in order.authorizations],
        "finalize": links.finalize(order.id),
    }
    if order.error is not None:
        result["error"] = order.error
    if seen.status == "valid" and order.certificate_id is not None:
        result["certificate"] = links.certificate(order.certificate_id)
    return result


def _refusals(identifiers: Sequence[Identifier], door: Door, profile: Profile) -> list[Subproblem]:
    """Return what the profile, and the name constraints of its issuers, refuse of the identifiers."""
    issuer = door.issuers.named(profile.issuer)
    path = [item.certificate for item in door.issuers.path(issuer)]
    names = [Name(item.type, item.value) for item in identifiers]
    refused: list[Subproblem] = []
    for check in (profile.check_names, lambda items: name_constraints.check_names(items, path)):
        try:
            check(names)
        except Rejected as error:
            refused += from_error(error).subproblems
    return refused


def _identifiers(payload: Mapping[str, Any], door: Door, profile: Profile) -> tuple[Identifier, ...]:
    """Return the identifiers of a newOrder request, each once.

    Raises:
        Problem: of the type that they have in common, or compound, with a subproblem for each that is refused.
    """
    raw = payload.get("identifiers")
    if not isinstance(raw, list) or not raw:
        raise malformed("identifiers must be a list with one identifier at least")
    if len(raw) > _IDENTIFIER_LIMIT:
        raise Problem(ProblemType.REJECTED_IDENTIFIER, f"an order has {_IDENTIFIER_LIMIT} identifiers at most")
    found: dict[Identifier, None] = {}
    refused: list[Subproblem] = []
    for item in raw:
        try:
            found[parse_identifier(item)] = None
        except Problem as problem:
            refused.append(Subproblem(problem.type, problem.detail, _shown(item)))
    refused += _refusals(tuple(found), door, profile)
    if refused:
        raise _refused(refused)
    return tuple(found)


def _shown(item: object) -> dict[str, str]:
    """Return an identifier as the client wrote it, if it is one at all, and short enough to be repeated."""
    if not isinstance(item, dict):
        return {}
    kind, value = item.get("type"), item.get("value")
    if not isinstance(kind, str) or not isinstance(value, str) or len(kind) + len(value) > _SHOWN_LIMIT:
        return {}
    return {"type": kind, "value": value}


def _refused(parts: Sequence[Subproblem]) -> Problem:
    """RFC 8555 6.7.1: what is wrong with each identifier is a subproblem."""
    types = {item.type for item in parts}
    common = types.pop() if len(types) == 1 else ProblemType.COMPOUND
    detail = parts[0].detail if len(parts) == 1 else f"{len(parts)} identifiers are refused; see the subproblems"
    return Problem(common, detail, subproblems=[item for item in parts if item.identifier])


def _refuse_wishes(payload: Mapping[str, Any], profile: str) -> None:
    """Refuse what would have to be honoured (RFC 8555 7.4) and is not, rather than to ignore it.

    Raises:
        Problem: malformed, invalidProfile.
    """
    if payload.get("notBefore") is not None or payload.get("notAfter") is not None:
        raise malformed("the profile sets the validity; leave notBefore and notAfter out")
    if payload.get("profile") is not None:
        detail = f"this directory is profile {profile}'s and no other; leave profile out, or use another directory"
        raise Problem(ProblemType.INVALID_PROFILE, detail)


def new_order(door: Door, account: Account, payload: Mapping[str, Any]) -> OrderView:
    """Make an order with one pending authorization for each identifier (RFC 8555 7.4).

    Raises:
        Problem: an identifier is malformed, of an unknown type or refused, or dates or another profile are asked for.
        NotFound: the profile is not served any more.
    """
    profile = door.profile(account.profile)
    _refuse_wishes(payload, profile.name)
    identifiers = _identifiers(payload, door, profile)
    now = door.clock.now().replace(microsecond=0)
    order_id = door.ids.new()
    parts = [authorizations.pending(door, account, order_id, item, now) for item in identifiers]
    order = Order(
        id=order_id,
        profile=account.profile,
        account_id=account.id,
        identifiers=identifiers,
        authorizations=tuple(item.id for item in parts),
        status="pending",
        error=None,
        certificate_id=None,
        expires_at=now + door.order_lifetime,
        created_at=now,
        version=1,
    )
    names = [f"{item.type}:{item.value}" for item in identifiers]

    def work(tx: Tx) -> None:
        store.add_order(tx, order, parts)
        door.trail.record(tx, Event(f"acme:{account.id}", "acme.order.create", order.id, detail={"names": names}))

    door.database.write(work)
    return OrderView(order, "pending")


def _csr(payload: Mapping[str, Any]) -> bytes:
    text = payload.get("csr")
    if not isinstance(text, str):
        raise malformed("csr must be the PKCS#10 request in base64url of its DER")
    return decode_base64url(text, "csr")


def finalize(door: Door, account: Account, order_id: str, payload: Mapping[str, Any]) -> OrderView:
    """Issue the order's certificate (RFC 8555 7.4); with the HSM out of service the order is left processing.

    The order's state, its expiry and its authorizations are checked again in the transaction that reserves the
    serial, so that of two finalizations at once one issues (X13) and the other is told to read the order.

    Raises:
        Problem: orderNotReady, badCSR, malformed.
        SealwardError: the gate refused, or something does not serve now.
    """
    csr = _csr(payload)
    seen = view(door, account, order_id)
    _require_ready(seen.status)
    door.profile(account.profile)
    request = parse_csr(csr)
    _match(request.names, seen.order)
    _refuse_account_key(door, request.public_key)

    def claim(tx: Tx, certificate_id: str) -> None:
        fresh = _view(door, account, order_id, tx)
        _require_ready(fresh.status)
        store.claim_order(tx, fresh.order, certificate_id)

    wanted = Wanted(
        profile=account.profile,
        public_key=request.public_key,
        names=tuple(Name(item.type, item.value) for item in seen.order.identifiers),
        requester=f"acme:{account.id}",
    )
    try:
        issued = door.gate.issue(wanted, reserving=claim)
    except HsmFailure:
        left = view(door, account, order_id)
        if left.status != "processing":
            raise
        return left
    except Conflict:
        _require_ready(view(door, account, order_id).status)
        raise
    return OrderView(replace(seen.order, status="processing", certificate_id=issued.id), "valid")


def _require_ready(status: str) -> None:
    if status == "ready":
        return
    advice = {
        "pending": "complete its authorizations first",
        "processing": "read it again until it is valid",
        "valid": "its certificate is there",
    }
    raise Problem(ProblemType.ORDER_NOT_READY, f"the order is {status}; {advice.get(status, 'make another')}")


def _match(names: Sequence[Name], order: Order) -> None:
    asked = {(name.type, name.value) for name in names}
    ordered = {(item.type, item.value) for item in order.identifiers}
    if asked != ordered:
        raise Problem(ProblemType.BAD_CSR, "the CSR's names are not those of the order, exactly")


def _refuse_account_key(door: Door, public_key: object) -> None:
    """Refuse a key that signs ACME requests (RFC 8555 11.1): whoever has the one would have the other."""
    thumbprint = thumbprint_of(public_key)
    if thumbprint is not None and store.is_account_key(door.database, thumbprint):
        raise Problem(ProblemType.BAD_CSR, "the key is an account's; a certificate needs a key of its own")


def certificate_chain(door: Door, account: Account, certificate_id: str) -> str:
    """Return the certificate and its chain in PEM (RFC 8555 7.4.2).

    Raises:
        NotFound: this account did not order such a certificate, or it is not issued.
    """
    issued = door.gate.find(certificate_id)
    if issued is None or issued.requester != f"acme:{account.id}" or issued.certificate is None:
        raise NotFound(f"this account has no certificate {certificate_id}")
    return door.gate.chain_pem(issued)


def list_orders(door: Door, account: Account, after: str) -> tuple[list[str], str | None]:
    """Return a page of order URLs and the cursor of the next page, if any (RFC 8555 7.1.2.1)."""
    with door.database.read() as tx:
        found = store.list_orders(tx, account, after, _ORDERS_PAGE + 1, door.clock.now())
    links = door.links(account.profile)
    page = found[:_ORDERS_PAGE]
    return [links.order(item) for item in page], page[-1] if len(found) > _ORDERS_PAGE else None
