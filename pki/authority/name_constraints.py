"""Name constraints (RFC 5280 4.2.1.10), applied when issuing and not only when a client verifies (X8)."""

import functools
import ipaddress
from collections.abc import Sequence
from urllib.parse import urlsplit

from cryptography import x509

from pki.authority.names import Name
from pki.errors import Rejected

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def _in_domain(host: str, constraint: str) -> bool:
    """Tell whether `host` is in the subtree of a DNS constraint: the name itself, and whatever ends with it."""
    domain = constraint.lower()
    if not domain:
        return True
    if domain.startswith("."):
        return host.endswith(domain)
    return host == domain or host.endswith(f".{domain}")


def _at_host(host: str, constraint: str) -> bool:
    """Tell whether `host` satisfies an e-mail or URI constraint: one host, or all below what begins with a dot."""
    domain = constraint.lower()
    return host.endswith(domain) if domain.startswith(".") else host == domain


def _in_email(value: str, constraint: str) -> bool:
    local, _, host = value.rpartition("@")
    if "@" in constraint:
        mailbox, _, domain = constraint.rpartition("@")
        return local == mailbox and host == domain.lower()
    return _at_host(host, constraint)


def _in_uri(value: str, constraint: str) -> bool:
    return _at_host(urlsplit(value).hostname or "", constraint)


def _is_within(name: Name, subtree: x509.GeneralName) -> bool | None:
    """Tell whether `name` is in `subtree`; None when the subtree is about another type of name."""
    if name.type == "dns" and isinstance(subtree, x509.DNSName):
        return _in_domain(name.value.removeprefix("*."), subtree.value)
    if name.type == "ip" and isinstance(subtree, x509.IPAddress):
        network = subtree.value
        return isinstance(network, Network) and ipaddress.ip_address(name.value) in network
    if name.type == "email" and isinstance(subtree, x509.RFC822Name):
        return _in_email(name.value, subtree.value)
    if name.type == "uri" and isinstance(subtree, x509.UniformResourceIdentifier):
        return _in_uri(name.value, subtree.value)
    return None


def _is_touched(name: Name, subtree: x509.GeneralName) -> bool:
    """Tell whether `name` is in the excluded `subtree`, or is a wildcard that stands for a name in it."""
    if _is_within(name, subtree):
        return True
    if not name.is_wildcard or not isinstance(subtree, x509.DNSName):
        return False
    first, _, rest = subtree.value.lower().lstrip(".").partition(".")
    return bool(first) and rest == name.value.removeprefix("*.")


def _is_allowed(name: Name, constraints: x509.NameConstraints) -> bool:
    if any(_is_touched(name, subtree) for subtree in constraints.excluded_subtrees or ()):
        return False
    answers = [_is_within(name, subtree) for subtree in constraints.permitted_subtrees or ()]
    relevant = [answer for answer in answers if answer is not None]
    if name.type == "uri" and relevant and _has_address(name.value):
        return False  # RFC 5280 4.2.1.10: a URI constraint refuses hosts that are addresses
    return not relevant or any(relevant)


def _has_address(uri: str) -> bool:
    try:
        ipaddress.ip_address(urlsplit(uri).hostname or "")
    except ValueError:
        return False
    return True


@functools.lru_cache(maxsize=64)
def _constraints_of(certificate: x509.Certificate) -> x509.NameConstraints | None:
    try:
        return certificate.extensions.get_extension_for_class(x509.NameConstraints).value
    except x509.ExtensionNotFound:
        return None


def forbidden_names(names: Sequence[Name], path: Sequence[x509.Certificate]) -> list[Name]:
    """Return those of `names` that a certificate of `path`, an issuer and those above it, does not allow."""
    found = []
    for certificate in path:
        constraints = _constraints_of(certificate)
        if constraints is not None:
            found += [name for name in names if not _is_allowed(name, constraints)]
    return list(dict.fromkeys(found))


def check_names(names: Sequence[Name], path: Sequence[x509.Certificate]) -> None:
    """Refuse names that the issuers' own constraints exclude.

    Raises:
        Rejected: rejectedIdentifier, with a subproblem for each name.
    """
    refused = [
        Rejected(f"{name} is outside the issuer's name constraints", "rejectedIdentifier", identifier=str(name))
        for name in forbidden_names(names, path)
    ]
    if refused:
        listed = ", ".join(str(item.identifier) for item in refused)
        raise Rejected(
            f"the issuer's name constraints do not allow {listed}", "rejectedIdentifier", subproblems=refused
        )
