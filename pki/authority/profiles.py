"""Profiles: what an issuer may put in a certificate. A rule that is absent allows nothing."""

import ipaddress
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Annotated, Any, Literal

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID
from msgspec import Meta
from sqlalchemy import ColumnElement, select
from sqlalchemy.exc import IntegrityError

from pki.authority.names import Name
from pki.clock import to_ms
from pki.errors import Conflict, Misconfigured, NotFound, Rejected
from pki.storage.database import Database, Tx
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
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,62}[A-Za-z0-9])?")
_RACE, _AGAIN = "somebody else changed this profile at the same time", "read it, and try again"

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
    `*` every name. `ip` holds networks, `email` domains, `uri` beginnings, `exact_uri` whole ones. `keys` are kinds of
    subject keys, RSA keys of `least_rsa_bits` or more. `lifetime` and `backdate` are in seconds; `path_length` and the
    constraints are for CA certificates. `doors` are the protocols that may ask for it. With `revocation` "none",
    certificates carry noRevAvail (RFC 9608) and no pointer to a CRL. `role` is what the HTTP API's clients set, in
    their words, if the rules were made from that: only that door reads it.
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
    exact_uri: tuple[str, ...] = ()
    keys: tuple[KeyName, ...] = ()
    least_rsa_bits: Annotated[int, Meta(ge=2048, le=8192)] = 2048
    lifetime: Seconds
    backdate: Annotated[int, Meta(ge=0, le=3600)] = 60
    subject: Literal["empty", "common-name"] = "empty"
    extended_key_usage: tuple[str, ...] = ()
    certificate_policies: tuple[str, ...] = ()
    revocation: Literal["crl", "none"] = "crl"
    path_length: Annotated[int, Meta(ge=0, le=10)] | None = None
    permitted_dns: tuple[str, ...] = ()
    permitted_ip: tuple[str, ...] = ()
    role: dict[str, Any] = msgspec.field(default_factory=dict)

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
        if isinstance(public_key, rsa.RSAPublicKey) and public_key.key_size < self.least_rsa_bits:
            advice = f"it takes RSA keys of {self.least_rsa_bits} bits or more"
            raise Rejected(f"profile {self.name} takes longer RSA keys", "badCSR", advice=advice)

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
        return name.value in self.exact_uri or any(name.value.startswith(beginning) for beginning in self.uri)


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
    doors=("acme", "api"),
    dns=("*",),
    wildcards=True,
    ip=("0.0.0.0/0", "::/0"),
    keys=KEY_NAMES,
    lifetime=24 * 3600,
    extended_key_usage=("server_auth",),
)
"""Any DNS name and address, for a day: the ACME door proves the names, over the API a policy says who may ask."""

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
    """Reads and writes profiles; each is decoded once a version and process.

    The row of a deleted profile stays, with an empty document: a name's versions are never given twice, since what is
    remembered of a profile (its extensions, its lint) is remembered by name and version.
    """

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
        if row is None or not row[1]:
            raise NotFound(f"there is no profile {name!a}")
        known = self._known.get(name)
        if known is None or known.version != row[0]:
            known = self._known[name] = _decode(name, row[0], row[1])
        return known

    def names(self) -> list[str]:
        """Return the names of all profiles, in order."""
        query = select(profiles.c.name).where(profiles.c.namespace_id == NAMESPACE, profiles.c.document != "")
        with self._database.read() as tx:
            return list(tx.execute(query.order_by(profiles.c.name)).scalars())

    def set(self, tx: Tx, profile: Profile, now: datetime, cas: int | None = None) -> Profile:
        """Store `profile` under its name, and return it with its version, one more than the last.

        Nothing is written where the same rules stand already, so that to repeat a write does no harm. `cas` is the
        version that it must follow, 0 for none.

        Raises:
            Rejected: malformed: the name or a rule could never be meant.
            Conflict: another version stands there.
        """
        _check(profile)
        last, text = _last(tx, profile.name)
        standing = msgspec.structs.replace(profile, version=last)
        if text and document(standing) == text:
            return standing
        _require_version(last if text else 0, cas)
        stored = msgspec.structs.replace(profile, version=last + 1)
        _write(tx, profile.name, last, document(stored), now)
        return stored

    def delete(self, tx: Tx, name: str, now: datetime) -> bool:
        """Take the profile away; False where there is none. What was issued by it stays valid.

        Raises:
            Conflict: somebody else changed it at the same time.
        """
        last, text = _last(tx, name)
        if text:
            _write(tx, name, last, "", now)
        return bool(text)


def _check(profile: Profile) -> None:
    if _NAME.fullmatch(profile.name) is None:
        advice = "1 to 64 letters, digits, dots, hyphens and underscores, a letter or digit first and last"
        raise Rejected(f"{profile.name[:64]!a} is no name for a profile", "malformed", advice=advice)
    try:
        msgspec.json.decode(document(profile), type=Profile)
    except (msgspec.DecodeError, ValueError) as error:
        raise Rejected(f"the rules of profile {profile.name}: {error}", "malformed", advice="mend them") from None


def _last(tx: Tx, name: str) -> tuple[int, str]:
    """Return the last version of that name, 0 before there was one, and its document, empty where it is deleted."""
    query = select(profiles.c.version, profiles.c.document).where(*_key(name))
    row = tx.execute(query).first()
    return (0, "") if row is None else (row.version, row.document)


def _key(name: str) -> tuple[ColumnElement[bool], ...]:
    return profiles.c.namespace_id == NAMESPACE, profiles.c.name == name


def _require_version(version: int, cas: int | None) -> None:
    if cas is not None and cas != version:
        raise Conflict("check-and-set parameter did not match the current version", advice=f"it is {version}")


def _write(tx: Tx, name: str, last: int, text: str, now: datetime) -> None:
    values = {"version": last + 1, "document": text, "created_at": to_ms(now)}
    if last == 0:
        try:
            tx.execute(profiles.insert().values(namespace_id=NAMESPACE, name=name, **values))
        except IntegrityError:
            raise Conflict(_RACE, advice=_AGAIN) from None
        return
    done = tx.execute(profiles.update().where(*_key(name), profiles.c.version == last).values(values))
    if done.rowcount != 1:
        raise Conflict(_RACE, advice=_AGAIN)


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
