"""The lint gate: what conforms passes, what does not is refused, whatever was linted before (CA10, Z-B2)."""

import base64
import concurrent.futures
import ipaddress
import random
import string
import subprocess
import threading
import time
import warnings
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID

from pki.authority.lint import Linter
from pki.authority.lint.pkix import Pkix
from pki.errors import LintFailed
from tests.counts import count
from tests.pki.authority.bad_certificates import CORPUS, unloadable
from tests.pki.authority.certificates import (
    CA_KINDS,
    FIRST,
    KINDS,
    NO_REV_AVAIL,
    Parts,
    Raw,
    access,
    constrained,
    constrained_leaf,
    integer,
    intermediate,
    leaf,
    moment,
    root,
)
from tests.pki.authority.corpus import Bad

SEED = 20260301
DNS, URI, EMAIL = x509.DNSName, x509.UniformResourceIdentifier, x509.RFC822Name


def _ip(text: str) -> x509.IPAddress:
    return x509.IPAddress(ipaddress.ip_address(text))


def _load(der: bytes) -> x509.Certificate:
    with warnings.catch_warnings():
        # The library warns of some faults (a serial that is not positive); here the gate is to speak.
        warnings.simplefilter("ignore")
        return x509.load_der_x509_certificate(der)


def _findings(linter: Linter, parts: Parts, shape: str | None = None) -> tuple[str, ...]:
    try:
        linter.check(_load(parts.preview()), parts.above, shape=shape)
    except LintFailed as error:
        return error.findings
    return ()


def _codes(findings: Sequence[str]) -> set[str]:
    return {finding.partition(":")[0] for finding in findings}


NO_REVOCATION = Raw(NO_REV_AVAIL, critical=False, value=b"\x05\x00")
OCSP_SIGNER = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.OCSP_SIGNING])
OCSP = x509.AccessDescription(AuthorityInformationAccessOID.OCSP, URI("http://ca.example/ocsp"))
GOOD: dict[str, Parts] = {
    **{f"root with {kind}": root(kind) for kind in CA_KINDS},
    **{f"intermediate with {kind}": intermediate(kind) for kind in CA_KINDS},
    **{f"leaf with {kind} by {above}": leaf(kind=kind, issuer_kind=above) for kind in KINDS for above in CA_KINDS},
    "intermediate with name constraints": constrained(),
    "addresses alone": leaf(_ip("10.0.0.1"), _ip("2001:db8::1")),
    "wildcard": leaf(DNS("*.a.example"), DNS("a.example")),
    "one label": leaf(DNS("db"), DNS("localhost")),
    "digit last": leaf(DNS("node.k8s1")),
    "A-label": leaf(DNS("xn--bcher-kva.example")),
    "e-mail": leaf(EMAIL("a.b+c@d.example")),
    "SPIFFE id": leaf(URI("spiffe://my_domain/ns/x")),
    "common name": leaf(DNS("a.example"), DNS("*.b.example"), common_name="*.b.example"),
    "no revocation": leaf().lacking(x509.CRLDistributionPoints).having(NO_REVOCATION),
    "OCSP": leaf().having(x509.AuthorityInformationAccess([OCSP])),
    "OCSP signer": leaf(common_name="OCSP").lacking(x509.SubjectAlternativeName).having(OCSP_SIGNER),
    "URL of one label": leaf().having(access("http://ca:8080/ca/1.cer")),
    "URL of an address": leaf().having(access("http://[::1]:8080/ca/1.cer")),
    "end in 2050": replace(root(), not_after=moment(datetime(2050, 1, 1, tzinfo=UTC))),
    "end in 2049": replace(root(), not_after=moment(datetime(2049, 12, 31, 23, 59, 59, tzinfo=UTC))),
    "permitted": constrained_leaf(
        DNS("a.corp.example"), _ip("10.1.2.3"), EMAIL("a@corp.example"), URI("https://x.corp.example/")
    ),
    "permitted wildcard": constrained_leaf(DNS("*.dept.corp.example"), common_name="*.dept.corp.example"),
}


@pytest.fixture(scope="module")
def linter() -> Linter:
    """One linter, as a process has."""
    return Linter()


@pytest.mark.parametrize("name", GOOD)
def test_a_good_certificate_passes(linter: Linter, name: str) -> None:
    """CA10: what the house means to issue conforms, by own rules and by pkilint."""
    assert _findings(linter, GOOD[name]) == ()


@pytest.mark.parametrize("bad", CORPUS, ids=lambda bad: bad.name)
def test_a_bad_certificate_is_refused_by_its_finding(linter: Linter, bad: Bad) -> None:
    """Z-B2: each certificate of the corpus is refused, for the reason that makes it bad."""
    assert bad.finding in _codes(_findings(linter, bad.make()))


@pytest.mark.parametrize("bad", CORPUS, ids=lambda bad: bad.name)
def test_a_bad_certificate_is_refused_though_its_shape_passed_before(bad: Bad) -> None:
    """Z-B2: a remembered shape hides no finding, even where the caller gives everything the same shape."""
    linter = Linter()
    parts = bad.make()
    for good in (
        leaf(),
        leaf(DNS("a.example"), common_name="a.example"),
        intermediate(),
        constrained_leaf(DNS("corp.example")),
    ):
        assert _findings(linter, good, "all the same") == ()
    assert bad.finding in _codes(_findings(linter, parts, "all the same"))


@pytest.mark.parametrize("bad", CORPUS, ids=lambda bad: bad.name)
def test_who_else_sees_a_bad_certificate_is_as_the_corpus_says(bad: Bad, tmp_path: Path) -> None:
    """CA10: pkilint and openssl judge the corpus independently of our rules; what they miss, ours find alone."""
    parts = bad.make()
    pem = b"-----BEGIN CERTIFICATE-----\n" + base64.encodebytes(parts.signed()) + b"-----END CERTIFICATE-----\n"
    (tmp_path / "certificate.pem").write_bytes(pem)
    (tmp_path / "issuer.pem").write_bytes(pem if parts.above is None else parts.above.public_bytes(Encoding.PEM))
    moment_of_use = str(int((FIRST + timedelta(seconds=1)).timestamp()))
    command = ["openssl", "verify", "-x509_strict", "-partial_chain", "-attime", moment_of_use]
    command += ["-trusted", str(tmp_path / "issuer.pem"), str(tmp_path / "certificate.pem")]
    done = subprocess.run(command, capture_output=True, check=False, timeout=60)
    seen = {"openssl"} if done.returncode else set()
    if Pkix().findings(parts.signed()):
        seen.add("pkilint")
    assert seen == set(bad.seen_by)


def test_the_corpus_is_large_and_others_see_much_of_it() -> None:
    """CA10: at least 30 seeded faults, each of its own name, of which others confirm at least 20."""
    assert len({bad.name for bad in CORPUS}) == len(CORPUS) >= 30
    assert sum(bool(bad.seen_by) for bad in CORPUS) >= 20


@pytest.mark.parametrize("name", unloadable())
def test_what_cannot_be_read_back_never_comes_to_the_gate(name: str) -> None:
    """S2: bad dates, versions and encodings are refused when the certificate is read back, before it is linted."""
    with pytest.raises((ValueError, x509.InvalidVersion)):
        x509.load_der_x509_certificate(unloadable()[name])


def test_openssl_verifies_the_good_certificates(tmp_path: Path) -> None:
    """S3: what passes the gate, and openssl is made to look at strictly, verifies up to its root."""
    (tmp_path / "root.pem").write_bytes(root().certificate().public_bytes(Encoding.PEM))
    above = {"plain": intermediate(), "constrained": constrained()}
    for name, parts in above.items():
        (tmp_path / f"{name}.pem").write_bytes(parts.certificate().public_bytes(Encoding.PEM))
    when = str(int((FIRST + timedelta(seconds=1)).timestamp()))
    checked = 0
    for parts in GOOD.values():
        names = [name for name, issuer in above.items() if parts.issuer == issuer.subject]
        if not names:
            continue
        (tmp_path / "leaf.pem").write_bytes(parts.certificate().public_bytes(Encoding.PEM))
        command = ["openssl", "verify", "-x509_strict", "-attime", when, "-CAfile", str(tmp_path / "root.pem")]
        command += ["-untrusted", str(tmp_path / f"{names[0]}.pem"), str(tmp_path / "leaf.pem")]
        done = subprocess.run(command, capture_output=True, check=False, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        checked += 1
    assert checked >= 15


def _label(chance: random.Random) -> str:
    inner = string.ascii_lowercase + string.digits
    return chance.choice("abcxyz") + "".join(chance.choices(inner, k=chance.randint(1, 20))) + chance.choice("abcxyz")


def _random_name(chance: random.Random) -> x509.GeneralName:
    host = ".".join(_label(chance) for _ in range(chance.randint(1, 5)))
    kind = chance.randrange(6)
    if kind == 0:
        return x509.IPAddress(ipaddress.IPv4Address(chance.getrandbits(32)))
    if kind == 1:
        return x509.IPAddress(ipaddress.IPv6Address(chance.getrandbits(128)))
    if kind == 2:
        return EMAIL(f"{_label(chance)}@{host}")
    if kind == 3:
        return URI(f"{chance.choice(['spiffe', 'https'])}://{host}/{_label(chance)}")
    return DNS(chance.choice(["", "*."]) + host)


def _random_leaf(chance: random.Random) -> Parts:
    names = list({str(name): name for name in (_random_name(chance) for _ in range(chance.randint(1, 12)))}.values())
    short = [name.value for name in names if isinstance(name, DNS) and len(name.value) <= 64]
    common_name = chance.choice(short) if short and chance.random() < 0.5 else None
    made = leaf(*names, kind=chance.choice(KINDS), issuer_kind=chance.choice(CA_KINDS), common_name=common_name)
    first = FIRST + timedelta(seconds=chance.randrange(10**8))
    serial = integer(chance.getrandbits(157) | 1 << 157)
    last = first + timedelta(seconds=chance.randrange(10**7))
    return replace(made, serial=serial, not_before=moment(first), not_after=moment(last))


def test_random_good_certificates_have_no_findings_with_or_without_shape() -> None:
    """Z-B2: of random good certificates, own rules and pkilint refuse none, though pkilint is asked every time."""
    chance = random.Random(SEED)
    linter, shaped = Linter(), Linter()
    for _ in range(count(1000, 10_000)):
        parts = _random_leaf(chance)
        assert _findings(linter, parts) == ()
        assert _findings(shaped, parts, "leaf") == ()


def test_what_pkilint_finds_in_a_value_own_rules_find_too() -> None:
    """Z-B2: values are judged by own rules alone once a shape is known, so those must see all that pkilint sees."""
    chance = random.Random(SEED)
    alphabet = string.ascii_letters + string.digits + ".-_*@:/ %~"
    pkix, linter, seen = Pkix(left_out=frozenset()), Linter(), 0
    for _ in range(count(300, 5000)):
        value = "".join(chance.choices(alphabet, k=chance.choice([1, 5, 12, 70, 260])))
        value = f"{value}.example.com" if chance.random() < 0.5 else value
        parts = leaf(chance.choice([DNS(value), URI(f"https://{value}/"), DNS(value.lower())]))
        if chance.random() < 0.3:
            parts = replace(parts, serial=integer(chance.choice([0, -5, 1 << 160, 1 << 159])))
        if pkix.findings(parts.signed()):
            seen += 1
            assert _is_narrow(value) or _findings(linter, parts)
    assert seen > 100


def _is_narrow(value: str) -> bool:
    """Tell whether pkilint refuses the name though RFC 5280 does not: one label, or a digit at its end."""
    host = value.partition("/")[0].partition(":")[0]
    labels = host.lower().removeprefix("*.").split(".")
    return len(labels) == 1 or not labels[-1][-1:].isalpha() or len(labels[-1]) == 1 or value.startswith("*.")


def test_a_failed_shape_is_looked_at_again() -> None:
    """Z-B2: one certificate that fails does not spoil its shape, nor does it make the next one pass."""
    linter = Linter()
    wrong = leaf().having(Raw(x509.CertificatePolicies.oid, critical=False, value=b"\x30\x00"))
    assert _findings(linter, wrong, "leaf")
    assert _findings(linter, wrong, "leaf")
    assert _findings(linter, leaf(), "leaf") == ()


def test_pkilint_is_asked_once_a_shape_and_again_when_anything_but_values_changes() -> None:
    """Z-B2: own rules run on each certificate, pkilint on the first of its kind: there lies the speed."""
    asked: list[bytes] = []
    linter = Linter()
    findings = linter._pkix.findings

    def counted(der: bytes) -> list[str]:
        asked.append(der)
        return findings(der)

    linter._pkix.findings = counted  # type: ignore[method-assign]
    chance = random.Random(SEED)
    for number in range(5):
        host = f"h{number}.{_label(chance)}.example"
        assert _findings(linter, leaf(DNS(host), common_name=host), "one") == ()
    assert len(asked) == 1
    changed = (leaf(), leaf(kind="rsa"), leaf(_ip("10.0.0.1")), leaf().having(access("http://b.example/2.cer")))
    for number, parts in enumerate(changed, start=2):
        assert _findings(linter, parts, "one") == ()
        assert len(asked) == number
    assert _findings(linter, leaf(), "another") == ()
    assert _findings(linter, leaf()) == ()
    assert len(asked) == len(changed) + 3


def test_no_more_shapes_are_remembered_than_agreed() -> None:
    """Z-B2: memory is bounded; a shape that was forgotten is looked at again."""
    linter = Linter(remembered=2)
    for shape in ("a", "b", "c", "a"):
        assert _findings(linter, leaf(), shape) == ()
    assert len(linter._conforming) == 2


def test_threads_lint_the_same_and_different_shapes_at_once() -> None:
    """Z-B2: one linter serves all threads; the bad among the good are found all the same."""
    linter, barrier = Linter(), threading.Barrier(8)
    good, wrong = leaf(), leaf(DNS("A.example"))

    def work(number: int) -> bool:
        barrier.wait(timeout=60)
        return all(
            _findings(linter, good, f"shape {turn % 5}") == () and _findings(linter, wrong, f"shape {turn % 5}") != ()
            for turn in range(number, number + 20)
        )

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(8)))


def test_the_gate_costs_less_than_a_fifth_of_a_millisecond() -> None:
    """Z-B2: the gate is no bottleneck: the best of some batches, since the machine does other things as well."""
    linter, parts = Linter(), leaf(common_name="a.example")
    der = parts.preview()
    batches = []
    for _ in range(20):
        begin = time.perf_counter()
        for _ in range(50):
            linter.check(x509.load_der_x509_certificate(der), parts.above, shape="leaf")
        batches.append((time.perf_counter() - begin) / 50)
    assert min(batches) < 0.0002


def test_findings_name_every_fault_at_once_and_quote_names_safely() -> None:
    """CA10: the operator sees all that is wrong; a name is shown in ASCII and not at full length."""
    parts = replace(leaf(DNS("a\x1b[31m.example")), serial=integer(5)).lacking(x509.KeyUsage)
    findings = _findings(Linter(), parts)
    assert _codes(findings) == {"serial", "key-usage-absent", "san-dns"}
    assert all(finding.isprintable() for finding in findings)
