"""The names a certificate can hold, each in one canonical form; what has no such form is refused."""

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

import idna
from cryptography import x509

from pki.errors import Rejected

DNS_LIMIT = 253
_DNS = re.compile(r"(?:\*\.)?(?!-)[a-z0-9-]{1,63}(?<!-)(?:\.(?!-)[a-z0-9-]{1,63}(?<!-))*")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LOCAL_PART = re.compile(rf"(?=.{{1,64}}\Z){_ATOM}(?:\.{_ATOM})*")
_URI_HOST = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?(?:\.[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?)*")
_URI_LIMIT = 2048
_SHOWN = 100


@dataclass(frozen=True, slots=True, order=True)
class Name:
    """A subject alternative name: `type` is dns, ip, email or uri, `value` its canonical text.

    A DNS name is lower case, in A-labels, without a dot at its end; it may begin with `*.`. An IP address is as
    RFC 5952 writes it. The domain of an e-mail address is lower case.
    """

    type: str
    value: str

    def __str__(self) -> str:
        """Return `type:value`, as tables and logs keep it."""
        return f"{self.type}:{self.value}"

    @property
    def is_wildcard(self) -> bool:
        """Whether it stands for all names one label below it."""
        return self.type == "dns" and self.value.startswith("*.")

    def general_name(self) -> x509.GeneralName:
        """Return the name as certificates hold it (RFC 5280 4.2.1.6)."""
        if self.type == "ip":
            return x509.IPAddress(ipaddress.ip_address(self.value))
        if self.type == "email":
            return x509.RFC822Name(self.value)
        return x509.DNSName(self.value) if self.type == "dns" else x509.UniformResourceIdentifier(self.value)


def _refused(what: str, value: str) -> Rejected:
    return Rejected(f"{value[:_SHOWN]!a} is not {what}", "badCSR", advice="mend the request's names")


def _is_a_label(label: str) -> bool:
    try:
        return label.startswith("xn--") and idna.alabel(idna.ulabel(label)).decode() == label
    except (ValueError, IndexError):
        return False


def _is_dns(value: str) -> bool:
    """Tell whether it is a DNS name, without a reserved label (RFC 5890 2.3.1) and with no number at its end."""
    if len(value) > DNS_LIMIT or _DNS.fullmatch(value) is None:
        return False
    labels = value.split(".")
    return _NUMBER.fullmatch(labels[-1]) is None and all(label[2:4] != "--" or _is_a_label(label) for label in labels)


def dns_name(value: str) -> Name:
    """Return a DNS name in canonical form; Rejected (badCSR) when it is none, or reads as an IP address."""
    canonical = value.lower() if value.isascii() else value
    if not _is_dns(canonical):
        raise _refused("a DNS name in A-labels", value)
    return Name("dns", canonical)


def _email(value: str) -> Name:
    local, _, domain = value.rpartition("@")
    domain = domain.lower()
    if not value.isascii() or _LOCAL_PART.fullmatch(local) is None or domain.startswith("*.") or not _is_dns(domain):
        raise _refused("a plain e-mail address", value)
    return Name("email", f"{local}@{domain}")


def _uri(value: str) -> Name:
    try:
        parts = urlsplit(value)
        port = parts.port
    except ValueError:
        raise _refused("a URI", value) from None
    host = parts.hostname or ""
    printable = value.isascii() and value.isprintable() and not set(value) & set(' "<>\\^`{|}')
    named = len(host) <= DNS_LIMIT and _URI_HOST.fullmatch(host) is not None
    if not printable or not parts.scheme or not (named or _is_address(host)):
        raise _refused("an absolute URI with a host", value)
    authority = (f"[{host}]" if ":" in host else host) + (f":{port}" if port else "")
    if len(value) > _URI_LIMIT or value != parts.geturl() or parts.netloc != authority:
        raise _refused("a URI in its canonical spelling", value)
    return Name("uri", value)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return "%" not in host


def name_of(general: x509.GeneralName) -> Name:
    """Return the name in canonical form.

    Raises:
        Rejected: badCSR: it is of a type that is not certified here, or no valid name of its type.
    """
    if isinstance(general, x509.DNSName):
        return dns_name(general.value)
    if isinstance(general, x509.IPAddress) and isinstance(general.value, ipaddress.IPv4Address | ipaddress.IPv6Address):
        return Name("ip", str(general.value))
    if isinstance(general, x509.RFC822Name):
        return _email(general.value)
    if isinstance(general, x509.UniformResourceIdentifier):
        return _uri(general.value)
    raise Rejected(
        f"names of the type {type(general).__name__} are not certified",
        "badCSR",
        advice="ask for DNS names or addresses",
    )
