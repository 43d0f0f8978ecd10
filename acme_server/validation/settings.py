"""How challenges are checked."""

import ipaddress
from dataclasses import dataclass

from pki.errors import Misconfigured

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class ValidationSettings:
    """What the validators go by; the defaults are those of the standards.

    `resolver` is the address and port of the DNS server to ask; without one, the machine's own settings hold,
    including its hosts file. `allow` opens networks that are closed by default (see `addresses`). `deadline` is in
    seconds and covers one validation whole: look-ups, connections, handshakes, redirects and bodies.

    Raises:
        Misconfigured: the resolver is not named by its address.
    """

    resolver: tuple[str, int] | None = None
    http01_port: int = 80
    tlsalpn01_port: int = 443
    allow: tuple[Network, ...] = ()
    deadline: float = 15.0

    def __post_init__(self) -> None:
        """Refuse a resolver that would itself have to be resolved."""
        if self.resolver is None:
            return
        try:
            ipaddress.ip_address(self.resolver[0])
        except ValueError:
            raise Misconfigured("the resolver for ACME validation is a name", advice="give its IP address") from None
