"""The lines that `sealward dev` prints, pasted into a shell in an empty folder."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.interop import openssl
from tests.interop.certificates import assert_content, assert_good
from tests.interop.clients import Client, Done, serving
from tests.interop.deadlines import eventually
from tests.interop.standard_ports import STANDARD_PORTS, require_standard_ports
from tests.service import Service, free_port

pytestmark = pytest.mark.interop
_SECONDS = 30


@pytest.fixture(scope="module", params=["standard", "chosen"])
def greeter(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Give a service with the defaults: names go through this machine's own resolver, and the proof is made.

    It validates at the standard ports, as root finds it, or at others, for which the lines name options.
    """
    ports = {}
    if request.param == "standard":
        require_standard_ports()
        ports = STANDARD_PORTS
    folder = tmp_path_factory.mktemp("greeter")
    with Service(folder / "data", {"acme": {"validation": ports}}, arguments=()) as service:
        assert "openssl verify says OK" in service.output
        yield service


def _printed(service: Service, client: str) -> str:
    """Return the block of lines that calls the client."""
    (block,) = [block for block in service.output.split("\n\n") if re.search(rf"(^|\s){client} ", block, re.MULTILINE)]
    return block + "\n"


def _paste(lines: str, folder: Path) -> Done:
    return Client("bash", folder, {}).attempt("-e", "-c", lines)


@pytest.mark.usefixtures("certbot_program")
def test_printed_certbot_lines_obtain_a_certificate(greeter: Service, tmp_path: Path) -> None:
    """The lines for certbot, as printed, end with a certificate for localhost (A02)."""
    lines = _printed(greeter, "certbot")
    done = _paste(lines, tmp_path)
    assert done.code == 0, done.output
    assert_good(tmp_path / "certbot" / "live" / "localhost" / "fullchain.pem", ["localhost"], greeter)


@pytest.mark.usefixtures("lego_program")
def test_printed_lego_lines_obtain_a_certificate(greeter: Service, tmp_path: Path) -> None:
    """The lines for lego, as printed, end with a certificate for localhost (A02)."""
    lines = _printed(greeter, "lego")
    done = _paste(lines, tmp_path)
    assert done.code == 0, done.output
    assert_good(tmp_path / "lego" / "certificates" / "localhost.crt", ["localhost"], greeter)


@pytest.mark.usefixtures("caddy_program")
def test_printed_caddy_lines_serve_with_a_certificate(greeter: Service, tmp_path: Path) -> None:
    """The lines for Caddy, as printed, serve localhost with a certificate that openssl accepts (A02)."""
    lines = _printed(greeter, "caddy")
    assert "issuer acme" in lines, "Caddy would take its own CA, and put that into this machine's trust store"
    log = tmp_path / "caddy.log"
    environment = {"CADDY_ADMIN": f"127.0.0.1:{free_port()}"}
    with serving(["bash", "-c", lines], tmp_path, environment, log):
        certificate = eventually(
            lambda: openssl.served(greeter.tlsalpn01_port, "localhost", greeter.ca_file), _SECONDS, log.read_text
        )
    assert_content(certificate, ["localhost"])
