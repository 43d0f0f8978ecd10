"""The load of the API's benchmark: requests over kept TLS connections, one at a time on each, from one thread.

It is a process of its own, so that its CPU is not the server's. It reads one JSON object a line from standard input and
answers each by a line: `Load` runs it and speaks to it.
"""

import contextlib
import http.client
import json
import selectors
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import Any, Self
from urllib.parse import urlsplit

_TIMEOUT = 30
_LONGEST_RECORD = 2**16
_END_OF_CHUNKS = b"\r\n0\r\n\r\n"
WARMING = 10
"""Requests on each connection before any is counted."""


@dataclass(frozen=True)
class Wish:
    """A request to be made: method, path below /v1/, and a JSON body."""

    method: str
    path: str
    body: Mapping[str, Any] | None = None

    def octets(self, host: str, token: str) -> bytes:
        """Return the request as HTTP/1.1 has it."""
        body = b"" if self.body is None else json.dumps(self.body).encode()
        headers = {"Host": host, "X-Vault-Token": token}
        if body:
            headers |= {"Content-Type": "application/json", "Content-Length": str(len(body))}
        lines = [f"{self.method} /v1/{self.path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
        return "\r\n".join([*lines, "", ""]).encode() + body


def trusting() -> ssl.SSLContext:
    """Return a client's context that takes any certificate: it talks to servers that the benchmark has started."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    return context


class Door:
    """An HTTP API at `address`, for what is set up before anything is measured."""

    def __init__(self, address: str, token: str = "") -> None:
        self.address = address
        self.token = token

    def ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Return the JSON of the answer, empty where there is none.

        Raises:
            RuntimeError: it was refused, with what the server said.
        """
        connection = http.client.HTTPSConnection(urlsplit(self.address).netloc, timeout=_TIMEOUT, context=trusting())
        with contextlib.closing(connection):
            headers = {"X-Vault-Token": self.token} if self.token else {}
            connection.request(method, f"/v1/{path}", None if body is None else json.dumps(body), headers)
            response = connection.getresponse()
            content = response.read()
        if response.status >= http.HTTPStatus.BAD_REQUEST:
            raise RuntimeError(f"{method} {path}: {response.status} {content!r}")
        return dict(json.loads(content)) if content else {}


class _Connection:
    """One kept connection, on which a request waits for the answer before it."""

    def __init__(self, address: str) -> None:
        place = urlsplit(address)
        plain = socket.create_connection((place.hostname, place.port), timeout=_TIMEOUT)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket = trusting().wrap_socket(plain, server_hostname=place.hostname)
        self.socket.setblocking(False)
        self.sent_at = 0.0
        self._received = b""

    def send(self, request: bytes) -> None:
        """Send a request, which the socket's buffer has room for, since there is no other on its way."""
        self.sent_at, self._received = time.perf_counter(), b""
        if self.socket.send(request) != len(request):
            raise RuntimeError("the request did not fit into the socket's buffer")

    def is_answered(self) -> bool:
        """Take what has come, and tell whether it is the whole answer.

        Raises:
            RuntimeError: it is no success, or the server has hung up.
        """
        with contextlib.suppress(ssl.SSLWantReadError):
            while True:
                octets = self.socket.recv(_LONGEST_RECORD)
                if not octets:
                    raise RuntimeError("the server has hung up")
                self._received += octets
        head, separator, body = self._received.partition(b"\r\n\r\n")
        if not separator or not _is_whole(head.lower(), body):
            return False
        if head[9:10] != b"2":
            raise RuntimeError(self._received.decode(errors="replace"))
        return True


def _is_whole(head: bytes, body: bytes) -> bool:
    if b"transfer-encoding: chunked" in head:
        return body.endswith(_END_OF_CHUNKS)
    length = head.partition(b"content-length: ")[2].partition(b"\r\n")[0]
    return len(body) >= int(length or b"0")


def _run(connections: Sequence[_Connection], requests: Iterator[bytes], count: int) -> list[float]:
    """Make so many requests and return the seconds that each took."""
    took: list[float] = []
    left = count
    with selectors.DefaultSelector() as selector:
        for connection in connections[:count]:
            selector.register(connection.socket, selectors.EVENT_READ, connection)
            connection.send(next(requests))
            left -= 1
        while len(took) < count:
            ready = selector.select(_TIMEOUT)
            if not ready:
                raise RuntimeError(f"no answer within {_TIMEOUT} s")
            for key, _ in ready:
                if key.data.is_answered():
                    took.append(time.perf_counter() - key.data.sent_at)
                    if left:
                        left -= 1
                        key.data.send(next(requests))
    return took


def _serve(wish: Mapping[str, Any]) -> None:
    """Connect and warm up, say so, and begin when told to."""
    with contextlib.ExitStack() as stack:
        host, token = urlsplit(wish["address"]).netloc, wish["token"]
        requests = cycle([Wish(*item).octets(host, token) for item in wish["wishes"]])
        try:
            connections = [_Connection(wish["address"]) for _ in range(wish["connections"])]
            for connection in connections:
                stack.callback(connection.socket.close)
            _run(connections, requests, WARMING * len(connections))
            _say({"failure": ""})
            sys.stdin.readline()
            start = time.perf_counter()
            took = sorted(_run(connections, requests, wish["count"]))
            seconds = time.perf_counter() - start
        except Exception as error:  # noqa: BLE001 - told to whoever asked
            _say({"failure": repr(error)})
            return
        _say({"failure": "", "seconds": seconds, "p50": took[len(took) // 2], "p99": took[len(took) * 99 // 100]})


def _say(message: object) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


class Load:
    """The process, as who measures sees it."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "tests.benchmarks.api_client"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __enter__(self) -> Self:
        """Give it."""
        return self

    def __exit__(self, *_: object) -> None:
        """End it."""
        self._process.communicate(timeout=_TIMEOUT)

    def prepare(self, door: Door, wishes: Sequence[Wish], count: int, connections: int) -> None:
        """Connect, and make `WARMING` requests on each connection; `wishes` are taken in turns.

        Raises:
            RuntimeError: that failed, with what the server said.
        """
        listed = [(wish.method, wish.path, wish.body) for wish in wishes]
        self._write(
            {
                "address": door.address,
                "token": door.token,
                "wishes": listed,
                "count": count,
                "connections": connections,
            }
        )
        self._read()

    def go(self) -> dict[str, float]:
        """Make the requests; return the `seconds` all took together, and the `p50` and `p99` of one.

        Raises:
            RuntimeError: a request failed, with what the server said.
        """
        self._write({})
        return self._read()

    def _write(self, message: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(message) + "\n")
        self._process.stdin.flush()

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the load's process has ended; its traceback is on standard error")
        answer = dict(json.loads(line))
        if answer.pop("failure"):
            raise RuntimeError(json.loads(line)["failure"])
        return answer


if __name__ == "__main__":
    for told in sys.stdin:
        _serve(json.loads(told))
