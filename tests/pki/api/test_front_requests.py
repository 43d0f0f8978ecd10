"""What else of a request the front settles: headers, methods, and what becomes of an application's failure."""

import threading
import time

import pytest

from tests.pki.api import wire
from tests.pki.api.conftest import Listener
from tests.pki.api.listener import DIALECT, HEADER_SECONDS, SECRET
from tests.pki.api.wire import Http2, request


def test_header_names_with_an_underscore_are_dropped(listener: Listener) -> None:
    """P1: WSGI would take X_Real_Ip for X-Real-Ip."""
    lines = (b"X_Forwarded_For: 1.2.3.4", b"X-Real-Ip: a", b"X_Real-Ip: b", b"Content_Length: 7", b"Content_Type: x")
    document = listener.ask(request(b"/echo", b"GET", *lines)).document
    assert document["HTTP_X_REAL_IP"] == "a"
    assert "HTTP_X_FORWARDED_FOR" not in document
    assert document["CONTENT_LENGTH"] == "0"
    assert "CONTENT_TYPE" not in document
    exchange = Http2(listener.port)
    exchange.headers("GET", "/echo", ("x_real_ip", "forged"), end=True)
    assert b"forged" not in (exchange.answer() or b"forged")


def test_headers_sent_twice_are_joined(listener: Listener) -> None:
    """RFC 9110 5.3: by a comma, in their order; Content-Type and Content-Length have their own WSGI names."""
    lines = (b"Accept: a", b"accept: b", b"Content-Type: text/plain")
    document = listener.ask(request(b"/echo", b"GET", *lines)).document
    assert document["HTTP_ACCEPT"] == "a,b"
    assert document["CONTENT_TYPE"] == "text/plain"
    assert "HTTP_CONTENT_TYPE" not in document


def test_one_host_header_is_needed(listener: Listener) -> None:
    """RFC 9112 3.2: none, and two, are 400."""
    assert listener.ask(b"GET /echo HTTP/1.1\r\nConnection: close\r\n\r\n").status == 400
    assert listener.ask(request(b"/echo", b"GET", b"Host: other.example")).status == 400
    assert listener.ask(b"GET /echo HTTP/1.0\r\n\r\n").status == 200


@pytest.mark.parametrize(
    "octets",
    [
        request(b"/echo", b"GET", *(b"X%d: y" % number for number in range(100_000))),
        request(b"/echo", b"GET", b"X: " + b"y" * (1 << 20)),
        request(b"/echo", b"GET", b"X" * (1 << 20) + b": y"),
        request(b"/" + b"x" * (1 << 20)),
    ],
    ids=["many", "long value", "long name", "long path"],
)
def test_headers_over_the_limit_are_refused(listener: Listener, octets: bytes) -> None:
    """D1: 10^5 headers, or one of 1 MiB: 4xx in less than a second, and the service goes on."""
    reply = listener.ask(octets)
    assert reply.status in {400, 414, 431}
    assert reply.seconds < 1
    assert listener.ask(request()).status == 200


@pytest.mark.parametrize("headers", [[(f"x{n}", "y") for n in range(100_000)], [("x", "y" * (1 << 20))]])
def test_headers_over_the_limit_are_refused_over_http2(listener: Listener, headers: list[tuple[str, str]]) -> None:
    """D1: CONTINUATION frames without end end the connection."""
    exchange = Http2(listener.port)
    exchange.headers("GET", "/echo", *headers, end=True)
    assert exchange.answer() in {None, b""}
    assert listener.ask(request()).status == 200


def test_slow_headers_end_the_connection(listener: Listener) -> None:
    """D1: who has not sent them by the deadline is cut off."""
    with wire.connect(listener.port) as connection:
        connection.sendall(b"GET /echo HTTP/1.1\r\nHost: a\r\n")
        begun = time.monotonic()
        assert not wire.receive(connection).startswith(b"HTTP/1.1 2")
        assert time.monotonic() - begun < HEADER_SECONDS + 1.5


@pytest.mark.parametrize(
    "octets",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET /echo\r\n\r\n",
        b"GET /echo HTTP/9.9\r\n\r\n",
        b"\r\n" * 50_000,
        b"\x00" * 70_000,
        b"GET /echo HTTP/1.1\r\nHost: a\r\nX: a\x00b\r\n\r\n",
        b"GET /echo HTTP/1.1\r\nHost: a\r\nX: a\r\n folded\r\n\r\n",
        b"GET /echo HTTP/1.1\r\nHost: a\r\nX : a\r\n\r\n",
        b"GET /echo HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 64,
    ],
)
def test_what_is_no_request_harms_nobody(listener: Listener, octets: bytes) -> None:
    """D4: refused or cut off, and the process goes on."""
    with wire.connect(listener.port) as connection:
        connection.sendall(octets)
        assert not wire.receive(connection).startswith((b"HTTP/1.1 2", b"HTTP/1.1 5"))
    assert listener.ask(request()).status == 200


def test_the_application_gets_any_method(listener: Listener) -> None:
    """Which of them there are is for the application to say; CONNECT names no path."""
    for method in (b"PUT", b"LIST", b"BREW", b"get", b"TRACE"):
        assert listener.ask(request(b"/echo", method)).document["REQUEST_METHOD"] == method.decode()
    assert listener.ask(request(b"ca.example:443", b"CONNECT")).status == 400


def test_head_has_the_headers_alone(listener: Listener) -> None:
    """RFC 9110 9.3.2: of answers and of refusals."""
    answer, refusal = (listener.ask(request(path, b"HEAD")) for path in (b"/echo", b"//echo"))
    assert (answer.status, answer.body) == (200, b"")
    assert (refusal.status, refusal.body, refusal.headers["content-type"]) == (400, b"", DIALECT)


def test_refusals_over_http2_have_no_connection_header(listener: Listener) -> None:
    """RFC 9113 8.2.2: a connection that has met a refusal serves the next request."""
    exchange = Http2(listener.port)
    exchange.headers("GET", "//echo", end=True)
    answer = exchange.answer()
    assert answer is not None
    assert b"canonical" in answer


@pytest.mark.parametrize("path", [b"/fail", b"/silent", b"/break-off"])
def test_an_application_that_fails_is_a_500_with_a_request_id(listener: Listener, path: bytes) -> None:
    """D4: the reason is in the log, under the id that the client is told, and nowhere else."""
    reply = listener.ask(request(path))
    assert (reply.status, reply.headers["content-type"]) == (500, DIALECT)
    assert SECRET.encode() not in reply.body
    assert b"Traceback" not in reply.body
    request_id = reply.document["detail"].rpartition(" ")[2]
    log = listener.log.read_text()
    assert f"'GET' '{path.decode()}' failed, request id {request_id}" in log
    assert "Traceback" in log
    assert listener.ask(request()).status == 200


def test_a_client_that_leaves_harms_nobody(listener: Listener) -> None:
    """D4: in its headers, in its body, or before its answer."""
    whole = request(b"/echo", b"POST", b"Content-Length: 5", body=b"hello")

    def leave(octets: bytes) -> None:
        connection = wire.connect(listener.port)
        connection.sendall(octets)
        connection.close()

    threads = [threading.Thread(target=leave, args=(whole[:end],)) for end in range(1, len(whole) + 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert listener.ask(request()).status == 200
