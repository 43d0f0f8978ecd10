"""Certificates with one wrong extension."""

from dataclasses import replace
from datetime import timedelta

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID

from tests.pki.authority.certificates import (
    FIRST,
    NO_REV_AVAIL,
    Parts,
    Raw,
    access,
    ca_parts,
    crl_points,
    integer,
    intermediate,
    key,
    key_usage,
    leaf,
    moment,
    root,
    sequence,
    subject,
    tlv,
)
from tests.pki.authority.corpus import Corpus

CORPUS = Corpus()
_SECOND = timedelta(seconds=1)
_DNS = x509.DNSName
_OTHER_KEY = ec.derive_private_key(7, ec.SECP256R1()).public_key()


_UNKNOWN = x509.ObjectIdentifier("1.3.6.1.4.1.99999.1")


@CORPUS.bad("extension-unknown")
def unknown_extension() -> Parts:
    """Nothing stands in a certificate that nobody meant."""
    return leaf().having(Raw(_UNKNOWN, critical=False, value=b"\x05\x00"))


@CORPUS.bad("extension-unknown", "openssl")
def unknown_critical_extension() -> Parts:
    """RFC 5280 4.2."""
    return leaf().having(Raw(_UNKNOWN, critical=True, value=b"\x05\x00"))


@CORPUS.bad("extension-unknown", "openssl")
def acme_identifier() -> Parts:
    """RFC 8737 3: a proof of control, never in a certificate of a CA."""
    value = tlv(4, tlv(4, bytes(32)))[2:]
    return leaf().having(Raw(x509.ObjectIdentifier("1.3.6.1.5.5.7.1.31"), critical=True, value=value))


@CORPUS.bad("extension-duplicate", "pkilint", "openssl")
def extension_twice() -> Parts:
    """RFC 5280 4.2."""
    certificate = leaf()
    return replace(certificate, extensions=(*certificate.extensions, certificate.extensions[2]))


@CORPUS.bad("criticality")
def key_usage_not_critical() -> Parts:
    """RFC 5280 4.2.1.3."""
    return leaf().having(key_usage("digital_signature"))


@CORPUS.bad("criticality", "pkilint", "openssl")
def subject_key_identifier_critical() -> Parts:
    """RFC 5280 4.2.1.2."""
    return leaf().having(x509.SubjectKeyIdentifier.from_public_key(key("p256").public_key()), critical=True)


@CORPUS.bad("criticality", "pkilint", "openssl")
def authority_key_identifier_critical() -> Parts:
    """RFC 5280 4.2.1.1."""
    certificate = leaf()
    (found,) = (item for item in certificate.extensions if item.oid == x509.AuthorityKeyIdentifier.oid)
    return certificate.having(replace(found, critical=True))


@CORPUS.bad("criticality", "pkilint", "openssl")
def authority_access_critical() -> Parts:
    """RFC 5280 4.2.2.1."""
    return leaf().having(access("http://ca.example/ca/1.cer"), critical=True)


@CORPUS.bad("criticality")
def crl_points_critical() -> Parts:
    """RFC 5280 4.2.1.13."""
    return leaf().having(crl_points("http://ca.example/crl/1.crl"), critical=True)


@CORPUS.bad("extension-misplaced", "pkilint")
def name_constraints_in_a_leaf() -> Parts:
    """RFC 5280 4.2.1.10."""
    return leaf().having(x509.NameConstraints([_DNS("a.example")], None), critical=True)


@CORPUS.bad("extension-misplaced", "pkilint")
def policy_constraints_in_a_leaf() -> Parts:
    """RFC 5280 4.2.1.11."""
    return leaf().having(x509.PolicyConstraints(0, None), critical=True)


@CORPUS.bad("unreadable", "pkilint", "openssl")
def key_usage_that_is_no_bit_string() -> Parts:
    """RFC 5280 A."""
    return leaf().having(Raw(x509.KeyUsage.oid, critical=True, value=b"\x02\x01\x05"))


# Extensions: kinds of certificates


@CORPUS.bad("key-usage-absent")
def key_usage_absent() -> Parts:
    """S3."""
    return leaf().lacking(x509.KeyUsage)


@CORPUS.bad("key-usage", "pkilint", "openssl")
def leaf_that_signs_certificates() -> Parts:
    """RFC 5280 4.2.1.3."""
    return leaf().having(key_usage("digital_signature", "key_cert_sign"), critical=True)


@CORPUS.bad("key-usage", "openssl")
def leaf_that_signs_crls() -> Parts:
    """RFC 5280 4.2.1.3."""
    return leaf().having(key_usage("digital_signature", "crl_sign"), critical=True)


@CORPUS.bad("key-usage", "pkilint", "openssl")
def leaf_without_any_use() -> Parts:
    """RFC 5280 4.2.1.3."""
    return leaf().having(key_usage(), critical=True)


@CORPUS.bad("key-usage", "pkilint")
def ec_key_that_enciphers() -> Parts:
    """RFC 8813 3."""
    return leaf().having(key_usage("digital_signature", "key_encipherment"), critical=True)


@CORPUS.bad("key-usage", "pkilint")
def ed25519_key_that_enciphers() -> Parts:
    """RFC 9295 3."""
    return leaf(kind="ed25519").having(key_usage("digital_signature", "key_encipherment"), critical=True)


@CORPUS.bad("key-usage", "pkilint")
def rsa_key_that_agrees() -> Parts:
    """RFC 4055 1.2."""
    return leaf(kind="rsa").having(key_usage("digital_signature", "key_agreement"), critical=True)


@CORPUS.bad("unreadable", "pkilint", "openssl")
def leaf_with_a_path_length() -> Parts:
    """RFC 5280 4.2.1.9."""
    return leaf().having(Raw(x509.BasicConstraints.oid, critical=True, value=sequence(integer(0))))


@CORPUS.bad("criticality", "pkilint", "openssl")
def ca_without_critical_basic_constraints() -> Parts:
    """RFC 5280 4.2.1.9."""
    return intermediate().having(x509.BasicConstraints(ca=True, path_length=0))


@CORPUS.bad("key-usage", "pkilint", "openssl")
def ca_that_may_not_sign() -> Parts:
    """RFC 5280 4.2.1.3."""
    return intermediate().having(key_usage("crl_sign"), critical=True)


@CORPUS.bad("key-usage")
def ca_that_enciphers() -> Parts:
    """A CA key has one use."""
    return intermediate("rsa").having(key_usage("key_cert_sign", "crl_sign", "key_encipherment"), critical=True)


@CORPUS.bad("ski-absent", "pkilint", "openssl")
def ca_without_key_identifier() -> Parts:
    """RFC 5280 4.2.1.2."""
    return intermediate().lacking(x509.SubjectKeyIdentifier)


@CORPUS.bad("subject-empty", "openssl")
def ca_without_name() -> Parts:
    """RFC 5280 4.1.2.6."""
    return replace(intermediate(), subject=subject(None))


@CORPUS.bad("path-length")
def ca_below_a_path_length_of_0() -> Parts:
    """X8."""
    return replace(
        ca_parts("p256", "too deep", (intermediate(), "p256"), path_length=0),
        signer=key("p256", "intermediate"),
        not_before=moment(FIRST),
    )


@CORPUS.bad("issuer-no-ca", "openssl")
def leaf_by_a_leaf() -> Parts:
    """RFC 5280 6.1.4."""
    above = leaf(common_name="a.example")
    return leaf(issuer=above, issuer_key=key("p256"))


@CORPUS.bad("issuer-name")
def root_of_two_names() -> Parts:
    """A root is its own issuer."""
    return replace(root(), issuer=subject("Somebody else"))


# What extensions hold


@CORPUS.bad("aki-absent", "openssl")
def authority_key_identifier_absent() -> Parts:
    """RFC 5280 4.2.1.1."""
    return leaf().lacking(x509.AuthorityKeyIdentifier)


@CORPUS.bad("aki", "openssl")
def authority_key_identifier_of_another_key() -> Parts:
    """S3."""
    return leaf().having(x509.AuthorityKeyIdentifier.from_issuer_public_key(_OTHER_KEY))


@CORPUS.bad("aki")
def authority_key_identifier_with_a_serial() -> Parts:
    """It would have to be right for ever."""
    above = intermediate().certificate()
    found = above.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    names = [x509.DirectoryName(above.issuer)]
    return leaf().having(x509.AuthorityKeyIdentifier(found.digest, names, above.serial_number))


@CORPUS.bad("ski")
def subject_key_identifier_of_another_key() -> Parts:
    """RFC 5280 4.2.1.2."""
    return leaf().having(x509.SubjectKeyIdentifier.from_public_key(_OTHER_KEY))


@CORPUS.bad("unreadable", "pkilint")
def extended_key_usage_without_uses() -> Parts:
    """RFC 5280 4.2.1.12."""
    return leaf().having(Raw(x509.ExtendedKeyUsage.oid, critical=False, value=b"\x30\x00"))


@CORPUS.bad("eku")
def extended_key_usage_of_any() -> Parts:
    """It allows all."""
    return leaf().having(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE]))


@CORPUS.bad("eku")
def extended_key_usage_of_ocsp_and_servers() -> Parts:
    """RFC 6960 4.2.2.2: a server would answer for the CA."""
    return leaf().having(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.OCSP_SIGNING]))


_NULL = Raw(NO_REV_AVAIL, critical=False, value=b"\x05\x00")


@CORPUS.bad("no-rev-avail")
def no_revocation_and_a_crl() -> Parts:
    """S7, RFC 9608 3."""
    return leaf().having(_NULL)


@CORPUS.bad("no-rev-avail")
def no_revocation_and_ocsp() -> Parts:
    """S7, RFC 9608 3."""
    location = x509.UniformResourceIdentifier("http://ca.example/ocsp")
    ocsp = x509.AuthorityInformationAccess([x509.AccessDescription(AuthorityInformationAccessOID.OCSP, location)])
    return leaf().lacking(x509.CRLDistributionPoints).having(ocsp).having(_NULL)


@CORPUS.bad("criticality", "openssl")
def no_revocation_critical() -> Parts:
    """RFC 9608 2."""
    return leaf().lacking(x509.CRLDistributionPoints).having(replace(_NULL, critical=True))


@CORPUS.bad("no-rev-avail")
def no_revocation_of_another_value() -> Parts:
    """RFC 9608 2."""
    return leaf().lacking(x509.CRLDistributionPoints).having(replace(_NULL, value=b"\x30\x00"))


@CORPUS.bad("extension-misplaced")
def no_revocation_of_a_ca() -> Parts:
    """RFC 9608 3."""
    return intermediate().having(_NULL)


@CORPUS.bad("cdp")
def crl_by_https() -> Parts:
    """RFC 5280 8: to check that certificate a CRL would be needed."""
    return leaf().having(crl_points("https://ca.example/crl/1.crl"))


@CORPUS.bad("cdp")
def crl_by_a_relative_url() -> Parts:
    """RFC 5280 4.2.1.13."""
    return leaf().having(crl_points("/crl/1.crl"))


@CORPUS.bad("cdp")
def crl_of_another_issuer() -> Parts:
    """No indirect CRLs are published here."""
    where: list[x509.GeneralName] = [x509.UniformResourceIdentifier("http://ca.example/crl/1.crl")]
    who: list[x509.GeneralName] = [x509.DirectoryName(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "x")]))]
    return leaf().having(x509.CRLDistributionPoints([x509.DistributionPoint(where, None, None, who)]))


@CORPUS.bad("aia")
def authority_access_by_ldap() -> Parts:
    """Only what is served here."""
    return leaf().having(access("ldap://ca.example/cn=x"))
