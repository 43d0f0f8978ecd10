"""Certificates put together from their DER parts, so that any part can be wrong. Only tests make them so."""

import functools
import ipaddress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
CA_KINDS = ("p256", "p384", "rsa", "ed25519")
KINDS = (*CA_KINDS, "p521")

BEGIN, END = datetime(2026, 1, 1, tzinfo=UTC), datetime(2036, 1, 1, tzinfo=UTC)
FIRST, LAST = datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 3, 2, tzinfo=UTC)
SERIAL = 0x5A5A5A5A5A5A5A5A5A5A5A5A5A5A5A5A5A5A5A5A
NO_REV_AVAIL = x509.ObjectIdentifier("2.5.29.56")
_ALGORITHMS = {
    "rsa": "300d06092a864886f70d01010b0500",
    "p256": "300a06082a8648ce3d040302",
    "p384": "300a06082a8648ce3d040303",
    "p521": "300a06082a8648ce3d040304",
    "ed25519": "300506032b6570",
}


@functools.cache
def key(kind: str, use: str = "leaf") -> PrivateKey:
    """Return the key of that kind and use, made once a run."""
    assert use
    if kind == "rsa":
        return rsa.generate_private_key(65537, 2048)
    if kind == "ed25519":
        return ed25519.Ed25519PrivateKey.generate()
    curves: dict[str, ec.EllipticCurve] = {"p256": ec.SECP256R1(), "p384": ec.SECP384R1(), "p521": ec.SECP521R1()}
    return ec.generate_private_key(curves[kind])


def spki(public_key: object) -> bytes:
    """Return a public key's SubjectPublicKeyInfo."""
    assert isinstance(public_key, rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey)
    return public_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def algorithm(kind: str) -> bytes:
    """Return the AlgorithmIdentifier by which a key of that kind signs."""
    return bytes.fromhex(_ALGORITHMS[kind])


def tlv(tag: int, content: bytes) -> bytes:
    """Return a DER element."""
    size = len(content)
    if size < 128:
        return bytes([tag, size]) + content
    length = size.to_bytes((size.bit_length() + 7) // 8)
    return bytes([tag, 0x80 | len(length)]) + length + content


def sequence(*items: bytes) -> bytes:
    """Return a SEQUENCE."""
    return tlv(0x30, b"".join(items))


def integer(value: int) -> bytes:
    """Return an INTEGER."""
    return tlv(2, value.to_bytes(value.bit_length() // 8 + 1, signed=True))


def oid(dotted: str) -> bytes:
    """Return an OBJECT IDENTIFIER."""
    first, second, *rest = (int(arc) for arc in dotted.split("."))
    content = b""
    for arc in (first * 40 + second, *rest):
        octets = [arc & 0x7F]
        while arc := arc >> 7:
            octets.append(0x80 | (arc & 0x7F))
        content += bytes(reversed(octets))
    return tlv(6, content)


def moment(value: datetime) -> bytes:
    """Return a date in its right form."""
    if value.year < 2050:
        return tlv(0x17, value.strftime("%y%m%d%H%M%SZ").encode())
    return tlv(0x18, value.strftime("%Y%m%d%H%M%SZ").encode())


def subject(common_name: str | None) -> bytes:
    """Return a name of one attribute, or none."""
    attributes = [] if common_name is None else [x509.NameAttribute(x509.NameOID.COMMON_NAME, common_name)]
    return x509.Name(attributes).public_bytes()


@dataclass(frozen=True)
class Raw:
    """One extension by its parts."""

    oid: x509.ObjectIdentifier
    critical: bool
    value: bytes

    def der(self) -> bytes:
        """Return the extension."""
        flag = tlv(1, b"\xff") if self.critical else b""
        return sequence(oid(self.oid.dotted_string), flag, tlv(4, self.value))


def raw(value: x509.ExtensionType, *, critical: bool) -> Raw:
    """Return an extension of the library's by its parts."""
    return Raw(value.oid, critical, value.public_bytes())


@dataclass(frozen=True)
class Parts:
    """A certificate: `signer` is the key that signs it, `above` its issuer's certificate, None for a root."""

    signer: PrivateKey = field(repr=False)
    above: x509.Certificate | None
    algorithm: bytes
    issuer: bytes
    subject: bytes
    key: bytes
    extensions: tuple[Raw, ...]
    serial: bytes = integer(SERIAL)
    version: bytes = tlv(0xA0, integer(2))
    not_before: bytes = moment(FIRST)
    not_after: bytes = moment(LAST)
    outer_algorithm: bytes | None = None
    unique_ids: bytes = b""

    def body(self) -> bytes:
        """Return the part that is signed."""
        extensions = tlv(0xA3, sequence(*(item.der() for item in self.extensions)))
        dates = sequence(self.not_before, self.not_after)
        fields = (self.version, self.serial, self.algorithm, self.issuer, dates, self.subject, self.key)
        return sequence(*fields, self.unique_ids, extensions if self.extensions else b"")

    def preview(self) -> bytes:
        """Return the certificate as it is linted: with a signature of zeros."""
        return self._with_signature(bytes(64))

    def signed(self) -> bytes:
        """Return the certificate, signed."""
        body = self.body()
        if isinstance(self.signer, rsa.RSAPrivateKey):
            return self._with_signature(self.signer.sign(body, padding.PKCS1v15(), hashes.SHA256()))
        if isinstance(self.signer, ed25519.Ed25519PrivateKey):
            return self._with_signature(self.signer.sign(body))
        small = self.signer.curve.name == "secp256r1"
        return self._with_signature(self.signer.sign(body, ec.ECDSA(hashes.SHA256() if small else hashes.SHA384())))

    def _with_signature(self, signature: bytes) -> bytes:
        return sequence(self.body(), self.outer_algorithm or self.algorithm, tlv(3, b"\0" + signature))

    def certificate(self) -> x509.Certificate:
        """Return the signed certificate, loaded."""
        return x509.load_der_x509_certificate(self.signed())

    def having(self, value: x509.ExtensionType | Raw, *, critical: bool = False) -> "Parts":
        """Return it with the extension put in the place of the one of its kind, or at the end."""
        new = value if isinstance(value, Raw) else raw(value, critical=critical)
        if any(item.oid == new.oid for item in self.extensions):
            return replace(self, extensions=tuple(new if item.oid == new.oid else item for item in self.extensions))
        return replace(self, extensions=(*self.extensions, new))

    def lacking(self, kind: type[x509.ExtensionType]) -> "Parts":
        """Return it without the extension of that kind."""
        return replace(self, extensions=tuple(item for item in self.extensions if item.oid != kind.oid))


def key_usage(*bits: str) -> x509.KeyUsage:
    """Return a KeyUsage with these bits."""
    names = (
        *("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement"),
        *("key_cert_sign", "crl_sign", "encipher_only", "decipher_only"),
    )
    return x509.KeyUsage(**{name: name in bits for name in names})


def ca_parts(
    kind: str, use: str, above: "tuple[Parts, str] | None", *, path_length: int | None, more: tuple[Raw, ...] = ()
) -> Parts:
    """Return a good CA certificate with a key of that kind; `above` is the issuer and its key's kind."""
    own = key(kind, use)
    extensions = (
        raw(x509.BasicConstraints(ca=True, path_length=path_length), critical=True),
        raw(key_usage("key_cert_sign", "crl_sign"), critical=True),
        raw(x509.SubjectKeyIdentifier.from_public_key(own.public_key()), critical=False),
        *more,
    )
    if above is not None:
        extensions = (*extensions, authority_key(above[0].certificate()))
    return Parts(
        signer=own if above is None else key(above[1], "root"),
        above=None if above is None else above[0].certificate(),
        algorithm=algorithm(kind if above is None else above[1]),
        issuer=subject(f"Test {kind} {use}") if above is None else above[0].subject,
        subject=subject(f"Test {kind} {use}"),
        key=spki(own.public_key()),
        extensions=extensions,
        not_before=moment(BEGIN),
        not_after=moment(END),
    )


def authority_key(issuer: x509.Certificate) -> Raw:
    """Return the authority key identifier of what `issuer` issues."""
    found = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return raw(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(found), critical=False)


@functools.cache
def root(kind: str = "p256") -> Parts:
    """Return a good root."""
    return ca_parts(kind, "root", None, path_length=None)


@functools.cache
def intermediate(kind: str = "p256") -> Parts:
    """Return a good intermediate below the root of the same kind, which issues leaves alone."""
    return ca_parts(kind, "intermediate", (root(kind), kind), path_length=0)


CONSTRAINTS = x509.NameConstraints(
    permitted_subtrees=[
        x509.DNSName("corp.example"),
        x509.IPAddress(ipaddress.ip_network("10.0.0.0/8")),
        x509.RFC822Name("corp.example"),
        x509.UniformResourceIdentifier(".corp.example"),
        x509.DirectoryName(x509.Name([])),
    ],
    excluded_subtrees=[
        x509.DNSName("secret.corp.example"),
        x509.IPAddress(ipaddress.ip_network("10.9.0.0/16")),
        x509.DirectoryName(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "nobody.corp.example")])),
    ],
)


@functools.cache
def constrained() -> Parts:
    """Return a good intermediate with name constraints."""
    more = (raw(CONSTRAINTS, critical=True),)
    return ca_parts("p256", "constrained", (root(), "p256"), path_length=0, more=more)


def san(*names: x509.GeneralName) -> x509.SubjectAlternativeName:
    """Return alternative names."""
    return x509.SubjectAlternativeName(names)


def access(url: str) -> x509.AuthorityInformationAccess:
    """Return a pointer to the issuer's certificate."""
    location = x509.UniformResourceIdentifier(url)
    return x509.AuthorityInformationAccess([x509.AccessDescription(AuthorityInformationAccessOID.CA_ISSUERS, location)])


def crl_points(url: str) -> x509.CRLDistributionPoints:
    """Return a pointer to a CRL."""
    point = x509.DistributionPoint([x509.UniformResourceIdentifier(url)], None, None, None)
    return x509.CRLDistributionPoints([point])


def leaf(
    *names: x509.GeneralName,
    kind: str = "p256",
    common_name: str | None = None,
    issuer: Parts | None = None,
    issuer_key: PrivateKey | None = None,
    issuer_kind: str = "p256",
) -> Parts:
    """Return a good leaf with these names, by the P-256 intermediate unless told."""
    above = issuer or intermediate(issuer_kind)
    public_key = key(kind).public_key()
    bits = ("digital_signature", "key_encipherment") if kind == "rsa" else ("digital_signature",)
    certificate = above.certificate()
    return Parts(
        signer=issuer_key or key(issuer_kind, "intermediate"),
        above=certificate,
        algorithm=algorithm(issuer_kind),
        issuer=above.subject,
        subject=subject(common_name),
        key=spki(public_key),
        extensions=(
            raw(x509.BasicConstraints(ca=False, path_length=None), critical=True),
            raw(key_usage(*bits), critical=True),
            raw(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False),
            authority_key(certificate),
            raw(access("http://ca.example/ca/1.cer"), critical=False),
            raw(crl_points("http://127.0.0.1:8080/crl/1.crl"), critical=False),
            raw(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False),
            raw(san(*(names or (x509.DNSName("a.example"),))), critical=common_name is None),
        ),
    )


def constrained_leaf(*names: x509.GeneralName, common_name: str | None = None) -> Parts:
    """Return a leaf by the intermediate with name constraints."""
    return leaf(*names, common_name=common_name, issuer=constrained(), issuer_key=key("p256", "constrained"))
