"""Identifiers: one form for each name."""

import ipaddress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acme_server.identifiers import Identifier, parse_identifier
from acme_server.problems import Problem, ProblemType


def _parse(value: object, kind: object = "dns") -> Identifier:
    return parse_identifier({"type": kind, "value": value})


def _refusal(raw: object) -> ProblemType:
    with pytest.raises(Problem) as caught:
        parse_identifier(raw)
    assert caught.value.status == 400
    return caught.value.type


@pytest.mark.parametrize(
    ("value", "canonical"),
    [
        ("www.example.com", "www.example.com"),
        ("WWW.Example.COM", "www.example.com"),
        ("localhost", "localhost"),
        ("a-1.b--", None),
        ("3com.example", "3com.example"),
        ("xn--mnchen-3ya.example", "xn--mnchen-3ya.example"),
        ("XN--MNCHEN-3YA.example", "xn--mnchen-3ya.example"),
        ("*.example.com", "*.example.com"),
        ("*.Internal", "*.internal"),
        ("a" * 63 + ".example", "a" * 63 + ".example"),
        (".".join(["a" * 49] * 5) + ".ab", ".".join(["a" * 49] * 5) + ".ab"),
    ],
)
def test_dns_names_have_one_form(value: str, canonical: str | None) -> None:
    """P1 for names: case is folded; single labels and wildcards are names."""
    if canonical is None:
        assert _refusal({"type": "dns", "value": value}) is ProblemType.MALFORMED
        return
    identifier = _parse(value)
    assert identifier == Identifier("dns", canonical)
    assert _parse(identifier.value) == identifier


@pytest.mark.parametrize(
    "value",
    [
        "",
        ".",
        "example.com.",
        ".example.com",
        "a..b",
        "a b",
        "a_b.example",
        "-a.example",
        "a-.example",
        "münchen.example",
        "\u212a.example",  # the Kelvin sign, which lower() folds to k
        "a.example\n",
        "a.example\x00.b",
        "a/b",
        "a:80",
        "a@b",
        "a%2eb",
        "a" * 64 + ".example",
        ".".join(["a" * 49] * 5) + ".abcde",
        "*." + ".".join(["a" * 49] * 5) + ".ab",
        "*.",
        "*..a",
    ],
)
def test_what_is_no_dns_name_is_malformed(value: str) -> None:
    """RFC 8555 7.1.3, RFC 5280 4.2.1.6: only LDH labels and A-labels, within their lengths."""
    assert _refusal({"type": "dns", "value": value}) is ProblemType.MALFORMED


@pytest.mark.parametrize(
    "value",
    [
        "192.0.2.1",
        "127.1",
        "2130706433",
        "0x7f.1",
        "0x7f000001",
        "1.2.3.4.5",
        "2001:db8::1",
        "::1",
        "[::1]",
        "fe80::1%eth0",
        "*.192.0.2.1",
        "a.example.123",
    ],
)
def test_a_dns_name_that_looks_like_an_address_is_rejected(value: str) -> None:
    """X15, RFC 8738: an address comes as type ip; a resolver would read 127.1 as one."""
    assert _refusal({"type": "dns", "value": value}) is ProblemType.REJECTED_IDENTIFIER


@pytest.mark.parametrize(
    "value",
    [
        "*",
        "a.*.example",
        "a*.example",
        "*a.example",
        "**.example",
        "xn--.example",
        "xn--a.example",
        "xn--ls8h.example",
        "ab--cd.example",
        "xn--abc-.example",
        "xn--" + "a" * 59 + ".example",
        "*.*.example",
    ],
)
def test_bad_wildcards_and_bad_a_labels_are_rejected(value: str) -> None:
    """RFC 8555 7.1.3: the wildcard is the whole first label; what begins with xn-- must be properly encoded."""
    assert _refusal({"type": "dns", "value": value}) in {ProblemType.REJECTED_IDENTIFIER, ProblemType.MALFORMED}


def test_a_wildcard_knows_its_base() -> None:
    """RFC 8555 7.1.4: an authorization names the base domain, without the wildcard."""
    wildcard = _parse("*.example.com")
    assert wildcard.is_wildcard
    assert wildcard.base == Identifier("dns", "example.com")
    plain = _parse("example.com")
    assert not plain.is_wildcard
    assert plain.base is plain


@pytest.mark.parametrize("value", ["192.0.2.1", "0.0.0.0", "2001:db8::1", "::", "2001:db8:0:1:1:1:1:1", "fd00::ec"])  # noqa: S104
def test_addresses_in_canonical_form_are_read(value: str) -> None:
    """RFC 8738 3: dotted decimal or RFC 5952 text; which ones may be used is asked elsewhere."""
    assert _parse(value, "ip") == Identifier("ip", value)


@pytest.mark.parametrize(
    "value",
    [
        "",
        "192.0.2.01",
        "192.0.2",
        "192.0.2.1 ",
        "0xc0.0.2.1",
        "192.0.2.1/32",
        "2001:DB8::1",
        "2001:db8:0::1",
        "2001:0db8::1",
        "[::1]",
        "fe80::1%1",
        "example.com",
        "1" * 100,
        "٣.0.0.1",
    ],
)
def test_an_address_in_another_form_is_malformed(value: str) -> None:
    """RFC 8738 3: one address has one text."""
    assert _refusal({"type": "ip", "value": value}) is ProblemType.MALFORMED


def test_an_ipv4_address_in_ipv6_is_rejected() -> None:
    """X15: ::ffff:127.0.0.1 is 127.0.0.1 and must be named so."""
    assert _refusal({"type": "ip", "value": "::ffff:7f00:1"}) is ProblemType.REJECTED_IDENTIFIER


@pytest.mark.parametrize(
    "raw",
    [
        None,
        [],
        "dns",
        {},
        {"type": "dns"},
        {"value": "a"},
        {"type": 1, "value": "a"},
        {"type": "dns", "value": 5},
        {"type": "dns", "value": ["a"]},
    ],
)
def test_what_is_no_identifier_is_malformed(raw: object) -> None:
    """RFC 8555 7.4: type and value, both text."""
    assert _refusal(raw) is ProblemType.MALFORMED


@pytest.mark.parametrize("kind", ["email", "DNS", "permanent-identifier", "", "TNAuthList"])
def test_other_types_are_unsupported(kind: str) -> None:
    """RFC 8555 6.7: unsupportedIdentifier, so that a client can tell it from a refused name."""
    assert _refusal({"type": kind, "value": "a"}) is ProblemType.UNSUPPORTED_IDENTIFIER


@given(st.text(max_size=80) | st.from_regex(r"(\*\.)?(xn--)?[a-z0-9-]{1,10}(\.[a-z0-9-]{1,8}){0,3}", fullmatch=True))
def test_any_text_gives_a_canonical_name_or_a_problem(value: str) -> None:
    """D4: an accepted name is lower-case ASCII and reads back as itself; anything else is a Problem."""
    try:
        identifier = _parse(value)
    except Problem:
        return
    assert identifier.value == value.lower()
    assert _parse(identifier.value) == identifier


@given(st.ip_addresses())
def test_every_address_has_its_text(address: Any) -> None:
    """RFC 8738: what the standard writes is read, but for IPv4 in IPv6."""
    mapped = isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None
    if not mapped:
        assert _parse(str(address), "ip").value == str(address)
