"""TLS servers that take up a renewed certificate, and those who come to them again and again."""

import contextlib
import socketserver
import ssl
import threading
from collections.abc import Iterator
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

    def process_request_thread(self, request: object, client_address: object) -> None:
        """Shake hands, and part."""
        del client_address
        with contextlib.suppress(OSError):
            self._shake_hands(request)

    def _shake_hands(self, request: object) -> None:
        with self._present().wrap_socket(request, server_side=True) as shaken:  # type: ignore[call-overload]
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
    """What became of the handshakes: how many were good, which failed, and how many were cut and good at the second."""

    good: int = 0
    cut: int = 0
    failed: list[str] = field(default_factory=list)
    serials: list[int] = field(default_factory=list)


@contextlib.contextmanager
def visiting(port: int, name: str, root: Path) -> Iterator[Visits]:
    """Let openssl verify the server at a port, as `name` and with `root` alone, for as long as the block runs.

    The first handshake is done when the block begins, and one more after it has ended.
    """
    visits, leaving = Visits(), threading.Event()

    def come() -> None:
        while not leaving.wait(_PAUSE_SECONDS):
            _visit(visits, port, name, root)

    _visit(visits, port, name, root)
    visitor = threading.Thread(target=come)
    visitor.start()
    try:
        yield visits
    finally:
        leaving.set()
        visitor.join()
    _visit(visits, port, name, root)


def _visit(visits: Visits, port: int, name: str, root: Path) -> None:
    answer = openssl.connect(port, name, root)
    if answer.returncode and any(sign in answer.stderr for sign in _CUT):
        visits.cut += 1
        answer = openssl.connect(port, name, root)
    if answer.returncode or _GOOD not in answer.stdout:
        visits.failed.append(answer.stdout[-500:] + answer.stderr)
        return
    visits.good += 1
    serial = x509.load_pem_x509_certificate(answer.stdout.encode()).serial_number
    if serial not in visits.serials[-1:]:
        visits.serials.append(serial)


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
