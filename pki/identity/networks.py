"""Networks from which something may be used, as texts in one spelling, and whether an address is in one of them."""

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from pki.errors import Malformed

_LIMIT = 64

Network = IPv4Network | IPv6Network


def check_networks(member: str, texts: Sequence[str]) -> tuple[str, ...]:
    """Return networks as they were sent in the member of that name.

    Raises:
        Malformed: one is no network, or has another spelling; or there are too many.
    """
    if len(texts) > _LIMIT:
        raise Malformed(f"{member} has up to {_LIMIT} networks")
    for text in texts:
        try:
            canonical = str(ip_network(text, strict=False))
        except ValueError:
            raise Malformed(
                f"{member}: {text[:64]!a} is no network", advice="write such as 10.1.0.0/16 or 2001:db8::/32"
            ) from None
        if canonical != text:
            raise Malformed(f"{member}: {text[:64]!a} has another spelling", advice=f"write {canonical}")
    return tuple(texts)


def are_within(inner: Iterable[str], outer: Iterable[str]) -> bool:
    """Tell whether each of the one networks lies in one of the others; all do where there are no others."""
    around = [ip_network(text) for text in outer]
    return not around or all(any(_contains(item, ip_network(text)) for item in around) for text in inner)


def allow(networks: Sequence[str], address: str) -> bool:
    """Tell whether an address is in one of the networks, or there are none. What is no address is in none."""
    if not networks:
        return True
    try:
        found = ip_address(address)
    except ValueError:
        return False
    if isinstance(found, IPv6Address) and found.ipv4_mapped is not None:  # a listener on both families sees these
        found = found.ipv4_mapped
    return any(found in ip_network(text) for text in networks)


def _contains(outer: Network, inner: Network) -> bool:
    if isinstance(outer, IPv4Network):
        return isinstance(inner, IPv4Network) and inner.subnet_of(outer)
    return isinstance(inner, IPv6Network) and inner.subnet_of(outer)
