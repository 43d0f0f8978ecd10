"""What is sent octet by octet: HTTP/1.1 as no client library would write it, and a little HTTP/2."""

import contextlib
import json
import socket
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

_HEADERS, _DATA, _SETTINGS, _GOAWAY, _RST_STREAM, _CONTINUATION = 1, 0, 4, 7, 3, 9
_END_STREAM, _END_HEADERS, _ACK = 1, 4, 1
_SECONDS = 10


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer as it came; `seconds` is how long it took from the last octet sent."""

    status: int
    headers: dict[str, str]
    body: bytes
    seconds: float

    @property
    def document(self) -> dict[str, Any]:
        """The body, read as JSON."""
        document: dict[str, Any] = json.loads(self.body)
        return document


def request(target: bytes = b"/echo", method: bytes = b"GET", *lines: bytes, body: bytes = b"") -> bytes:
    """Return an HTTP/1.1 request with those header lines, after which the connection is closed."""
    head = [method + b" " + target + b" HTTP/1.1", b"Host: ca.example", b"Connection: close", *lines]
    return b"\r\n".join(head) + b"\r\n\r\n" + body


def connect(port: int) -> socket.socket:
    """Return a connection to that port of this machine."""
    return socket.create_connection(("127.0.0.1", port), timeout=_SECONDS)


def receive(connection: socket.socket) -> bytes:
    """Return all that comes until the other side closes, or resets."""
    received = bytearray()
    with contextlib.suppress(ConnectionResetError):
        while chunk := connection.recv(65536):
            received += chunk
    return bytes(received)


def parse(answer: bytes, seconds: float = 0.0) -> Reply:
    """Read an HTTP/1.1 answer."""
    head, _, body = answer.partition(b"\r\n\r\n")
    status, *lines = head.decode("latin-1").split("\r\n")
    pairs = [line.split(": ", 1) for line in lines]
    return Reply(int(status.split(" ")[1]), {name.lower(): value for name, value in pairs}, body, seconds)


def exchange(port: int, octets: bytes, *, half_close: bool = False) -> Reply:
    """Send those octets on a new connection, and read the answer until the connection ends."""
    with connect(port) as connection:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # refused before all was sent
            connection.sendall(octets)
        if half_close:
            connection.shutdown(socket.SHUT_WR)
        begun = time.monotonic()
        answer = receive(connection)
        return parse(answer, time.monotonic() - begun)


def _frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def _length(number: int) -> bytes:
    """Return a string's length as HPACK has it (RFC 7541 5.1, prefix of 7 bits)."""
    if number < 127:
        return bytes([number])
    octets, rest = bytearray([127]), number - 127
    while rest >= 128:
        octets.append(rest % 128 + 128)
        rest //= 128
    return bytes([*octets, rest])


def _fields(headers: list[tuple[str, str]]) -> bytes:
    """Return the fields as literals that are neither indexed nor compressed (RFC 7541 6.2.2)."""
    packed = bytearray()
    for name, value in headers:
        packed += b"\0" + _length(len(name)) + name.encode() + _length(len(value)) + value.encode()
    return bytes(packed)


class Http2:
    """One HTTP/2 connection, on which one request is sent (RFC 9113); header blocks of answers are not decoded."""

    def __init__(self, port: int) -> None:
        self._connection = connect(port)
        self._send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + _frame(_SETTINGS, 0, 0))

    def _send(self, octets: bytes) -> None:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self._connection.sendall(octets)

    def headers(self, method: str, path: str, *more: tuple[str, str], end: bool) -> None:
        """Send the header block, in as many frames as it takes."""
        pseudo = [(":method", method), (":scheme", "http"), (":authority", "ca.example"), (":path", path)]
        block = _fields([*pseudo, *more])
        parts = [block[begin : begin + 16384] for begin in range(0, len(block), 16384)]
        for index, part in enumerate(parts):
            flags = (_END_STREAM if end and index == 0 else 0) | (_END_HEADERS if index == len(parts) - 1 else 0)
            self._send(_frame(_HEADERS if index == 0 else _CONTINUATION, flags, 1, part))

    def data(self, octets: bytes, *, end: bool) -> None:
        """Send one DATA frame."""
        self._send(_frame(_DATA, _END_STREAM if end else 0, 1, octets))

    def _frames(self) -> Iterator[tuple[int, int, bytes]]:
        with self._connection, self._connection.makefile("rb") as stream, contextlib.suppress(ConnectionResetError):
            while len(head := stream.read(9)) == 9:
                payload = stream.read(int.from_bytes(head[:3]))
                yield head[3], head[4], payload

    def answer(self) -> bytes | None:
        """Return the body of the answer, or None when the server ends the stream or the connection instead."""
        body = bytearray()
        for kind, flags, payload in self._frames():
            if kind == _SETTINGS and not flags & _ACK:
                self._send(_frame(_SETTINGS, _ACK, 0))
            if kind == _DATA:
                body += payload
            if kind in {_HEADERS, _DATA} and flags & _END_STREAM:
                return bytes(body)
            if kind in {_RST_STREAM, _GOAWAY}:
                return None
        return None
