"""A client library as its authors ship it (`acme`, `josepy`) against the application."""

import io
from datetime import datetime, timedelta
from typing import Any

import josepy
import pytest
import requests
from acme import challenges as acme_challenges
from acme import client as acme_client
from acme import errors, messages
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from requests.adapters import BaseAdapter
from werkzeug.test import Client as WsgiClient

from pki.api.front import WsgiApplication
from tests.acme_server.client import csr_for, new_key
from tests.acme_server.validation.servers import HttpServer
from tests.house_fixture import BASE_URL

NAME = "www.example.com"


class _InProcess(BaseAdapter):
    """Hands what `requests` sends to a WSGI application."""

    def __init__(self, application: WsgiApplication) -> None:
        super().__init__()
        self._client = WsgiClient(application)

    def send(self, request: requests.PreparedRequest, *_args: Any, **_more: Any) -> requests.Response:
        """Answer a request."""
        body = request.body if isinstance(request.body, bytes) else (request.body or "").encode()
        headers = [(name, value) for name, value in request.headers.items() if name.lower() != "content-length"]
        path = (request.url or "").removeprefix(BASE_URL)
        answer = self._client.open(path, base_url=BASE_URL, method=request.method, data=body, headers=headers)
        response = requests.Response()
        response.status_code = answer.status_code
        response.headers.update(_joined(answer.headers))
        response.raw = io.BytesIO(answer.get_data())
        response.request, response.url = request, request.url or ""
        return response

    def close(self) -> None:
        """Nothing is held."""


def _joined(headers: Any) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in headers:
        found[name] = f"{found[name]}, {value}" if name in found else value
    return found


def _connect(application: WsgiApplication, key: josepy.JWK, alg: Any) -> acme_client.ClientV2:
    network = acme_client.ClientNetwork(key, alg=alg, user_agent="test")
    network.session.mount("https://", _InProcess(application))
    directory = acme_client.ClientV2.get_directory(f"{BASE_URL}/acme/default/directory", network)
    return acme_client.ClientV2(directory, net=network)


@pytest.mark.parametrize("kind", ["rsa", "ec"])
def test_the_library_orders_renews_its_key_and_revokes(
    application: WsgiApplication, web: HttpServer, kind: str
) -> None:
    """RFC 8555 whole, as certbot speaks it: account, order, http-01, finalize, chain, key change, revocation."""
    key: josepy.JWK = (
        josepy.JWKRSA(key=rsa.generate_private_key(65537, 2048))
        if kind == "rsa"
        else josepy.JWKEC(key=ec.generate_private_key(ec.SECP256R1()))
    )
    client = _connect(application, key, josepy.RS256 if kind == "rsa" else josepy.ES256)
    account = client.new_account(
        messages.NewRegistration.from_data(email="a@example.com", terms_of_service_agreed=True)
    )
    assert client.query_registration(account).body.contact == ("mailto:a@example.com",)
    pem = x509.load_der_x509_csr(csr_for([NAME])).public_bytes(Encoding.PEM)
    order = client.new_order(pem)
    body = next(
        item for item in order.authorizations[0].body.challenges if isinstance(item.chall, acme_challenges.HTTP01)
    )
    response, validation = body.response_and_validation(key)
    web.pages[body.chall.path] = validation.encode()
    client.answer_challenge(body, response)
    done = client.poll_and_finalize(order, deadline=datetime.now() + timedelta(seconds=20))  # noqa: DTZ005 - its way
    leaf, issuer = x509.load_pem_x509_certificates(done.fullchain_pem.encode())
    leaf.verify_directly_issued_by(issuer)
    client.revoke(leaf, 4)
    with pytest.raises(messages.Error) as caught:
        client.revoke(leaf, 4)
    assert caught.value.code == "alreadyRevoked"
    assert client.deactivate_registration(account).body.status == "deactivated"


def test_the_library_finds_its_account_again(application: WsgiApplication) -> None:
    """RFC 8555 7.3.1: a second registration is a ConflictError with the account's URL, as the library says it."""
    key = josepy.JWKEC(key=new_key())
    first = _connect(application, key, josepy.ES256).new_account(messages.NewRegistration())
    with pytest.raises(errors.ConflictError) as caught:
        _connect(application, key, josepy.ES256).new_account(messages.NewRegistration())
    assert caught.value.location == first.uri
