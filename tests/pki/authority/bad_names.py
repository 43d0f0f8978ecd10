"""Certificates with one wrong name."""

import ipaddress
from dataclasses import replace
from datetime import timedelta

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from tests.pki.authority.certificates import (
    CONSTRAINTS,
    Parts,
    Raw,
    constrained_leaf,
    intermediate,
    leaf,
    oid,
    san,
    sequence,
    tlv,
)
from tests.pki.authority.corpus import Corpus

CORPUS = Corpus()
_SECOND = timedelta(seconds=1)
_DNS = x509.DNSName
_OTHER_KEY = ec.derive_private_key(7, ec.SECP256R1()).public_key()


def _bad_name(name: str, finding: str, value: x509.GeneralName, *seen_by: str) -> None:
    CORPUS.add(name, finding, lambda: leaf(value), *seen_by)


@CORPUS.bad("san-absent")
def names_absent() -> Parts:
    """RFC 5280 4.2.1.6."""
    return leaf(common_name="a.example").lacking(x509.SubjectAlternativeName)


@CORPUS.bad("san-empty", "pkilint", "openssl")
def names_empty() -> Parts:
    """RFC 5280 4.2.1.6."""
    return leaf().having(Raw(x509.SubjectAlternativeName.oid, critical=True, value=b"\x30\x00"))


@CORPUS.bad("san-criticality", "pkilint", "openssl")
def names_not_critical_with_an_empty_subject() -> Parts:
    """S4."""
    return leaf().having(san(_DNS("a.example")))


@CORPUS.bad("san-criticality")
def names_critical_with_a_subject() -> Parts:
    """S4."""
    return leaf(common_name="a.example").having(san(_DNS("a.example")), critical=True)


@CORPUS.bad("san-duplicate")
def name_twice() -> Parts:
    """Each name once."""
    return leaf(_DNS("a.example"), _DNS("a.example"))


_bad_name("dns_upper_case", "san-dns", _DNS("A.example"))
_bad_name("dns_with_a_dot_at_its_end", "san-dns", _DNS("a.example."))
_bad_name("dns_with_an_underscore", "san-dns", _DNS("a_b.example"))
_bad_name("dns_empty", "san-dns", _DNS(""))
_bad_name("dns_with_an_empty_label", "san-dns", _DNS("a..example"))
_bad_name("dns_with_a_hyphen_first", "san-dns", _DNS("-a.example"))
_bad_name("dns_with_a_label_of_64", "san-dns", _DNS("a" * 64 + ".example"))
_bad_name("dns_of_254_characters", "san-dns", _DNS(".".join(["a" * 49] * 5) + ".abcd"), "pkilint")
_bad_name("dns_that_is_an_address", "san-dns", _DNS("10.0.0.1"))
_bad_name("dns_that_reads_as_an_address", "san-dns", _DNS("a.0x7f"))
_bad_name("dns_with_a_port", "san-dns", _DNS("a.example:443"))
_bad_name("dns_with_a_space", "san-dns", _DNS("a example"))
_bad_name("dns_with_a_nul", "san-dns", _DNS("a.example\0.b.example"))
_bad_name("dns_with_a_reserved_label", "san-dns", _DNS("ab--cd.example"))
_bad_name("dns_with_a_false_a_label", "san-dns", _DNS("xn--a.example"))
_bad_name("wildcard_inside", "san-dns", _DNS("a.*.example"))
_bad_name("wildcard_in_part_of_a_label", "san-dns", _DNS("a*.example"))
_bad_name("wildcard_of_wildcards", "san-dns", _DNS("*.*.example"))
_bad_name("wildcard_alone", "san-dns", _DNS("*"))
_bad_name("email_without_domain", "san-email", x509.RFC822Name("a"))
_bad_name("email_with_two_dots", "san-email", x509.RFC822Name("a..b@c.example"))
_bad_name("uri_relative", "san-uri", x509.UniformResourceIdentifier("/a/b"))
_bad_name("uri_with_a_user", "san-uri", x509.UniformResourceIdentifier("https://a:b@c.example/"))
_bad_name("uri_without_host", "san-uri", x509.UniformResourceIdentifier("urn:uuid:1"))
_bad_name("name_of_a_person", "san-type", x509.DirectoryName(x509.Name([])))
_bad_name("name_by_oid", "san-type", x509.RegisteredID(x509.ObjectIdentifier("1.2.3")), "pkilint")
_bad_name("name_of_another_kind", "san-type", x509.OtherName(x509.ObjectIdentifier("1.2.3"), b"\x05\x00"), "pkilint")


@CORPUS.bad("san-email")
def email_with_a_display_name() -> Parts:
    """RFC 5280 4.2.1.6."""
    names = sequence(tlv(0x81, b"A <a@b.example>"))
    return leaf().having(Raw(x509.SubjectAlternativeName.oid, critical=True, value=names))


@CORPUS.bad("unreadable", "pkilint")
def address_of_five_octets() -> Parts:
    """RFC 5280 4.2.1.6."""
    names = sequence(tlv(0x87, bytes(5)))
    return leaf().having(Raw(x509.SubjectAlternativeName.oid, critical=True, value=names))


@CORPUS.bad("san-ip", "pkilint")
def address_that_is_a_network() -> Parts:
    """RFC 5280 4.2.1.6."""
    return leaf(x509.IPAddress(ipaddress.ip_network("10.0.0.0/8")))


@CORPUS.bad("common-name")
def common_name_that_is_no_alternative_name() -> Parts:
    """BR 7.1.4.3."""
    return leaf(_DNS("a.example"), common_name="b.example")


@CORPUS.bad("common-name", "pkilint")
def common_name_of_65_characters() -> Parts:
    """RFC 5280 A.1."""
    name = f"{'a' * 57}.example"
    attribute = sequence(oid("2.5.4.3"), tlv(0x0C, name.encode()))
    return replace(leaf(_DNS(name), common_name="a"), subject=sequence(tlv(0x31, attribute)))


@CORPUS.bad("common-name")
def two_common_names() -> Parts:
    """One is for programs that know no alternative names."""
    names = (_DNS("a.example"), _DNS("b.example"))
    attributes = [x509.NameAttribute(x509.NameOID.COMMON_NAME, name.value) for name in names]
    return replace(leaf(*names, common_name="a.example"), subject=x509.Name(attributes).public_bytes())


@CORPUS.bad("subject-email", "pkilint")
def email_address_in_the_subject() -> Parts:
    """RFC 5280 4.1.2.6."""
    attributes = [x509.NameAttribute(x509.NameOID.EMAIL_ADDRESS, "a@b.example")]
    return replace(leaf(common_name="a.example"), subject=x509.Name(attributes).public_bytes())


# Name constraints


def _unconstrained(name: str, value: x509.GeneralName, *seen_by: str) -> None:
    CORPUS.add(name, "name-constraints", lambda: constrained_leaf(value), *seen_by)


_unconstrained("dns_not_permitted", _DNS("a.example"), "openssl")
_unconstrained("dns_that_ends_alike", _DNS("notcorp.example"), "openssl")
_unconstrained("wildcard_above_what_is_permitted", _DNS("*.example"), "openssl")
_unconstrained("dns_excluded", _DNS("a.secret.corp.example"), "openssl")
_unconstrained("wildcard_over_what_is_excluded", _DNS("*.corp.example"))
_unconstrained("address_not_permitted", x509.IPAddress(ipaddress.ip_address("192.0.2.1")), "openssl")
_unconstrained("address_excluded", x509.IPAddress(ipaddress.ip_address("10.9.1.1")), "openssl")
_unconstrained("email_not_permitted", x509.RFC822Name("a@b.corp.example"), "openssl")
_unconstrained("uri_not_permitted", x509.UniformResourceIdentifier("https://corp.example/"), "openssl")
_unconstrained("uri_with_an_address", x509.UniformResourceIdentifier("https://10.0.0.1/"), "openssl")


@CORPUS.bad("name-constraints", "openssl")
def subject_excluded() -> Parts:
    """RFC 5280 4.2.1.10: constraints on distinguished names hold for the subject."""
    return constrained_leaf(_DNS("nobody.corp.example"), common_name="nobody.corp.example")


@CORPUS.bad("criticality", "pkilint")
def name_constraints_not_critical() -> Parts:
    """S5."""
    return intermediate().having(CONSTRAINTS)


@CORPUS.bad("unreadable", "pkilint")
def name_constraints_of_nothing() -> Parts:
    """RFC 5280 4.2.1.10."""
    return intermediate().having(Raw(x509.NameConstraints.oid, critical=True, value=b"\x30\x00"))


@CORPUS.bad("common-name", "pkilint")
def common_name_of_an_old_string_type() -> Parts:
    """RFC 5280 4.1.2.4: an IA5String."""
    certificate = leaf(common_name="a.example")
    return replace(certificate, subject=certificate.subject.replace(b"\x0c", b"\x16", 1))


@CORPUS.bad("name-constraints")
def name_constraints_with_an_underscore() -> Parts:
    """RFC 5280 4.2.1.10."""
    return intermediate().having(x509.NameConstraints([_DNS("a_b.example")], None), critical=True)


@CORPUS.bad("name-constraints")
def name_constraints_below_a_dot() -> Parts:
    """RFC 5280 4.2.1.10: a leading dot is for URIs and e-mail; programs differ on it in DNS names."""
    return intermediate().having(x509.NameConstraints([_DNS(".corp.example")], None), critical=True)
