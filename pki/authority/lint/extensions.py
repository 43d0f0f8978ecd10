"""Rules on extensions: which may stand, which must be critical, and how they go together (RFC 5280 4.2)."""

import hashlib
from collections.abc import Iterator
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID, ExtensionOID

from pki.authority.lint.syntax import http_url_fault
from pki.authority.lint.view import View

NO_REV_AVAIL = x509.ObjectIdentifier("2.5.29.56")
_NULL = bytes.fromhex("0500")


class _Place(NamedTuple):
    """Where an extension may stand; `critical` is None where it may be either."""

    name: str
    critical: bool | None
    in_leaf: bool = True
    in_ca: bool = True


_PLACES = {
    ExtensionOID.BASIC_CONSTRAINTS: _Place("basicConstraints", None),  # critical in a CA: see _check_ca
    ExtensionOID.KEY_USAGE: _Place("keyUsage", critical=True),
    ExtensionOID.EXTENDED_KEY_USAGE: _Place("extKeyUsage", None),
    ExtensionOID.SUBJECT_KEY_IDENTIFIER: _Place("subjectKeyIdentifier", critical=False),
    ExtensionOID.AUTHORITY_KEY_IDENTIFIER: _Place("authorityKeyIdentifier", critical=False),
    ExtensionOID.SUBJECT_ALTERNATIVE_NAME: _Place("subjectAltName", None),  # see pki.authority.lint.names
    ExtensionOID.CERTIFICATE_POLICIES: _Place("certificatePolicies", None),
    ExtensionOID.AUTHORITY_INFORMATION_ACCESS: _Place("authorityInfoAccess", critical=False),
    ExtensionOID.CRL_DISTRIBUTION_POINTS: _Place("cRLDistributionPoints", critical=False),
    ExtensionOID.FRESHEST_CRL: _Place("freshestCRL", critical=False),
    ExtensionOID.NAME_CONSTRAINTS: _Place("nameConstraints", critical=True, in_leaf=False),
    ExtensionOID.POLICY_CONSTRAINTS: _Place("policyConstraints", critical=True, in_leaf=False),
    ExtensionOID.POLICY_MAPPINGS: _Place("policyMappings", None, in_leaf=False),
    ExtensionOID.INHIBIT_ANY_POLICY: _Place("inhibitAnyPolicy", critical=True, in_leaf=False),
    ExtensionOID.TLS_FEATURE: _Place("tlsFeature", critical=False, in_ca=False),
    ExtensionOID.OCSP_NO_CHECK: _Place("ocspNoCheck", critical=False, in_ca=False),
    NO_REV_AVAIL: _Place("noRevAvail", critical=False, in_ca=False),
}


def check_places(view: View) -> Iterator[str]:
    """Yield the extensions that are not known here, are not for this kind of certificate, or wrongly critical."""
    for oid, extension in view.extensions.items():
        place = _PLACES.get(oid)
        if place is None:
            yield f"extension-unknown: {oid.dotted_string} is not one of the extensions of this house"
            continue
        if not (place.in_ca if view.is_ca else place.in_leaf):
            yield f"extension-misplaced: {place.name} is not for this kind of certificate"
        if place.critical is not None and extension.critical != place.critical:
            yield f"criticality: {place.name} must {'' if place.critical else 'not '}be critical"


def check_kind(view: View, issuer: View) -> Iterator[str]:
    """Yield contradictions between basicConstraints, keyUsage, the key and the issuer (S3, X8)."""
    usage = view.find(x509.KeyUsage)
    if usage is None:
        yield "key-usage-absent: there is no keyUsage"
    else:
        yield from _check_ca_usage(usage) if view.is_ca else _check_leaf_usage(usage, view.certificate.public_key())
    if view.is_ca:
        yield from _check_ca(view)
    else:
        constraints = view.find(x509.BasicConstraints)
        if constraints is not None and constraints.path_length is not None:
            yield "path-length: a path length is for a CA alone (RFC 5280 4.2.1.9)"
    if issuer is not view:
        yield from _check_issuer(view, issuer)


def _check_ca(view: View) -> Iterator[str]:
    if not view.extensions[ExtensionOID.BASIC_CONSTRAINTS].critical:
        yield "criticality: basicConstraints must be critical in a CA (RFC 5280 4.2.1.9)"
    if not view.subject_attributes:
        yield "subject-empty: a CA must have a name (RFC 5280 4.1.2.6)"


def _check_issuer(view: View, issuer: View) -> Iterator[str]:
    usage = issuer.find(x509.KeyUsage)
    if not issuer.is_ca or usage is None or not usage.key_cert_sign:
        yield "issuer-no-ca: the issuer may not sign certificates"
        return
    constraints, own = issuer.find(x509.BasicConstraints), view.find(x509.BasicConstraints)
    room = constraints.path_length if constraints is not None else None
    if view.is_ca and own is not None and room is not None and (own.path_length is None or own.path_length >= room):
        yield f"path-length: the issuer's is {room}, and a CA below it must have a shorter one (RFC 5280 4.2.1.9)"


def _check_ca_usage(usage: x509.KeyUsage) -> Iterator[str]:
    if not usage.key_cert_sign or not usage.crl_sign:
        yield "key-usage: a CA must sign certificates and CRLs (RFC 5280 4.2.1.3)"
    if usage.content_commitment or usage.key_encipherment or usage.data_encipherment or usage.key_agreement:
        yield "key-usage: a CA key is for nothing but signing"


def _check_leaf_usage(usage: x509.KeyUsage, key: object) -> Iterator[str]:
    if usage.key_cert_sign or usage.crl_sign:
        yield "key-usage: only a CA signs certificates and CRLs (RFC 5280 4.2.1.3)"
    enciphers = usage.key_encipherment or usage.data_encipherment
    if not (usage.digital_signature or usage.content_commitment or enciphers or usage.key_agreement):
        yield "key-usage: no use is set (RFC 5280 4.2.1.3)"
    if enciphers and not isinstance(key, rsa.RSAPublicKey):
        yield "key-usage: a key that is not RSA cannot encipher (RFC 8813 3, RFC 9295 3)"
    if usage.key_agreement and not isinstance(key, ec.EllipticCurvePublicKey):
        yield "key-usage: this kind of key cannot agree on keys (RFC 4055 1.2, RFC 9295 3)"


def check_key_identifiers(view: View, issuer: View) -> Iterator[str]:
    """Yield what is wrong with the key identifiers: own from the key, the issuer's as in its certificate (S3)."""
    own = view.find(x509.SubjectKeyIdentifier)
    if own is None:
        if view.is_ca:
            yield "ski-absent: a CA must have a subjectKeyIdentifier (RFC 5280 4.2.1.2)"
    elif own.digest not in _identifiers(view):
        yield "ski: it is not derived from the key (RFC 5280 4.2.1.2, RFC 7093 2)"
    authority, expected = view.find(x509.AuthorityKeyIdentifier), issuer.find(x509.SubjectKeyIdentifier)
    if authority is None:
        if issuer is not view:
            yield "aki-absent: there is no authorityKeyIdentifier (RFC 5280 4.2.1.1)"
    elif expected is None or authority.key_identifier != expected.digest:
        yield "aki: it is not the issuer's subjectKeyIdentifier (RFC 5280 4.2.1.1)"
    elif authority.authority_cert_issuer is not None or authority.authority_cert_serial_number is not None:
        yield "aki: it holds more than the key identifier"


def _identifiers(view: View) -> tuple[bytes, ...]:
    key = view.public_key_info[1].content[1:]
    return hashlib.sha1(key, usedforsecurity=False).digest(), hashlib.sha256(key).digest()[:20]


def check_extended_usage(view: View) -> Iterator[str]:
    """Yield uses that are none, too many, or do not go together."""
    usages = view.find(x509.ExtendedKeyUsage)
    if usages is None:
        return
    found = list(usages)
    if not found or len(set(found)) != len(found):
        yield "eku: extKeyUsage is empty or names a use twice"
    if ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE in found:
        yield "eku: anyExtendedKeyUsage allows everything"
    if ExtendedKeyUsageOID.OCSP_SIGNING in found and len(found) > 1:
        yield "eku: a certificate that signs OCSP responses is for nothing else (RFC 6960 4.2.2.2)"


def check_revocation(view: View) -> Iterator[str]:
    """Yield what is wrong with noRevAvail (RFC 9608, S7) and with the URLs of CRLs, OCSP and issuers."""
    access = list(view.find(x509.AuthorityInformationAccess) or ())
    points = [*(view.find(x509.CRLDistributionPoints) or ()), *(view.find(x509.FreshestCRL) or ())]
    unrevocable = view.extensions.get(NO_REV_AVAIL)
    if unrevocable is not None:
        if not isinstance(unrevocable.value, x509.UnrecognizedExtension) or unrevocable.value.value != _NULL:
            yield "no-rev-avail: its value is not NULL (RFC 9608 2)"
        if points or any(item.access_method == AuthorityInformationAccessOID.OCSP for item in access):
            yield "no-rev-avail: it contradicts a pointer to CRLs or OCSP (RFC 9608 3)"
    for item in access:
        if item.access_method not in {
            AuthorityInformationAccessOID.OCSP,
            AuthorityInformationAccessOID.CA_ISSUERS,
        }:
            yield "aia: an access method is neither OCSP nor caIssuers"
        yield from _check_url("aia", item.access_location)
    for point in points:
        if not point.full_name or point.crl_issuer is not None or point.reasons is not None:
            yield "cdp: a distribution point is not the plain URL of a CRL of the issuer's own"
        for name in point.full_name or ():
            yield from _check_url("cdp", name)


def _check_url(where: str, name: x509.GeneralName) -> Iterator[str]:
    fault = http_url_fault(name.value) if isinstance(name, x509.UniformResourceIdentifier) else "it is no URL"
    if fault is not None:
        yield f"{where}: {fault}"
