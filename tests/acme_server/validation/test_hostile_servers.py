"""Validators against servers that answer badly, slowly, endlessly, or from where they must not be (X15)."""

import dataclasses
import ipaddress
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from acme_server.identifiers import Identifier
from acme_server.problems import ProblemType
from acme_server.validation import ValidationFailed, ValidationSettings, http01
from acme_server.validation.addresses import why_closed
from acme_server.validation.responses import BODY_LIMIT
from tests.acme_server.validation.servers import (
    DnsServer,
    Handler,
    TcpServer,
    answering,
    endless,
    redirecting,
    request_of,
    running,
    silent,
)

NAME = "www.example.com"
TOKEN = "dG9rZW4"  # noqa: S105 - a challenge's
KEY_AUTHORIZATION = f"{TOKEN}.thumbprint"
PATH = f"/.well-known/acme-challenge/{TOKEN}"
LOOPBACK = (ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128"))
OK = b"HTTP/1.1 200 OK\r\n"

Start = Callable[[Handler], TcpServer]


@pytest.fixture
def nameserver() -> Iterator[DnsServer]:
    """Give a DNS server for which every name is on this machine."""
    server = DnsServer()
    server.wildcard_address = "127.0.0.1"
    with running(server):
        yield server


@pytest.fixture
def start() -> Iterator[Start]:
    """Give a function that starts a server with a handler."""
    with ExitStack() as stack:

        def begin(handler: Handler) -> TcpServer:
            server = TcpServer(handler)
            stack.enter_context(running(server))
            return server

        yield begin


def _settings(nameserver: DnsServer, port: int, **changes: object) -> ValidationSettings:
    made = ValidationSettings(resolver=nameserver.address, http01_port=port, allow=LOOPBACK, deadline=1.0)
    return dataclasses.replace(made, **changes)  # type: ignore[arg-type]


def _validate(settings: ValidationSettings, name: str = NAME) -> bool:
    """Return True; ValidationFailed comes through."""
    kind = "ip" if name[0].isdecimal() or ":" in name else "dns"
    http01.validate(Identifier(kind, name), TOKEN, KEY_AUTHORIZATION, settings)
    return True


def _failure(settings: ValidationSettings, name: str = NAME) -> ValidationFailed:
    """Return how the validation fails; it must do so soon after the deadline at the latest."""
    begun = time.monotonic()
    with pytest.raises(ValidationFailed) as caught:
        assert _validate(settings, name)
    assert time.monotonic() - begun < settings.deadline + 1.0
    return caught.value


def test_the_right_body_is_accepted_with_white_space_behind_it(nameserver: DnsServer, start: Start) -> None:
    """RFC 8555 8.3: white space at the end of the body is ignored; chunks and a missing length are HTTP, too."""
    body = KEY_AUTHORIZATION.encode() + b" \r\n"
    chunk = f"{len(body):x}\r\n".encode() + body + b"\r\n0\r\n\r\n"
    for raw in (
        OK + b"\r\n" + body,
        OK + b"Content-Length: " + str(len(body)).encode() + b"\r\n\r\n" + body,
        OK + b"Transfer-Encoding: chunked\r\n\r\n" + chunk,
        OK + b"Content-Type: text/html\r\n\r\n" + body,
    ):
        assert _validate(_settings(nameserver, start(answering(raw)).port))


BAD_ANSWERS = {
    "nothing": b"",
    "no HTTP": b"SSH-2.0-OpenSSH_9.2\r\n",
    "half a head": b"HTTP/1.1 200 OK\r\nContent-",
    "a short body": OK + b"Content-Length: 500\r\n\r\nabc",
    "another body": OK + b"\r\nsomething else",
    "a prefix": OK + b"\r\n" + KEY_AUTHORIZATION.encode()[:-1],
    "more behind it": OK + b"\r\n" + KEY_AUTHORIZATION.encode() + b"x",
    "white space before it": OK + b"\r\n " + KEY_AUTHORIZATION.encode(),
    "an empty body": OK + b"\r\n",
    "404": b"HTTP/1.1 404 Not Found\r\n\r\n" + KEY_AUTHORIZATION.encode(),
    "206": b"HTTP/1.1 206 Partial Content\r\n\r\n" + KEY_AUTHORIZATION.encode(),
    "204": b"HTTP/1.1 204 No Content\r\n\r\n",
    "compressed": OK + b"Content-Encoding: gzip\r\n\r\n" + b"\x1f\x8b\x08" + bytes(100),
    "a huge chunk": OK + b"Transfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFFFF\r\nabc",
    "a bad chunk": OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nabc",
    "a status of its own": b"HTTP/1.1 OK 200\r\n\r\n" + KEY_AUTHORIZATION.encode(),
    "octets": bytes(range(256)) * 10,
}


def test_bad_answers_fail_and_are_not_repeated(nameserver: DnsServer, start: Start) -> None:
    """X15: whatever comes back is connection or incorrectResponse, and none of it is in the error."""
    for name, raw in BAD_ANSWERS.items():
        failure = _failure(_settings(nameserver, start(answering(raw)).port))
        assert failure.problem_type in {ProblemType.CONNECTION, ProblemType.INCORRECT_RESPONSE}, name
        assert "something else" not in failure.detail
        assert "OpenSSH" not in failure.detail


def test_endless_and_slow_answers_end_in_time(nameserver: DnsServer, start: Start) -> None:
    """X15, D1: a body without end, headers without end, one octet at a time, or silence: over by the deadline."""
    for handler in (
        endless(OK + b"\r\n", b"x" * 65536),
        endless(OK, b"X-Header: " + b"y" * 1000 + b"\r\n"),
        endless(OK, b"z" * 65536),
        endless(b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 100 Continue\r\n\r\n"),
        endless(OK + b"\r\n", b"x", pause=0.05),
        endless(OK, b"a", pause=0.05),
        endless(OK + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n", pause=0.02),
        silent,
    ):
        failure = _failure(_settings(nameserver, start(handler).port))
        assert failure.problem_type in {ProblemType.CONNECTION, ProblemType.INCORRECT_RESPONSE}


def test_a_long_body_is_refused_by_its_length(nameserver: DnsServer, start: Start) -> None:
    """X15: the body is bounded, a decompression bomb is never opened."""
    raw = OK + b"Content-Length: 1000000\r\n\r\n" + b"x" * (BODY_LIMIT + 10)
    assert "more than" in _failure(_settings(nameserver, start(answering(raw)).port)).detail


def test_a_redirect_loop_ends_after_ten(nameserver: DnsServer, start: Start) -> None:
    """X15: ten redirects are followed, an eleventh is not."""
    looping = start(redirecting(PATH))
    failure = _failure(_settings(nameserver, looping.port, deadline=5.0))
    assert "10 redirects" in failure.detail
    assert looping.connections == 11


def test_a_redirect_is_followed_to_another_host(nameserver: DnsServer, start: Start) -> None:
    """RFC 8555 8.3: relative and absolute redirects are followed, the host that they name is asked for."""
    asked: list[tuple[str, str]] = []

    def handle(connection: socket.socket) -> None:
        path, headers = request_of(connection)
        asked.append((path, headers["host"].partition(":")[0]))
        steps = {PATH: "/second?x=1", "/second?x=1": f"http://OTHER.example.com:{server.port}/third"}
        if path in steps:
            connection.sendall(f"HTTP/1.1 308 Moved\r\nLocation: {steps[path]}\r\n\r\n".encode())
        else:
            connection.sendall(OK + b"\r\n" + KEY_AUTHORIZATION.encode())

    server = start(handle)
    assert _validate(_settings(nameserver, server.port))
    assert asked == [(PATH, NAME), ("/second?x=1", NAME), ("/third", "other.example.com")]


REDIRECTS = [
    "file:///etc/passwd",
    "gopher://127.0.0.1:70/",
    "ftp://www.example.com/",
    "http://user:secret@www.example.com/",
    "http://www.example.com:22/",
    "http://www.example.com:8443/",
    "http://[::1",
    "http://127.1/",
    "http://2130706433/",
    "http://0x7f.0.0.1/",
    "http://a_b.example/",
    "http://www.example.com\\@evil.example/",
    "http://www.example.com:99999/",
    "http://www.example.com:-1/",
    "javascript:alert(1)",
    "http://" + "a" * 3000,
    "",
]


def test_redirects_to_other_schemes_ports_and_hosts_are_refused(nameserver: DnsServer, start: Start) -> None:
    """X15: http and https, ports 80 and 443, names and addresses in their one form; no credentials."""
    for location in REDIRECTS:
        server = start(redirecting(location))
        failure = _failure(_settings(nameserver, server.port))
        assert failure.problem_type is ProblemType.CONNECTION, location
        assert "redirects to" in failure.detail, location
        assert server.connections == 1
        assert "secret" not in failure.detail


def test_redirects_to_closed_addresses_are_refused(nameserver: DnsServer, start: Start) -> None:
    """X15: each hop is checked anew: metadata, link-local, unspecified, IPv4 in IPv6."""
    for host in ("169.254.169.254", "[fe80::1]", "[::]", "[::ffff:169.254.169.254]", "[64:ff9b::a9fe:a9fe]"):
        server = start(redirecting(f"http://{host}/"))
        failure = _failure(_settings(nameserver, server.port))
        assert failure.problem_type is ProblemType.CONNECTION
        assert "no address that may be connected to" in failure.detail


CLOSED = [
    "127.0.0.1",
    "127.8.9.10",
    "0.0.0.0",  # noqa: S104 - it must be refused
    "169.254.169.254",
    "168.63.129.16",
    "100.100.100.200",
    "224.0.0.1",
    "255.255.255.255",
    "::1",
    "::",
    "fe80::1",
    "ff02::1",
    "fd00:ec2::254",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "::127.0.0.1",
    "64:ff9b::127.0.0.1",
    "2002:7f00:1::",
    "2002:a9fe:a9fe::",
    "2001:0:7f00:1::",
    "fd00::5efe:127.0.0.1",
]


@pytest.mark.parametrize("address", CLOSED)
def test_closed_addresses_are_not_connected_to(nameserver: DnsServer, address: str) -> None:
    """X15: loopback, link-local, metadata, and every way to write them in IPv6, as an identifier or from DNS."""
    assert why_closed(ipaddress.ip_address(address), ())
    nameserver.wildcard_address = ""
    nameserver.zone[NAME, "AAAA" if ":" in address else "A"] = [address]
    failure = _failure(_settings(nameserver, 80, allow=()))
    assert failure.problem_type is ProblemType.CONNECTION
    assert "no address that may be connected to" in failure.detail


def test_private_networks_are_where_clients_live() -> None:
    """X15: an internal authority validates RFC 1918 and unique local addresses."""
    for address in ("10.1.2.3", "172.16.0.9", "192.168.7.7", "fd12:3456::1", "203.0.113.5", "2001:db8::5"):
        assert why_closed(ipaddress.ip_address(address), ()) is None


def test_a_name_is_looked_up_once_for_a_connection(nameserver: DnsServer, start: Start) -> None:
    """X15, DNS rebinding: what was checked is what is connected to; a second answer is never asked for."""
    server = start(answering(OK + b"\r\n" + KEY_AUTHORIZATION.encode()))
    nameserver.wildcard_address = ""
    nameserver.rotating[NAME] = ["127.0.0.1", "169.254.169.254"]
    assert _validate(_settings(nameserver, server.port))
    assert nameserver.asked[NAME, "A"] == 1
    failure = _failure(_settings(nameserver, server.port))
    assert "link-local" in failure.detail


def test_a_name_with_open_and_closed_addresses_uses_the_open_ones(nameserver: DnsServer, start: Start) -> None:
    """X15: a closed address beside an open one is left out, not tried."""
    server = start(answering(OK + b"\r\n" + KEY_AUTHORIZATION.encode()))
    nameserver.zone[NAME, "A"] = ["169.254.169.254", "127.0.0.1"]
    nameserver.zone[NAME, "AAAA"] = ["fe80::1"]
    assert _validate(_settings(nameserver, server.port))


def test_a_closed_port_and_an_unknown_name_say_so(nameserver: DnsServer, start: Start) -> None:
    """RFC 8555 6.7: connection and dns."""
    server = start(answering(b""))
    server.close()
    assert _failure(_settings(nameserver, server.port)).problem_type is ProblemType.CONNECTION
    nameserver.wildcard_address = ""
    assert _failure(_settings(nameserver, server.port)).problem_type is ProblemType.DNS
    nameserver.silent.add(NAME)
    assert _failure(_settings(nameserver, server.port)).problem_type is ProblemType.DNS
    nameserver.broken.add("b.example.com")
    assert _failure(_settings(nameserver, server.port), "b.example.com").problem_type is ProblemType.DNS


def test_a_request_has_one_form(nameserver: DnsServer, start: Start) -> None:
    """RFC 8555 8.3, RFC 8738 4: path, Host with the port if it is another; no proxy and no cookie."""
    seen: list[tuple[str, dict[str, str]]] = []

    def handle(connection: socket.socket) -> None:
        seen.append(request_of(connection))
        connection.sendall(OK + b"\r\n" + KEY_AUTHORIZATION.encode())

    server = start(handle)
    assert _validate(_settings(nameserver, server.port))
    assert _validate(_settings(nameserver, server.port), "127.0.0.1")
    assert [path for path, _ in seen] == [PATH, PATH]
    assert [headers["host"] for _, headers in seen] == [f"{NAME}:{server.port}", f"127.0.0.1:{server.port}"]
    assert set(seen[0][1]) == {"host", "user-agent", "accept", "accept-encoding", "connection"}


def test_a_wildcard_is_never_proven_by_one_host(nameserver: DnsServer) -> None:
    """X12: http-01 refuses a wildcard, whoever calls it."""
    with pytest.raises(ValidationFailed):
        http01.validate(Identifier("dns", "*.example.com"), TOKEN, KEY_AUTHORIZATION, _settings(nameserver, 80))
