"""The pki engine behind the pipeline: rights, statuses and content types, as clients see them."""

import pytest
from cryptography import x509

from pki.core import Core
from tests.pki.api.gateway_client import Client
from tests.pki.api.gateway_fixtures import NewClient, anonymous, client_with, events, house, root, things
from tests.pki.engines.pki_house import WEB, csr

__all__ = ["anonymous", "client_with", "house", "root", "things"]

_SIGN = 'path "pki/sign/web" { capabilities = ["create", "update"] }'


@pytest.fixture
def admin(root: Client) -> Client:
    """Give a client that may do everything, with the role `web` there."""
    assert root.ask("POST", "pki/roles/web", WEB).status == 200
    return root


@pytest.mark.usefixtures("admin")
def test_cert_manager_s_request_is_answered_as_it_expects(client_with: NewClient, house: Core) -> None:
    """CA40: PUT without a content type, a body of texts; the event of the request names the certificate."""
    body = {
        "common_name": "a.example",
        "alt_names": "a.example,www.a.example",
        "ip_sans": "",
        "uri_sans": "",
        "ttl": "2160h0m0s",
        "csr": csr("a.example", "www.a.example", common_name="a.example"),
        "exclude_cn_from_sans": "true",
    }
    answer = client_with(_SIGN).ask("PUT", "pki/sign/web", body)
    assert answer.status == 200
    assert answer.data.keys() == {"certificate", "issuing_ca", "ca_chain", "serial_number", "expiration"}
    assert len(answer.data["ca_chain"]) == 2
    assert len(answer.document["warnings"]) == 1
    found = [event for event in events(house) if event.action == "pki.sign"]
    assert [(event.object, event.outcome) for event in found] == [("pki/sign/web", "success")]
    assert found[0].request_id == answer.document["request_id"]


def test_without_the_right_nothing_is_signed(admin: Client, client_with: NewClient, house: Core) -> None:
    """Issue 4 (4): 403, and the ledger holds no reservation."""
    client = client_with('path "pki/sign/other" { capabilities = ["update"] }')
    for path, body in (("pki/sign/web", {"csr": csr("a.example")}), ("pki/issue/web", {"common_name": "a.example"})):
        assert client.ask("POST", path, body).status == 403
    assert client.ask("POST", "pki/revoke", {"serial_number": "12"}).status == 403
    assert client.ask("LIST", "pki/certs/detailed").status == 403
    assert admin.ask("GET", "pki/certs/detailed", query="list=true&kind=leaf").status == 404
    assert {event.outcome for event in events(house) if event.action == "pki.issue"} == {"denied"}


def test_what_is_public_needs_no_token_and_is_raw(admin: Client, anonymous: Client) -> None:
    """Set S2: ca, ca_chain, crl and cert/<serial> are open, with content types of their own."""
    serial = admin.ask("POST", "pki/issue/web", {"common_name": "a.example"}).data["serial_number"]
    answer = anonymous.ask("GET", "pki/ca")
    assert answer.headers["content-type"] == "application/pkix-cert"
    assert x509.load_der_x509_certificate(answer.body).subject
    assert anonymous.ask("GET", "pki/ca/pem").body.startswith(b"-----BEGIN CERTIFICATE-----")
    assert anonymous.ask("GET", "pki/crl").headers["content-type"] == "application/pkix-crl"
    assert anonymous.ask("GET", f"pki/cert/{serial}").data["serial_number"] == serial
    assert anonymous.ask("LIST", "pki/issuers").data["keys"]
    assert anonymous.ask("GET", f"pki/certs/detailed/{serial}").status == 403
    assert anonymous.ask("GET", "pki/roles/web").status == 403


def test_statuses_are_those_that_clients_know(admin: Client) -> None:
    """CA40: 400 for what is refused, 404 for what is not there or not built, 204 for a deletion."""
    assert admin.ask("POST", "pki/sign/web", {"csr": "x"}).status == 400
    assert "b.example" in admin.ask("POST", "pki/issue/web", {"common_name": "b.example"}).errors[0]
    assert admin.ask("POST", "pki/roles/web", {"no_store": True}).status == 400
    assert admin.ask("POST", "pki/roles/web", {"allowed_domain": "x"}).status == 400
    assert admin.ask("POST", "pki/sign/none", {"csr": csr("a.example")}).status == 404
    assert admin.ask("GET", "pki/cert/12:34").status == 404
    assert admin.ask("POST", "pki/root/generate/exported", {"common_name": "x"}).status == 404
    assert admin.ask("DELETE", "pki/roles/web").status == 204
    assert admin.ask("GET", "pki/roles/web").status == 404


def test_without_the_hsm_the_answer_is_that_it_does_not_serve(admin: Client, house: Core) -> None:
    """K2: 503 with the seconds after which to try again; the refusal is recorded beside the abandoned reservation."""
    house.hsm.close()
    answer = admin.ask("POST", "pki/sign/web", {"csr": csr("a.example")})
    assert answer.status == 503
    assert int(answer.headers["retry-after"]) > 0
    actions = {
        event.action: event.outcome for event in events(house) if event.request_id == answer.document["request_id"]
    }
    assert actions.keys() >= {"certificate.reserve", "certificate.abandon", "pki.sign"}
