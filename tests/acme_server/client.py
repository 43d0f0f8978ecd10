"""A small ACME client over the WSGI application itself: it does what a client does, and what none should do."""

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from werkzeug.test import Client as WsgiClient
from werkzeug.test import TestResponse

from acme_server.account_keys import thumbprint_of
from pki.api.front import WsgiApplication
from tests.acme_server.signing import Key, b64, dump, header_of, sign
from tests.house_fixture import BASE_URL

JOSE = "application/jose+json"
_PATIENCE = 20.0


def new_key() -> ec.EllipticCurvePrivateKey:
    """Return a fresh P-256 key."""
    return ec.generate_private_key(ec.SECP256R1())


def csr_for(names: Sequence[x509.GeneralName | str], key: ec.EllipticCurvePrivateKey | None = None) -> bytes:
    """Return a certificate request in DER for these names, signed with `key` or a fresh one."""
    general = [x509.DNSName(item) if isinstance(item, str) else item for item in names]
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    builder = builder.add_extension(x509.SubjectAlternativeName(general), critical=False)
    return builder.sign(key or new_key(), hashes.SHA256()).public_bytes(Encoding.DER)


def problem_type(response: TestResponse) -> str:
    """Return the short type of the problem in an answer, which must be a problem document with its own status."""
    assert response.content_type == "application/problem+json", response.get_data(as_text=True)
    document = json.loads(response.get_data())
    assert document["status"] == response.status_code
    assert response.headers["Replay-Nonce"]
    prefix = "urn:ietf:params:acme:error:"
    assert document["type"].startswith(prefix)
    return str(document["type"]).removeprefix(prefix)


def refused(response: TestResponse) -> tuple[int, str]:
    """Return status and short problem type of a refusal."""
    return response.status_code, problem_type(response)


class Client:
    """One account key and, after `register`, its account."""

    def __init__(self, application: WsgiApplication, key: Key | None = None, profile: str = "default") -> None:
        self.application = application
        self.http = WsgiClient(application)
        self.key: Key = key or new_key()
        self.kid = ""
        self.prefix = f"{BASE_URL}/acme/{profile}/"
        self._nonces: list[str] = []

    @property
    def thumbprint(self) -> str:
        """The key's thumbprint."""
        return str(thumbprint_of(self.key.public_key()))

    def url(self, path: str) -> str:
        """Return a URL of the directory by its last part."""
        return self.prefix + path

    def key_authorization(self, token: str) -> str:
        """Return what proves a challenge with this token (RFC 8555 8.1)."""
        return f"{token}.{self.thumbprint}"

    def txt(self, authorization: Mapping[str, Any]) -> str:
        """Return the TXT record that proves an authorization by dns-01."""
        token = authorization["challenges"][0]["token"]
        return b64(hashlib.sha256(self.key_authorization(token).encode()).digest())

    def nonce(self) -> str:
        """Return an unused nonce: one that came with an answer, or else a new one."""
        if self._nonces:
            return self._nonces.pop()
        return str(self.http.head(self.url("new-nonce"), base_url=BASE_URL).headers["Replay-Nonce"])

    def body(self, url: str, payload: object = None, **changes: object) -> bytes:
        """Return a signed request; `payload` None is POST-as-GET, and octets are taken as they are.

        `changes` are header parameters; without an account, or with `kid=None`, the key stands in the header.
        """
        octets = payload if isinstance(payload, bytes) else b"" if payload is None else dump(payload)
        header: dict[str, object] = {"nonce": changes.get("nonce") or self.nonce(), "url": url}
        if changes.get("kid", self.kid):
            header |= {"kid": self.kid, "jwk": None}
        return dump(sign(self.key, header_of(self.key, **{**header, **changes}), octets))

    def send(self, url: str, body: bytes, content_type: str = JOSE) -> TestResponse:
        """POST these octets."""
        path = url.removeprefix(BASE_URL)
        response = self.http.post(path, base_url=BASE_URL, data=body, content_type=content_type)
        nonce = response.headers.get("Replay-Nonce")
        if nonce:
            self._nonces.append(nonce)
        return response

    def post(self, url: str, payload: object = None, **changes: object) -> TestResponse:
        """POST a signed request, and again with a fresh nonce when it is told to (RFC 8555 6.5)."""
        response = self.send(url, self.body(url, payload, **changes))
        if "nonce" in changes or b":badNonce" not in response.get_data():
            return response
        self._nonces = self._nonces[-1:]
        return self.send(url, self.body(url, payload, **changes))

    def get(self, url: str) -> dict[str, Any]:
        """Read a resource by POST-as-GET."""
        response = self.post(url)
        assert response.status_code == 200, response.get_data(as_text=True)
        return dict(json.loads(response.get_data()))

    def register(self, **payload: object) -> TestResponse:
        """Make the account of the key, or find it."""
        response = self.post(self.url("new-account"), payload, kid=None)
        if response.status_code in {200, 201}:
            self.kid = response.headers["Location"]
        return response

    def order(self, *names: str) -> "OrderOf":
        """Make an order for DNS names, or for addresses written `ip:...`."""
        identifiers = [
            {"type": "ip", "value": name[3:]} if name.startswith("ip:") else {"type": "dns", "value": name}
            for name in names
        ]
        response = self.post(self.url("new-order"), {"identifiers": identifiers})
        assert response.status_code == 201, response.get_data(as_text=True)
        return OrderOf(self, response.headers["Location"], json.loads(response.get_data()))

    def finalize(self, order: Mapping[str, Any], csr: bytes) -> TestResponse:
        """Send the CSR."""
        return self.post(order["finalize"], {"csr": b64(csr)})

    def revoke(self, certificate: bytes, **more: object) -> TestResponse:
        """Revoke a certificate (DER) as this account."""
        return self.post(self.url("revoke-cert"), {"certificate": b64(certificate), **more})


class OrderOf:
    """An order as its client sees it."""

    def __init__(self, client: Client, url: str, document: dict[str, Any]) -> None:
        self.client = client
        self.url = url
        self.document = document

    def reload(self) -> dict[str, Any]:
        """Read the order again."""
        self.document = self.client.get(self.url)
        return self.document

    @property
    def status(self) -> str:
        """The status now."""
        return str(self.reload()["status"])

    def authorizations(self) -> list[dict[str, Any]]:
        """Read the authorizations, each with its URL as `url`."""
        return [{**self.client.get(url), "url": url} for url in self.document["authorizations"]]

    def challenge(self, challenge_type: str, index: int = 0) -> dict[str, Any]:
        """Return a challenge of an authorization."""
        found = self.authorizations()[index]["challenges"]
        return dict(next(item for item in found if item["type"] == challenge_type))

    def attempt(self, challenge_type: str, index: int = 0) -> dict[str, Any]:
        """Take up a challenge and wait for its end; return the authorization."""
        challenge = self.challenge(challenge_type, index)
        response = self.client.post(challenge["url"], {})
        assert response.status_code == 200, response.get_data(as_text=True)
        return self.settled(index)

    def settled(self, index: int = 0) -> dict[str, Any]:
        """Wait until an authorization is no longer pending; return it."""
        deadline = time.monotonic() + _PATIENCE
        while time.monotonic() < deadline:
            found = self.client.get(self.document["authorizations"][index])
            if found["status"] != "pending":
                return found
            time.sleep(0.01)
        raise AssertionError("the authorization is still pending")

    def finalize(self, csr: bytes) -> TestResponse:
        """Send the CSR."""
        return self.client.finalize(self.document, csr)

    def certificate(self) -> bytes:
        """Return the order's certificate in DER."""
        response = self.client.post(self.reload()["certificate"])
        assert response.status_code == 200
        return x509.load_pem_x509_certificates(response.get_data())[0].public_bytes(Encoding.DER)
