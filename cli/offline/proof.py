"""The proof that a fresh service works: a certificate by ACME, with a real http-01 challenge, verified by openssl.

The client is certbot's own library; it runs in a child of its own, as any client does.
"""

import contextlib
import ipaddress
import shutil
import subprocess
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socket import AF_INET6

import requests
from acme import challenges, crypto_util, messages
from acme.client import ClientNetwork, ClientV2
from acme.errors import Error, ValidationError
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from josepy.errors import Error as JoseError
from josepy.jwa import ES256
from josepy.jwk import JWKEC

from pki.errors import SealwardError

_PATIENCE = timedelta(seconds=30)
_SECONDS = 10


@dataclass(frozen=True, slots=True)
class Proof:
    """What was proved: a certificate for `name` within `seconds`. `verified` tells by what it was verified."""

    name: str
    seconds: float
    verified: str


def prove(directory_url: str, root_pem: Path, name: str, port: int) -> Proof:
    """Obtain a certificate for `name`, a DNS name or IP address of this machine, and verify it.

    `port` is the one at which the service validates http-01 challenges; nothing else may listen on it.

    Raises:
        SealwardError: the service did not issue, or what it issued does not verify.
        OSError: the port cannot be bound.
    """
    begun = time.monotonic()
    try:
        chain = _obtain(directory_url, root_pem, name, port)
    except ValidationError as error:
        detail = "; ".join(
            str(item.error) for authz in error.failed_authzrs for item in authz.body.challenges if item.error
        )
        raise SealwardError(f"the challenge failed: {detail}") from None
    except (Error, requests.RequestException, JoseError) as error:
        raise SealwardError(f"the service did not issue: {type(error).__name__}: {error}") from None
    return Proof(name, time.monotonic() - begun, _verify(chain, root_pem))


def _obtain(directory_url: str, root_pem: Path, name: str, port: int) -> str:
    key = JWKEC(key=ec.generate_private_key(ec.SECP256R1()))
    network = ClientNetwork(key, alg=ES256, user_agent="sealward (proof)", timeout=_SECONDS)
    # The library hands the value on to requests, which takes a file of trusted roots as well.
    network.verify_ssl = str(root_pem)  # type: ignore[assignment]
    network.session.trust_env = False
    client = ClientV2(ClientV2.get_directory(directory_url, network), network)
    account = client.new_account(messages.NewRegistration(terms_of_service_agreed=True))
    order = client.new_order(_request(name))
    held = [
        (item, item.response_and_validation(key))
        for authorization in order.authorizations
        for item in authorization.body.challenges
        if isinstance(item.chall, challenges.HTTP01)
    ]
    with _answering({item.chall.path: validation for item, (_, validation) in held}, port):
        for item, (response, _) in held:
            client.answer_challenge(item, response)
        deadline = datetime.now() + _PATIENCE  # noqa: DTZ005 - the library compares with local time
        order = client.poll_and_finalize(order, deadline)
    client.deactivate_registration(account)
    chain: str = order.fullchain_pem
    return chain


def _request(name: str) -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    if name.replace(".", "").isdecimal():
        return crypto_util.make_csr(pem, ipaddrs=[ipaddress.ip_address(name)])
    return crypto_util.make_csr(pem, [name])


@contextlib.contextmanager
def _answering(answers: dict[str, str], port: int) -> Iterator[None]:
    """Answer http-01 challenges on the loopback addresses, of which IPv6 may be absent."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer = answers.get(self.path)
            self.send_response(404 if answer is None else 200)
            self.end_headers()
            self.wfile.write((answer or "").encode())

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
            del format, args

    class Six(ThreadingHTTPServer):
        address_family = AF_INET6

    servers = [ThreadingHTTPServer(("127.0.0.1", port), Handler)]
    with contextlib.suppress(OSError):
        servers.append(Six(("::1", port), Handler))
    for server in servers:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield
    finally:
        for server in servers:
            server.shutdown()
            server.server_close()


def _verify(chain: str, root_pem: Path) -> str:
    """Verify the chain with the openssl command, each certificate against its issuer's CRL.

    Raises:
        SealwardError: it does not verify.
    """
    certificates = x509.load_pem_x509_certificates(chain.encode())
    program = shutil.which("openssl")
    if program is None:
        return "not verified: the openssl command is not installed"
    with tempfile.TemporaryDirectory(prefix="sealward-proof-") as name:
        folder = Path(name)
        (folder / "leaf.pem").write_bytes(certificates[0].public_bytes(Encoding.PEM))
        (folder / "chain.pem").write_bytes(b"".join(item.public_bytes(Encoding.PEM) for item in certificates[1:]))
        (folder / "crls.pem").write_bytes(b"".join(_crl_of(item) for item in certificates))
        command = [program, "verify", "-CAfile", str(root_pem), "-untrusted", str(folder / "chain.pem")]
        command += ["-x509_strict", "-crl_check_all", "-CRLfile", str(folder / "crls.pem"), str(folder / "leaf.pem")]
        done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False)  # noqa: S603
    if done.returncode != 0:
        raise SealwardError("openssl does not verify the certificate: " + " ".join(done.stderr.split()))
    return "openssl verify says OK, with the CRLs"


def _crl_of(certificate: x509.Certificate) -> bytes:
    """Fetch the CRL to which a certificate points."""
    points = certificate.extensions.get_extension_for_class(x509.CRLDistributionPoints).value
    names = points[0].full_name or []
    url = str(names[0].value)
    with urllib.request.urlopen(url, timeout=_SECONDS) as answer:  # noqa: S310 - our own, from our own certificate
        return x509.load_der_x509_crl(answer.read()).public_bytes(Encoding.PEM)
