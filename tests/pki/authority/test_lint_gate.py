"""The lint gate is a gate: what it refuses would have been issued without it (CA10, Z-B2)."""

from collections.abc import Callable, Hashable
from dataclasses import replace
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from sqlalchemy import func, select
from sqlalchemy.exc import DataError

from pki.authority.drafts import Drafter
from pki.authority.extensions import NO_REV_AVAIL, Extensions
from pki.authority.issue import Gate, Wanted
from pki.authority.issuers import Issuer
from pki.authority.lint import Linter
from pki.authority.locations import Locations
from pki.authority.names import Name
from pki.authority.profiles import Profile
from pki.authority.signatures import SCHEMES
from pki.authority.tbs import Draft, encode_extension
from pki.core import Core
from pki.errors import LintFailed
from pki.storage.tables import certificates

Seed = Callable[[Draft], Draft]
_DAY = timedelta(days=1)


def _oid(extension: bytes) -> bytes:
    """Return the DER of an extension's object identifier."""
    start = 2 + (extension[1] & 0x7F if extension[1] & 0x80 else 0)
    return extension[start : start + 2 + extension[start + 1]]


def _with(value: x509.ExtensionType, *, critical: bool = False) -> Seed:
    """Replace the extension of that type, or add it."""
    fresh = encode_extension(value, critical=critical)

    def change(draft: Draft) -> Draft:
        kept = tuple(item for item in draft.extensions if _oid(item) != _oid(fresh))
        return replace(draft, extensions=(*kept, fresh))

    return change


def _without(value: x509.ExtensionType) -> Seed:
    oid = _oid(encode_extension(value, critical=False))
    return lambda draft: replace(draft, extensions=tuple(item for item in draft.extensions if _oid(item) != oid))


def _san(*names: x509.GeneralName, critical: bool = True) -> Seed:
    return _with(x509.SubjectAlternativeName(names), critical=critical)


def _dns(*values: str) -> Seed:
    return _san(*(x509.DNSName(value) for value in values))


def _usage(*wanted: str, critical: bool = True) -> Seed:
    names = ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement")
    names += ("key_cert_sign", "crl_sign", "encipher_only", "decipher_only")
    return _with(x509.KeyUsage(**{name: name in wanted for name in names}), critical=critical)


def _crl(url: str) -> Seed:
    point = x509.DistributionPoint([x509.UniformResourceIdentifier(url)], None, None, None)
    return _with(x509.CRLDistributionPoints([point]))


def _subject(common_name: str) -> Seed:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    return lambda draft: replace(draft, subject=name.public_bytes())


_EMPTY_AKI = x509.AuthorityKeyIdentifier(b"x" * 20, None, None)
_BASIC = x509.BasicConstraints(ca=False, path_length=None)
SEEDS: dict[str, Seed] = {
    "serial one": lambda draft: replace(draft, serial=1),
    "serial of 32 bits": lambda draft: replace(draft, serial=0x12345678),
    "serial of 21 octets": lambda draft: replace(draft, serial=1 << 165),
    "outlives its issuer": lambda draft: replace(draft, not_after=draft.not_after + 365 * 20 * _DAY),
    "begins before its issuer": lambda draft: replace(draft, not_before=draft.not_before - 365 * _DAY),
    "ends before it begins": lambda draft: replace(draft, not_after=draft.not_before - _DAY),
    "another issuer's name": lambda draft: replace(draft, issuer=x509.Name([]).public_bytes()),
    "another signature algorithm": lambda draft: replace(draft, scheme=SCHEMES["sha256WithRSAEncryption"]),
    "no key usage of its issuer's": _with(_EMPTY_AKI),
    "no authority key identifier": _without(_EMPTY_AKI),
    "no alternative names": _without(x509.SubjectAlternativeName([])),
    "alternative names not critical": _san(x509.DNSName("a.example"), critical=False),
    "a CA": _with(x509.BasicConstraints(ca=True, path_length=None), critical=True),
    "signs certificates": _usage("digital_signature", "key_cert_sign"),
    "key encipherment with an EC key": _usage("digital_signature", "key_encipherment"),
    "no key usage at all": _usage(),
    "any extended key usage": _with(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE])),
    "name constraints in a leaf": _with(x509.NameConstraints([x509.DNSName("a")], None), critical=True),
    "underscore": _dns("a_b.example"),
    "capital letters": _dns("A.example"),
    "dot at the end": _dns("a.example."),
    "an address as a DNS name": _dns("10.0.0.1"),
    "half a wildcard": _dns("w*.example"),
    "a wildcard in the middle": _dns("a.*.example"),
    "a label of 64": _dns("a" * 64 + ".example"),
    "bad punycode": _dns("xn--0.example"),
    "an empty label": _dns("a..example"),
    "a name twice": _dns("a.example", "a.example"),
    "a space": _dns("a b.example"),
    "a common name that is no alternative name": _subject("b.example"),
    "noRevAvail beside a CRL": _with(x509.UnrecognizedExtension(NO_REV_AVAIL, b"\x05\x00")),
    "a CRL by LDAP": _crl("ldap://a.example/cn=x"),
    "a CRL at a relative URL": _crl("/crl"),
    "an extension twice": lambda draft: replace(draft, extensions=(*draft.extensions, draft.extensions[0])),
    "an unknown critical extension": _with(
        x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00"), critical=True
    ),
}


class _Tampering(Drafter):
    """The real drafter, but for one change to what it drafts."""

    seed: Seed = staticmethod(lambda draft: draft)

    def leaf(self, profile: Profile, issuer: Issuer, wanted: Wanted) -> Draft:
        """Draft, and spoil."""
        return self.seed(super().leaf(profile, issuer, wanted))


class _NoLint(Linter):
    """The gate with its lint taken out."""

    def check(self, certificate: x509.Certificate, issuer: x509.Certificate | None, *, shape: Hashable = None) -> None:
        """Find nothing."""


def _gate(core: Core, linter: Linter, seed: Seed) -> Gate:
    drafter = _Tampering(core.clock, core.ids, Extensions(Locations("http://127.0.0.1:8080")))
    drafter.seed = seed  # type: ignore[method-assign]
    return Gate(
        database=core.database,
        clock=core.clock,
        ids=core.ids,
        trail=core.trail,
        issuers=core.issuers,
        profiles=core.profiles,
        drafter=drafter,
        linter=linter,
        worker="test",
    )


def _wanted() -> Wanted:
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    return Wanted("default", key, (Name("dns", "a.example"),), "test:lint")


def _issued(core: Core) -> int:
    query = select(func.count()).select_from(certificates).where(certificates.c.requester == "test:lint")
    with core.database.read() as tx:
        return tx.execute(query).scalar_one()


@pytest.mark.parametrize("shape_known", [False, True], ids=["first", "cached"])
def test_no_seeded_bad_certificate_passes_the_gate(core: Core, shape_known: bool) -> None:
    """Z-B2: each is refused before anything is reserved, also when a good one of its shape went before."""
    linter = Linter()
    if shape_known:
        _gate(core, linter, lambda draft: draft).issue(_wanted())
    before = _issued(core)
    passed = []
    for name, seed in SEEDS.items():
        try:
            _gate(core, linter, seed).issue(_wanted())
        except LintFailed as error:
            assert error.findings  # noqa: PT017 - which is why it was refused
        else:
            passed.append(name)
    assert passed == []
    assert _issued(core) == before


def test_without_the_lint_they_would_be_issued(core: Core) -> None:
    """Z-B2: the refusals are the lint's doing: with it removed, at least 20 of them are signed."""
    for seed in SEEDS.values():
        try:
            _gate(core, _NoLint(), seed).issue(_wanted())
        except (ValueError, DataError):
            continue  # what cannot even be read back, or kept
    assert _issued(core) >= 20
