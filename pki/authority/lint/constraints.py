"""Name constraints (RFC 5280 4.2.1.10): well formed where they stand, and obeyed by what their CA issues (S5, X8).

Written apart from `pki.authority.name_constraints`, which refuses a request earlier and along the whole path: this is
the second look, at the names that are really in the certificate, and at its subject too.
"""

import ipaddress
from collections.abc import Iterator
from urllib.parse import urlsplit

from cryptography import x509

from pki.authority.lint.syntax import email_fault, host_fault
from pki.authority.lint.view import View

_Networks = ipaddress.IPv4Network | ipaddress.IPv6Network


def check_own_constraints(view: View) -> Iterator[str]:
    """Yield what is wrong with the name constraints that the certificate itself holds."""
    own = view.find(x509.NameConstraints)
    if own is None:
        return
    subtrees = [*(own.permitted_subtrees or ()), *(own.excluded_subtrees or ())]
    if not subtrees:
        yield "name-constraints: they constrain nothing (RFC 5280 4.2.1.10)"
    if not all(_is_subtree(subtree) for subtree in subtrees):
        yield "name-constraints: a subtree is not well formed, or of a type that is not certified (RFC 5280 4.2.1.10)"


def _is_subtree(subtree: x509.GeneralName) -> bool:
    if isinstance(subtree, x509.IPAddress):
        return isinstance(subtree.value, _Networks)
    if isinstance(subtree, x509.DNSName):
        return subtree.value == "" or host_fault(subtree.value.lower()) is None
    if isinstance(subtree, x509.RFC822Name) and "@" in subtree.value:
        return email_fault(subtree.value) is None
    if isinstance(subtree, x509.RFC822Name | x509.UniformResourceIdentifier):
        return host_fault(subtree.value.lower().removeprefix(".")) is None
    return isinstance(subtree, x509.DirectoryName)


def check_constraints(view: View, issuer: View) -> Iterator[str]:
    """Yield the names of the certificate that the issuer's name constraints do not allow."""
    constraints = issuer.find(x509.NameConstraints)
    if constraints is None or issuer is view:
        return
    names: list[x509.GeneralName] = list(view.find(x509.SubjectAlternativeName) or ())
    if view.subject_attributes:
        names.append(x509.DirectoryName(view.certificate.subject))
    for name in names:
        permitted = [item for item in constraints.permitted_subtrees or () if type(item) is type(name)]
        excluded = [item for item in constraints.excluded_subtrees or () if type(item) is type(name)]
        if permitted and not any(_holds(subtree, name) for subtree in permitted):
            yield f"name-constraints: the issuer's do not permit the {type(name).__name__} (RFC 5280 4.2.1.10)"
        if any(_touches(subtree, name) for subtree in excluded):
            yield f"name-constraints: the issuer's exclude the {type(name).__name__} (RFC 5280 4.2.1.10)"
        if (permitted or excluded) and isinstance(name, x509.UniformResourceIdentifier) and _has_address(name.value):
            yield "name-constraints: a URI may not have an address where URIs are constrained (RFC 5280 4.2.1.10)"


def _holds(subtree: x509.GeneralName, name: x509.GeneralName) -> bool:
    """Tell whether all that `name` stands for is in `subtree`, which is of the same type."""
    if isinstance(name, x509.DNSName):
        labels, domain = _labels(name.value.removeprefix("*.")), _labels(subtree.value)
        inside = not domain or labels[-len(domain) :] == domain
        # A leading dot is not in RFC 5280; OpenSSL and Go take it to mean names below alone.
        below = not subtree.value.startswith(".") or len(labels) > len(domain) or name.value.startswith("*.")
        return inside and below
    if isinstance(name, x509.IPAddress):
        return isinstance(subtree.value, _Networks) and name.value in subtree.value
    if isinstance(name, x509.RFC822Name):
        local, _, host = name.value.rpartition("@")
        mailbox, at, domain = subtree.value.rpartition("@")
        return (local == mailbox and host == domain.lower()) if at else _at_host(domain.lower(), host)
    if isinstance(name, x509.UniformResourceIdentifier):
        return _at_host(subtree.value.lower(), urlsplit(name.value).hostname or "")
    return isinstance(name, x509.DirectoryName) and _begins_with(name.value, subtree.value)


def _touches(subtree: x509.GeneralName, name: x509.GeneralName) -> bool:
    """Tell whether anything that `name` stands for is in `subtree`: a wildcard stands for names one label below."""
    if _holds(subtree, name):
        return True
    if not isinstance(name, x509.DNSName) or not name.value.startswith("*."):
        return False
    return _labels(subtree.value)[1:] == _labels(name.value.removeprefix("*."))


def _labels(value: str) -> list[str]:
    """Return the labels of a DNS name or constraint, in lower case; none for the constraint that holds all names."""
    return [label for label in value.lower().removeprefix(".").split(".") if label]


def _at_host(constraint: str, host: str) -> bool:
    return host.endswith(constraint) if constraint.startswith(".") else host == constraint


def _has_address(uri: str) -> bool:
    try:
        ipaddress.ip_address(urlsplit(uri).hostname or "")
    except ValueError:
        return False
    return True


def _begins_with(name: x509.Name, beginning: x509.Name) -> bool:
    """Tell whether a distinguished name is in the subtree of another, by their comparable forms (RFC 5280 7.1)."""
    wanted = [_comparable(item) for item in beginning.rdns]
    return [_comparable(item) for item in name.rdns[: len(wanted)]] == wanted


def _comparable(relative: x509.RelativeDistinguishedName) -> frozenset[tuple[str, str]]:
    return frozenset((item.oid.dotted_string, " ".join(str(item.value).casefold().split())) for item in relative)
