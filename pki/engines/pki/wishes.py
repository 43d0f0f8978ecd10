"""What requests for certificates hold: bodies, CSRs, lifetimes, and keys made for the caller."""

import base64
import re
from collections.abc import Mapping
from datetime import timedelta
from types import MappingProxyType
from typing import TypeAlias

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from pki.authority.profiles import Profile
from pki.authority.requests import SIZE_LIMIT, CertificateRequest, parse_csr
from pki.engines.pki.names import Naming
from pki.engines.pki.settings import Role
from pki.errors import Rejected
from pki.operations.wire import Span, Words

PrivateKey: TypeAlias = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey

_CURVES: Mapping[int, ec.EllipticCurve] = MappingProxyType(
    {0: ec.SECP256R1(), 256: ec.SECP256R1(), 384: ec.SECP384R1(), 521: ec.SECP521R1()}
)
_RSA_MOST = 4096
"""The longest RSA keys that are made for callers: longer ones take the server many seconds."""


class Wishes(Naming, frozen=True, kw_only=True):
    """What is asked of a certificate. Lists are JSON lists, or texts with commas.

    `format` is pem, pem_bundle or der. What stands last is not supported, and refused if it is not empty.
    """

    ttl: Span = Span()
    format: str = "pem"
    private_key_format: str = "der"
    remove_roots_from_chain: bool = False
    other_sans: Words = Words()
    user_ids: Words = Words()
    serial_number: str = ""
    not_before: str = ""
    not_after: str = ""
    cert_metadata: str = ""


class SignBody(Wishes, frozen=True, kw_only=True):
    """A certificate for the key of a CSR, in PEM."""

    csr: str = ""


class IssueBody(Wishes, frozen=True, kw_only=True):
    """A certificate, and a key for it that is made by the server and not kept.

    `private_key_format` is der, for the traditional encoding, or pkcs8; whether in PEM is for `format` to say.
    """


class RevokeBody(msgspec.Struct, frozen=True, kw_only=True):
    """What to revoke: `serial_number` in hex, or the `certificate` in PEM.

    `reason` is a name or number of RFC 5280 5.3.1. A key that is said to be compromised is never certified again.
    """

    serial_number: str = ""
    certificate: str = ""
    reason: str | int = "unspecified"


_UNSUPPORTED: Mapping[str, str] = MappingProxyType(
    {
        "other_sans": "ask for DNS names, addresses, mailboxes or URIs",
        "user_ids": "a subject holds a common name at most",
        "serial_number": "a subject holds a common name at most; the serial number is drawn by lot",
        "not_before": "a certificate begins now",
        "not_after": "give a ttl",
        "cert_metadata": "leave it out",
    }
)


def require_supported(wishes: Wishes) -> None:
    """Refuse what this engine does not do, rather than leave it out of the certificate.

    Raises:
        Rejected: malformed; the message names it.
    """
    for field, advice in _UNSUPPORTED.items():
        if getattr(wishes, field):
            raise Rejected(f"{field} is not supported", "malformed", advice=advice)


def read_csr(text: str) -> CertificateRequest:
    """Return the request in a text in PEM.

    Raises:
        Rejected: badCSR: there is not exactly one; else as `parse_csr`.
    """
    return parse_csr(_block(text, "(?:NEW )?CERTIFICATE REQUEST", "csr"))


def read_certificate(text: str) -> bytes:
    """Return the certificate in a text in PEM, as DER; Rejected (badCSR) when there is not exactly one."""
    return _block(text, "CERTIFICATE", "certificate")


def _block(text: str, label: str, field: str) -> bytes:
    found = re.findall(f"-----BEGIN {label}-----([A-Za-z0-9+/=\\s]*)-----END {label}-----", text[: 4 * SIZE_LIMIT])
    if len(found) != 1 or text.count("-----BEGIN ") != 1:
        raise Rejected(f"{field} must hold one such object, and nothing else, in PEM", "badCSR", advice="send it whole")
    try:
        return base64.b64decode("".join(found[0].split()), validate=True)
    except ValueError:
        raise Rejected(f"{field} is not good base64", "badCSR", advice="send it unchanged") from None


def require_common_name(wishes: Wishes, role: Role, request: CertificateRequest | None) -> None:
    """Refuse a request without a common name, where the role asks for one.

    Raises:
        Rejected: badCSR.
    """
    named = wishes.common_name.strip() or (request is not None and request.common_name)
    if role.require_cn and not named:
        raise Rejected("this role asks for a common name", "badCSR", advice="give a common_name")


def lifetime(wishes: Wishes, role: Role, profile: Profile) -> tuple[timedelta, list[str]]:
    """Return how long the certificate is to live, and warnings: what is more than the role allows is cut to that.

    Raises:
        Rejected: malformed: it is shorter than a second.
    """
    if not wishes.ttl:
        return timedelta(seconds=role.usual), []
    if wishes.ttl.whole < 1:
        raise Rejected("the ttl is shorter than a second", "malformed", advice="ask for more")
    if wishes.ttl.whole <= profile.lifetime:
        return timedelta(seconds=wishes.ttl.whole), []
    cut = f"the ttl of {wishes.ttl.whole} s is more than role {profile.name} allows: it is cut to {profile.lifetime} s"
    return timedelta(seconds=profile.lifetime), [cut]


def make_key(role: Role) -> PrivateKey:
    """Return a new key of the kind that the role names: P-256 where it takes any.

    Raises:
        Rejected: malformed: keys so long are not made here.
    """
    if role.key_type == "ed25519":
        return ed25519.Ed25519PrivateKey.generate()
    if role.key_type != "rsa":
        return ec.generate_private_key(_CURVES[role.key_bits])
    if role.key_bits > _RSA_MOST:
        advice = "make the key yourself, and have its CSR signed"
        raise Rejected(f"RSA keys of {role.key_bits} bits are not made here", "malformed", advice=advice)
    return rsa.generate_private_key(65537, role.key_bits or 2048)
