"""Name constraints, against RFC 5280 4.2.1.10 and against OpenSSL."""

import ipaddress
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from pki.authority.name_constraints import check_names, forbidden_names
from pki.authority.names import Name
from pki.errors import Rejected

KEY = ec.generate_private_key(ec.SECP256R1())
NOW = datetime.now(UTC).replace(microsecond=0)


def _certificate(
    constraints: x509.NameConstraints | None, subject: str = "CA", names: list[x509.GeneralName] | None = None
) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "CA")]))
        .public_key(KEY.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - timedelta(hours=1))
        .not_valid_after(NOW + timedelta(hours=1))
        .add_extension(x509.BasicConstraints(ca=names is None, path_length=None), critical=True)
    )
    if constraints is not None:
        builder = builder.add_extension(constraints, critical=True)
    if names is not None:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(KEY, hashes.SHA256())


def _dns(*values: str) -> list[x509.GeneralName]:
    return [x509.DNSName(value) for value in values]


def _net(*values: str) -> list[x509.GeneralName]:
    return [x509.IPAddress(ipaddress.ip_network(value)) for value in values]


PERMITTED = x509.NameConstraints(
    [
        *_dns("corp.example"),
        *_net("10.0.0.0/8", "fd00::/16"),
        x509.RFC822Name("corp.example"),
        x509.UniformResourceIdentifier(".corp.example"),
    ],
    [*_dns("secret.corp.example"), *_net("10.9.0.0/16")],
)
CASES = [
    ("dns:corp.example", True),
    ("dns:a.corp.example", True),
    ("dns:a.b.corp.example", True),
    ("dns:*.corp.example", False),  # it stands for secret.corp.example too
    ("dns:*.a.corp.example", True),
    ("dns:evilcorp.example", False),
    ("dns:example", False),
    ("dns:secret.corp.example", False),
    ("dns:a.secret.corp.example", False),
    ("dns:*.secret.corp.example", False),
    ("ip:10.1.2.3", True),
    ("ip:10.9.1.1", False),
    ("ip:11.0.0.1", False),
    ("ip:fd00::1", True),
    ("ip:fd01::1", False),
    ("email:bo@corp.example", True),
    ("email:bo@a.corp.example", False),
    ("email:bo@other.example", False),
    ("uri:https://a.corp.example/x", True),
    ("uri:https://corp.example/x", False),
    ("uri:https://10.1.2.3/x", False),
]


@pytest.mark.parametrize(("text", "allowed"), CASES)
def test_names_are_allowed_as_the_rfc_says(text: str, allowed: bool) -> None:
    """CA08 CA09 S5: permitted and excluded subtrees of DNS names, addresses, e-mail addresses and URIs."""
    kind, _, value = text.partition(":")
    found = forbidden_names([Name(kind, value)], [_certificate(PERMITTED)])
    assert (found == []) is allowed


@pytest.mark.parametrize(("text", "allowed"), [case for case in CASES if ":*." not in case[0]])
def test_openssl_says_the_same(tmp_path: Path, text: str, allowed: bool) -> None:
    """S5: an independent verifier agrees on every case but wildcards, which it compares as if they were names."""
    kind, _, value = text.partition(":")
    leaf = _certificate(None, "leaf", [Name(kind, value).general_name()])
    (tmp_path / "ca.pem").write_bytes(_certificate(PERMITTED).public_bytes(Encoding.PEM))
    (tmp_path / "leaf.pem").write_bytes(leaf.public_bytes(Encoding.PEM))
    done = subprocess.run(
        ["openssl", "verify", "-partial_chain", "-trusted", "ca.pem", "leaf.pem"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode == 0) is allowed, done.stdout + done.stderr


def test_every_certificate_of_the_path_counts() -> None:
    """X8: a root's constraints bind what its intermediates issue; types without a constraint are free."""
    path = [_certificate(None), _certificate(x509.NameConstraints(_dns("corp.example"), None))]
    names = [Name("dns", "a.example"), Name("ip", "10.0.0.1"), Name("dns", "a.corp.example")]
    assert forbidden_names(names, path) == [Name("dns", "a.example")]
    with pytest.raises(Rejected) as caught:
        check_names(names, path)
    assert caught.value.code == "rejectedIdentifier"
    assert [item.identifier for item in caught.value.subproblems] == ["dns:a.example"]
