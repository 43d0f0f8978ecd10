"""The lines that `sealward dev` prints, pasted into a shell in an empty folder."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.interop import openssl
from tests.interop.certificates import assert_content, assert_good
from tests.interop.clients import Client, Done, serving
from tests.interop.deadlines import eventually
from tests.service import Service, free_port

pytestmark = pytest.mark.interop
_SECONDS = 30


@pytest.fixture(scope="module")
def greeter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Give a service with the defaults: names go through this machine's own resolver, and the proof is made."""
    with Service(tmp_path_factory.mktemp("greeter") / "data", arguments=()) as service:
        yield service


def _printed(service: Service, client: str) -> str:
    """Return the block of lines that calls the client."""
    (block,) = [block for block in service.output.split("\n\n") if re.search(rf"(^|\s){client} ", block, re.MULTILINE)]
    return block + "\n"


def _paste(lines: str, folder: Path) -> Done:
    return Client("bash", folder, {}).attempt("-e", "-c", lines)


def test_printed_certbot_lines_obtain_a_certificate(greeter: Service, certbot_program: str, tmp_path: Path) -> None:
    """certbot's lines, as printed, end with a certificate for localhost (A02)."""
    lines = _printed(greeter, "certbot")
    assert certbot_program
    done = _paste(lines, tmp_path)
    assert done.code == 0, done.output
    assert_good(tmp_path / "certbot" / "live" / "localhost" / "fullchain.pem", ["localhost"], greeter)


def test_printed_lego_lines_obtain_a_certificate(greeter: Service, lego_program: str, tmp_path: Path) -> None:
    """lego's lines, as printed, end with a certificate for localhost (A02)."""
    lines = _printed(greeter, "lego")
    assert lego_program
    done = _paste(lines, tmp_path)
    assert done.code == 0, done.output
    assert_good(tmp_path / "lego" / "certificates" / "localhost.crt", ["localhost"], greeter)


def test_printed_caddy_lines_serve_with_a_certificate(greeter: Service, caddy_program: str, tmp_path: Path) -> None:
    """Caddy's lines, as printed, serve localhost with a certificate that openssl accepts (A02)."""
    assert caddy_program
    log = tmp_path / "caddy.log"
    environment = {"CADDY_ADMIN": f"127.0.0.1:{free_port()}"}
    with serving(["bash", "-c", _printed(greeter, "caddy")], tmp_path, environment, log):
        certificate = eventually(
            lambda: openssl.served(greeter.tlsalpn01_port, "localhost", greeter.ca_file), _SECONDS, log.read_text
        )
    assert_content(certificate, ["localhost"])
