"""Which addresses a validation may connect to (RFC 8555 10.4, 11.1; X15).

Clients choose the names that this server connects to. Private networks are where an internal authority's clients
live, so they are open; what only this machine or its host would answer is closed: loopback, link-local with the
metadata services, multicast, the machine's own addresses, and IPv6 forms that stand for such an IPv4 address.
"""

import ipaddress
import socket
from collections.abc import Mapping, Sequence

from acme_server.validation.settings import Address, Network

_CLOSED: Mapping[Network, str] = {
    ipaddress.ip_network(text): why
    for text, why in {
        "0.0.0.0/8": "unspecified",
        "127.0.0.0/8": "loopback",
        "169.254.0.0/16": "link-local",
        "168.63.129.16/32": "a metadata service",
        "100.100.100.200/32": "a metadata service",
        "192.0.0.0/24": "reserved",
        "192.88.99.0/24": "a relay",
        "224.0.0.0/4": "multicast",
        "240.0.0.0/4": "reserved or broadcast",
        "::/128": "unspecified",
        "::1/128": "loopback",
        "64:ff9b:1::/48": "translated to an unknown address",
        "100::/64": "reserved",
        "2001::/32": "a relay",
        "fd00:ec2::254/128": "a metadata service",
        "fd20:ce::254/128": "a metadata service",
        "fe80::/10": "link-local",
        "ff00::/8": "multicast",
    }.items()
}

_EMBEDDING: tuple[ipaddress.IPv6Network, ...] = (
    ipaddress.IPv6Network("::/96"),  # IPv4-compatible, RFC 4291 2.5.5.1
    ipaddress.IPv6Network("::ffff:0:0/96"),  # IPv4-mapped, RFC 4291 2.5.5.2
    ipaddress.IPv6Network("::ffff:0:0:0/96"),  # IPv4-translated, RFC 2765
    ipaddress.IPv6Network("64:ff9b::/96"),  # NAT64, RFC 6052
)
_ISATAP = frozenset({0x00005EFE, 0x02005EFE})
_LOW_32 = 0xFFFFFFFF
_ANY_PORT = 9


def _embedded(address: Address) -> ipaddress.IPv4Address | None:
    if isinstance(address, ipaddress.IPv4Address):
        return None
    if address.sixtofour is not None:
        return address.sixtofour
    number = int(address)
    isatap = (number >> 32) & _LOW_32 in _ISATAP  # RFC 5214 6.1
    if isatap or any(address in network for network in _EMBEDDING):
        return ipaddress.IPv4Address(number & _LOW_32)
    return None


def _is_own(address: Address) -> bool:
    """Whether the machine has the address: towards itself it then chooses it as the source. Nothing is sent."""
    family = socket.AF_INET6 if address.version == 6 else socket.AF_INET  # noqa: PLR2004 - IPv6
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((str(address), _ANY_PORT))
            source = probe.getsockname()[0]
    except OSError:
        return False
    return ipaddress.ip_address(source) == address


def why_closed(address: Address, allow: Sequence[Network]) -> str | None:
    """Return why `address` must not be connected to, or None when it may be; `allow` goes before every rule."""
    if any(address in network for network in allow):
        return None
    for network, why in _CLOSED.items():
        if address in network:
            return why
    embedded = _embedded(address)
    if embedded is not None:
        return why_closed(embedded, allow)
    return "this server's own" if _is_own(address) else None
