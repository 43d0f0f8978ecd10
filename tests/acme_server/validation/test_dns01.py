"""dns-01 against a DNS server that answers well and badly (X17)."""

import base64
import dataclasses
import hashlib
import time
from collections.abc import Iterator

import pytest

from acme_server.identifiers import Identifier
from acme_server.problems import ProblemType
from acme_server.validation import ValidationFailed, ValidationSettings, dns01
from tests.acme_server.validation.servers import DnsServer, running

KEY_AUTHORIZATION = "token.thumbprint"
DIGEST = base64.urlsafe_b64encode(hashlib.sha256(KEY_AUTHORIZATION.encode()).digest()).decode().rstrip("=")
CHALLENGE = "_acme-challenge.example.com"


@pytest.fixture
def nameserver() -> Iterator[DnsServer]:
    """Give a DNS server without any record."""
    server = DnsServer()
    with running(server):
        yield server


def _validate(nameserver: DnsServer, name: str = "example.com", **changes: object) -> bool:
    """Return True; ValidationFailed comes through."""
    settings = ValidationSettings(resolver=nameserver.address, deadline=1.0)
    settings = dataclasses.replace(settings, **changes)  # type: ignore[arg-type]
    dns01.validate(Identifier("dns", name), "token", KEY_AUTHORIZATION, settings)
    return True


def _failure(nameserver: DnsServer) -> ValidationFailed:
    begun = time.monotonic()
    with pytest.raises(ValidationFailed) as caught:
        assert _validate(nameserver)
    assert time.monotonic() - begun < 2.0
    return caught.value


def test_the_digest_is_found_below_the_name_and_below_a_wildcards_base(nameserver: DnsServer) -> None:
    """RFC 8555 8.4: _acme-challenge, without the wildcard label."""
    nameserver.zone[CHALLENGE, "TXT"] = [f'"{DIGEST}"']
    assert _validate(nameserver)
    assert _validate(nameserver, "*.example.com")


def test_one_of_many_records_is_enough(nameserver: DnsServer) -> None:
    """X17: among many TXT records, so many that the answer comes over TCP, the right one is found."""
    nameserver.zone[CHALLENGE, "TXT"] = [f'"{number:043d}"' for number in range(200)] + [f'"{DIGEST}"']
    assert _validate(nameserver)


def test_a_record_in_several_strings_is_one_text(nameserver: DnsServer) -> None:
    """RFC 8555 8.4: strings of a record are joined."""
    nameserver.zone[CHALLENGE, "TXT"] = [f'"{DIGEST[:10]}" "{DIGEST[10:]}"']
    assert _validate(nameserver)


def test_an_alias_is_followed(nameserver: DnsServer) -> None:
    """RFC 8555 8.4: a CNAME may delegate the validation to another zone."""
    nameserver.zone[CHALLENGE, "CNAME"] = ["x.validation.example."]
    nameserver.zone["x.validation.example", "TXT"] = [f'"{DIGEST}"']
    assert _validate(nameserver)


def test_an_alias_loop_ends(nameserver: DnsServer) -> None:
    """X17: CNAMEs in a circle, and a chain too long, are dns errors, in time."""
    nameserver.zone[CHALLENGE, "CNAME"] = ["b.example.com."]
    nameserver.zone["b.example.com", "CNAME"] = [f"{CHALLENGE}."]
    assert _failure(nameserver).problem_type is ProblemType.DNS
    nameserver.zone[CHALLENGE, "CNAME"] = [f"{CHALLENGE}."]
    assert _failure(nameserver).problem_type is ProblemType.DNS


def test_another_digest_is_an_incorrect_response(nameserver: DnsServer) -> None:
    """RFC 8555 6.7: incorrectResponse; what the records say is not repeated."""
    for texts in (['"internal-secret"'], [f'"{DIGEST} "'], [f'"{DIGEST.lower()}"'], ['""'], [f'"{DIGEST[:-1]}"']):
        nameserver.zone[CHALLENGE, "TXT"] = texts
        failure = _failure(nameserver)
        assert failure.problem_type is ProblemType.INCORRECT_RESPONSE
        assert "internal-secret" not in failure.detail


def test_a_name_without_the_record_fails(nameserver: DnsServer) -> None:
    """RFC 8555 6.7: NXDOMAIN and no TXT record are told apart."""
    assert _failure(nameserver).problem_type is ProblemType.DNS
    nameserver.zone[CHALLENGE, "A"] = ["127.0.0.1"]
    assert _failure(nameserver).problem_type is ProblemType.INCORRECT_RESPONSE


def test_a_bogus_signature_or_no_answer_fails_closed(nameserver: DnsServer) -> None:
    """X17: the resolver says SERVFAIL for what DNSSEC refuses; silence ends at the deadline."""
    nameserver.zone[CHALLENGE, "TXT"] = [f'"{DIGEST}"']
    nameserver.broken.add(CHALLENGE)
    assert _failure(nameserver).problem_type is ProblemType.DNS
    nameserver.broken.clear()
    nameserver.silent.add(CHALLENGE)
    assert _failure(nameserver).problem_type is ProblemType.DNS


def test_an_address_has_no_dns_challenge(nameserver: DnsServer) -> None:
    """RFC 8738 7: refused by the validator, too."""
    settings = ValidationSettings(resolver=nameserver.address)
    with pytest.raises(ValidationFailed):
        dns01.validate(Identifier("ip", "192.0.2.1"), "token", KEY_AUTHORIZATION, settings)
