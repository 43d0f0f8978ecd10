"""Accounts over the wire: made, found, updated, deactivated, and given another key."""

import dataclasses
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from sqlalchemy import func, select
from werkzeug.test import TestResponse

from acme_server.application import serve
from acme_server.door import Door
from pki.api.front import WsgiApplication
from pki.core import Core
from pki.storage.tables import acme_accounts, audit_events
from tests.acme_server.client import Client, new_key, refused
from tests.acme_server.keys import key
from tests.acme_server.signing import Key, dump, header_of, jwk_of, sign


def test_a_new_account_is_201_and_the_same_key_200(application: WsgiApplication) -> None:
    """RFC 8555 7.3, 7.3.1: Location both times; the second request changes nothing."""
    client = Client(application)
    first = client.register(contact=["mailto:a@example.com"], termsOfServiceAgreed=True)
    second = client.register(contact=["mailto:b@example.com"])
    third = client.register(onlyReturnExisting=True)
    assert [item.status_code for item in (first, second, third)] == [201, 200, 200]
    assert len({item.headers["Location"] for item in (first, second, third)}) == 1
    assert first.get_json() == second.get_json() == third.get_json()
    assert first.get_json() == {
        "status": "valid",
        "contact": ["mailto:a@example.com"],
        "termsOfServiceAgreed": True,
        "orders": f"{client.kid}/orders",
    }


def test_only_an_existing_account_is_returned_when_asked(application: WsgiApplication) -> None:
    """RFC 8555 7.3.1: onlyReturnExisting true: accountDoesNotExist, 400; false or absent: it is made."""
    client = Client(application)
    assert refused(client.register(onlyReturnExisting=True)) == (400, "accountDoesNotExist")
    assert refused(client.register(onlyReturnExisting="yes")) == (400, "malformed")
    assert client.register(onlyReturnExisting=False).status_code == 201


def test_ten_registrations_of_a_key_at_once_make_one_account(application: WsgiApplication, core: Core) -> None:
    """RFC 8555 7.3.1: whoever is second finds the account of the first."""
    shared = new_key()
    clients = [Client(application, shared) for _ in range(10)]
    with ThreadPoolExecutor(10) as threads:
        answers = list(threads.map(lambda client: client.register(), clients))
    assert sorted(item.status_code for item in answers) == [200] * 9 + [201]
    assert len({item.headers["Location"] for item in answers}) == 1
    with core.database.read() as tx:
        assert tx.execute(select(func.count()).select_from(acme_accounts)).scalar_one() == 1


def test_contacts_are_plain_addresses(client: Client) -> None:
    """RFC 8555 7.3: mailto with header fields or several addresses is invalidContact, another scheme unsupported."""
    expected = {
        "mailto:a@example.com?subject=x": "invalidContact",
        "mailto:a@example.com,b@example.com": "invalidContact",
        "mailto:": "invalidContact",
        "mailto:a@b@c": "invalidContact",
        "mailto:\u00fc@example.com": "invalidContact",
        "mailto:a\x00@example.com": "invalidContact",
        "tel:+431234": "unsupportedContact",
        "https://example.com": "unsupportedContact",
        "nothing": "unsupportedContact",
        "": "unsupportedContact",
    }
    for contact, kind in expected.items():
        assert refused(client.post(client.kid, {"contact": [contact]})) == (400, kind)
    for contacts in ("mailto:a@b", [1], {"a": 1}, None, [["x"]]):
        assert refused(client.post(client.kid, {"contact": contacts})) == (400, "malformed")
    assert client.get(client.kid)["contact"] == ["mailto:admin@example.com"]


def test_an_update_may_send_the_whole_object_back(client: Client) -> None:
    """RFC 8555 7.3.2: contacts change; `orders`, `status` valid and unknown members are ignored."""
    whole = {**client.get(client.kid), "contact": [], "orders": "https://evil.example/", "unknown": {"x": 1}}
    response = client.post(client.kid, whole)
    assert response.status_code == 200
    assert response.get_json() == {"status": "valid", "contact": [], "orders": f"{client.kid}/orders"}
    for status in ("revoked", "", 5, ["valid"], {"a": 1}, True):
        assert refused(client.post(client.kid, {"status": status})) == (400, "malformed")


def test_another_accounts_url_is_refused(client: Client, another: Client) -> None:
    """RFC 8555 7.3: nobody reads, updates or deactivates somebody else's account, or lists its orders."""
    for payload in (None, {}, {"status": "deactivated"}, {"contact": []}):
        assert refused(client.post(another.kid, payload)) == (403, "unauthorized")
    assert refused(client.post(f"{another.kid}/orders")) == (403, "unauthorized")
    assert another.get(another.kid)["status"] == "valid"


def test_a_deactivated_account_is_refused_everywhere(client: Client) -> None:
    """RFC 8555 7.3.6, X12: unauthorized with 401 for its requests, its key can't get it back, and it stays so."""
    order = client.order("a.example.com")
    kid = client.kid
    assert client.post(kid, {"status": "deactivated"}).get_json()["status"] == "deactivated"
    urls = [kid, order.url, *order.document["authorizations"], client.url("new-order"), client.url("revoke-cert")]
    for url in urls:
        assert refused(client.post(url)) == (401, "unauthorized")
    assert refused(client.post(kid, {"status": "valid"})) == (401, "unauthorized")
    assert refused(client.register()) == (401, "unauthorized")
    assert refused(client.register(onlyReturnExisting=True)) == (401, "unauthorized")


def test_terms_must_be_agreed_to_where_there_are_some(door: Door) -> None:
    """RFC 8555 7.3.3: userActionRequired with the terms as instance and link."""
    client = Client(serve(dataclasses.replace(door, terms_of_service="https://ca.example/terms")))
    response = client.register()
    assert refused(response) == (403, "userActionRequired")
    assert response.get_json()["instance"] == "https://ca.example/terms"
    assert '<https://ca.example/terms>;rel="terms-of-service"' in response.headers.getlist("Link")
    assert client.register(termsOfServiceAgreed=True).status_code == 201


def test_orders_are_listed_a_page_at_a_time(client: Client, another: Client) -> None:
    """RFC 8555 7.1.2.1: Link rel=next leads through all of them; nobody else's are there."""
    made = {client.order(f"h{number}.example.com").url for number in range(103)}
    another.order("other.example.com")
    first = client.post(f"{client.kid}/orders")
    following = next(item for item in first.headers.getlist("Link") if item.endswith('rel="next"'))
    second = client.post(following[1:].partition(">")[0])
    listed = first.get_json()["orders"] + second.get_json()["orders"]
    assert len(first.get_json()["orders"]) == 100
    assert len(listed) == 103
    assert set(listed) == made
    assert not any(item.endswith('rel="next"') for item in second.headers.getlist("Link"))
    assert refused(client.post(f"{client.kid}/orders?cursor=%00")) == (400, "malformed")
    assert refused(client.post(f"{client.kid}/orders?cursor=' OR 1")) == (400, "malformed")


def _inner(client: Client, fresh: Key, **changes: Any) -> dict[str, Any]:
    """Return the inner request of a key change, with changes to its `header` and `payload`."""
    url = client.url("key-change")
    header = {**header_of(fresh, nonce=None, url=url), **changes.get("header", {})}
    payload = {"account": client.kid, "oldKey": jwk_of(client.key), **changes.get("payload", {})}
    return sign(changes.get("signer", fresh), header, dump(payload))


def _change(client: Client, inner: Mapping[str, Any]) -> TestResponse:
    return client.post(client.url("key-change"), inner)


def test_an_account_changes_its_key(client: Client, core: Core) -> None:
    """RFC 8555 7.3.5: the new key serves at once, the old one no more; orders stay; the change is in the audit log."""
    order = client.order("a.example.com")
    old, fresh = client.key, key("ed25519")
    response = _change(client, _inner(client, fresh))
    assert response.status_code == 200
    assert response.headers["Location"] == client.kid
    assert refused(client.post(client.kid)) == (400, "badSignatureAlgorithm")
    client.key = fresh
    assert client.get(order.url)["status"] == "pending"
    assert client.register().headers["Location"] == client.kid
    assert refused(Client(client.application, old).register(onlyReturnExisting=True)) == (400, "accountDoesNotExist")
    with core.database.read() as tx:
        actions = list(tx.execute(select(audit_events.c.action)).scalars())
    assert actions.count("acme.account.change-key") == 1


def test_a_key_that_is_in_use_is_409_with_its_account(client: Client, another: Client) -> None:
    """RFC 8555 7.3.5: Conflict, with the Location of the account that has the key, be it this very one."""
    for holder in (another, client):
        response = _change(client, _inner(client, holder.key))
        assert refused(response) == (409, "malformed")
        assert response.headers["Location"] == holder.kid


def test_a_key_change_is_checked_whole(client: Client, another: Client) -> None:
    """RFC 8555 7.3.5: each of its checks refuses on its own, and nothing changes."""
    fresh = new_key()
    url = client.url("key-change")
    cases = [
        (_inner(client, fresh, header={"nonce": client.nonce()}), "malformed"),
        (_inner(client, fresh, header={"url": url + "x"}), "unauthorized"),
        (_inner(client, fresh, header={"kid": client.kid}), "malformed"),
        (_inner(client, fresh, signer=new_key()), "malformed"),
        (_inner(client, fresh, payload={"account": another.kid}), "unauthorized"),
        (_inner(client, fresh, payload={"account": None}), "malformed"),
        (_inner(client, fresh, payload={"oldKey": jwk_of(another.key)}), "unauthorized"),
        (_inner(client, fresh, payload={"oldKey": None}), "malformed"),
        (_inner(client, fresh, payload={"oldKey": {"kty": "EC"}}), "malformed"),
        (_inner(client, fresh, header={"alg": "HS256"}), "badSignatureAlgorithm"),
        ({**_inner(client, fresh), "header": {}}, "malformed"),
        ({}, "malformed"),
    ]
    no_jwk = header_of(fresh, nonce=None, jwk=None, kid=client.kid, url=url)
    cases.append((sign(fresh, no_jwk, dump({"account": client.kid, "oldKey": jwk_of(client.key)})), "malformed"))
    for inner, kind in cases:
        assert refused(_change(client, inner))[1] == kind
    assert refused(client.post(url)) == (400, "malformed")
    assert client.get(client.kid)["status"] == "valid"


def test_two_accounts_cannot_take_one_key_at_once(client: Client, another: Client) -> None:
    """RFC 8555 7.3.5: of two changes to one key at the same time one succeeds, the other is 409."""
    fresh = new_key()
    with ThreadPoolExecutor(2) as threads:
        answers = list(threads.map(lambda item: _change(item, _inner(item, fresh)), [client, another]))
    assert sorted(item.status_code for item in answers) == [200, 409]
