"""The extensions of each kind of certificate, in DER (RFC 5280 4.2).

Those that do not depend on the subject are encoded once for each profile, version, issuer and kind of key.
"""

import ipaddress
from collections.abc import Iterator, Sequence

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import AuthorityInformationAccessOID

from pki.authority.issuers import Issuer
from pki.authority.locations import Locations
from pki.authority.names import Name
from pki.authority.profiles import KEY_USAGES, Profile
from pki.authority.tbs import encode_extension
from pki.ledger.weak_keys import PublicKey

_NULL = bytes.fromhex("0500")
NO_REV_AVAIL = x509.ObjectIdentifier("2.5.29.56")


def _key_usage(*, certifies: bool, enciphers: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not certifies,
        content_commitment=False,
        key_encipherment=enciphers,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=certifies,
        crl_sign=certifies,
        encipher_only=False,
        decipher_only=False,
    )


def key_identifier(certificate: x509.Certificate) -> x509.SubjectKeyIdentifier:
    """Return a CA certificate's own subject key identifier."""
    return certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value


class Extensions:
    """Encodes extensions; `locations` gives the URLs that stand in them."""

    def __init__(self, locations: Locations) -> None:
        self._locations = locations
        self._known: dict[tuple[str, int, str, bool], tuple[bytes, ...]] = {}

    def encode(
        self, profile: Profile, issuer: Issuer | None, public_key: PublicKey, names: Sequence[Name], *, named: bool
    ) -> tuple[bytes, ...]:
        """Return all extensions of a certificate.

        `issuer` is None for a root; `named` says whether the subject has a name, without which the alternative names
        are critical (RFC 5280 4.2.1.6).
        """
        identifier = x509.SubjectKeyIdentifier.from_public_key(public_key)
        own = [encode_extension(identifier, critical=False)]
        if issuer is None:
            itself = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier)
            own.append(encode_extension(itself, critical=False))
        if names:
            general = x509.SubjectAlternativeName([name.general_name() for name in names])
            own.append(encode_extension(general, critical=not named))
        return (*self._fixed(profile, issuer, is_rsa=isinstance(public_key, rsa.RSAPublicKey)), *own)

    def _fixed(self, profile: Profile, issuer: Issuer | None, *, is_rsa: bool) -> tuple[bytes, ...]:
        key = (profile.name, profile.version, issuer.id if issuer else "", is_rsa)
        known = self._known.get(key)
        if known is None:
            found = (*_of_kind(profile, is_rsa=is_rsa), *_of_profile(profile), *self._of_issuer(profile, issuer))
            known = self._known[key] = tuple(encode_extension(value, critical=critical) for value, critical in found)
        return known

    def _of_issuer(self, profile: Profile, issuer: Issuer | None) -> Iterator[tuple[x509.ExtensionType, bool]]:
        if issuer is None:
            return
        identifier = key_identifier(issuer.certificate)
        yield x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), False
        url = x509.UniformResourceIdentifier(self._locations.certificate(issuer.id))
        access = x509.AccessDescription(AuthorityInformationAccessOID.CA_ISSUERS, url)
        yield x509.AuthorityInformationAccess([access]), False
        if profile.revocation == "none":
            yield x509.UnrecognizedExtension(NO_REV_AVAIL, _NULL), False
        else:
            where = x509.UniformResourceIdentifier(self._locations.crl(issuer.id))
            yield x509.CRLDistributionPoints([x509.DistributionPoint([where], None, None, None)]), False


def _of_kind(profile: Profile, *, is_rsa: bool) -> Iterator[tuple[x509.ExtensionType, bool]]:
    certifies = profile.kind in {"ca", "root"}
    yield x509.BasicConstraints(ca=certifies, path_length=profile.path_length if certifies else None), True
    yield _key_usage(certifies=certifies, enciphers=is_rsa and not certifies), True


def _of_profile(profile: Profile) -> Iterator[tuple[x509.ExtensionType, bool]]:
    if profile.extended_key_usage:
        yield x509.ExtendedKeyUsage([KEY_USAGES[item] for item in profile.extended_key_usage]), False
    if profile.certificate_policies:
        policies = [x509.PolicyInformation(x509.ObjectIdentifier(item), None) for item in profile.certificate_policies]
        yield x509.CertificatePolicies(policies), False
    permitted: list[x509.GeneralName] = [x509.DNSName(item) for item in profile.permitted_dns]
    permitted += [x509.IPAddress(ipaddress.ip_network(item)) for item in profile.permitted_ip]
    if permitted:
        yield x509.NameConstraints(permitted, None), True
