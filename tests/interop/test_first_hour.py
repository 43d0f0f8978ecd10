"""The first hour as its page tells it, from top to bottom, and the acts as the README shows them.

Only address and ports are this test's own.
"""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.house.pages import pages
from tests.interop import openssl
from tests.interop.certificates import assert_good
from tests.interop.clients import environment_in
from tests.interop.sshd import HOST, accepted, make_key, running_sshd, sshd_program
from tests.service import Service

pytestmark = pytest.mark.interop
_PASSWORD = "correct horse battery"  # noqa: S105 - the test's own
_BASH = ("bash", "-e", "-o", "pipefail", "-c")
_PAGE = "docs/how-to/first-hour.md"


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    """Give a service that has seen nobody."""
    with Service(tmp_path / "service" / "data") as running:
        yield running
    assert "Traceback" not in running.output


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path) -> None:
    (tmp_path / "service").mkdir()


class Terminal:
    """A shell that remembers what was exported in it; `folder` is its home, where `data` is the service's."""

    def __init__(self, folder: Path, service: Service) -> None:
        folder.mkdir()
        (folder / "data").symlink_to(service.data)
        self.folder = folder
        self._service = service
        self._exported = ""

    def paste(self, block: str, given: str = "", folder: Path | None = None) -> str:
        """Run lines of a page; `given` is what their user types. Return what they print, without the talk."""
        block = block.replace("https://127.0.0.1:8443", self._service.address)
        ports = f"--standalone --http-01-port {self._service.http01_port}"
        done = subprocess.run(
            [*_BASH, f"{self._exported}cd '{folder or self.folder}'\n{block.replace('--standalone', ports)}"],
            cwd=self.folder,
            env=environment_in(self.folder, {}),
            input=given,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        exports = [line for line in block.splitlines() if line.startswith("export ")]
        self._exported += "".join(f"{line}\n" for line in exports)
        return done.stdout


def _blocks(path: str, *kinds: str) -> list[str]:
    (page,) = [page for page in pages() if page.path == path]
    return page.blocks(*kinds)


@pytest.mark.usefixtures("certbot_program")
def test_the_first_hour_goes_as_told(service: Service, tmp_path: Path) -> None:
    """Every block does what the page says, in its order, in one folder (A02, C01, C07, D01, E01)."""
    run, settings, server, login, issue, person, program, trust, morning, certify, store, audit = _blocks(_PAGE, "sh")
    (script,) = _blocks(_PAGE, "python")
    assert run == "make run\n"
    terminal = Terminal(tmp_path / "clone", service)
    terminal.paste(settings)
    terminal.paste(server)
    assert_good(terminal.folder / "certbot" / "live" / "localhost" / "fullchain.pem", ["localhost"], service)
    terminal.paste(login)
    assert "www.internal.example.pem: OK" in terminal.paste(issue)
    openssl.wait_until_revoked(terminal.folder / "www.internal.example.pem", service.ca_file)
    terminal.paste(person, given=f"{_PASSWORD}\n")
    terminal.paste(program)
    terminal.paste(morning, given=f"{_PASSWORD}\n")
    assert "Type: ssh-ed25519-cert-v01@openssh.com user certificate" in terminal.paste(certify)
    _assert_let_in(terminal, trust, tmp_path / "sshd", "userpass-alice-me-")
    stored = terminal.paste(store)
    (terminal.folder / "script.py").write_text(script.replace("https://127.0.0.1:8443", service.address))
    assert terminal.paste("python3 script.py").strip() == stored.splitlines()[-1].strip()
    assert "kv.read" in terminal.paste(audit)


def _assert_let_in(terminal: Terminal, trust: str, folder: Path, key_id: str) -> None:
    """A real sshd, in whose folder the lines were pasted, lets in who holds the certificate."""
    folder.mkdir()
    (folder / "known_hosts").write_text(f"{HOST} {make_key(folder / 'host_key')}")
    terminal.paste(trust, folder=folder)
    with running_sshd(sshd_program(), folder) as server:
        done = server.login(terminal.folder / "id_ed25519")
        assert (done.returncode, done.stdout) == (0, "in\n"), done.stderr + server.log
        assert accepted(server.log)[0][0].startswith(key_id)


def test_the_readme_shows_three_more_acts(service: Service, tmp_path: Path) -> None:
    """What stands below its lines for ACME clients: administrator, person, application (C01, D01, E01)."""
    settings, administrator, person, trust, application = _blocks("README.md", "sh")[-5:]
    terminal = Terminal(tmp_path / "clone", service)
    terminal.paste(settings)
    terminal.paste(administrator)
    openssl.wait_until_revoked(terminal.folder / "www.internal.example.pem", service.ca_file)
    terminal.paste(person)
    _assert_let_in(terminal, trust, tmp_path / "sshd", "root-me-")
    assert len(terminal.paste(application).splitlines()[-1].strip()) == 48
