"""The http-01 challenge (RFC 8555 8.3; for addresses RFC 8738 4): a GET of a well-known path.

Redirects are followed, and each hop is looked up and checked anew: http or https, ports 80 and 443, ten at most (X15).
"""

import hmac
import ipaddress
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import urljoin, urlsplit

from acme_server.identifiers import Identifier, canonical_dns_name
from acme_server.problems import Problem, ProblemType
from acme_server.validation.connect import connect, start_tls
from acme_server.validation.deadline import Deadline
from acme_server.validation.failure import ValidationFailed
from acme_server.validation.resolve import resolve_addresses
from acme_server.validation.responses import BODY_LIMIT, Response, exchange
from acme_server.validation.settings import ValidationSettings

_PATH = "/.well-known/acme-challenge/"
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_REDIRECT_LIMIT = 10
_URL_LIMIT = 2048
_DEFAULT_PORTS = {"http": 80, "https": 443}
_WHITESPACE = b" \t\r\n\v\f"


@dataclass(frozen=True, slots=True)
class _Target:
    """Where to send a GET. `host` is a name or an address, without brackets; `path` has the query with it."""

    scheme: str
    host: str
    port: int
    path: str

    @property
    def authority(self) -> str:
        """The Host header: brackets round IPv6, and the port unless it is the scheme's (RFC 9110 7.2)."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        """The whole URL."""
        return f"{self.scheme}://{self.authority}{self.path}"

    @property
    def request(self) -> bytes:
        """The request, as it is sent."""
        lines = (
            f"GET {self.path} HTTP/1.1",
            f"Host: {self.authority}",
            "User-Agent: sealward (ACME http-01)",
            "Accept: */*",
            "Accept-Encoding: identity",
            "Connection: close",
        )
        return ("\r\n".join(lines) + "\r\n\r\n").encode("ascii")


def _bad_redirect(why: str) -> ValidationFailed:
    return ValidationFailed(ProblemType.CONNECTION, f"the response redirects to {why}")


def _canonical_host(host: str) -> str:
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        pass
    try:
        return canonical_dns_name(host.removesuffix("."))
    except Problem:
        raise _bad_redirect("what is neither a DNS name nor an IP address") from None


def _redirected(origin: _Target, location: str, settings: ValidationSettings) -> _Target:
    if not location or len(location) > _URL_LIMIT:
        raise _bad_redirect(f"a URL that does not have 1 to {_URL_LIMIT} characters")
    # `urljoin` drops some control characters in silence, so they are refused before it.
    if not location.isascii() or not location.isprintable() or " " in location or "\\" in location:
        raise _bad_redirect("a URL with characters that no URL has")
    try:
        parts = urlsplit(urljoin(origin.url, location))
        port = parts.port
    except ValueError:
        raise _bad_redirect("what is not a URL") from None
    if parts.scheme not in _DEFAULT_PORTS or "@" in parts.netloc or not parts.hostname:
        raise _bad_redirect("a URL that is not http or https, or has credentials, or has no host")
    port = _DEFAULT_PORTS[parts.scheme] if port is None else port
    if port not in {*_DEFAULT_PORTS.values(), settings.http01_port}:
        raise _bad_redirect(f"port {port}; only ports 80 and 443 are used")
    query = f"?{parts.query}" if parts.query else ""
    return _Target(parts.scheme, _canonical_host(parts.hostname), port, (parts.path or "/") + query)


def _get(target: _Target, settings: ValidationSettings, deadline: Deadline) -> Response:
    addresses = resolve_addresses(target.host, settings, deadline)
    with connect(target.host, addresses, target.port, deadline) as connection:
        if target.scheme == "http":
            return exchange(connection, target.request, deadline)
        with start_tls(connection, target.host, deadline) as secured:
            return exchange(secured, target.request, deadline)


def _check(target: _Target, response: Response, key_authorization: str) -> None:
    wrong = ProblemType.INCORRECT_RESPONSE
    where = f"{target.scheme}://{target.authority}"
    if response.status != HTTPStatus.OK:
        raise ValidationFailed(wrong, f"{where} answered with status {response.status} instead of 200")
    if response.content_encoding not in {"", "identity"}:
        raise ValidationFailed(wrong, f"{where} answered with a content encoding, which was not asked for")
    if len(response.body) > BODY_LIMIT:
        raise ValidationFailed(wrong, f"{where} answered with more than {BODY_LIMIT} octets")
    if not hmac.compare_digest(response.body.rstrip(_WHITESPACE), key_authorization.encode()):
        raise ValidationFailed(wrong, f"{where} did not answer with the key authorization of this challenge")


def validate(identifier: Identifier, token: str, key_authorization: str, settings: ValidationSettings) -> None:
    """Fetch the key authorization from the identifier's web server and compare it.

    Raises:
        ValidationFailed: it can't be fetched, or is another one.
    """
    if identifier.is_wildcard:
        raise ValidationFailed(ProblemType.REJECTED_IDENTIFIER, "http-01 can't prove control of a wildcard; use dns-01")
    deadline = Deadline(settings.deadline)
    target = _Target("http", identifier.value, settings.http01_port, _PATH + token)
    for _ in range(_REDIRECT_LIMIT + 1):
        response = _get(target, settings, deadline)
        if response.status not in _REDIRECTS:
            _check(target, response, key_authorization)
            return
        target = _redirected(target, response.location, settings)
    raise ValidationFailed(ProblemType.CONNECTION, f"there are more than {_REDIRECT_LIMIT} redirects")
