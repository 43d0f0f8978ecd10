"""Servers that answer wrongly: one small socket, and whatever octets a test wants to have sent."""

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

_HANDSHAKE = b"\x16"
"""How TLS begins (RFC 8446 5.1)."""
Script = Callable[[socket.socket], None]


@dataclass
class Server:
    """An address, and what was sent there."""

    address: str
    received: list[bytes] = field(default_factory=list)


def http(status: str, body: bytes, content_type: str = "application/json", *headers: str) -> bytes:
    """Return an HTTP answer."""
    lines = (f"HTTP/1.1 {status}", f"Content-Type: {content_type}", f"Content-Length: {len(body)}", *headers)
    return "\r\n".join((*lines, "Connection: close", "", "")).encode() + body


@contextlib.contextmanager
def server(script: Script | bytes) -> Iterator[Server]:
    """Serve every connection by `script`, or by always the same octets, until the block ends."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        running = Server(f"http://127.0.0.1:{listener.getsockname()[1]}")
        thread = threading.Thread(target=_serve, args=(listener, running, script), daemon=True)
        thread.start()
        try:
            yield running
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(10)
            assert not thread.is_alive()


def _serve(listener: socket.socket, running: Server, script: Script | bytes) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:  # shut down: the block has ended
            return
        with connection, contextlib.suppress(OSError):
            running.received.append(_request(connection))
            if isinstance(script, bytes):
                connection.sendall(script)
            else:
                script(connection)


def _request(connection: socket.socket) -> bytes:
    """Return a request: its head, and as much of its body as the head announces; of TLS, what came first."""
    received = b""
    while b"\r\n\r\n" not in received and received[:1] != _HANDSHAKE:
        piece = connection.recv(65536)
        if not piece:
            return received
        received += piece
    head, _, body = received.partition(b"\r\n\r\n")
    lengths = [line.split(b":")[1] for line in head.splitlines() if line.lower().startswith(b"content-length:")]
    while len(body) < int(lengths[0] if lengths else 0):
        body += connection.recv(65536)
    return head + b"\r\n\r\n" + body
