"""Whole orders, as clients go through them."""

import json

from cryptography import x509

from tests.acme_server.client import Client, csr_for
from tests.acme_server.validation.servers import HttpServer


def test_an_order_goes_from_pending_to_its_certificate(client: Client, web: HttpServer) -> None:
    """RFC 8555 7.1.6: pending, ready, valid; the chain is leaf and intermediate, without the root."""
    order = client.order("www.example.com")
    assert order.document["status"] == "pending"
    token = order.challenge("http-01")["token"]
    web.pages[f"/.well-known/acme-challenge/{token}"] = f"{token}.{client.thumbprint}\n".encode()
    assert order.attempt("http-01")["status"] == "valid"
    assert order.status == "ready"
    response = order.finalize(csr_for(["www.example.com"]))
    assert response.status_code == 200
    assert json.loads(response.get_data())["status"] == "valid"
    assert response.headers["Location"] == order.url
    answer = client.post(order.reload()["certificate"])
    assert answer.content_type == "application/pem-certificate-chain"
    leaf, issuer = x509.load_pem_x509_certificates(answer.get_data())
    leaf.verify_directly_issued_by(issuer)
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert list(names) == [x509.DNSName("www.example.com")]
