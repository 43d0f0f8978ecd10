"""Whatever comes in: never a 500, always a problem document (D4)."""

import json
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from werkzeug.test import TestResponse

from acme_server.links import Links
from tests.acme_server.client import JOSE, Client, csr_for
from tests.acme_server.conftest import Prove
from tests.acme_server.signing import b64
from tests.counts import count
from tests.house_fixture import BASE_URL

LINKS = Links(BASE_URL, "default")
ID = "a" * 26
NAME = "www.example.com"
KEY = ec.generate_private_key(ec.SECP256R1())
shared_fixture = settings(
    max_examples=count(120, 5000),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)

_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)
_MEMBERS = [
    "contact", "status", "termsOfServiceAgreed", "onlyReturnExisting", "externalAccountBinding", "orders",
    "identifiers", "notBefore", "notAfter", "profile", "replaces", "csr", "certificate", "reason", "type", "value",
    "account", "oldKey", "protected", "payload", "signature",
]  # fmt: skip
_PAYLOADS = st.dictionaries(st.sampled_from(_MEMBERS), _JSON, max_size=5)
_IDENTIFIERS = st.fixed_dictionaries({"type": st.sampled_from(["dns", "ip", "x"]), "value": st.text(max_size=60)})
_PATHS = [
    "directory", "new-nonce", "new-account", "new-order", "revoke-cert", "key-change", "account/{account}",
    "account/{account}/orders", "order/{order}", "order/{order}/finalize", "authorization/{authorization}",
    "challenge/{authorization}/http-01", "certificate/" + ID,
]  # fmt: skip


def _check(response: TestResponse) -> None:
    """A good answer or a problem document with its own status; never a fault of ours."""
    assert response.status_code < 500, response.get_data(as_text=True)
    if response.status_code >= 400 and response.request.method != "HEAD":
        assert response.content_type == "application/problem+json"
        document = json.loads(response.get_data())
        assert document["status"] == response.status_code
        assert document["type"].startswith("urn:ietf:params:acme:error:")
        assert document["detail"]
    assert response.headers["Access-Control-Allow-Origin"] == "*"


@pytest.fixture
def urls(client: Client) -> dict[str, str]:
    """Give the ids of objects that exist."""
    order = client.order(NAME)
    return {
        "account": client.kid[-26:],
        "order": order.url[-26:],
        "authorization": order.document["authorizations"][0][-26:],
    }


@shared_fixture
@given(body=st.binary(max_size=300) | _JSON.map(lambda value: json.dumps(value).encode()), path=st.sampled_from(_PATHS))
def test_any_body_is_answered(client: Client, urls: dict[str, str], body: bytes, path: str) -> None:
    """D4: octets and JSON of all kinds in place of a signed request."""
    url = client.url(path.format(**urls))
    _check(client.http.post(url.removeprefix(BASE_URL), data=body, content_type=JOSE))


@shared_fixture
@given(payload=_PAYLOADS | _JSON, path=st.sampled_from(_PATHS), by_key=st.booleans())
def test_any_signed_payload_is_answered(
    client: Client, urls: dict[str, str], payload: Any, path: str, by_key: bool
) -> None:
    """D4: whatever a client with an account, or with a bare key, signs."""
    url = client.url(path.format(**urls))
    signer = Client(client.application, KEY) if by_key else client
    response = signer.post(url, json.dumps(payload).encode())
    _check(response)
    if path == "account/{account}" and response.status_code == 200 and response.get_json()["status"] != "valid":
        client.key = ec.generate_private_key(ec.SECP256R1())  # it was deactivated
        client.kid = ""
        client.register()


@shared_fixture
@given(
    header=st.dictionaries(
        st.sampled_from(["alg", "nonce", "url", "jwk", "kid", "crit", "b64", "typ", "x5c", "jku"]), _JSON, max_size=3
    )
)
def test_any_signed_header_is_answered(client: Client, header: dict[str, Any]) -> None:
    """X14, D4: any value of any header parameter."""
    header = {"nonce": client.nonce(), **header}
    try:
        body = client.body(LINKS.new_order, {}, **header)
    except (TypeError, ValueError, UnicodeEncodeError):
        return
    _check(client.send(LINKS.new_order, body))


@shared_fixture
@given(identifiers=st.lists(_IDENTIFIERS, min_size=1, max_size=4))
def test_any_identifiers_are_answered(client: Client, identifiers: list[dict[str, str]]) -> None:
    """X2, D4: an order of any names is made or refused."""
    _check(client.post(LINKS.new_order, {"identifiers": identifiers}))


@shared_fixture
@given(contact=st.lists(st.text(max_size=40) | st.text(max_size=20).map(lambda text: f"mailto:{text}"), max_size=3))
def test_any_contacts_are_answered(client: Client, contact: list[str]) -> None:
    """D4: an account keeps its contacts or is refused."""
    _check(client.post(client.kid, {"contact": contact}))


@shared_fixture
@given(
    path=st.text(st.characters(codec="utf-8"), max_size=40)
    | st.sampled_from(_PATHS).map(lambda path: f"acme/default/{path}"),
    method=st.sampled_from(["GET", "HEAD", "POST", "PUT", "OPTIONS", "DELETE", "X"]),
    query=st.text(st.characters(codec="ascii", categories=["L", "N", "P"]), max_size=20),
    content_type=st.sampled_from(
        [JOSE, "", "x", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"]
    ),
)
def test_any_path_and_method_are_answered(
    client: Client, path: str, method: str, query: str, content_type: str
) -> None:
    """D4: any path, method, query and content type."""
    _check(
        client.http.open(
            path="/", method=method, query_string=query, content_type=content_type, data=b"x",
            environ_overrides={"PATH_INFO": ("/" + path).encode().decode("latin-1")},
        )
    )  # fmt: skip


def _altered(der: bytes, changes: list[tuple[int, int]], cut: int) -> bytes:
    octets = bytearray(der)
    for place, value in changes:
        octets[place % len(octets)] = value
    return bytes(octets[: len(octets) - cut])


_CHANGES = st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), max_size=4)


@shared_fixture
@given(changes=_CHANGES, cut=st.sampled_from([0, 0, 0, 1, 7]), kind=st.integers(0, 3))
def test_any_csr_is_answered(ready: dict[str, Any], changes: list[tuple[int, int]], cut: int, kind: int) -> None:
    """X2, X5, D4: altered certificate requests are badCSR or, unaltered and signed, what was ordered."""
    client: Client = ready["client"]
    der = ready["requests"][kind]
    response = client.finalize(ready["order"].document, _altered(der, changes, cut))
    _check(response)
    assert response.status_code >= 400


@pytest.fixture
def ready(client: Client, prove: Prove) -> dict[str, Any]:
    """Give a ready order and certificate requests that do not fit it, so that it stays ready."""
    general = [x509.DNSName("other.example.com"), x509.RFC822Name("a@example.com")]
    requests = [
        csr_for(["other.example.com"], KEY),
        csr_for(general, KEY),
        csr_for([x509.UniformResourceIdentifier("https://a.example/"), x509.DNSName(NAME)], KEY),
        csr_for([], KEY),
    ]
    return {"client": client, "order": prove(client, NAME), "requests": requests}


@shared_fixture
@given(octets=st.binary(max_size=200))
def test_any_certificate_to_revoke_is_answered(client: Client, octets: bytes) -> None:
    """X11, D4: nothing is revoked by octets that were not issued."""
    response = client.post(LINKS.revoke_cert, {"certificate": b64(octets)})
    _check(response)
    assert response.status_code in {400, 404}


@shared_fixture
@given(inner=st.dictionaries(st.sampled_from(["protected", "payload", "signature"]), st.text(max_size=60) | _JSON))
def test_any_key_change_is_answered(client: Client, inner: dict[str, Any]) -> None:
    """RFC 8555 7.3.5, D4: any inner request is refused."""
    response = client.post(LINKS.key_change, json.dumps(inner).encode())
    _check(response)
    assert response.status_code == 400
