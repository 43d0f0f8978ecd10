"""Whole orders, as clients go through them."""

import json
from concurrent.futures import ThreadPoolExecutor

from cryptography import x509
from sqlalchemy import select

from pki.api.front import WsgiApplication
from pki.core import Core
from pki.storage.tables import certificates
from tests.acme_server.client import Client, csr_for
from tests.acme_server.conftest import Prove
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


def test_eight_clients_at_once_get_their_certificates(application: WsgiApplication, prove: Prove, core: Core) -> None:
    """X13, D4: whole orders side by side, each with an account of its own: all end well, no serial twice."""

    def order(number: int) -> bytes:
        client = Client(application)
        assert client.register().status_code == 201
        name = f"h{number}.example.com"
        made = prove(client, name)
        assert made.finalize(csr_for([name])).status_code == 200
        return made.certificate()

    with ThreadPoolExecutor(8) as threads:
        issued = [x509.load_der_x509_certificate(item) for item in threads.map(order, range(24))]
    assert len({item.serial_number for item in issued}) == 24
    with core.database.read() as tx:
        states = list(tx.execute(select(certificates.c.state).where(certificates.c.kind == "leaf")).scalars())
    assert states == ["issued"] * 24
