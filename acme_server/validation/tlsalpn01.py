"""The tls-alpn-01 challenge (RFC 8737; for addresses RFC 8738 6): a certificate made for the challenge alone (X16)."""

import hashlib
import hmac
import ipaddress

from cryptography import x509

from acme_server.identifiers import Identifier
from acme_server.problems import ProblemType
from acme_server.validation.connect import connect, start_tls
from acme_server.validation.deadline import Deadline
from acme_server.validation.failure import ValidationFailed
from acme_server.validation.resolve import resolve_addresses
from acme_server.validation.settings import ValidationSettings

_PROTOCOL = "acme-tls/1"
_ACME_IDENTIFIER = x509.ObjectIdentifier("1.3.6.1.5.5.7.1.31")
_OCTET_STRING_32 = b"\x04\x20"


def _wrong(detail: str) -> ValidationFailed:
    return ValidationFailed(ProblemType.INCORRECT_RESPONSE, detail)


def _server_name(identifier: Identifier) -> str:
    """Return the name to send: for an address that of its reverse mapping (RFC 8738 6)."""
    return identifier.value if identifier.type == "dns" else ipaddress.ip_address(identifier.value).reverse_pointer


def _fetch(identifier: Identifier, settings: ValidationSettings, deadline: Deadline) -> bytes:
    """Return the certificate in DER that answers to the name under the challenge's protocol."""
    addresses = resolve_addresses(identifier.value, settings, deadline)
    with (
        connect(identifier.value, addresses, settings.tlsalpn01_port, deadline) as connection,
        start_tls(connection, _server_name(identifier), deadline, alpn=_PROTOCOL) as secured,
    ):
        if secured.selected_alpn_protocol() != _PROTOCOL:
            raise _wrong(f"the server did not choose the protocol {_PROTOCOL} (ALPN)")
        certificate = secured.getpeercert(binary_form=True)
    if certificate is None:
        raise _wrong("the server has no certificate")
    return certificate


def _extensions(certificate: bytes) -> x509.Extensions:
    try:
        return x509.load_der_x509_certificate(certificate).extensions
    except (ValueError, TypeError, x509.DuplicateExtension, x509.InvalidVersion, x509.UnsupportedGeneralNameType):
        raise _wrong("the certificate cannot be read") from None


def _is_named(extensions: x509.Extensions, identifier: Identifier) -> bool:
    """Whether the one and only subject alternative name is the identifier."""
    try:
        names = list(extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
    except x509.ExtensionNotFound:
        return False
    if len(names) != 1:
        return False
    name = names[0]
    if identifier.type == "dns":
        return isinstance(name, x509.DNSName) and name.value.lower() == identifier.value
    return isinstance(name, x509.IPAddress) and name.value == ipaddress.ip_address(identifier.value)


def check_certificate(certificate: bytes, identifier: Identifier, key_authorization: str) -> None:
    """Check the challenge's certificate (RFC 8737 3); who signed it does not matter.

    Raises:
        ValidationFailed: incorrectResponse.
    """
    extensions = _extensions(certificate)
    if not _is_named(extensions, identifier):
        raise _wrong("the certificate's subject alternative names are not exactly the identifier")
    try:
        extension = extensions.get_extension_for_oid(_ACME_IDENTIFIER)
    except x509.ExtensionNotFound:
        raise _wrong("the certificate has no acmeIdentifier extension") from None
    if not extension.critical or not isinstance(extension.value, x509.UnrecognizedExtension):
        raise _wrong("the certificate's acmeIdentifier extension is not critical")
    expected = _OCTET_STRING_32 + hashlib.sha256(key_authorization.encode()).digest()
    if not hmac.compare_digest(extension.value.value, expected):
        raise _wrong("the certificate's acmeIdentifier extension is not the digest of this challenge")


def validate(identifier: Identifier, _token: str, key_authorization: str, settings: ValidationSettings) -> None:
    """Make a TLS connection for the challenge's protocol and check the certificate that comes.

    Raises:
        ValidationFailed: there is no such connection, or the certificate is not as it must be.
    """
    if identifier.is_wildcard:
        raise ValidationFailed(
            ProblemType.REJECTED_IDENTIFIER, "tls-alpn-01 can't prove control of a wildcard; use dns-01"
        )
    certificate = _fetch(identifier, settings, Deadline(settings.deadline))
    check_certificate(certificate, identifier, key_authorization)
