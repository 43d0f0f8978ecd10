"""X15: a plain answer to a plain question is read by hand; whatever else comes is left to the resolver."""

import contextlib
import ipaddress
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset
import pytest

from acme_server.validation.deadline import Deadline
from acme_server.validation.failure import ValidationFailed
from acme_server.validation.question import ask_plainly
from acme_server.validation.resolve import resolve_addresses
from acme_server.validation.settings import ValidationSettings
from tests.acme_server.validation.servers import DnsServer, running

NAME = "a.example.com"
ANY = (ipaddress.ip_network("0.0.0.0/0"), ipaddress.ip_network("::/0"))
ADDRESSES = {"A": ["10.0.0.1", "10.0.0.2"], "AAAA": ["2001:db8::1"]}
KINDS = {"A": dns.rdatatype.A, "AAAA": dns.rdatatype.AAAA}

Reply = Callable[[bytes], list[bytes]]
"""From a question to the datagrams that answer it."""


@pytest.fixture
def nameserver() -> Iterator[DnsServer]:
    """Give a DNS server."""
    server = DnsServer()
    with running(server):
        yield server


@contextmanager
def _replying(reply: Reply) -> Iterator[tuple[str, int]]:
    """Give the address of a server that sends these datagrams."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))

        def serve() -> None:
            with contextlib.suppress(OSError):
                question, peer = server.recvfrom(4096)
                for datagram in reply(question):
                    server.sendto(datagram, peer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield server.getsockname()
        thread.join()


def _answer(question: bytes, *texts: str, name: str = NAME, kind: str = "A") -> bytes:
    """Return the answer that a name server would give."""
    message = dns.message.make_response(dns.message.from_wire(question))
    if texts:
        message.answer.append(dns.rrset.from_text(f"{name}.", 0, "IN", kind, *texts))
    return message.to_wire()


def _with(octets: bytes, position: int, value: int) -> bytes:
    return octets[:position] + bytes([value]) + octets[position + 1 :]


def _asked(reply: Reply, seconds: float = 2.0) -> list[str] | None:
    with _replying(reply) as server:
        found = ask_plainly(server, NAME, dns.rdatatype.A, seconds)
    return None if found is None else [str(address) for address in found]


@pytest.mark.parametrize("kind", KINDS)
def test_a_plain_answer_is_read(nameserver: DnsServer, kind: str) -> None:
    """RFC 1035 4.1, RFC 3596 2: all addresses of the kind."""
    nameserver.zone[NAME, kind] = ADDRESSES[kind]
    found = ask_plainly(nameserver.address, NAME, KINDS[kind], 2.0)
    assert sorted(str(address) for address in found or ()) == ADDRESSES[kind]


def test_a_name_without_addresses_of_the_kind_has_none(nameserver: DnsServer) -> None:
    """RFC 2308 2.2: no error and no record is an answer, and not asked again."""
    nameserver.zone[NAME, "A"] = ADDRESSES["A"]
    assert ask_plainly(nameserver.address, NAME, dns.rdatatype.AAAA, 2.0) == []


def test_an_answer_to_another_question_is_passed_over() -> None:
    """RFC 5452 9.1: what has not this number and this question is a guess; the answer behind it is taken."""

    def reply(question: bytes) -> list[bytes]:
        right = _answer(question, "10.0.0.1")
        forged = _answer(question, "10.6.6.6")
        return [_with(forged, 0, forged[0] ^ 1), _with(forged, 13, ord("b")), b"", forged[:2], right]

    assert _asked(reply) == ["10.0.0.1"]


NOT_PLAIN: dict[str, Reply] = {
    "an outcome": lambda question: [_with(_answer(question), 3, dns.rcode.SERVFAIL)],
    "truncated": lambda question: [_with(_answer(question, "10.0.0.1"), 2, 0x83)],
    "a question": lambda question: [_with(_answer(question, "10.0.0.1"), 2, 0x01)],
    "two questions": lambda question: [_with(_answer(question, "10.0.0.1"), 5, 2)],
    "an alias": lambda question: [_answer(question, "b.example.com.", kind="CNAME")],
    "another name's": lambda question: [_answer(question, "10.0.0.1", name="b.example.com")],
    "another kind": lambda question: [_answer(question, "2001:db8::1", kind="AAAA")],
    "a record too few": lambda question: [_with(_answer(question, "10.0.0.1"), 7, 2)],
    "no records": lambda question: [_with(_answer(question), 6, 0xFF)],
    "cut short": lambda question: [_answer(question, "10.0.0.1")[:-1]],
    "only the question": lambda question: [question],
}


@pytest.mark.parametrize("what", NOT_PLAIN)
def test_what_is_not_plain_is_left_to_the_resolver(what: str) -> None:
    """X15: nothing is guessed from an answer that is wrong, cut, or about something else."""
    assert _asked(NOT_PLAIN[what]) is None


def test_silence_ends_in_time() -> None:
    """D1: a server that says nothing, or nothing to the point, holds the question no longer than it may."""
    for reply in (lambda _: [], lambda question: [_with(_answer(question), 0, question[0] ^ 1)] * 3):
        begun = time.monotonic()
        assert _asked(reply, 0.2) is None
        assert time.monotonic() - begun < 1.0


def test_nobody_at_the_port_is_no_answer() -> None:
    """A refused datagram is left to the resolver, which says what it means."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        server = free.getsockname()
    assert ask_plainly(server, NAME, dns.rdatatype.A, 1.0) is None


def _resolved(nameserver: DnsServer) -> list[str]:
    settings = ValidationSettings(resolver=nameserver.address, allow=ANY)
    return [str(address) for address in resolve_addresses(NAME, settings, Deadline(4.0))]


def test_an_alias_is_followed(nameserver: DnsServer) -> None:
    """RFC 1034 3.6.2: through the resolver, to the addresses at its end."""
    nameserver.zone[NAME, "CNAME"] = ["b.example.com."]
    nameserver.zone["b.example.com", "A"] = ADDRESSES["A"]
    nameserver.zone["b.example.com", "AAAA"] = ADDRESSES["AAAA"]
    assert sorted(_resolved(nameserver)) == [*ADDRESSES["A"], *ADDRESSES["AAAA"]]


def test_an_answer_too_long_for_a_datagram_is_had_over_tcp(nameserver: DnsServer) -> None:
    """RFC 7766 5: the server says so, and is asked by a connection."""
    nameserver.zone[NAME, "A"] = [f"10.0.{number}.1" for number in range(200)]
    assert len(_resolved(nameserver)) == 2


def test_a_plain_name_is_asked_for_once_a_kind(nameserver: DnsServer) -> None:
    """A common look-up is two questions, and no third."""
    nameserver.zone[NAME, "A"] = ["10.0.0.1"]
    assert _resolved(nameserver) == ["10.0.0.1"]
    assert nameserver.asked == {(NAME, "A"): 1, (NAME, "AAAA"): 1}


def test_a_name_that_is_not_there_is_named(nameserver: DnsServer) -> None:
    """RFC 8555 6.7: NXDOMAIN is said."""
    with pytest.raises(ValidationFailed, match="NXDOMAIN"):
        assert _resolved(nameserver)
