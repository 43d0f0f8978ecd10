"""From the settings of a role to the rules of a profile; what has no exact counterpart is refused by name."""

import ipaddress
from collections.abc import Iterator, Mapping
from types import MappingProxyType

from cryptography import x509

from pki.authority.names import dns_name
from pki.authority.profiles import KEY_NAMES, KeyName
from pki.engines.pki.names import uri_name
from pki.engines.pki.settings import Role, refused
from pki.errors import Rejected

ANY = "*"
"""A pattern for everything."""
_ALL_NETWORKS = ("0.0.0.0/0", "::/0")
_CURVES: Mapping[int, tuple[KeyName, ...]] = MappingProxyType(
    {
        0: ("ec-p256", "ec-p384", "ec-p521"),
        256: ("ec-p256", "ec-p384", "ec-p521"),
        384: ("ec-p384", "ec-p521"),
        521: ("ec-p521",),
    }
)
_RSA_BITS: Mapping[int, int] = MappingProxyType({0: 2048, 2048: 2048, 3072: 3072, 4096: 4096, 8192: 8192})


def domain_in(field: str, value: str) -> str:
    """Return a domain in its canonical form; refused, with the setting's name, when it is none."""
    try:
        return dns_name(value).value
    except Rejected:
        raise refused(field, f"holds {value[:100]!a}, which is no domain", "write it in A-labels") from None


def patterns(role: Role) -> Iterator[str]:
    """Yield the patterns of DNS names that a role allows."""
    for domain in role.allowed_domains:
        if ANY in domain:
            yield _glob(role, domain)
            continue
        name = domain_in("allowed_domains", domain)
        if role.allow_bare_domains:
            yield name
        if role.allow_subdomains:
            yield f"**.{name}"
    if role.allow_any_name:
        yield ANY
    if role.allow_localhost:
        yield "localhost"


def _glob(role: Role, domain: str) -> str:
    if not role.allow_glob_domains:
        raise refused("allowed_domains", f"holds {domain[:100]!a}", "set allow_glob_domains, or leave out the star")
    if domain == ANY:
        return ANY
    base = domain.removeprefix("*.")
    if base == domain or ANY in base:
        advice = "a star stands alone, or for all before a domain: *.a.example"
        raise refused("allowed_domains", f"holds the pattern {domain[:100]!a}", advice)
    return "**." + domain_in("allowed_domains", base)


def networks(role: Role) -> tuple[str, ...]:
    """Return the networks of the addresses that a role allows."""
    if role.allowed_ip_sans_cidr and not role.allow_ip_sans:
        raise refused("allowed_ip_sans_cidr", "is set, and allow_ip_sans is not", "set both, or neither")
    for network in role.allowed_ip_sans_cidr:
        try:
            ipaddress.ip_network(network)
        except ValueError as error:
            raise refused("allowed_ip_sans_cidr", f"holds no network: {error}", "write it as 10.0.0.0/8") from None
    return tuple(role.allowed_ip_sans_cidr or _ALL_NETWORKS) if role.allow_ip_sans else ()


def policies(role: Role) -> tuple[str, ...]:
    """Return the OIDs of the certificate policies that a role names."""
    for policy in role.policy_identifiers:
        try:
            x509.ObjectIdentifier(policy)
        except ValueError:
            advice = "write it as numbers with dots"
            raise refused("policy_identifiers", f"holds {policy[:64]!a}, which is no OID", advice) from None
    return tuple(role.policy_identifiers)


def whole_uris(role: Role) -> Iterator[str]:
    """Yield the URIs that a role allows as they are."""
    for uri in role.allowed_uri_sans:
        if ANY in uri:
            continue
        try:
            yield uri_name(uri).value
        except Rejected as error:
            raise refused("allowed_uri_sans", f"holds {error.message}", "write it in its canonical form") from None


def beginnings(role: Role) -> Iterator[str]:
    """Yield the beginnings of URIs: of what ends in a star, which may not cut a host short."""
    for pattern in role.allowed_uri_sans:
        beginning, star, rest = pattern.partition(ANY)
        if not star:
            continue
        scheme, colon, behind = beginning.partition("://")
        if rest or (beginning and not (scheme and colon and (not behind or "/" in behind))):
            advice = "a star stands alone, or at the end, behind the host: spiffe://a.example/*"
            raise refused("allowed_uri_sans", f"holds the pattern {pattern[:100]!a}", advice)
        yield beginning


def flagged(role: Role) -> Iterator[str]:
    """Yield the extended key usages, as profiles name them, that a role has a flag for."""
    if role.server_flag:
        yield "server_auth"
    if role.client_flag:
        yield "client_auth"
    if role.code_signing_flag:
        yield "code_signing"
    if role.email_protection_flag:
        yield "email_protection"


def keys(role: Role) -> tuple[tuple[KeyName, ...], int]:
    """Return the kinds of keys that a role takes, and the least bits of RSA keys."""
    if role.key_type == "any" and role.key_bits == 0:
        return KEY_NAMES, _RSA_BITS[0]
    if role.key_type == "rsa" and role.key_bits in _RSA_BITS:
        return ("rsa",), _RSA_BITS[role.key_bits]
    if role.key_type == "ec" and role.key_bits in _CURVES:
        return _CURVES[role.key_bits], _RSA_BITS[0]
    if role.key_type == "ed25519" and role.key_bits == 0:
        return ("ed25519",), _RSA_BITS[0]
    advice = "any or ed25519 with key_bits 0; ec with 0, 256, 384 or 521; rsa with 0, 2048, 3072, 4096 or 8192"
    raise refused("key_type", f"{role.key_type[:32]!a} with key_bits {role.key_bits} is not supported", advice)
