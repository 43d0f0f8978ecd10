"""The script of a ceremony: what two people agree to in advance. Nothing is done that does not stand in it.

It is YAML of the plainest kind: mappings, lists and scalars, each key once; no anchors, aliases or tags.
"""

import hashlib
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import msgspec
import yaml
from cryptography import x509
from cryptography.x509.oid import NameOID
from msgspec import Meta

from pki.authority.hierarchy import require_algorithm
from pki.authority.profiles import KEY_NAMES, Profile
from pki.errors import Misconfigured

SIZE_LIMIT = 64 * 1024
ROOT, INTERMEDIATE = "root", "intermediate"
_DAY = 24 * 3600
_REASONS = frozenset({0, 1, 2, 3, 4, 5, 9, 10})
_ADVICE = "mend the script; whoever has signed it signs it again"

PersonName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")]
FileName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]
Digest = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$")]
Label = Annotated[str, Meta(pattern=r"^root of ceremony [0-9a-f]{10}$")]
Days = Annotated[int, Meta(ge=1, le=36500)]
PathLength = Annotated[int, Meta(ge=0, le=10)]


class _Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A part of a script; a field that is not known here is refused."""


class Person(_Part, frozen=True):
    """One of the two; `key` is an Ed25519 public key, as OpenSSH writes it or in PEM."""

    name: PersonName
    key: str


class TokenPlace(_Part, frozen=True):
    """The offline token; `pin_file` is taken from the script's folder."""

    module: str
    label: str
    pin_file: str


class KnownRoot(_Part, frozen=True):
    """A root that an earlier ceremony made: its certificate, that one's SHA-256, and its key's label in the token."""

    certificate: str
    sha256: Digest
    key_label: Label


class Subject(_Part, frozen=True, kw_only=True):
    """A distinguished name, in this order."""

    country: Annotated[str, Meta(pattern=r"^([A-Za-z]{2})?$")] = ""
    organization: str = ""
    organizational_unit: str = ""
    common_name: str

    def name(self) -> x509.Name:
        """Return it as certificates hold it; ValueError when a part of it is too long."""
        parts = (
            (NameOID.COUNTRY_NAME, self.country),
            (NameOID.ORGANIZATION_NAME, self.organization),
            (NameOID.ORGANIZATIONAL_UNIT_NAME, self.organizational_unit),
            (NameOID.COMMON_NAME, self.common_name),
        )
        return x509.Name([x509.NameAttribute(oid, value) for oid, value in parts if value])


class CreateRoot(_Part, frozen=True, tag_field="act", tag="create-root"):
    """Make a key in the token, and its self-signed certificate."""

    subject: Subject
    algorithm: str
    days: Days
    path_length: PathLength = 1
    permitted_dns: tuple[str, ...] = ()
    permitted_ip: tuple[str, ...] = ()
    file: FileName = "root.pem"

    def profile(self) -> Profile:
        """Return the rules by which it is drafted."""
        return _profile(self, ROOT, "root")


class SignIntermediate(_Part, frozen=True, tag_field="act", tag="sign-intermediate"):
    """Certify the key in a request that was carried here; `request_sha256` is the digest of its file."""

    request: str
    request_sha256: Digest
    subject: Subject
    days: Days
    path_length: PathLength = 0
    permitted_dns: tuple[str, ...] = ()
    permitted_ip: tuple[str, ...] = ()
    file: FileName = "intermediate.pem"

    def profile(self) -> Profile:
        """Return the rules by which it is drafted."""
        return _profile(self, INTERMEDIATE, "ca")


class Revoked(_Part, frozen=True):
    """A line of a CRL: the serial in hex, the day, and the reason of RFC 5280 5.3.1 by its number."""

    serial: Annotated[str, Meta(pattern=r"^[0-9a-f]{1,40}$")]
    date: str
    reason: int = 0

    def entry(self) -> tuple[str, datetime, int]:
        """Return it as the CRL's encoder takes it."""
        return self.serial, datetime.combine(date.fromisoformat(self.date), datetime.min.time(), UTC), self.reason


class Crl(_Part, frozen=True, tag_field="act", tag="crl"):
    """Sign the root's CRL; `revoked` lists every intermediate that is revoked, whenever that was."""

    number: Annotated[int, Meta(ge=1, le=(1 << 63) - 1)]
    days: Days
    revoked: tuple[Revoked, ...] = ()
    file: FileName = "root.crl"


Act = CreateRoot | SignIntermediate | Crl


class Script(_Part, frozen=True, kw_only=True):
    """A whole script. `date` is the day (UTC) on which it is held, against which the machine's clock is checked.

    `base_url` is that of the service's plain HTTP listener: it stands in the intermediate's certificate. `clear` holds
    the labels of keys that a ceremony which was broken off has left in the token: they are destroyed first.
    """

    ceremony: Annotated[str, Meta(min_length=1, max_length=200)]
    held_on: str = msgspec.field(name="date")
    operator: Person
    witness: Person
    token: TokenPlace
    base_url: str
    root: KnownRoot | None = None
    clear: tuple[Label, ...] = ()
    acts: Annotated[tuple[Act, ...], Meta(min_length=1, max_length=20)]

    @property
    def people(self) -> tuple[Person, Person]:
        """The two who must have signed."""
        return self.operator, self.witness

    @property
    def day(self) -> date:
        """The day on which it is held."""
        return date.fromisoformat(self.held_on)


@dataclass(frozen=True, slots=True)
class Written:
    """A script as it was read: where it lies, its octets, their SHA-256 (hex), and what they say."""

    path: Path
    octets: bytes
    digest: str
    script: Script


def _profile(act: CreateRoot | SignIntermediate, name: str, kind: Any) -> Profile:
    return Profile(
        name=name,
        issuer=ROOT,
        kind=kind,
        keys=KEY_NAMES,
        lifetime=act.days * _DAY,
        path_length=act.path_length,
        permitted_dns=act.permitted_dns,
        permitted_ip=act.permitted_ip,
    )


class _Plain(yaml.BaseLoader):
    """Reads every scalar as text, each key once, and nothing that refers to something else."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """Refuse aliases, anchors and tags."""
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) or getattr(event, "tag", None):
            raise yaml.MarkedYAMLError(problem="anchors, aliases and tags are not read", problem_mark=event.start_mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Refuse a key that stands twice: one of the two would be lost in silence."""
        found = [key.value for key, _ in node.value]
        for key in found:
            if not isinstance(key, str) or found.count(key) > 1:
                raise yaml.MarkedYAMLError(problem=f"the key {key!a} stands twice", problem_mark=node.start_mark)
        return super().construct_mapping(node, deep)


def read_script(path: Path) -> Written:
    """Read a script.

    Raises:
        Misconfigured: it cannot be read, or does not say what can be done.
    """
    try:
        octets = path.read_bytes()
    except OSError as error:
        raise Misconfigured(f"cannot read {path}: {error.strerror}", advice="name the ceremony's script") from None
    try:
        return Written(path, octets, hashlib.sha256(octets).hexdigest(), parse_script(octets))
    except ValueError as error:
        raise Misconfigured(f"{path}: {error}", advice=_ADVICE) from None


def parse_script(octets: bytes) -> Script:
    """Return what a script says; ValueError says what is wrong with it."""
    if len(octets) > SIZE_LIMIT:
        raise ValueError(f"it has more than {SIZE_LIMIT} octets")
    try:
        text = octets.decode("utf-8")
    except UnicodeDecodeError:
        raise ValueError("it is not text in UTF-8") from None
    try:
        script = msgspec.convert(_Plain(text).get_single_data(), Script, strict=False)
    except yaml.MarkedYAMLError as error:
        place = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise ValueError(f"{place}{error.problem}") from None
    except msgspec.ValidationError as error:
        raise ValueError(str(error)) from None
    except (yaml.YAMLError, RecursionError):
        raise ValueError("it is not YAML of a plain kind") from None
    _check(script)
    return script


def _check(script: Script) -> None:
    """Raise ValueError for what each field alone does not show."""
    if script.operator.name == script.witness.name:
        raise ValueError(f"operator and witness are one person, {script.operator.name}")
    makes = [isinstance(act, CreateRoot) for act in script.acts]
    if any(makes[1:]) or makes[0] == (script.root is not None):
        raise ValueError("either the first act, and no other, is create-root, or `root` names the root that is used")
    if script.root is not None and script.root.key_label in script.clear:
        raise ValueError("`clear` names the key of the root that is used")
    files = [act.file for act in script.acts]
    if len(set(files)) != len(files) or any("transcript" in file for file in files):
        raise ValueError("each act needs a file of its own, and none is the transcript's")
    parts = urlsplit(script.base_url)
    if parts.scheme != "http" or not parts.netloc or parts.query or parts.fragment or script.base_url.endswith("/"):
        raise ValueError("base_url must be an http URL without query, fragment or a slash at its end")
    _ = script.day
    for act in script.acts:
        _check_act(act)


def _check_act(act: Act) -> None:
    if isinstance(act, Crl):
        if any(item.reason not in _REASONS for item in act.revoked):
            raise ValueError(f"a reason is one of {', '.join(map(str, sorted(_REASONS)))}")
        _ = [item.entry() for item in act.revoked]
        return
    act.subject.name()
    act.profile()
    if isinstance(act, CreateRoot):
        try:
            require_algorithm(act.algorithm, "algorithm")
        except Misconfigured as error:
            raise ValueError(str(error)) from None
