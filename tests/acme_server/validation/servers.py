"""Servers on loopback that answer challenges, well or badly: DNS, HTTP, TLS."""

import contextlib
import socket
import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset

Handler = Callable[[socket.socket], None]
Zone = Mapping[tuple[str, str], list[str]]
"""(name, type of record) to the texts of its records."""


def _two_sockets() -> tuple[socket.socket, socket.socket]:
    """Return a UDP and a TCP socket on one port, which may be taken for one of them."""
    while True:
        datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        datagrams.bind(("127.0.0.1", 0))
        try:
            return datagrams, socket.create_server(datagrams.getsockname())
        except OSError:
            datagrams.close()


class DnsServer:
    """Answers from `zone`, over UDP and TCP; a name in `broken` is SERVFAIL, and one in `silent` is not answered."""

    def __init__(self) -> None:
        self.zone: dict[tuple[str, str], list[str]] = {}
        self.broken: set[str] = set()
        self.silent: set[str] = set()
        self.wildcard_address = ""
        self.asked: Counter[tuple[str, str]] = Counter()
        self.rotating: dict[str, list[str]] = {}
        """Names whose address is another one at each question (rebinding)."""
        self._udp, self._tcp = _two_sockets()
        self.address: tuple[str, int] = self._udp.getsockname()
        threading.Thread(target=self._serve_udp, daemon=True).start()
        threading.Thread(target=self._serve_tcp, daemon=True).start()

    def close(self) -> None:
        """Stop."""
        for item in (self._udp, self._tcp):
            with contextlib.suppress(OSError):
                item.shutdown(socket.SHUT_RDWR)
            item.close()

    def _serve_udp(self) -> None:
        while True:
            try:
                wire, peer = self._udp.recvfrom(4096)
            except OSError:
                return
            if not wire:  # shut down
                return
            query = dns.message.from_wire(wire)
            answer = self._answer(query)
            if answer is None:
                continue
            wire = answer.to_wire(max_size=65535)
            if len(wire) > 1232:
                answer = dns.message.make_response(query)
                answer.flags |= dns.flags.TC
                wire = answer.to_wire()
            with contextlib.suppress(OSError):
                self._udp.sendto(wire, peer)

    def _serve_tcp(self) -> None:
        while True:
            try:
                connection, _ = self._tcp.accept()
            except OSError:
                return
            with connection:
                length = int.from_bytes(connection.recv(2))
                answer = self._answer(dns.message.from_wire(connection.recv(length)))
                if answer is not None:
                    wire = answer.to_wire(max_size=65535)
                    connection.sendall(len(wire).to_bytes(2) + wire)

    def _answer(self, query: dns.message.Message) -> dns.message.Message | None:
        question = query.question[0]
        name = question.name.to_text(omit_final_dot=True)
        kind = dns.rdatatype.to_text(question.rdtype)
        self.asked[name, kind] += 1
        if name in self.silent:
            return None
        answer = dns.message.make_response(query)
        if name in self.broken:
            answer.set_rcode(dns.rcode.SERVFAIL)
            return answer
        for _ in range(20):
            found = self._records(name, kind)
            if found:
                answer.answer.append(dns.rrset.from_text(f"{name}.", 0, "IN", kind, *found))
                return answer
            target = self.zone.get((name, "CNAME"))
            if not target:
                break
            answer.answer.append(dns.rrset.from_text(f"{name}.", 0, "IN", "CNAME", *target))
            name = target[0].removesuffix(".")
        known = any(key[0] == name for key in self.zone) or self.wildcard_address or name in self.rotating
        if not known and not answer.answer:
            answer.set_rcode(dns.rcode.NXDOMAIN)
        return answer

    def _records(self, name: str, kind: str) -> list[str]:
        if kind == "A" and name in self.rotating:
            addresses = self.rotating[name]
            return [addresses.pop(0) if len(addresses) > 1 else addresses[0]]
        found = self.zone.get((name, kind), [])
        if not found and kind == "A" and self.wildcard_address:
            return [self.wildcard_address]
        return found


class TcpServer:
    """Gives each connection to `handler` in a thread of its own; `connections` counts them."""

    def __init__(self, handler: Handler, host: str = "127.0.0.1") -> None:
        self.handler = handler
        self.connections = 0
        self._listener = socket.create_server((host, 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        """Stop taking connections."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._handle, args=(connection,), daemon=True).start()

    def _handle(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            self.handler(connection)


def request_of(connection: socket.socket) -> tuple[str, dict[str, str]]:
    """Read a request's head; return its path and headers, whose names are in lower case."""
    head = b""
    while b"\r\n\r\n" not in head:
        part = connection.recv(4096)
        if not part:
            break
        head += part
    first, *lines = head.decode("latin-1").split("\r\n")
    words = first.split(" ")
    headers = dict(line.lower().split(": ", 1) for line in lines if ": " in line)
    return (words[1] if len(words) > 1 else ""), headers


class HttpServer(TcpServer):
    """Answers each path in `pages` with its body, and any other with 404; remembers what was asked."""

    def __init__(self) -> None:
        self.pages: dict[str, bytes] = {}
        self.seen: list[tuple[str, dict[str, str]]] = []
        super().__init__(self._answer)

    def _answer(self, connection: socket.socket) -> None:
        path, headers = request_of(connection)
        self.seen.append((path, headers))
        body = self.pages.get(path)
        status = "404 Not Found" if body is None else "200 OK"
        head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body or b'')}\r\nConnection: close\r\n\r\n"
        connection.sendall(head.encode() + (body or b""))


def answering(raw: bytes) -> Handler:
    """Return a handler that reads a request, sends these octets and closes."""

    def handle(connection: socket.socket) -> None:
        request_of(connection)
        connection.sendall(raw)

    return handle


def redirecting(location: str, status: int = 302) -> Handler:
    """Return a handler that redirects to `location`."""
    return answering(f"HTTP/1.1 {status} Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n".encode("latin-1"))


def endless(head: bytes, part: bytes, pause: float = 0.0) -> Handler:
    """Return a handler that sends `head` and then `part` again and again, until the peer has gone."""

    def handle(connection: socket.socket) -> None:
        request_of(connection)
        connection.sendall(head)
        while True:
            connection.sendall(part)
            if pause:
                time.sleep(pause)

    return handle


class TlsServer(TcpServer):
    """Shakes hands with the certificate and key in `pem`, and with `protocols` (ALPN); remembers names asked for."""

    def __init__(self, pem: Path, protocols: list[str]) -> None:
        self.names: list[str | None] = []
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(pem)
        if protocols:
            self._context.set_alpn_protocols(protocols)
        self._context.sni_callback = lambda _socket, name, _context: self.names.append(name)
        super().__init__(self._shake_hands)

    def _shake_hands(self, connection: socket.socket) -> None:
        with self._context.wrap_socket(connection, server_side=True) as secured:
            secured.recv(1)


def silent(_connection: socket.socket) -> None:
    """Say nothing for some time."""
    time.sleep(2)


@contextlib.contextmanager
def running(server: DnsServer | TcpServer) -> Iterator[None]:
    """Close `server` at the end."""
    try:
        yield
    finally:
        server.close()
