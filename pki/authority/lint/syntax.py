"""The syntax of the names in a certificate: each function says what is wrong with a value, or None.

Written apart from `pki.authority.names`, which the doors use, so that one mistake does not pass both.
"""

import functools
import ipaddress
import re
from urllib.parse import SplitResult, urlsplit

import idna

_DNS_LIMIT = 253
_URI_LIMIT = 2048
_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LOCAL_PART = re.compile(rf"{_ATOM}(?:\.{_ATOM})*")
_LOCAL_LIMIT = 64
_URI = re.compile(r"[a-z][a-z0-9+.-]*://[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=%-]+")
_HOST_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")


@functools.lru_cache(maxsize=4096)
def _is_a_label(label: str) -> bool:
    """Tell whether a label with `--` in the third place survives the way to Unicode and back (RFC 5890 2.3.2.1)."""
    if not label.startswith("xn--"):
        return False
    try:
        return idna.alabel(idna.ulabel(label)).decode() == label
    except (ValueError, IndexError):
        return False


def host_fault(value: str) -> str | None:
    """Say what is wrong with a DNS name in lower case, which may be one label and is no wildcard (RFC 5280 4.2.1.6)."""
    if not 0 < len(value) <= _DNS_LIMIT:
        return f"it does not have 1 to {_DNS_LIMIT} characters"
    labels = value.split(".")
    for label in labels:
        if _LABEL.fullmatch(label) is None:
            return "its labels are not lower-case letters, digits and inner hyphens (RFC 1034 3.5)"
        if label[2:4] == "--" and not _is_a_label(label):
            return "a label is reserved or no valid A-label (RFC 5890 2.3)"
    return "it reads as an IP address" if _NUMBER.fullmatch(labels[-1]) else None


def dns_fault(value: str) -> str | None:
    """Say what is wrong with a DNS name, or wildcard of one: `*` is the whole first label only (RFC 9525 6.3)."""
    if len(value) > _DNS_LIMIT:
        return f"it is longer than {_DNS_LIMIT} characters"
    return host_fault(value.removeprefix("*."))


def email_fault(value: str) -> str | None:
    """Say what is wrong with an e-mail address: a plain local part, and a domain in A-labels (RFC 5321 4.1.2)."""
    local, at, domain = value.rpartition("@")
    if not at or len(local) > _LOCAL_LIMIT or _LOCAL_PART.fullmatch(local) is None:
        return "it has no plain local part"
    return host_fault(domain)


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return "%" not in text


def _parts(value: str) -> SplitResult | None:
    if len(value) > _URI_LIMIT or _URI.fullmatch(value) is None:
        return None
    try:
        parts = urlsplit(value)
        port = parts.port
    except ValueError:
        return None
    host = parts.hostname or ""
    authority = (f"[{host}]" if ":" in host else host) + (f":{port}" if port else "")
    return parts if parts.netloc == authority and parts.geturl() == value else None


def uri_fault(value: str) -> str | None:
    """Say what is wrong with a URI: it is absolute, with a host, and tells no user (RFC 5280 4.2.1.6)."""
    parts = _parts(value)
    if parts is None:
        return "it is not an absolute URI with a host in lower case"
    host = parts.hostname or ""
    # Underscores are usual in SPIFFE trust domains.
    named = len(host) <= _DNS_LIMIT and all(_HOST_LABEL.fullmatch(label) for label in host.split("."))
    return None if named or _is_address(host) else "its host is neither a DNS name nor an IP address"


@functools.lru_cache(maxsize=1024)
def http_url_fault(value: str) -> str | None:
    """Say what is wrong with a URL of CRLs, OCSP or certificates: plain HTTP, absolute (RFC 5280 4.2.1.13, 4.2.2.1)."""
    parts = _parts(value)
    if parts is None or parts.scheme != "http" or parts.fragment:
        return "the URL is not an absolute one of plain HTTP with a host in lower case"
    host = parts.hostname or ""
    return (
        None
        if _is_address(host) or host_fault(host) is None
        else "the URL's host is neither a DNS name nor an IP address"
    )
