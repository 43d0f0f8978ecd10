"""tls-alpn-01 against TLS servers, right and wrong (X16)."""

import hashlib
import ipaddress
import time
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from acme_server.identifiers import Identifier
from acme_server.problems import ProblemType
from acme_server.validation import ValidationFailed, ValidationSettings, tlsalpn01
from tests.acme_server.validation.servers import DnsServer, TcpServer, TlsServer, answering, running, silent

NAME = "www.example.com"
KEY_AUTHORIZATION = "token.thumbprint"
DIGEST = hashlib.sha256(KEY_AUTHORIZATION.encode()).digest()
LOOPBACK = (ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128"))
ACME_IDENTIFIER = x509.ObjectIdentifier("1.3.6.1.5.5.7.1.31")
PROTOCOL = ["acme-tls/1"]


def _pem(folder: Path, names: Sequence[x509.GeneralName], value: bytes | None, *, critical: bool = True) -> Path:
    """Write a self-signed certificate with these names and this acmeIdentifier, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name, now = x509.Name([]), datetime.now(UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = (
        builder.serial_number(1).not_valid_before(now - timedelta(days=2)).not_valid_after(now - timedelta(days=1))
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    if value is not None:
        builder = builder.add_extension(x509.UnrecognizedExtension(ACME_IDENTIFIER, value), critical=critical)
    path = folder / "challenge.pem"
    path.write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        + builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)
    )
    return path


def _validate(server: TcpServer, name: str = NAME) -> bool:
    """Return True; ValidationFailed comes through."""
    nameserver = DnsServer()
    nameserver.wildcard_address = "127.0.0.1"
    with ExitStack() as stack:
        stack.enter_context(running(nameserver))
        stack.enter_context(running(server))
        settings = ValidationSettings(
            resolver=nameserver.address, tlsalpn01_port=server.port, allow=LOOPBACK, deadline=1.0
        )
        kind = "ip" if name[0].isdecimal() else "dns"
        tlsalpn01.validate(Identifier(kind, name), "token", KEY_AUTHORIZATION, settings)
    return True


def _failure(server: TcpServer) -> ProblemType:
    begun = time.monotonic()
    with pytest.raises(ValidationFailed) as caught:
        assert _validate(server)
    assert time.monotonic() - begun < 2.5
    return caught.value.problem_type


def _octets(value: bytes) -> bytes:
    return b"\x04" + bytes([len(value)]) + value


def test_the_challenge_certificate_is_accepted(tmp_path: Path) -> None:
    """RFC 8737 3: self-signed, and expired for all that matters; SNI is the name."""
    server = TlsServer(_pem(tmp_path, [x509.DNSName(NAME)], _octets(DIGEST)), PROTOCOL)
    assert _validate(server)
    assert server.names == [NAME]


def test_a_name_in_another_case_is_the_same_name(tmp_path: Path) -> None:
    """RFC 8737 3: the dNSName is compared without regard to case."""
    assert _validate(TlsServer(_pem(tmp_path, [x509.DNSName(NAME.upper())], _octets(DIGEST)), PROTOCOL))


def test_an_address_is_asked_for_by_its_reverse_name(tmp_path: Path) -> None:
    """RFC 8738 6: SNI is the reverse mapping, the certificate has the iPAddress."""
    names = [x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    server = TlsServer(_pem(tmp_path, names, _octets(DIGEST)), PROTOCOL)
    assert _validate(server, "127.0.0.1")
    assert server.names == ["1.0.0.127.in-addr.arpa"]


def test_a_certificate_that_is_not_the_challenges_is_refused(tmp_path: Path) -> None:
    """X16: exactly one SAN, the identifier; acmeIdentifier critical, an OCTET STRING of 32 octets, the right ones."""
    dns, right = x509.DNSName(NAME), _octets(DIGEST)
    cases = [
        ([dns], None, True),
        ([dns], right, False),
        ([dns], _octets(bytes(32)), True),
        ([dns], DIGEST, True),
        ([dns], _octets(DIGEST[:31]), True),
        ([dns], right + b"\x00", True),
        ([dns], b"", True),
        ([dns, x509.DNSName("b.example.com")], right, True),
        ([dns, dns], right, True),
        ([x509.DNSName("b.example.com")], right, True),
        ([x509.DNSName("*.example.com")], right, True),
        ([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))], right, True),
        ([], right, True),
    ]
    for names, value, critical in cases:
        server = TlsServer(_pem(tmp_path, names, value, critical=critical), PROTOCOL)
        assert _failure(server) is ProblemType.INCORRECT_RESPONSE, (names, value, critical)


def test_the_protocol_must_be_chosen(tmp_path: Path) -> None:
    """X16, RFC 8737 4: without ALPN acme-tls/1 the certificate does not count."""
    pem = _pem(tmp_path, [x509.DNSName(NAME)], _octets(DIGEST))
    assert _failure(TlsServer(pem, [])) is ProblemType.INCORRECT_RESPONSE
    assert _failure(TlsServer(pem, ["h2"])) in {ProblemType.TLS, ProblemType.INCORRECT_RESPONSE}


def test_what_is_no_tls_fails_in_time() -> None:
    """X16: plain HTTP, silence, a closed connection: tls or connection, by the deadline."""
    for handler in (
        answering(b"HTTP/1.1 400 Bad Request\r\n\r\n"),
        silent,
        lambda connection: connection.close(),
        lambda connection: connection.sendall(b"\x16\x03\x03\xff\xff" + bytes(100)),
    ):
        assert _failure(TcpServer(handler)) in {ProblemType.TLS, ProblemType.CONNECTION}


def test_a_wildcard_is_never_proven_by_one_host() -> None:
    """X12: tls-alpn-01 refuses a wildcard, whoever calls it."""
    with pytest.raises(ValidationFailed):
        tlsalpn01.validate(Identifier("dns", "*.example.com"), "token", KEY_AUTHORIZATION, ValidationSettings())
