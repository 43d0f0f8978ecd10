"""Orders over the wire: what may be ordered, when they may be finalized, and what with."""

import ipaddress
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from sqlalchemy import func, select
from werkzeug.test import TestResponse

from pki.config import Config
from pki.core import Core, open_core
from pki.ledger.entries import RESERVATION
from pki.storage.tables import certificates, profiles
from tests.acme_server.client import Client, OrderOf, csr_for, new_key, refused
from tests.acme_server.conftest import Prove
from tests.acme_server.signing import b64
from tests.acme_server.validation.servers import DnsServer
from tests.clocks import FrozenClock

NAME = "www.example.com"


def _new_order(client: Client, *identifiers: object, **more: object) -> TestResponse:
    return client.post(client.url("new-order"), {"identifiers": list(identifiers), **more})


def _dns(value: object) -> dict[str, object]:
    return {"type": "dns", "value": value}


def _leaves(core: Core) -> int:
    with core.database.read() as tx:
        query = select(func.count()).select_from(certificates).where(certificates.c.kind == "leaf")
        return tx.execute(query).scalar_one()


def test_a_new_order_is_whole_and_has_its_location(client: Client) -> None:
    """RFC 8555 7.4: 201, Location, pending, an authorization for each identifier, each name once in canonical form."""
    response = _new_order(client, _dns("A.Example.COM"), _dns("a.example.com"), {"type": "ip", "value": "192.0.2.1"})
    assert response.status_code == 201
    document = response.get_json()
    assert document["identifiers"] == [_dns("a.example.com"), {"type": "ip", "value": "192.0.2.1"}]
    assert len(document["authorizations"]) == 2
    assert document == client.get(response.headers["Location"])
    assert set(document) == {"status", "expires", "identifiers", "authorizations", "finalize"}


def test_what_can_not_be_ordered_is_refused_with_its_reason(client: Client) -> None:
    """RFC 8555 6.7, 7.4: each kind of bad order has its type; nothing that would have to be honoured is ignored."""
    assert refused(_new_order(client)) == (400, "malformed")
    for identifiers in (None, {}, "x", [1], [[]], [None]):
        assert refused(client.post(client.url("new-order"), {"identifiers": identifiers}))[1] == "malformed"
    assert refused(_new_order(client, {"type": "email", "value": "a@b"}))[1] == "unsupportedIdentifier"
    assert refused(_new_order(client, _dns("10.0.0.1")))[1] == "rejectedIdentifier"
    assert refused(_new_order(client, _dns("a..b")))[1] == "malformed"
    assert refused(_new_order(client, *[_dns(f"h{item}.example") for item in range(101)]))[1] == "rejectedIdentifier"
    assert refused(_new_order(client, _dns(NAME), notAfter="2999-01-01T00:00:00Z"))[1] == "malformed"
    assert refused(_new_order(client, _dns(NAME), notBefore="2020-01-01T00:00:00Z"))[1] == "malformed"
    assert refused(_new_order(client, _dns(NAME), profile="other"))[1] == "invalidProfile"


def test_several_bad_names_are_subproblems(client: Client) -> None:
    """RFC 8555 6.7.1: what is wrong with each identifier is told; mixed reasons are compound."""
    response = _new_order(client, _dns("ok.example"), _dns("a_b.example"), _dns("*.*.example"))
    assert refused(response) == (400, "malformed")
    mixed = _new_order(client, _dns("ok.example"), _dns("a_b.example"), _dns("127.1"), {"type": "x", "value": "y"})
    assert refused(mixed) == (400, "compound")
    found = {item["identifier"]["value"]: item["type"].rpartition(":")[2] for item in mixed.get_json()["subproblems"]}
    assert found == {"a_b.example": "malformed", "127.1": "rejectedIdentifier", "y": "unsupportedIdentifier"}


def test_names_that_the_profile_or_the_issuer_refuse_are_refused_at_the_order(client: Client, core: Core) -> None:
    """X3, X8: no client has to prove a name that it will not get."""
    profile = core.profiles.get("default")
    document = (
        '{"name":"default","version":2,"issuer":"intermediate","doors":["acme"],"dns":["**.example.com"],'
        '"keys":["ec-p256"],"lifetime":3600,"extended_key_usage":["server_auth"]}'
    )
    core.database.write(lambda tx: tx.execute(profiles.update().values(version=2, document=document)))
    assert profile.wildcards
    response = _new_order(client, _dns("a.example.com"), _dns("b.example.org"), _dns("*.example.com"))
    assert refused(response) == (400, "rejectedIdentifier")
    values = [item["identifier"]["value"] for item in response.get_json()["subproblems"]]
    assert values == ["b.example.org", "*.example.com"]


def test_another_accounts_order_is_not_there(client: Client, another: Client, prove: Prove) -> None:
    """X12, RFC 8555 10: nobody reads or finalizes somebody else's order, or reads its authorizations."""
    order = prove(client, NAME)
    assert refused(another.post(order.url))[0] == 404
    assert refused(another.finalize(order.document, csr_for([NAME])))[0] == 404
    for url in order.document["authorizations"]:
        assert refused(another.post(url))[0] == 404
        assert refused(another.post(url, {"status": "deactivated"}))[0] == 404
    challenge = order.authorizations()[0]["challenges"][0]["url"]
    assert refused(another.post(challenge, {}))[0] == 404
    assert order.status == "ready"


def test_another_accounts_certificate_is_not_there(client: Client, another: Client, issue: Prove) -> None:
    """RFC 8555 7.4.2: a certificate is given to the account that ordered it."""
    order = issue(client, NAME)
    assert refused(another.post(order.document["certificate"]))[0] == 404
    assert client.post(order.document["certificate"]).status_code == 200


def test_an_order_is_not_finalized_before_it_is_ready(client: Client, core: Core) -> None:
    """X13, RFC 8555 7.4: orderNotReady with 403."""
    order = client.order(NAME)
    assert refused(order.finalize(csr_for([NAME]))) == (403, "orderNotReady")
    assert _leaves(core) == 0


def test_finalize_twice_issues_once(client: Client, core: Core, prove: Prove) -> None:
    """X13, RFC 8555 7.4: the second is told that the order is not ready, and finds the certificate in it."""
    order = prove(client, NAME)
    assert order.finalize(csr_for([NAME])).status_code == 200
    assert refused(order.finalize(csr_for([NAME]))) == (403, "orderNotReady")
    assert order.status == "valid"
    assert _leaves(core) == 1


def test_parallel_finalizations_issue_one_certificate(client: Client, core: Core, prove: Prove) -> None:
    """X13: of eight at once, each with a key of its own, one gets a certificate."""
    order = prove(client, NAME)
    bodies = [
        client.body(order.document["finalize"], {"csr": b64(csr_for([NAME]))}, nonce=client.nonce()) for _ in range(8)
    ]
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda body: client.send(order.document["finalize"], body), bodies))
    assert sorted(item.status_code for item in answers) == [200] + [403] * 7
    assert _leaves(core) == 1
    assert order.status == "valid"


def test_an_expired_order_is_invalid(client: Client, core: Core, house_clock: FrozenClock, prove: Prove) -> None:
    """X13, RFC 8555 7.1.6: after its expiry a ready order is invalid, and is not finalized."""
    order = prove(client, NAME)
    house_clock.advance(timedelta(days=7))
    assert refused(order.finalize(csr_for([NAME]))) == (403, "orderNotReady")
    assert order.status == "invalid"
    assert order.authorizations()[0]["status"] == "expired"
    assert _leaves(core) == 0


def test_a_deactivated_authorization_makes_the_order_invalid(client: Client, core: Core, prove: Prove) -> None:
    """X12, RFC 8555 7.1.6: with one authorization given up, a ready order is invalid for good."""
    order = prove(client, "a.example.com", "b.example.com")
    url = order.document["authorizations"][1]
    assert client.post(url, {"status": "deactivated"}).get_json()["status"] == "deactivated"
    assert order.status == "invalid"
    assert "deactivated" in order.document["error"]["detail"]
    assert refused(order.finalize(csr_for(["a.example.com", "b.example.com"]))) == (403, "orderNotReady")
    assert client.post(url, {"status": "deactivated"}).status_code == 200
    assert _leaves(core) == 0


def test_an_authorization_given_up_later_leaves_the_certificate(client: Client, issue: Prove) -> None:
    """RFC 8555 7.5.2: an order that has its certificate stays valid."""
    order = issue(client, NAME)
    client.post(order.document["authorizations"][0], {"status": "deactivated"})
    assert order.status == "valid"


BAD_CSRS: dict[str, Callable[[], bytes]] = {
    "another name": lambda: csr_for(["evil.example.com"]),
    "one name more": lambda: csr_for([NAME, "evil.example.com"]),
    "no name": lambda: csr_for([]),
    "a wildcard": lambda: csr_for(["*.example.com"]),
    "an address": lambda: csr_for([NAME, x509.IPAddress(ipaddress.ip_address("10.0.0.1"))]),
    "a mailbox": lambda: csr_for([NAME, x509.RFC822Name("a@example.com")]),
    "a URI": lambda: csr_for([NAME, x509.UniformResourceIdentifier("https://www.example.com/")]),
    "a directory name": lambda: csr_for([NAME, x509.DirectoryName(x509.Name([]))]),
    "a UPN": lambda: csr_for([NAME, x509.OtherName(x509.ObjectIdentifier("1.3.6.1.4.1.311.20.2.3"), b"\x0c\x01a")]),
    "an address as a DNS name": lambda: csr_for([NAME, "10.0.0.1"]),
    "a NUL": lambda: csr_for([NAME + "\x00.evil.com"]),
    "a space": lambda: csr_for([NAME + " "]),
    "a dot at the end": lambda: csr_for([NAME + "."]),
    "a partial wildcard": lambda: csr_for(["w*.example.com"]),
    "a long label": lambda: csr_for([NAME, "a" * 64 + ".example.com"]),
    "101 names": lambda: csr_for([f"h{number}.example.com" for number in range(101)]),
    "another common name": lambda: _with_common_names("evil.example.com"),
    "a second common name": lambda: _with_common_names(NAME, "evil.example.com"),
    "a homograph": lambda: _with_common_names("www.ex\u0430mple.com"),
    "half a request": lambda: csr_for([NAME])[:-20],
    "octets behind it": lambda: csr_for([NAME]) + b"\x00",
    "another signature": lambda: csr_for([NAME])[:-4] + b"\x00\x00\x00\x00",
    "nothing": lambda: b"",
    "text": lambda: b"-----BEGIN CERTIFICATE REQUEST-----",
}


def _with_common_names(*names: str) -> bytes:
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name) for name in names])
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(NAME)]), critical=False)
    return builder.sign(new_key(), hashes.SHA256()).public_bytes(Encoding.DER)


def test_a_csr_with_other_names_is_refused_and_the_order_stays_ready(client: Client, core: Core, prove: Prove) -> None:
    """X2, X5, X13: the CSR's names are the order's exactly; whatever else it holds is badCSR, and nothing is issued."""
    order = prove(client, NAME)
    for name, make in BAD_CSRS.items():
        assert refused(order.finalize(make())) == (400, "badCSR"), name
    for value in (None, 5, [], "not!base64", "AA=="):
        assert refused(client.post(order.document["finalize"], {"csr": value})) == (400, "malformed")
    assert order.status == "ready"
    assert _leaves(core) == 0
    assert order.finalize(_with_common_names(NAME)).status_code == 200


def test_an_account_key_is_not_certified(client: Client, another: Client, prove: Prove) -> None:
    """RFC 8555 11.1: no known account key may be a certificate's, be it another account's."""
    order = prove(client, NAME)
    for holder in (client, another):
        assert refused(order.finalize(csr_for([NAME], holder.key))) == (400, "badCSR")  # type: ignore[arg-type]
    assert order.status == "ready"


def test_a_wildcard_is_proven_by_dns_alone(client: Client, nameserver: DnsServer) -> None:
    """X12, RFC 8555 7.1.3, 8.4: the wildcard offers dns-01 only, names the base, and is issued as ordered."""
    order = client.order("*.example.com", "example.com")
    wild, plain = order.authorizations()
    assert wild["wildcard"] is True
    assert "wildcard" not in plain
    assert wild["identifier"] == plain["identifier"] == _dns("example.com")
    assert [item["type"] for item in wild["challenges"]] == ["dns-01"]
    assert {item["type"] for item in plain["challenges"]} == {"http-01", "dns-01", "tls-alpn-01"}
    nameserver.zone["_acme-challenge.example.com", "TXT"] = [client.txt(item) for item in (wild, plain)]
    assert order.attempt("dns-01", 0)["status"] == "valid"
    assert order.status == "pending"
    assert order.attempt("dns-01", 1)["status"] == "valid"
    assert order.finalize(csr_for(["*.example.com", "example.com"])).status_code == 200
    leaf = x509.load_der_x509_certificate(order.certificate())
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert set(names.get_values_for_type(x509.DNSName)) == {"*.example.com", "example.com"}


def test_an_address_offers_no_dns_challenge(client: Client) -> None:
    """RFC 8738 7: http-01 and tls-alpn-01 only."""
    order = client.order("ip:192.0.2.7")
    assert {item["type"] for item in order.authorizations()[0]["challenges"]} == {"http-01", "tls-alpn-01"}


def test_an_address_gets_its_certificate(client: Client, prove: Prove) -> None:
    """RFC 8738: an IP identifier is validated at the address itself, and stands as iPAddress in the certificate."""
    order: OrderOf = prove(client, "ip:127.0.0.1")
    assert order.finalize(csr_for([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])).status_code == 200
    leaf = x509.load_der_x509_certificate(order.certificate())
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert list(names) == [x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]


def test_with_the_hsm_gone_the_order_is_processing_until_it_is_back(
    client: Client, core: Core, house_config: Config, prove: Prove, house_clock: FrozenClock
) -> None:
    """K2, RFC 8555 7.4: finalize answers `processing` with Retry-After; reconcile finishes the same certificate."""
    order = prove(client, NAME)
    core.hsm.close()
    response = order.finalize(csr_for([NAME]))
    assert (response.status_code, response.get_json()["status"]) == (200, "processing")
    assert response.headers["Retry-After"] == "1"
    assert "certificate" not in response.get_json()
    assert refused(order.finalize(csr_for([NAME]))) == (403, "orderNotReady")
    second = open_core(house_config, house_clock)
    try:
        house_clock.advance(RESERVATION + timedelta(seconds=1))
        second.reconciler.run()
    finally:
        second.close()
    assert order.status == "valid"
    assert _leaves(core) == 1
