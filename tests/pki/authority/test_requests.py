"""Certificate requests: nothing of one is used but its key and its names, and whatever is odd is refused."""

import ipaddress
import random
from datetime import UTC, datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import AttributeOID, ExtendedKeyUsageOID, NameOID

from pki.authority.issue import Wanted
from pki.authority.names import Name
from pki.authority.requests import CertificateRequest, parse_csr
from pki.core import Core
from pki.errors import LintFailed, Rejected
from tests.counts import count

KEY = ec.generate_private_key(ec.SECP256R1())
_EXTENSIONS: list[tuple[x509.ExtensionType, bool]] = [
    (x509.BasicConstraints(ca=True, path_length=None), True),
    (x509.KeyUsage(*[True] * 4, False, True, True, False, False), True),
    (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE]), False),
    (x509.NameConstraints([x509.DNSName("example")], None), True),
    (x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00"), False),
    (x509.TLSFeature([x509.TLSFeatureType.status_request]), False),
    (x509.CRLDistributionPoints([x509.DistributionPoint([x509.DNSName("x")], None, None, None)]), False),
    (x509.SubjectKeyIdentifier(b"chosen"), False),
    (x509.OCSPNoCheck(), False),
]


def _builder(common_name: str | None = None) -> x509.CertificateSigningRequestBuilder:
    attributes = [] if common_name is None else [x509.NameAttribute(NameOID.COMMON_NAME, common_name)]
    return x509.CertificateSigningRequestBuilder().subject_name(x509.Name(attributes))


def _signed(builder: x509.CertificateSigningRequestBuilder, key: object = KEY) -> bytes:
    digest = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return builder.sign(key, digest).public_bytes(Encoding.DER)  # type: ignore[arg-type]


def _with_names(*names: x509.GeneralName, common_name: str | None = None) -> bytes:
    return _signed(_builder(common_name).add_extension(x509.SubjectAlternativeName(names), critical=False))


def _code(der: bytes) -> str:
    with pytest.raises(Rejected) as caught:
        parse_csr(der)
    assert caught.value.advice
    return caught.value.code


def test_names_and_key_are_read_in_canonical_form() -> None:
    """X2: DNS names in lower case, addresses as RFC 5952 writes them, the common name among them, each once."""
    der = _with_names(
        x509.DNSName("A.Example"),
        x509.DNSName("a.example"),
        x509.IPAddress(ipaddress.ip_address("fd00:0:0::1")),
        common_name="b.example",
    )
    request = parse_csr(der)
    assert isinstance(request, CertificateRequest)
    assert request.names == (Name("dns", "a.example"), Name("ip", "fd00::1"), Name("dns", "b.example"))
    assert request.common_name == "b.example"
    assert request.public_key == KEY.public_key()


@pytest.mark.parametrize(
    "general",
    [
        x509.DirectoryName(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "x")])),
        x509.OtherName(x509.ObjectIdentifier("1.3.6.1.4.1.311.20.2.3"), b"\x0c\x01x"),
        x509.RegisteredID(x509.ObjectIdentifier("1.2.3")),
        x509.DNSName("a b.example"),
        x509.DNSName("a\x00.example"),
        x509.DNSName("a.example."),
        x509.DNSName("w*.example"),
        x509.DNSName("a.*.example"),
        x509.DNSName("-a.example"),
        x509.DNSName("a_b.example"),
        x509.DNSName("a" * 64 + ".example"),
        x509.DNSName("10.0.0.1"),
        x509.DNSName(""),
        x509.DNSName(".".join(["a" * 50] * 6)),
        x509.RFC822Name("a b@a.example"),
        x509.UniformResourceIdentifier("file:///etc/passwd"),
        x509.UniformResourceIdentifier("http://user@a.example/"),
    ],
    ids=lambda general: str(getattr(general, "value", general))[:30].encode("unicode_escape").decode(),
)
def test_a_name_that_is_not_certified_is_refused(general: x509.GeneralName) -> None:
    """X2: whole requests are refused for one name; none is repaired."""
    assert _code(_with_names(x509.DNSName("good.example"), general)) == "badCSR"


def test_two_common_names_are_refused() -> None:
    """X2: a second common name would be a second, unseen name."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name) for name in ("a.example", "b.example")])
    assert _code(_signed(x509.CertificateSigningRequestBuilder().subject_name(subject))) == "badCSR"


def test_a_hundred_names_are_read_and_one_more_is_refused() -> None:
    """X2: more than 100 names."""
    names = [x509.DNSName(f"h{number}.example") for number in range(101)]
    assert len(parse_csr(_with_names(*names[:100])).names) == 100
    assert _code(_with_names(*names)) == "badCSR"


def test_a_request_that_its_key_did_not_sign_is_refused() -> None:
    """X5: proof of possession."""
    der = bytearray(_with_names(x509.DNSName("a.example")))
    der[-1] ^= 1
    assert _code(bytes(der)) == "badCSR"


def test_sha1_is_refused_and_octets_behind_the_request_too() -> None:
    """X5, RFC 2986: a signature that anybody may forge, and a second reading of the same octets."""
    good = _with_names(x509.DNSName("a.example"))
    assert _code(good + b"\x00") == "badCSR"
    key = rsa.generate_private_key(65537, 2048)
    weak = good.replace(bytes.fromhex("06082a8648ce3d040302"), bytes.fromhex("06072a8648ce3d0401") + b"\x00")
    assert _code(weak) == "badCSR"
    assert parse_csr(_signed(_builder("a.example"), key)).names == (Name("dns", "a.example"),)


def test_a_request_of_another_version_is_refused() -> None:
    """RFC 2986 4.1: there is version 1 alone, which is written as 0."""
    der = _with_names(x509.DNSName("a.example"))
    assert _code(der.replace(b"\x02\x01\x00", b"\x02\x01\x01", 1)) == "badCSR"


@pytest.mark.parametrize("size", [0, 1, 100, 64 * 1024 + 1])
def test_what_is_no_request_is_refused(size: int) -> None:
    """D4: any octets."""
    assert _code(b"\x30" * size) == "badCSR"


def test_nothing_but_key_and_names_reaches_the_certificate(core: Core) -> None:
    """X1: CA rights, key usages, unknown extensions and attributes of a request are not even looked at."""
    builder = _builder("a.example").add_attribute(AttributeOID.CHALLENGE_PASSWORD, b"secret")
    builder = builder.add_attribute(AttributeOID.UNSTRUCTURED_NAME, b"evil")
    for value, critical in _EXTENSIONS:
        builder = builder.add_extension(value, critical=critical)
    request = parse_csr(_signed(builder))
    plain = parse_csr(_signed(_builder("a.example")))
    assert request == plain
    entries = [core.gate.issue(Wanted("default", item.public_key, item.names, "test:me")) for item in (request, plain)]
    found = [x509.load_der_x509_certificate(entry.certificate or b"") for entry in entries]
    assert [item.oid for item in found[0].extensions] == [item.oid for item in found[1].extensions]
    assert list(found[0].extensions) == list(found[1].extensions)


def _hostile(dice: random.Random, good: list[bytes]) -> bytes:
    """Return a request that was cut, doubled, spliced or had octets and lengths changed."""
    der = bytearray(dice.choice(good))
    for _ in range(dice.randint(1, 6)):
        position = dice.randrange(len(der))
        match dice.randrange(5):
            case 0:
                der[position] = dice.randrange(256)
            case 1:
                del der[position : position + dice.randint(1, 8)]
            case 2:
                der[position:position] = dice.randbytes(dice.randint(1, 8))
            case 3:
                other = dice.choice(good)
                der[position : position + 16] = other[position : position + 16]
            case _:
                der[position] ^= 1 << dice.randrange(8)
        if not der:
            return b""
    return bytes(der)


def _seeds() -> list[bytes]:
    everything = _builder("a.example")
    for value, critical in _EXTENSIONS:
        everything = everything.add_extension(value, critical=critical)
    return [
        _signed(everything),
        _with_names(x509.DNSName("a.example"), x509.DNSName("*.b.example"), common_name="a.example"),
        _signed(_builder("a.example"), rsa.generate_private_key(65537, 2048)),
        _signed(_builder("a.example"), ed25519.Ed25519PrivateKey.generate()),
    ]


def test_hostile_requests_give_nothing_outside_the_profile(core: Core) -> None:
    """X1 X2 D4: a refusal, or a certificate that holds what the profile says and the names that were read."""
    dice, good = random.Random(8555), _seeds()
    outcomes = {"refused": 0, "issued": 0}
    for _ in range(count(10_000, 100_000)):
        try:
            request = parse_csr(_hostile(dice, good))
            entry = core.gate.issue(Wanted("default", request.public_key, request.names, "test:hostile"))
        except (Rejected, LintFailed):
            outcomes["refused"] += 1
            continue
        outcomes["issued"] += 1
        certificate = x509.load_der_x509_certificate(entry.certificate or b"")
        extensions = {item.oid: item.value for item in certificate.extensions}
        assert not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
        usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        assert list(usage) == [ExtendedKeyUsageOID.SERVER_AUTH]
        assert len(extensions) == 8
        assert certificate.not_valid_after_utc > datetime.now(UTC)
    # Each seed lies in the neighbourhood of itself: a change in what is not signed may leave a request good.
    assert outcomes["refused"] > 10 * outcomes["issued"]
    assert [parse_csr(item).names for item in good]
