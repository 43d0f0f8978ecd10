"""Rules on the subject's names: alternative names, common name (RFC 5280 4.2.1.6, BR 7.1.4)."""

import ipaddress
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID

from pki.authority.lint.syntax import dns_fault, email_fault, uri_fault
from pki.authority.lint.view import View

COMMON_NAME = bytes.fromhex("550403")
_EMAIL_ADDRESS = bytes.fromhex("2a864886f70d010901")
_COMMON_NAME_LIMIT = 64
_TEXT_TAGS = frozenset({0x0C, 0x13})  # UTF8String; PrintableString, whose alphabet the library has checked
_TEXT: Mapping[type[x509.GeneralName], tuple[str, Callable[[str], str | None]]] = MappingProxyType(
    {
        x509.DNSName: ("dns", dns_fault),
        x509.RFC822Name: ("email", email_fault),
        x509.UniformResourceIdentifier: ("uri", uri_fault),
    }
)
_SHOWN = 100


def check_names(view: View) -> Iterator[str]:
    """Yield what is wrong with a certificate's names, whatever the issuer."""
    extension = view.extensions.get(ExtensionOID.SUBJECT_ALTERNATIVE_NAME)
    if extension is not None and extension.critical == bool(view.subject_attributes):
        yield "san-criticality: subjectAltName is critical if, and only if, the subject is empty (RFC 5280 4.2.1.6)"
    names = list(view.find(x509.SubjectAlternativeName) or ())
    if extension is not None and not names:
        yield "san-empty: subjectAltName has no names (RFC 5280 4.2.1.6)"
    if len(set(names)) != len(names):
        yield "san-duplicate: a name stands twice"
    for name in names:
        yield from _check_name(name)
    if not view.is_ca:
        yield from _check_leaf(view, names)


def _check_name(name: x509.GeneralName) -> Iterator[str]:
    known = _TEXT.get(type(name))
    if known is not None:
        kind, fault_of = known
        fault = fault_of(name.value)
        if fault is not None:
            yield f"san-{kind}: {name.value[:_SHOWN]!a}: {fault}"
    elif not isinstance(name, x509.IPAddress):
        yield f"san-type: names of the type {type(name).__name__} are not certified"
    elif not isinstance(name.value, ipaddress.IPv4Address | ipaddress.IPv6Address):
        yield "san-ip: it is a network and not an address (RFC 5280 4.2.1.6)"
    elif isinstance(name.value, ipaddress.IPv6Address) and name.value.scope_id is not None:
        yield "san-ip: it has a zone"


def _check_leaf(view: View, names: list[x509.GeneralName]) -> Iterator[str]:
    attributes = [attribute for relative in view.subject_attributes for attribute in relative]
    if not names and not _signs_ocsp(view):
        yield "san-absent: there is no subjectAltName"
    if any(attribute.oid == _EMAIL_ADDRESS for attribute in attributes):
        yield "subject-email: e-mail addresses stand in subjectAltName (RFC 5280 4.1.2.6)"
    common = [attribute for attribute in attributes if attribute.oid == COMMON_NAME]
    if len(common) > 1:
        yield "common-name: there is more than one"
    values = {str(name.value).encode() for name in names}
    for attribute in common:
        if names and attribute.value not in values:
            yield "common-name: it is not one of the alternative names (BR 7.1.4.3)"
        if not 0 < len(attribute.value) <= _COMMON_NAME_LIMIT:
            yield f"common-name: it does not have 1 to {_COMMON_NAME_LIMIT} characters (RFC 5280 A.1)"
        if attribute.tag not in _TEXT_TAGS:
            yield "common-name: it is neither a UTF8String nor a PrintableString (RFC 5280 4.1.2.4)"


def _signs_ocsp(view: View) -> bool:
    usages = view.find(x509.ExtendedKeyUsage)
    return usages is not None and list(usages) == [ExtendedKeyUsageOID.OCSP_SIGNING]
