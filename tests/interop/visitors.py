"""TLS servers that take up a renewed certificate, and those who come to them again and again."""

import contextlib
import socket
import socketserver
import ssl
import subprocess
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509

from tests.interop import openssl

_PAUSE_SECONDS = 0.1
_GOOD = "Verify return code: 0 (ok)"
_CUT = ("Connection reset", "unexpected eof", "Connection refused")


class TlsServer(socketserver.ThreadingTCPServer):
    """Shows the chain in `folder`, and reads it anew when the file `deployed` has been touched: a hook does that."""

    daemon_threads = True

    def __init__(self, folder: Path, deployed: Path) -> None:
        self._folder, self._deployed = folder, deployed
        self._seen = -1
        self._context: ssl.SSLContext
        super().__init__(("127.0.0.1", 0), socketserver.BaseRequestHandler)

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.server_address[1])

    def process_request_thread(self, request: socket.socket | tuple[bytes, socket.socket], _address: object) -> None:
        """Shake hands, and part."""
        assert isinstance(request, socket.socket)
        context = self._present()
        with request, contextlib.suppress(OSError), context.wrap_socket(request, server_side=True) as shaken:
            shaken.recv(1)

    def _present(self) -> ssl.SSLContext:
        stamp = self._deployed.stat().st_mtime_ns
        if stamp != self._seen:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(self._folder / "fullchain.pem", self._folder / "privkey.pem")
            self._context, self._seen = context, stamp
        return self._context


@dataclass
class Visits:
    """What became of handshakes with the server at `port`, by openssl, as `name` and with `root` alone.

    `shown` are the certificates in turn, `streak` is how often the last of them was shown since another.
    What is `cut` was good at the second attempt.
    """

    port: int
    name: str
    root: Path
    environment: Mapping[str, str] | None = None
    good: int = 0
    cut: int = 0
    streak: int = 0
    failed: list[str] = field(default_factory=list)
    shown: list[x509.Certificate] = field(default_factory=list)

    def visit(self) -> None:
        """Shake hands once."""
        answer = self._connect()
        if answer.returncode and any(sign in answer.stderr for sign in _CUT):
            self.cut += 1
            answer = self._connect()
        if answer.returncode or _GOOD not in answer.stdout:
            self.failed.append(answer.stdout[-500:] + answer.stderr)
            return
        self.good += 1
        self.streak += 1
        certificate = x509.load_pem_x509_certificate(answer.stdout.encode())
        if certificate not in self.shown[-1:]:
            self.streak = 1
            self.shown.append(certificate)

    def _connect(self) -> subprocess.CompletedProcess[str]:
        return openssl.connect(self.port, self.name, self.root, environment=self.environment)


@contextlib.contextmanager
def visiting(visits: Visits) -> Iterator[Visits]:
    """Visit again and again for as long as the block runs: before it begins, and once more after it has ended."""
    leaving = threading.Event()

    def come() -> None:
        while not leaving.wait(_PAUSE_SECONDS):
            visits.visit()

    visits.visit()
    visitor = threading.Thread(target=come)
    visitor.start()
    try:
        yield visits
    finally:
        leaving.set()
        visitor.join()
    visits.visit()


@contextlib.contextmanager
def serving(server: socketserver.BaseServer) -> Iterator[None]:
    """Let the server answer for as long as the block runs."""
    with server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()
