"""What clients that do not run here send, as it was recorded from them, sent again over HTTP; and what they need back.

External Secrets Operator, cert-manager, consul-template and the agent, node-vault, Spring Vault: status codes, and the
members that each of them reads, with the types that it insists on.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import pytest
import requests
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from tests.service import Service

pytestmark = pytest.mark.interop
_GO = {"X-Vault-Request": "true"}
"""Go's client sends no Content-Type, and PUT for logical paths."""
_HEALTH = "sys/health?drsecondarycode=299&performancestandbycode=299&sealedcode=299&standbycode=299&uninitcode=299"
_SEMVER = re.compile(r"\d+\.\d+\.\d+(?:\+[0-9A-Za-z.-]+)?")


@dataclass(frozen=True)
class Sent:
    """One request of a client, and what it reads of the answer: members of `data`, `auth` or the whole, by dots."""

    client: str
    method: str
    path: str
    body: object = None
    status: int = 200
    reads: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=lambda: _GO)

    def __str__(self) -> str:
        """Return its name in reports."""
        return f"{self.client} {self.method} {self.path.partition('?')[0]}"


def _integer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _moment_or_none(value: object) -> bool:
    return value is None or (isinstance(value, str) and datetime.fromisoformat(value).tzinfo is not None)


def _pem(value: object) -> bool:
    return isinstance(value, str) and x509.load_pem_x509_certificate(value.encode()) is not None


def _pems(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(map(_pem, value))


def _semver(value: object) -> bool:
    return isinstance(value, str) and _SEMVER.fullmatch(value) is not None


_LOGIN = {"auth.client_token": str, "auth.lease_duration": _integer, "auth.renewable": bool}
_ESO = "External Secrets Operator"
_CERT_MANAGER = "cert-manager"
_AGENT = "consul-template"
_NODE = "node-vault"
_SPRING = "Spring Vault"
_JSON = {"Content-Type": "application/json"}
_NO_NAMESPACE: dict[str, str] = {"X-Vault-Namespace": ""}

REQUESTS = (
    Sent(_ESO, "PUT", "auth/approle/login", {"role_id": "ROLE_ID", "secret_id": "SECRET_ID"}, reads=_LOGIN),
    Sent(
        _ESO,
        "GET",
        "auth/token/lookup-self",
        reads={"data.type": "service", "data.ttl": _integer, "data.expire_time": _moment_or_none},
    ),
    Sent(_ESO, "GET", "secret/data/app/db", reads={"data.data": {"password": "pw"}, "data.metadata.version": _integer}),
    Sent(_ESO, "GET", "secret/data/app/db?version=1", reads={"data.data": {"password": "pw"}}),
    Sent(
        _ESO,
        "GET",
        "secret/metadata/app/db",
        reads={"data.current_version": _integer, "data.custom_metadata": {"managed-by": "external-secrets"}},
    ),
    Sent(_ESO, "LIST", "secret/metadata/app", reads={"data.keys": ["db"]}),
    Sent(_ESO, "GET", "secret/metadata/app?list=true", reads={"data.keys": ["db"]}),
    Sent(_ESO, "GET", "secret/data/none", status=404, reads={"errors": []}),
    Sent(_ESO, "PUT", "secret/metadata/app/pushed", {"custom_metadata": {"managed-by": "external-secrets"}}, 204),
    Sent(_ESO, "PUT", "secret/data/app/pushed", {"data": {"a": "b"}, "options": {"cas": 0}}, reads={"data.version": 1}),
    Sent(_ESO, "PUT", "secret/data/app/pushed", {"data": {}, "options": {"cas": 0}}, 400),
    Sent(_ESO, "DELETE", "secret/metadata/app/pushed", status=204),
    Sent(_CERT_MANAGER, "GET", _HEALTH, reads={"initialized": True, "sealed": False}, headers=_NO_NAMESPACE),
    Sent(_CERT_MANAGER, "POST", "auth/approle/login", {"role_id": "ROLE_ID", "secret_id": "SECRET_ID"}, reads=_LOGIN),
    Sent(
        _CERT_MANAGER,
        "POST",
        "pki/sign/web",
        {
            "common_name": "www.a.example",
            "alt_names": "www.a.example,b.a.example",
            "ip_sans": "",
            "uri_sans": "",
            "ttl": "12h0m0s",
            "csr": "CSR",
            "exclude_cn_from_sans": "true",
        },
        reads={"data.certificate": _pem, "data.issuing_ca": _pem, "data.ca_chain": _pems},
    ),
    Sent(_AGENT, "GET", _HEALTH, reads={"version": _semver}),
    Sent(_AGENT, "HEAD", _HEALTH),
    Sent(_AGENT, "PUT", "auth/approle/login", {"role_id": "ROLE_ID", "secret_id": "SECRET_ID"}, reads=_LOGIN),
    Sent(
        _AGENT,
        "GET",
        "sys/internal/ui/mounts/secret/app/db",
        reads={"data.path": "secret/", "data.type": "kv", "data.options.version": "2"},
    ),
    Sent(_AGENT, "PUT", "auth/token/renew-self", {"increment": 0}, reads=_LOGIN),
    Sent(_AGENT, "GET", "secret/data/app/db", reads={"lease_duration": _integer, "renewable": bool}),
    Sent(
        _AGENT,
        "PUT",
        "pki/issue/web",
        {"common_name": "c.a.example", "ttl": "1h"},
        reads={"data.expiration": _integer, "data.private_key": str, "data.ca_chain": _pems},
    ),
    Sent(_NODE, "GET", "sys/health", reads={"sealed": False}, headers=_JSON),
    Sent(_NODE, "GET", "sys/seal-status", reads={"sealed": False, "version": _semver}, headers=_JSON),
    Sent(_NODE, "GET", "sys/mounts", reads={"data.secret/.type": "kv", "secret/.type": "kv"}, headers=_JSON),
    Sent(_NODE, "GET", "auth/token/lookup-self", reads={"data.id": str, "data.policies": list}, headers=_JSON),
    Sent(_NODE, "POST", "secret/data/node", {"data": {"a": "b"}}, reads={"data.version": 1}, headers=_JSON),
    Sent(_NODE, "LIST", "secret/metadata", reads={"data.keys": list}, headers=_JSON),
    Sent(_NODE, "GET", "sys/policy", reads={"policies": list, "data.policies": list}, headers=_JSON),
    Sent(_NODE, "DELETE", "secret/metadata/node", status=204, headers=_JSON),
    Sent(_SPRING, "GET", "sys/health", reads={"initialized": True, "server_time_utc": _integer}, headers=_JSON),
    Sent(_SPRING, "GET", "sys/init", reads={"initialized": True}, headers=_JSON),
    Sent(_SPRING, "GET", "sys/internal/ui/mounts/secret/app", reads={"data.options.version": "2"}, headers=_JSON),
    Sent(_SPRING, "GET", "secret/data/app/db", reads={"data.data": {"password": "pw"}}, headers=_JSON),
    Sent(_SPRING, "GET", "secret/metadata/none?list=true", status=404, headers=_JSON),
    Sent(
        _SPRING,
        "POST",
        "pki/sign/web",
        {"csr": "CSR", "common_name": "www.a.example", "format": "der"},
        reads={"data.certificate": str, "data.serial_number": str},
        headers=_JSON,
    ),
    Sent(_SPRING, "POST", "auth/token/renew-self", {}, reads=_LOGIN, headers=_JSON),
    Sent(_SPRING, "POST", "auth/token/revoke-self", None, 204, headers=_JSON),
)


@dataclass(frozen=True)
class House:
    """A running service, in which somebody has made what the clients expect; `words` stand for what differs."""

    service: Service
    words: Mapping[str, str]

    def ask(self, method: str, path: str, body: object, token: str, headers: Mapping[str, str]) -> requests.Response:
        """Send one request; a word of `words` in the body is replaced by what it stands for."""
        text = json.dumps(body) if body is not None else None
        for word, meant in self.words.items():
            text = text and text.replace(json.dumps(word), json.dumps(meant))
        return requests.request(
            method,
            f"{self.service.address}/v1/{path}",
            data=text,
            headers={**headers, "X-Vault-Token": token},
            verify=str(self.service.ca_file),
            timeout=30,
        )

    def tell(self, method: str, path: str, body: object = None, token: str | None = None) -> Any:
        """Do what an administrator does, and return the answer."""
        answer = self.ask(method, path, body, token or self.service.ready["token"], {})
        assert answer.status_code in {200, 204}, answer.text
        return answer.json() if answer.content else {}


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """Give the house with a secret, a role for certificates, and an approle that may use them."""
    with Service(tmp_path_factory.mktemp("others") / "data") as service:
        plain = House(service, {})
        plain.tell("PUT", "sys/policies/acl/everything", {"policy": _EVERYTHING})
        plain.tell("POST", "auth/approle/role/worker", {"token_policies": "everything", "secret_id_ttl": "1h"})
        plain.tell("POST", "pki/roles/web", {"allowed_domains": "a.example", "allow_subdomains": True})
        plain.tell("PUT", "secret/data/app/db", {"data": {"password": "pw"}})
        about = {"custom_metadata": {"managed-by": "external-secrets"}}
        plain.tell("PUT", "secret/metadata/app/db", about)
        words = {
            "ROLE_ID": plain.tell("GET", "auth/approle/role/worker/role-id")["data"]["role_id"],
            "SECRET_ID": plain.tell("POST", "auth/approle/role/worker/secret-id")["data"]["secret_id"],
            "CSR": _request("www.a.example", "b.a.example"),
        }
        yield House(service, words)
    assert "Traceback" not in service.output


_EVERYTHING = """
path "secret/*" { capabilities = ["create", "read", "update", "patch", "delete", "list"] }
path "pki/*" { capabilities = ["create", "read", "update"] }
path "sys/mounts" { capabilities = ["read"] }
path "sys/policy" { capabilities = ["read"] }
"""


def _request(*names: str) -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    alternative = x509.SubjectAlternativeName([x509.DNSName(name) for name in names])
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).add_extension(alternative, False)
    return builder.sign(key, SHA256()).public_bytes(Encoding.PEM).decode()


@pytest.mark.parametrize("sent", REQUESTS, ids=str)
def test_recorded_request_gets_what_its_client_reads(house: House, sent: Sent) -> None:
    """Status, content type, and each member that the client reads, of the type that it insists on (vault-wire 1.2)."""
    login = {"role_id": house.words["ROLE_ID"], "secret_id": house.words["SECRET_ID"]}
    token = house.tell("PUT", "auth/approle/login", login)["auth"]["client_token"]
    answer = house.ask(sent.method, sent.path, sent.body, token, sent.headers)
    assert answer.status_code == sent.status, answer.text
    if answer.content:
        assert answer.headers["Content-Type"] == "application/json"
    for name, wanted in sent.reads.items():
        found = _member(answer.json(), name)
        assert wanted(found) if callable(wanted) and not isinstance(wanted, type) else _is(found, wanted), (name, found)


def _is(found: object, wanted: object) -> bool:
    return isinstance(found, wanted) if isinstance(wanted, type) else found == wanted


def _member(document: Any, name: str) -> Any:
    for part in name.split("."):
        document = document[part]
    return document
