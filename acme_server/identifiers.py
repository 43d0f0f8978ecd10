"""Identifiers (RFC 8555 9.7.7, RFC 8738): each name gets its one form at the door, or is refused.

Whether a profile allows a name is the profile's to say; here only what can't be a name at all is refused.
"""

import ipaddress
import re
from dataclasses import dataclass

import idna

from acme_server.problems import Problem, ProblemType, malformed

NAME_LIMIT = 253
_LABEL_LIMIT = 63
_IP_LIMIT = 45
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_WILDCARD = "*."


@dataclass(frozen=True, slots=True)
class Identifier:
    """A name in its canonical form: type `dns` (a wildcard begins with `*.`) or `ip`."""

    type: str
    value: str

    @property
    def is_wildcard(self) -> bool:
        """Whether the name stands for all names one label below it (RFC 8555 7.1.3)."""
        return self.type == "dns" and self.value.startswith(_WILDCARD)

    @property
    def base(self) -> "Identifier":
        """The identifier without its wildcard label: what an authorization names (RFC 8555 7.1.4)."""
        return Identifier(self.type, self.value.removeprefix(_WILDCARD)) if self.is_wildcard else self

    def to_document(self) -> dict[str, str]:
        """Return the identifier as JSON values."""
        return {"type": self.type, "value": self.value}


def _rejected(detail: str) -> Problem:
    return Problem(ProblemType.REJECTED_IDENTIFIER, detail)


def _shown(value: str) -> str:
    return ascii(value[:NAME_LIMIT])


def _is_address(value: str) -> bool:
    try:
        ipaddress.ip_address(value.removeprefix("[").removesuffix("]"))
    except ValueError:
        return False
    return True


def _check_label(label: str, name: str) -> None:
    if not label or len(label) > _LABEL_LIMIT or _LABEL.fullmatch(label) is None:
        raise malformed(f"{_shown(name)} is not a DNS name: labels have 1 to 63 letters, digits and inner hyphens")
    if label[2:4] != "--":
        return
    # RFC 8555 7.1.3 wants what begins with xn-- to be properly encoded; other labels of that shape are reserved
    # (RFC 5890 2.3.1). The label must survive the way to Unicode and back.
    try:
        valid = label.startswith("xn--") and idna.alabel(idna.ulabel(label)).decode() == label
    except (ValueError, IndexError):
        valid = False
    if not valid:
        raise _rejected(f"{_shown(name)} has a label that is not a valid A-label (RFC 5890)")


def canonical_dns_name(value: str) -> str:
    """Return a DNS name, without wildcard, in its canonical form: lower case, A-labels, no dot at the end.

    Raises:
        Problem: malformed when it is not a DNS name; rejectedIdentifier when it looks like an IP address, or a label
            is not a valid A-label.
    """
    # Before case is folded: lower() makes ASCII of the Kelvin sign.
    if not value.isascii() or not 0 < len(value) <= NAME_LIMIT:
        raise malformed(f"{_shown(value)} is not a DNS name of 1 to {NAME_LIMIT} ASCII characters (use A-labels)")
    if _is_address(value[: _IP_LIMIT + 2]):
        raise _rejected(f"{_shown(value)} is an IP address: use an identifier of type ip (RFC 8738)")
    name = value.lower()
    labels = name.split(".")
    for label in labels:
        _check_label(label, value)
    # No top-level domain is a number; resolvers read such names (127.1, 0x7f.1) as addresses.
    if _NUMBER.fullmatch(labels[-1]):
        raise _rejected(f"{_shown(value)} looks like an IP address: use an identifier of type ip (RFC 8738)")
    return name


def _parse_dns(value: str) -> Identifier:
    if not value.startswith(_WILDCARD):
        if "*" in value:
            raise _rejected(f"{_shown(value)}: a wildcard is the whole first label, and only that")
        return Identifier("dns", canonical_dns_name(value))
    base = canonical_dns_name(value.removeprefix(_WILDCARD))
    if len(base) + len(_WILDCARD) > NAME_LIMIT:
        raise malformed(f"{_shown(value)} is longer than {NAME_LIMIT} characters")
    return Identifier("dns", _WILDCARD + base)


def _parse_ip(value: str) -> Identifier:
    try:
        address = ipaddress.ip_address(value) if len(value) <= _IP_LIMIT else None
    except ValueError:
        address = None
    if address is None or str(address) != value or "%" in value:
        raise malformed(f"{_shown(value)} is not an IP address in its canonical form (RFC 8738 3, RFC 5952)")
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        raise _rejected(f"{_shown(value)} stands for an IPv4 address: name that address itself")
    return Identifier("ip", value)


def parse_identifier(raw: object) -> Identifier:
    """Return the canonical identifier that a JSON object of a newOrder or newAuthz request describes.

    Raises:
        Problem: malformed, unsupportedIdentifier (of another type than dns and ip) or rejectedIdentifier.
    """
    if not isinstance(raw, dict):
        raise malformed("an identifier is an object with the members type and value")
    kind, value = raw.get("type"), raw.get("value")
    if not isinstance(kind, str) or not isinstance(value, str):
        raise malformed("an identifier has the members type and value, which are text")
    if kind == "dns":
        return _parse_dns(value)
    if kind == "ip":
        return _parse_ip(value)
    raise Problem(ProblemType.UNSUPPORTED_IDENTIFIER, f"{_shown(kind)} is not one of the identifier types dns and ip")
