"""Profiles: what an issuer may put in a certificate. A rule that is absent allows nothing."""

import ipaddress
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Annotated, Literal

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID
from msgspec import Meta
from sqlalchemy import select

from pki.authority.names import Name
from pki.errors import Misconfigured, NotFound, Rejected
from pki.storage.database import Database
from pki.storage.tables import profiles

NAMESPACE = "root"
DEFAULT = "default"
"""The profile whose ACME directory `sealward dev` and `init` make."""

KeyName = Literal["rsa", "ec-p256", "ec-p384", "ec-p521", "ed25519"]
Kind = Literal["leaf", "server", "ca", "root"]
KEY_NAMES: tuple[KeyName, ...] = ("rsa", "ec-p256", "ec-p384", "ec-p521", "ed25519")
KEY_USAGES: Mapping[str, x509.ObjectIdentifier] = MappingProxyType(
    {
        "server_auth": ExtendedKeyUsageOID.SERVER_AUTH,
        "client_auth": ExtendedKeyUsageOID.CLIENT_AUTH,
        "code_signing": ExtendedKeyUsageOID.CODE_SIGNING,
        "email_protection": ExtendedKeyUsageOID.EMAIL_PROTECTION,
    }
)
_CURVES: Mapping[str, KeyName] = {"secp256r1": "ec-p256", "secp384r1": "ec-p384", "secp521r1": "ec-p521"}
_COMMON_NAME_LIMIT = 64

Seconds = Annotated[int, Meta(ge=1, le=100 * 366 * 86400)]


def key_name(public_key: object) -> KeyName | None:
    """Return the kind of a public key as profiles name it, or None for one that is never certified."""
    if isinstance(public_key, rsa.RSAPublicKey):
        return "rsa"
    if isinstance(public_key, ed25519.Ed25519PublicKey):
        return "ed25519"
    return _CURVES.get(public_key.curve.name) if isinstance(public_key, ec.EllipticCurvePublicKey) else None


class Profile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The rules for one use of one issuer.

    `dns` holds patterns: `a.example` itself, `*.a.example` one label below it, `**.a.example` any number below it,
    `*` every name. `ip` holds networks, `email` domains, `uri` beginnings. `keys` are kinds of subject keys.
    `lifetime` and `backdate` are in seconds; `path_length` and the constraints are for CA certificates. `doors` are
    the protocols that may ask for it. With `revocation` "none", certificates carry noRevAvail (RFC 9608) and no
    pointer to a CRL.
    """

    name: str
    version: int = 1
    issuer: str
    kind: Kind = "leaf"
    doors: tuple[str, ...] = ()
    dns: tuple[str, ...] = ()
    wildcards: bool = False
    ip: tuple[str, ...] = ()
    email: tuple[str, ...] = ()
    uri: tuple[str, ...] = ()
    keys: tuple[KeyName, ...] = ()
    lifetime: Seconds
    backdate: Annotated[int, Meta(ge=0, le=3600)] = 60
    subject: Literal["empty", "common-name"] = "empty"
    extended_key_usage: tuple[str, ...] = ()
    certificate_policies: tuple[str, ...] = ()
    revocation: Literal["crl", "none"] = "crl"
    path_length: Annotated[int, Meta(ge=0, le=10)] | None = None
    permitted_dns: tuple[str, ...] = ()
    permitted_ip: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse rules that could never be meant."""
        for network in (*self.ip, *self.permitted_ip):
            ipaddress.ip_network(network)
        unknown = set(self.extended_key_usage) - KEY_USAGES.keys()
        if unknown:
            raise ValueError(f"no such extended key usage: {', '.join(sorted(unknown))}")
        for policy in self.certificate_policies:
            x509.ObjectIdentifier(policy)

    def check_key(self, public_key: object) -> None:
        """Refuse a kind of key that the profile does not list.

        Raises:
            Rejected: badCSR.
        """
        if key_name(public_key) not in self.keys:
            allowed = ", ".join(self.keys) or "no key"
            raise Rejected(f"profile {self.name} takes keys of other kinds", "badCSR", advice=f"it takes {allowed}")

    def check_names(self, names: Sequence[Name]) -> None:
        """Refuse names that no rule allows.

        Raises:
            Rejected: rejectedIdentifier, with a subproblem for each name.
        """
        refused = [
            Rejected(f"profile {self.name} does not allow {name}", "rejectedIdentifier", identifier=str(name))
            for name in names
            if not self._allows(name)
        ]
        if refused:
            listed = ", ".join(str(item.identifier) for item in refused)
            raise Rejected(f"profile {self.name} does not allow {listed}", "rejectedIdentifier", subproblems=refused)

    def common_name(self, names: Sequence[Name]) -> str | None:
        """Return the subject's common name, always one of the DNS names, or None for an empty subject."""
        if self.subject == "empty":
            return None
        fitting = (item.value for item in names if item.type == "dns" and len(item.value) <= _COMMON_NAME_LIMIT)
        return next(fitting, None)

    def _allows(self, name: Name) -> bool:
        if name.type == "dns":
            return (self.wildcards or not name.is_wildcard) and any(_matches(name, pattern) for pattern in self.dns)
        if name.type == "ip":
            address = ipaddress.ip_address(name.value)
            return any(address in ipaddress.ip_network(network) for network in self.ip)
        if name.type == "email":
            return name.value.rpartition("@")[2] in self.email
        return any(name.value.startswith(beginning) for beginning in self.uri)


def _matches(name: Name, pattern: str) -> bool:
    """Tell whether `pattern` allows `name`; a wildcard counts as some unknown label below its base."""
    if pattern == "*":
        return True
    if pattern.startswith("**."):
        return name.value.endswith(pattern[2:])
    if pattern.startswith("*."):
        label, _, base = name.value.partition(".")
        return bool(label) and base == pattern[2:]
    return name.value == pattern


DEFAULT_PROFILE = Profile(
    name=DEFAULT,
    issuer="intermediate",
    doors=("acme",),
    dns=("*",),
    wildcards=True,
    ip=("0.0.0.0/0", "::/0"),
    keys=KEY_NAMES,
    lifetime=24 * 3600,
    extended_key_usage=("server_auth",),
)
"""Any DNS name and address, for a day: the authorization of the names is the ACME door's."""

SERVER_PROFILE = Profile(
    name="server",
    issuer="intermediate",
    kind="server",
    dns=("*",),
    ip=("0.0.0.0/0", "::/0"),
    keys=("ec-p256",),
    lifetime=7 * 24 * 3600,
    extended_key_usage=("server_auth",),
)
"""The house's own TLS certificate; no door serves it."""


class Profiles:
    """Reads profiles; each is decoded once a version and process."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: dict[str, Profile] = {}

    def get(self, name: str) -> Profile:
        """Return the profile of that name as it stands now.

        Raises:
            NotFound: there is none.
            Misconfigured: what is stored is no profile.
        """
        query = "SELECT version, document FROM profiles WHERE namespace_id = ? AND name = ?"
        row = self._database.point(query, (NAMESPACE, name))
        if row is None:
            raise NotFound(f"there is no profile {name!a}")
        known = self._known.get(name)
        if known is None or known.version != row[0]:
            known = self._known[name] = _decode(name, row[0], row[1])
        return known

    def names(self) -> list[str]:
        """Return the names of all profiles, in order."""
        query = select(profiles.c.name).where(profiles.c.namespace_id == NAMESPACE).order_by(profiles.c.name)
        with self._database.read() as tx:
            return list(tx.execute(query).scalars())


def _decode(name: str, version: int, document: str) -> Profile:
    try:
        return msgspec.json.decode(document, type=Profile)
    except (msgspec.DecodeError, ValueError) as error:
        raise Misconfigured(
            f"profile {name} version {version} cannot be read: {error}", advice="write it anew"
        ) from None


def document(profile: Profile) -> str:
    """Return the profile as its row keeps it."""
    return msgspec.json.encode(profile).decode()
