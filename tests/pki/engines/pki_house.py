"""The pki engine over a founded house, asked as the pipeline asks it: bodies are JSON."""

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from sqlalchemy import select

from pki.core import Core
from pki.engines.pki import Pki, Rooms
from pki.engines.pki.settings import RoleBody
from pki.engines.pki.wishes import IssueBody, RevokeBody, SignBody
from pki.operations.call import Reply
from pki.operations.declare import NoBody
from pki.operations.wire import decode
from pki.storage.tables import audit_events, certificates
from tests.pki.engines.conftest import Caller

KEY = ec.generate_private_key(ec.SECP256R1())
NOTHING = NoBody()
WEB = {"allowed_domains": "a.example", "allow_bare_domains": True, "allow_subdomains": True}
"""The settings of the role `web`: a.example and all below it, and no wildcard, address, mailbox or URI."""


def csr(*names: str, common_name: str | None = None, key: Any = KEY) -> str:
    """Return a request in PEM for DNS names, and for addresses where a name is one."""
    attributes = [] if common_name is None else [x509.NameAttribute(NameOID.COMMON_NAME, common_name)]
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(attributes))
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName([_general(name) for name in names]), critical=False)
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM).decode()


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.UniformResourceIdentifier(name) if ":" in name else x509.DNSName(name)


def rooms(core: Core) -> Rooms:
    """Return the rooms of a house that the engine needs."""
    return Rooms(core.database, core.clock, core.gate, core.profiles, core.issuers, core.revocation, core.crls)


@dataclass
class Authority:
    """One caller's view of the engine."""

    core: Core
    engine: Pki
    caller: Caller

    def role(self, at: str = "web", /, **settings: Any) -> Reply:
        """Write a role; settings that are not given have their defaults."""
        return self.engine.write_role(self.caller.call(f"roles/{at}"), _body(settings, RoleBody), role=at)

    def read_role(self, name: str = "web") -> Mapping[str, Any]:
        """Return what a role is read back as."""
        return data(self.engine.read_role(self.caller.call(f"roles/{name}"), NOTHING, role=name))

    def sign(self, request: str, role: str = "web", **parameters: Any) -> Reply:
        """Have a CSR signed."""
        body = _body({"csr": request, **parameters}, SignBody)
        return self.engine.sign(self.caller.call(f"sign/{role}"), body, role=role)

    def issue(self, role: str = "web", **parameters: Any) -> Reply:
        """Have a key made and certified."""
        return self.engine.issue(self.caller.call(f"issue/{role}"), _body(parameters, IssueBody), role=role)

    def revoke(self, **parameters: Any) -> Mapping[str, Any]:
        """Revoke a certificate."""
        return data(self.engine.revoke(self.caller.call("revoke"), _body(parameters, RevokeBody)))

    def detailed(self, **query: str) -> Sequence[str]:
        """Return the serial numbers of a detailed list."""
        reply = self.engine.list_certificates_detailed(self.caller.call("certs/detailed", **query), NOTHING)
        return [] if reply.absent else data(reply)["keys"]

    def rows(self) -> list[str]:
        """Return the states of all end-entity certificates in the ledger."""
        with self.core.database.read() as tx:
            return list(tx.execute(select(certificates.c.state).where(certificates.c.kind == "leaf")).scalars())

    def events(self, request_id: str) -> dict[str, str]:
        """Return the actions that the audit log holds for a request, with who acted."""
        query = select(audit_events.c.action, audit_events.c.actor).where(audit_events.c.request_id == request_id)
        with self.core.database.read() as tx:
            return {row.action: row.actor for row in tx.execute(query)}


@pytest.fixture
def authority(core: Core, pki_caller: Caller) -> Authority:
    """Give the engine, with the role `web`."""
    found = Authority(core, Pki(rooms(core)), pki_caller)
    found.role(**WEB)
    return found


def _body(values: Mapping[str, Any], kind: Any) -> Any:
    return decode(orjson.dumps(values), kind)


def data(reply: Reply | None) -> Mapping[str, Any]:
    """Return the data of a reply, which has some."""
    assert reply is not None
    assert reply.data is not None
    return reply.data


def certificate(reply: Reply | Mapping[str, Any]) -> x509.Certificate:
    """Return the certificate in an answer."""
    found = data(reply) if isinstance(reply, Reply) else reply
    return x509.load_pem_x509_certificate(found["certificate"].encode())


def names_in(found: x509.Certificate) -> list[str]:
    """Return the alternative names of a certificate."""
    general = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return [str(item.value) for item in general]
