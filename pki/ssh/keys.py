"""Public keys as SSH writes them: those to be certified, security keys (FIDO) included, and those of CAs."""

import base64
import binascii
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from pki.errors import Malformed, Misconfigured, Rejected
from pki.ledger.weak_keys import PublicKey, check_key
from pki.ssh.encoding import Reader, mpint, string

KINDS = ("rsa", "ec", "ed25519", "sk-ec", "sk-ed25519")
"""The kinds of keys that are certified, as roles name them; sk- are keys in a security key."""

_LINE_LIMIT = 16 << 10
_APPLICATION_LIMIT = 256
_POINT_UNCOMPRESSED = 4
_ED25519_OCTETS = 32
_ADVICE = "send one line of a file such as id_ed25519.pub"
_KINDS_ADVICE = "make an Ed25519 key: ssh-keygen -t ed25519"
_NAMES: Mapping[str, str] = MappingProxyType(
    {
        "ssh-rsa": "rsa",
        "ssh-ed25519": "ed25519",
        "ecdsa-sha2-nistp256": "ec",
        "ecdsa-sha2-nistp384": "ec",
        "ecdsa-sha2-nistp521": "ec",
        "sk-ssh-ed25519@openssh.com": "sk-ed25519",
        "sk-ecdsa-sha2-nistp256@openssh.com": "sk-ec",
    }
)
_CURVES: Mapping[str, ec.EllipticCurve] = MappingProxyType(
    {"nistp256": ec.SECP256R1(), "nistp384": ec.SECP384R1(), "nistp521": ec.SECP521R1()}
)
_CURVE_NAMES: Mapping[str, str] = MappingProxyType({curve.name: name for name, curve in _CURVES.items()})


@dataclass(frozen=True, slots=True)
class SubjectKey:
    """A public key to be certified, checked for known weaknesses.

    `name` is its type on the wire, and `fields` all that follows it there; `application` is a security key's.
    """

    name: str
    kind: str
    bits: int
    fields: bytes
    public_key: PublicKey
    application: str | None = None

    @property
    def blob(self) -> bytes:
        """The key as SSH writes it."""
        return string(self.name.encode()) + self.fields

    @property
    def sha256(self) -> bytes:
        """The digest by which the ledger and ssh's own messages name the key."""
        return hashlib.sha256(self.blob).digest()

    @property
    def spki_sha256(self) -> str:
        """The digest (hex) by which keys that nobody may certify again are known."""
        return hashlib.sha256(self.public_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()


def fingerprint(digest: bytes) -> str:
    """Return a key's SHA-256 as `ssh-keygen -l` and sshd's log show it."""
    return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")


def line(blob: bytes) -> str:
    """Return a key or certificate as a line of text, without a comment."""
    return f"{Reader(blob).text()} {base64.b64encode(blob).decode()}"


def read_line(text: str) -> SubjectKey:
    """Read one line of text: the type, the key in base64, and perhaps a comment, which is ignored.

    Raises:
        Malformed: it is no public key, or not in the one right form.
        Rejected: weakKey; it is of a kind that is not certified, or has a known weakness.
    """
    words = text.strip(" \t\r\n").split(" ", 2)
    if len(text) > _LINE_LIMIT or "\n" in text.strip() or len(words) < 2:  # noqa: PLR2004 - the type and the key
        raise Malformed("the public key is not one line of text", advice=_ADVICE)
    if words[0] not in _NAMES:
        raise _unknown(words[0])
    try:
        blob = base64.b64decode(words[1], validate=True)
    except (binascii.Error, ValueError):
        raise Malformed("the public key is not in base64", advice=_ADVICE) from None
    return _read(words[0], blob)


def _unknown(name: str) -> Malformed | Rejected:
    if "-cert-v0" in name:
        return Rejected("this is a certificate, not a public key", "weakKey", advice=_ADVICE)
    if name == "ssh-dss":
        return Rejected("DSA keys are not certified", "weakKey", advice=_KINDS_ADVICE)
    if name.startswith("-"):
        return Malformed("the public key is in another format than SSH's", advice=_ADVICE)
    return Rejected(f"keys of type {name[:64]!a} are not certified", "weakKey", advice=_KINDS_ADVICE)


def _read(name: str, blob: bytes) -> SubjectKey:
    reader = Reader(blob)
    if reader.text() != name:
        raise Malformed("the public key is of another type than its line says", advice=_ADVICE)
    fields, kind = reader.rest(), _NAMES[name]
    if kind == "rsa":
        public_key: PublicKey = _read_rsa(reader)
    elif kind in {"ec", "sk-ec"}:
        public_key = _read_ec(reader, name)
    else:
        public_key = _read_ed25519(reader)
    application = _read_application(reader) if kind.startswith("sk-") else None
    reader.end()
    bits = 256 if isinstance(public_key, ed25519.Ed25519PublicKey) else public_key.key_size
    return SubjectKey(name, kind, bits, fields, check_key(public_key), application)


def _read_rsa(reader: Reader) -> rsa.RSAPublicKey:
    exponent, modulus = reader.mpint(), reader.mpint()
    try:
        return rsa.RSAPublicNumbers(exponent, modulus).public_key()
    except ValueError:
        raise Rejected("the RSA key is not sound", "weakKey", advice=_KINDS_ADVICE) from None


def _read_ec(reader: Reader, name: str) -> ec.EllipticCurvePublicKey:
    curve, point = reader.text(), reader.string()
    if curve not in _CURVES or f"-{curve}" not in name or point[:1] != bytes([_POINT_UNCOMPRESSED]):
        raise Malformed("the public key's curve is not that of its type", advice=_ADVICE)
    try:
        return ec.EllipticCurvePublicKey.from_encoded_point(_CURVES[curve], point)
    except ValueError:
        raise Rejected("the key's point is not on its curve", "weakKey", advice=_KINDS_ADVICE) from None


def _read_ed25519(reader: Reader) -> ed25519.Ed25519PublicKey:
    point = reader.string()
    if len(point) != _ED25519_OCTETS:
        raise Malformed("an Ed25519 key has 32 octets", advice=_ADVICE)
    return ed25519.Ed25519PublicKey.from_public_bytes(point)


def _read_application(reader: Reader) -> str:
    """Read what a security key's signatures are bound to; OpenSSH's begin with `ssh:` (PROTOCOL.u2f)."""
    application = reader.text()
    if not application.startswith("ssh:") or len(application) > _APPLICATION_LIMIT:
        raise Rejected(
            "the security key was not made for SSH", "weakKey", advice="make one with ssh-keygen -t ed25519-sk"
        )
    return application


def encode_public_key(public_key: object) -> bytes:
    """Return a CA's public key as SSH writes it (RFC 4253 6.6, RFC 5656 3.1, RFC 8709 4).

    Raises:
        Misconfigured: no SSH CA has a key of this kind.
    """
    if isinstance(public_key, ed25519.Ed25519PublicKey):
        return string(b"ssh-ed25519") + string(public_key.public_bytes_raw())
    if isinstance(public_key, rsa.RSAPublicKey):
        numbers = public_key.public_numbers()
        return string(b"ssh-rsa") + mpint(numbers.e) + mpint(numbers.n)
    if isinstance(public_key, ec.EllipticCurvePublicKey) and public_key.curve.name in _CURVE_NAMES:
        curve = _CURVE_NAMES[public_key.curve.name].encode()
        point = public_key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        return string(b"ecdsa-sha2-" + curve) + string(curve) + string(point)
    raise Misconfigured("no SSH CA has a key of this kind", advice="use Ed25519, P-256, P-384 or RSA")
