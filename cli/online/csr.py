"""Requests for X.509 certificates, made on this machine, and what comes back for them."""

import ipaddress
from collections.abc import Iterable

import click
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from cli.online.client import Answer
from cli.online.exits import ApiError, Exit


def make_request(names: Iterable[str]) -> tuple[bytes, str]:
    """Return a new P-256 key in PKCS#8, and a CSR for it with `names` (RFC 2986), both in PEM.

    Raises:
        UsageError: a name cannot be written into a request.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    try:
        subject = x509.SubjectAlternativeName([_general_name(name) for name in names])
        builder = x509.CertificateSigningRequestBuilder(x509.Name([])).add_extension(subject, critical=True)
    except ValueError:
        advice = "names are ASCII, an international one begins with xn--"
        raise click.UsageError(f"a name cannot be asked for: {advice}") from None
    csr = builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM).decode()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), csr


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        pass
    if "://" in name:
        return x509.UniformResourceIdentifier(name)
    return x509.RFC822Name(name) if "@" in name else x509.DNSName(name)


def chain(signed: Answer) -> str:
    """Return a certificate and those above it without the root, as servers send them, in PEM.

    Raises:
        ApiError: the answer holds something else.
    """
    given = [signed.text("certificate"), *(signed.data.get("ca_chain") or ())]
    try:
        read = [x509.load_pem_x509_certificate(str(pem).encode()) for pem in given]
    except ValueError:
        raise ApiError("the service's answer is no certificate", Exit.FAILURE) from None
    sent = [read[0], *(item for item in read[1:] if item.subject != item.issuer)]
    return "".join(item.public_bytes(Encoding.PEM).decode() for item in sent)
