"""The load of the ACME benchmark: clients over kept connections, the web server they prove their names by, and DNS.

It is a process of its own, so that its CPU is not the server's. It reads one JSON object a line from standard input and
answers each by a line: `Load` runs it and speaks to it.
"""

import base64
import contextlib
import hashlib
import http.client
import json
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from tests.acme_server.validation.servers import TcpServer, request_of, running
from tests.benchmarks.issuance import request_for
from tests.interop.zone import Zone

_TIMEOUT = 30
_FIRST_PAUSE, _LONGEST_PAUSE = 0.005, 0.1
_SIGNATURE = ec.ECDSA(hashes.SHA256())


def _b64(octets: bytes) -> str:
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()


def _dump(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


class Web(TcpServer):
    """The web server of every name: it gives the key authorization of each token in `pages` (RFC 8555 8.3)."""

    def __init__(self) -> None:
        self.pages: dict[str, bytes] = {}
        super().__init__(self._answer)

    def _answer(self, connection: socket.socket) -> None:
        path, _ = request_of(connection)  # a whole URL where a proxy is asked
        body = self.pages.get(path.rpartition("/")[2], b"")
        status = "200 OK" if body else "404 Not Found"
        head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        connection.sendall(head.encode() + body)


class Client:
    """An ES256 account and one kept connection; `polls` counts the requests that only asked whether it is done."""

    def __init__(self, directory: str, web: Web) -> None:
        self._web = web
        self._key = ec.generate_private_key(ec.SECP256R1())
        numbers = self._key.public_key().public_numbers()
        x, y = _b64(numbers.x.to_bytes(32)), _b64(numbers.y.to_bytes(32))
        self._jwk = {"crv": "P-256", "kty": "EC", "x": x, "y": y}
        self._thumbprint = _b64(hashlib.sha256(_dump(self._jwk)).digest())
        self._kid = ""
        self._nonces: list[str] = []
        self.polls = 0
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        self._http = http.client.HTTPSConnection(urlsplit(directory).netloc, timeout=_TIMEOUT, context=context)
        self._urls = json.loads(self._exchange("GET", directory)[1])
        self._exchange("HEAD", self._urls["newNonce"])
        headers, _ = self._post(self._urls["newAccount"], {"termsOfServiceAgreed": True})
        self._kid = headers["Location"]

    def _exchange(self, method: str, url: str, body: bytes | None = None) -> tuple[Mapping[str, str], bytes]:
        headers = {} if body is None else {"Content-Type": "application/jose+json"}
        self._http.request(method, urlsplit(url).path, body, headers)
        response = self._http.getresponse()
        content = response.read()
        if response.status >= 400:
            raise RuntimeError(f"{url}: {response.status} {content!r}")
        if "Replay-Nonce" in response.headers:
            self._nonces.append(response.headers["Replay-Nonce"])
        return response.headers, content

    def _post(self, url: str, payload: object = None) -> tuple[Mapping[str, str], bytes]:
        signer = {"kid": self._kid} if self._kid else {"jwk": self._jwk}
        protected = _b64(_dump({"alg": "ES256", "nonce": self._nonces.pop(), "url": url, **signer}))
        text = "" if payload is None else _b64(_dump(payload))
        r, s = decode_dss_signature(self._key.sign(f"{protected}.{text}".encode(), _SIGNATURE))
        signature = _b64(r.to_bytes(32) + s.to_bytes(32))
        return self._exchange("POST", url, _dump({"protected": protected, "payload": text, "signature": signature}))

    def _until_valid(self, url: str) -> dict[str, Any]:
        pause = _FIRST_PAUSE
        while True:
            self.polls += 1
            document: dict[str, Any] = json.loads(self._post(url)[1])
            if document["status"] == "valid":
                return document
            if document["status"] == "invalid":
                raise RuntimeError(f"{url}: {document}")
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    def obtain(self, name: str, csr: bytes) -> None:
        """Go the whole way from the order to the certificate; poll only what is not done when it is asked for."""
        headers, body = self._post(self._urls["newOrder"], {"identifiers": [{"type": "dns", "value": name}]})
        order = json.loads(body)
        (url,) = order["authorizations"]
        challenges = json.loads(self._post(url)[1])["challenges"]
        challenge = next(item for item in challenges if item["type"] == "http-01")
        self._web.pages[challenge["token"]] = f"{challenge['token']}.{self._thumbprint}".encode()
        if json.loads(self._post(challenge["url"], {})[1])["status"] != "valid":
            self._until_valid(url)
        done = json.loads(self._post(order["finalize"], {"csr": _b64(csr)})[1])
        if done["status"] != "valid":
            done = self._until_valid(headers["Location"])
        if b"BEGIN CERTIFICATE" not in self._post(done["certificate"])[1]:
            raise RuntimeError("no certificate came")
        del self._web.pages[challenge["token"]]

    def close(self) -> None:
        """Close the connection."""
        self._http.close()


def _run(clients: list[Client], works: list[tuple[str, bytes]]) -> dict[str, Any]:
    waiting, failures = list(works), list[str]()
    polls = sum(client.polls for client in clients)

    def work(client: Client) -> None:
        try:
            while waiting:
                with contextlib.suppress(IndexError):  # another took the last
                    client.obtain(*waiting.pop())
        except Exception as error:  # noqa: BLE001 - told to whoever asked
            failures.append(repr(error))

    threads = [threading.Thread(target=work, args=(client,)) for client in clients]
    start = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "polls": sum(client.polls for client in clients) - polls, "failures": failures}


def _serve(wish: Mapping[str, Any], web: Web) -> None:
    """Prepare everything, say so, and begin when told to."""
    with contextlib.ExitStack() as stack:
        try:
            clients = [Client(wish["directory"], web) for _ in range(wish["connections"])]
            names = [f"host-{time.time_ns():x}-{number}.bench.example" for number in range(wish["orders"])]
            works = [(name, request_for(name)) for name in names]
            for client in clients:
                stack.callback(client.close)
                name = f"first-{time.time_ns():x}.bench.example"
                client.obtain(name, request_for(name))
        except Exception as error:  # noqa: BLE001 - told to whoever asked
            _say({"failures": [repr(error)]})
            return
        _say({"failures": []})
        sys.stdin.readline()
        _say(_run(clients, works))


def _say(message: object) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def main() -> None:
    """Serve DNS and the web, and run what is asked for until standard input ends."""
    with tempfile.TemporaryDirectory() as folder:
        zone, web = Zone(Path(folder)), Web()
        with running(zone), running(web):
            _say({"resolver": zone.resolver, "port": web.port})
            for line in sys.stdin:
                _serve(json.loads(line), web)


class Load:
    """The process, as who measures sees it; `resolver` and `port` are where its DNS and its web server are."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "tests.benchmarks.acme_client"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        place = self._read()
        self.resolver = str(place["resolver"])
        self.port = int(place["port"])

    def __enter__(self) -> Self:
        """Give it."""
        return self

    def __exit__(self, *_: object) -> None:
        """End it."""
        self._process.communicate(timeout=_TIMEOUT)

    def prepare(self, directory: str, orders: int, connections: int) -> None:
        """Make the accounts, keys and requests, and obtain one certificate on each connection.

        Raises:
            RuntimeError: that failed, with what the server said.
        """
        self._write({"directory": directory, "orders": orders, "connections": connections})
        self._checked()

    def go(self) -> dict[str, Any]:
        """Obtain the certificates; return the seconds it took, and how often it had to poll.

        Raises:
            RuntimeError: an order failed, with what the server said.
        """
        self._write({})
        return self._checked()

    def _checked(self) -> dict[str, Any]:
        answer = self._read()
        if answer["failures"]:
            raise RuntimeError(f"{len(answer['failures'])} clients failed: {answer['failures'][0]}")
        return answer

    def _write(self, message: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(message) + "\n")
        self._process.stdin.flush()

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the load's process has ended; its traceback is on standard error")
        return dict(json.loads(line))


if __name__ == "__main__":
    main()
