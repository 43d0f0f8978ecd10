"""Certificate requests (PKCS#10, RFC 2986): nothing of one is used but its key and the names it asks for."""

import ipaddress
from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from pki.authority.names import Name, dns_name, name_of
from pki.errors import Rejected
from pki.ledger.weak_keys import PublicKey, check_key

SIZE_LIMIT = 64 * 1024
NAME_LIMIT = 100
_UNREADABLE = (ValueError, TypeError, UnsupportedAlgorithm)
_DIGESTS = (hashes.SHA256, hashes.SHA384, hashes.SHA512)


@dataclass(frozen=True, slots=True)
class CertificateRequest:
    """What is read from a request. `names` has no duplicates; the common name is among them, whatever it was.

    `named_in_subject_only` tells that the common name is not among the alternative names: it is then the last name.
    """

    public_key: PublicKey
    names: tuple[Name, ...]
    common_name: str | None
    named_in_subject_only: bool = False


def _bad(message: str, advice: str = "make a new request") -> Rejected:
    return Rejected(message, "badCSR", advice=advice)


def parse_csr(der: bytes) -> CertificateRequest:
    """Read a request: its signature is verified with its own key, and the key is checked for known weaknesses.

    What the request asks for besides names (CA rights, key usages, attributes) is not read: the profile decides.

    Raises:
        Rejected: badCSR: it cannot be read whole, is signed by a weak digest or not by its own key, or holds names that
            are not certified; weakKey: see `check_key`.
    """
    request, public_key = _read(der)
    common_name = _common_name(request)
    found = dict.fromkeys(_alternative_names(request))
    alternative = len(found)
    if common_name is not None:
        found.setdefault(name_in_common_name(common_name))
    return CertificateRequest(public_key, tuple(found), common_name, len(found) > alternative)


def requested_key(der: bytes) -> PublicKey:
    """Return the public key of a CA's request, checked as `parse_csr` does; its subject is not read.

    Raises:
        Rejected: badCSR or weakKey, as `parse_csr`.
    """
    return _read(der)[1]


def _read(der: bytes) -> tuple[x509.CertificateSigningRequest, PublicKey]:
    if len(der) > SIZE_LIMIT:
        raise _bad(f"a certificate request has {SIZE_LIMIT} octets at most")
    try:
        request = x509.load_der_x509_csr(der)
        found_key = request.public_key()
    except (*_UNREADABLE, x509.InvalidVersion):
        raise _bad("this is not a certificate request (PKCS#10) with a key of a known kind") from None
    if request.public_bytes(Encoding.DER) != der:
        raise _bad("there are octets behind the certificate request")
    public_key = check_key(found_key)
    _check_signature(request)
    return request, public_key


def _check_signature(request: x509.CertificateSigningRequest) -> None:
    try:
        digest = request.signature_hash_algorithm
        valid = request.is_signature_valid
    except _UNREADABLE:
        raise _bad("the request's signature algorithm is not known") from None
    if digest is not None and not isinstance(digest, _DIGESTS):
        raise _bad(f"the request is signed with {digest.name}", "sign it with SHA-256, SHA-384 or SHA-512")
    if not valid:
        raise _bad("the request is not signed by its own key")


def _common_name(request: x509.CertificateSigningRequest) -> str | None:
    try:
        found = request.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    except _UNREADABLE:
        raise _bad("the request's subject cannot be read") from None
    if len(found) > 1:
        raise _bad("the request's subject has more than one common name")
    if not found or found[0].value in {"", b""}:
        return None
    value = found[0].value
    if not isinstance(value, str):
        raise _bad("the request's common name is not text")
    return value


def _alternative_names(request: x509.CertificateSigningRequest) -> list[Name]:
    try:
        extension = request.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return []
    except (*_UNREADABLE, x509.DuplicateExtension, x509.UnsupportedGeneralNameType):
        raise _bad("the request's extensions cannot be read") from None
    names = list(extension.value)
    if len(names) > NAME_LIMIT:
        raise _bad(f"the request asks for more than {NAME_LIMIT} names")
    return [name_of(item) for item in names]


def name_in_common_name(value: str) -> Name:
    """Return the DNS name or address that a common name is.

    Raises:
        Rejected: badCSR: it is neither.
    """
    try:
        return ip_address(value)
    except ValueError:
        return dns_name(value)


def ip_address(value: str) -> Name:
    """Return the name of an address; ValueError when it is none, or one with a scope (RFC 4007 11)."""
    if "%" in value:
        raise ValueError("an address in a certificate has no scope")
    return Name("ip", str(ipaddress.ip_address(value)))
