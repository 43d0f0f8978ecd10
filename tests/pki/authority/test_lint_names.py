"""The gate's rules on names against the doors', the path validator's and each other's (S4, S5, X8)."""

import ipaddress
import random
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from pki.authority.lint import Linter, syntax
from pki.authority.name_constraints import forbidden_names
from pki.authority.names import Name, name_of
from pki.errors import LintFailed, Rejected
from tests.counts import count
from tests.pki.authority.certificates import FIRST, Parts, ca_parts, key, leaf, raw, root

SEED = 20260301
LABELS = ("a", "b", "corp", "example", "acorp")
FAULT_OF = {"dns": syntax.dns_fault, "email": syntax.email_fault, "uri": syntax.uri_fault}
GENERAL = {"dns": x509.DNSName, "email": x509.RFC822Name, "uri": x509.UniformResourceIdentifier}


def _host(chance: random.Random) -> str:
    return ".".join(chance.choices(LABELS, k=chance.randint(1, 4)))


def _name(chance: random.Random, types: str) -> Name:
    kind = chance.choice(types.split())
    if kind == "dns":
        return Name("dns", _host(chance))
    if kind == "wildcard":
        return Name("dns", f"*.{_host(chance)}")
    if kind == "ip":
        return Name("ip", f"10.{chance.randrange(3)}.0.{chance.randrange(3)}")
    return (
        Name("email", f"{chance.choice('xy')}@{_host(chance)}")
        if kind == "email"
        else Name("uri", f"spiffe://{_host(chance)}/x")
    )


def _subtree(chance: random.Random, types: str) -> x509.GeneralName:
    kind = chance.choice(types.split())
    if kind in {"dns", "wildcard"}:
        return x509.DNSName(_host(chance))
    if kind == "ip":
        return x509.IPAddress(ipaddress.ip_network(chance.choice(["10.0.0.0/8", "10.1.0.0/16", "10.2.0.1/32"])))
    dot = chance.choice(["", "."])
    if kind == "email":
        return x509.RFC822Name(chance.choice([f"x@{_host(chance)}", f"{dot}{_host(chance)}"]))
    return x509.UniformResourceIdentifier(dot + _host(chance))


def _constraints(chance: random.Random, types: str) -> x509.NameConstraints:
    permitted = [_subtree(chance, types) for _ in range(chance.randrange(4))]
    excluded = [_subtree(chance, types) for _ in range(chance.randrange(0 if permitted else 1, 3))]
    return x509.NameConstraints(permitted or None, excluded or None)


def _issuer(constraints: x509.NameConstraints) -> Parts:
    return ca_parts("p256", "constrained", (root(), "p256"), path_length=0, more=(raw(constraints, critical=True),))


def _leaf(issuer: Parts, *names: Name) -> Parts:
    return leaf(*(name.general_name() for name in names), issuer=issuer, issuer_key=key("p256", "constrained"))


def _is_refused(linter: Linter, parts: Parts) -> bool:
    try:
        linter.check(x509.load_der_x509_certificate(parts.preview()), parts.above, shape="leaf")
    except LintFailed as error:
        return all(finding.startswith("name-constraints:") for finding in error.findings)
    return False


def test_the_gate_and_the_doors_agree_on_name_constraints() -> None:
    """X8: two readings of RFC 5280 4.2.1.10, written apart, agree on random names and subtrees."""
    chance, linter, types, refused, rounds = (
        random.Random(SEED),
        Linter(),
        "dns wildcard ip email uri",
        0,
        count(300, 5000),
    )
    for _ in range(rounds):
        issuer = _issuer(_constraints(chance, types))
        for _ in range(4):
            name = _name(chance, types)
            parts = _leaf(issuer, name)
            expected = bool(forbidden_names([name], [issuer.certificate()]))
            assert _is_refused(linter, parts) == expected, f"{name} {issuer.extensions}"
            refused += expected
    assert rounds // 2 < refused < rounds * 4


def test_the_gate_and_a_path_validator_agree_on_name_constraints() -> None:
    """S5: what the gate lets pass verifies, and what it refuses does not, by a validator that is not ours."""
    chance, linter, refused, rounds = random.Random(SEED), Linter(), 0, count(300, 5000)
    store = Store([root().certificate()])
    for _ in range(rounds):
        issuer = _issuer(_constraints(chance, "dns ip"))
        name = _name(chance, "dns ip")
        parts = _leaf(issuer, name)
        subject = name.general_name()
        assert isinstance(subject, x509.DNSName | x509.IPAddress)
        verifier = PolicyBuilder().store(store).time(FIRST + timedelta(seconds=1)).build_server_verifier(subject)
        try:
            verifier.verify(parts.certificate(), [issuer.certificate()])
            verified = True
        except VerificationError:
            verified = False
        assert _is_refused(linter, parts) != verified, f"{name} {issuer.extensions}"
        refused += not verified
    assert rounds // 8 < refused < rounds


def _random_value(chance: random.Random, kind: str) -> str:
    pieces = ["a", "B", "1", "-", "--", ".", "..", "_", "xn--", "xn--bcher-kva", "*", "*.", "0x1", "@", "+", "é", " "]
    if kind == "uri":
        pieces += ["://", "https://", "spiffe://", "/", "?", "#", ":80", "[::1]", "%41", "^"]
    return "".join(chance.choices(pieces, k=chance.randint(1, 6))) + chance.choice(["", ".example", "@b.example"])


@pytest.mark.parametrize("kind", GENERAL)
def test_the_gate_takes_no_name_that_the_doors_would_not(kind: str) -> None:
    """S4: what the gate takes for a name, the doors take too, in that very form; most of it is refused by both."""
    chance, taken, rounds = random.Random(SEED), 0, count(20_000, 500_000)
    for _ in range(rounds):
        value = _random_value(chance, kind)
        if not value.isascii() or FAULT_OF[kind](value) is not None:
            continue
        taken += 1
        assert str(name_of(GENERAL[kind](value))) == f"{kind}:{value}"
    assert rounds // 1000 < taken < rounds // 2


@pytest.mark.parametrize("kind", GENERAL)
def test_the_gate_takes_every_name_that_the_doors_take(kind: str) -> None:
    """S4: no request passes a door only to fail at the gate, where it would be the house's fault."""
    chance = random.Random(SEED)
    refused = set()
    for _ in range(count(20_000, 500_000)):
        value = _random_value(chance, kind)
        try:
            name = name_of(GENERAL[kind](value))
        except (Rejected, ValueError):
            continue
        if FAULT_OF[kind](name.value) is not None:
            refused.add(name.value)
    assert refused == set()


def test_a_wildcard_over_an_excluded_name_is_refused() -> None:
    """X8: `*.corp` would serve `a.corp`, which is excluded; openssl and validators that compare text miss it."""
    issuer = _issuer(x509.NameConstraints(None, [x509.DNSName("a.corp")]))
    linter = Linter()
    assert _is_refused(linter, _leaf(issuer, Name("dns", "*.corp")))
    assert not _is_refused(linter, _leaf(issuer, Name("dns", "*.b.corp")))
