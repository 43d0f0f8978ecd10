"""D1: bodies are bounded in size and time before a thread is taken, and an incomplete one is never handed on."""

import contextlib
import socket
import time

import pytest

from tests.pki.api import wire
from tests.pki.api.conftest import Listener
from tests.pki.api.listener import BODY_SECONDS, DIALECT, MAX_BODY
from tests.pki.api.wire import Http2, request

CHUNKED = b"Transfer-Encoding: chunked"
GIB = 1 << 30
GROWTH = 64 << 20


def _chunk(octets: bytes) -> bytes:
    return f"{len(octets):x}\r\n".encode() + octets + b"\r\n"


def _post(*lines: bytes, body: bytes = b"") -> bytes:
    return request(b"/echo", b"POST", *lines, body=body)


def test_whole_bodies_are_handed_on(listener: Listener) -> None:
    """With a length, in chunks, with neither, and up to the very limit."""
    cases = {
        _post(b"Content-Length: 5", body=b"hello"): "hello",
        _post(b"Content-Length: 005", body=b"hello"): "hello",
        _post(CHUNKED, body=_chunk(b"hel") + _chunk(b"lo") + b"0\r\n\r\n"): "hello",
        _post(b"Transfer-Encoding: Chunked", body=b"0\r\n\r\n"): "",
        _post(): "",
        _post(b"Content-Length: 0"): "",
        _post(f"Content-Length: {MAX_BODY}".encode(), body=b"x" * MAX_BODY): "x" * MAX_BODY,
        _post(CHUNKED, body=_chunk(b"x" * MAX_BODY) + b"0\r\n\r\n"): "x" * MAX_BODY,
    }
    for octets, body in cases.items():
        document = listener.ask(octets).document
        assert document["body"] == body
        assert document["CONTENT_LENGTH"] == str(len(body))


def test_a_body_over_the_limit_is_413_in_the_dialect(listener: Listener) -> None:
    """D1: by what it announces, and by what comes, in chunks too."""
    for octets in (
        _post(f"Content-Length: {MAX_BODY + 1}".encode()),
        _post(f"Content-Length: {GIB}".encode()),
        _post(b"Content-Length: " + b"9" * 18),
        _post(CHUNKED, body=_chunk(b"x" * MAX_BODY) + _chunk(b"y")),
        request(b"/echo", b"GET", f"Content-Length: {GIB}".encode()),
    ):
        reply = listener.ask(octets)
        assert (reply.status, reply.headers["content-type"]) == (413, DIALECT)
        assert reply.headers["connection"] == "close"
        assert reply.seconds < BODY_SECONDS / 2


def test_a_body_over_the_limit_is_413_over_http2(listener: Listener) -> None:
    """D1: announced or not."""
    announced = Http2(listener.port)
    announced.headers("POST", "/echo", ("content-length", str(GIB)), end=False)
    assert b'"refused": 413' in (announced.answer() or b"")
    silent = Http2(listener.port)
    silent.headers("POST", "/echo", end=False)
    for _ in range(MAX_BODY // 16384):
        silent.data(b"x" * 16384, end=False)
    silent.data(b"y", end=True)
    assert b'"refused": 413' in (silent.answer() or b"")


BAD_LENGTHS = ["abc", "-1", "+5", "5.0", "0x5", "5, 5", "5, 6", "5 5", "", "9" * 40, "\N{SUPERSCRIPT TWO}"]


@pytest.mark.parametrize("length", BAD_LENGTHS)
def test_a_length_that_is_no_number_is_400(listener: Listener, length: str) -> None:
    """RFC 9112 6.3: refused before any body is read."""
    reply = listener.ask(_post(f"Content-Length: {length}".encode(), body=b"hello"))
    assert reply.status == 400
    assert reply.headers["connection"] == "close"


def test_two_lengths_are_400(listener: Listener) -> None:
    """RFC 9112 6.3: which of them were meant cannot be known."""
    assert listener.ask(_post(b"Content-Length: 5", b"Content-Length: 6", body=b"hello!")).status == 400


def test_other_lengths_over_http2_end_the_stream(listener: Listener) -> None:
    """RFC 9113 8.1.1: a length that is no number, or not that of the data, is malformed."""
    for length in ("abc", "-1", "4", "6"):
        exchange = Http2(listener.port)
        exchange.headers("POST", "/echo", ("content-length", length), end=False)
        exchange.data(b"hello", end=True)
        assert exchange.answer() is None


def test_another_transfer_coding_is_501(listener: Listener) -> None:
    """RFC 9112 6.1: what cannot be decoded is not taken for the body."""
    reply = listener.ask(_post(b"Transfer-Encoding: gzip, chunked", body=_chunk(b"hello") + b"0\r\n\r\n"))
    assert (reply.status, reply.headers["content-type"]) == (501, DIALECT)
    assert listener.ask(_post(b"Transfer-Encoding: gzip", body=b"hello")).status == 400


def test_with_length_and_chunks_the_chunks_count(listener: Listener) -> None:
    """RFC 9112 6.3: the length is dropped, and the connection ends, so that no second request hides in the body."""
    smuggled = request(b"/smuggled")
    octets = b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"
    with wire.connect(listener.port) as connection:
        connection.sendall(octets + _chunk(b"hello") + b"0\r\n\r\n" + smuggled)
        answer = wire.receive(connection)
    assert b'"body": "hello"' in answer
    assert b'"CONTENT_LENGTH": "5"' in answer
    assert answer.count(b"HTTP/1.1 ") == 1


def test_an_incomplete_body_is_400_and_not_handed_on(listener: Listener) -> None:
    """D1: broken off after some octets, or in chunks that are none."""
    for octets in (
        _post(b"Content-Length: 10", body=b"hello"),
        _post(CHUNKED, body=_chunk(b"hello")),
        _post(CHUNKED, body=b"5\r\nhel"),
    ):
        assert listener.ask(octets, half_close=True).status == 400
    for chunks in (b"zz\r\nhello\r\n", _chunk(b"hello") + b"-5\r\nhello\r\n", b"f" * 18 + b"\r\nhello"):
        assert listener.ask(_post(CHUNKED, body=chunks)).status == 400


def test_a_slow_body_is_408_in_the_dialect(listener: Listener) -> None:
    """D1: at the deadline, whether an octet came every now and then, or nothing."""
    reply = listener.ask(_post(b"Content-Length: 10", body=b"hello"))
    assert (reply.status, reply.headers["content-type"]) == (408, DIALECT)
    assert BODY_SECONDS * 0.8 < reply.seconds < BODY_SECONDS + 1
    exchange = Http2(listener.port)
    exchange.headers("POST", "/echo", end=False)
    assert b'"refused": 408' in (exchange.answer() or b"")
    with wire.connect(listener.port) as connection:
        connection.sendall(_post(CHUNKED))
        begun = time.monotonic()
        with contextlib.suppress(OSError):
            while time.monotonic() < begun + BODY_SECONDS + 0.5:
                connection.sendall(_chunk(b"x"))
                time.sleep(0.1)
        assert wire.parse(wire.receive(connection)).status == 408


def test_no_part_of_a_gibibyte_is_kept(listener: Listener) -> None:
    """D1: who announces 1 GiB, or sends chunks without end, is refused at once, and memory does not grow."""
    before = listener.resident()
    for head in (f"Content-Length: {GIB}".encode(), CHUNKED):
        begun = time.monotonic()
        connections = [_pour(listener.port, head) for _ in range(8)]
        for connection in connections:
            assert wire.parse(wire.receive(connection)).status == 413
            connection.close()
        assert time.monotonic() - begun < 8
    assert listener.resident() - before < GROWTH


def _pour(port: int, head: bytes) -> socket.socket:
    """Send the head and then 16 MiB, or what is taken of it, on a new connection."""
    connection = wire.connect(port)
    connection.settimeout(0.2)
    with contextlib.suppress(OSError):
        connection.sendall(_post(head))
        for _ in range(256):
            connection.sendall(_chunk(b"x" * 65536))
    connection.settimeout(5)
    return connection


def test_a_client_waits_for_100_continue_no_longer_than_it_must(listener: Listener) -> None:
    """RFC 9110 10.1.1: a body that will be read is asked for; one that is too long is refused instead."""
    expect = b"Expect: 100-continue"
    with wire.connect(listener.port) as connection:
        connection.sendall(_post(expect, b"Content-Length: 5"))
        assert connection.recv(65536).startswith(b"HTTP/1.1 100")
        connection.sendall(b"hello")
        assert wire.parse(wire.receive(connection)).document["body"] == "hello"
    assert listener.ask(_post(expect, f"Content-Length: {GIB}".encode())).status == 413
