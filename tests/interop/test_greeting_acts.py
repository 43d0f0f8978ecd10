"""The lines that `sealward dev` prints for an administrator, a person and an application, pasted into a shell."""

import json
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509

from tests.interop import openssl
from tests.interop.certificates import names_of
from tests.interop.clients import Client
from tests.interop.sshd import HOST, USER, Sshd, accepted, make_key, running_sshd, sshd_program
from tests.service import Service

pytestmark = pytest.mark.interop
_TITLES = {
    "administrator": "You, as its administrator",
    "person": "A person gets",
    "sshd": "and the servers' sshd",
    "application": "An application stores",
}


@pytest.fixture(scope="module")
def greeted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Give a service whose folder's name needs quotes."""
    with Service(tmp_path_factory.mktemp("acts") / "my data") as running:
        yield running
    assert "Traceback" not in running.output


def _printed(service: Service, act: str) -> str:
    """Return the lines below an act's title."""
    blocks = service.output.split("\n\n")
    (number,) = [number for number, block in enumerate(blocks) if block.startswith(_TITLES[act])]
    return blocks[number + 1]


@pytest.fixture
def shell(greeted: Service, tmp_path: Path) -> Client:
    """Give a shell in an empty folder, in which the administrator's lines were pasted, except that which revokes."""
    bash = Client("bash", tmp_path, {})
    _paste(bash, *_printed(greeted, "administrator").splitlines()[:-1])
    return bash


def _paste(bash: Client, *blocks: str) -> str:
    return bash.run("-e", "-o", "pipefail", "-c", "\n".join(blocks))


def _settings(service: Service) -> str:
    """Return those of the administrator's lines that hold for the rest of the terminal's life."""
    lines = _printed(service, "administrator").splitlines()
    return "\n".join(line for line in lines if line.startswith("export "))


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory, greeted: Service, shell: Client) -> Iterator[Sshd]:
    """Give an sshd in whose folder the printed lines were pasted; it trusts nothing else."""
    folder = tmp_path_factory.mktemp("sshd")
    (folder / "known_hosts").write_text(f"{HOST} {make_key(folder / 'host_key')}")
    bash = Client("bash", folder, {"HOME": str(shell.folder)})
    _paste(bash, _settings(greeted), _printed(greeted, "sshd"))
    with running_sshd(sshd_program(), folder) as running:
        yield running


def test_no_secret_is_printed(greeted: Service) -> None:
    """The token is in its file, for its owner alone, and on no terminal; the lines hand it over by standard input."""
    token = greeted.ready["token"]
    file = Path(greeted.ready["token_file"])
    assert file.read_text() == f"{token}\n"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert token not in greeted.output


def test_printed_administrator_lines_issue_and_revoke(greeted: Service, shell: Client) -> None:
    """The certificate is good to openssl until it is revoked, and not after (C01, C07)."""
    issued = shell.folder / "www.internal.example.pem"
    certificate = x509.load_pem_x509_certificates(issued.read_bytes())[0]
    assert names_of(certificate) == {"www.internal.example"}
    crl = openssl.crl_of(certificate, shell.folder)
    verdict = openssl.verify(issued, greeted.ca_file, "-crl_check", "-CRLfile", crl)
    assert verdict.returncode == 0, verdict.stderr
    _paste(shell, _settings(greeted), _printed(greeted, "administrator").splitlines()[-1])
    openssl.wait_until_revoked(issued, greeted.ca_file)
    assert stat.S_IMODE(issued.with_suffix(".key").stat().st_mode) == 0o600


def test_printed_person_lines_let_the_person_in(greeted: Service, shell: Client, server: Sshd) -> None:
    """A real sshd, set up by the printed lines, accepts the certificate of the printed lines (D01, D11)."""
    _paste(shell, _settings(greeted), _printed(greeted, "person"))
    done = server.login(shell.folder / "id_ed25519")
    assert (done.returncode, done.stdout) == (0, "in\n"), done.stderr + server.log
    ((key_id, _serial),) = accepted(server.log)
    assert key_id.startswith("root-me-")
    make_key(shell.folder / "other")
    (shell.folder / "other-cert.pub").write_bytes((shell.folder / "id_ed25519-cert.pub").read_bytes())
    assert server.login(shell.folder / "other").returncode == 255, "the certificate is of no use without its key"
    assert f"log in as {USER}" in greeted.output


def test_printed_application_lines_read_what_they_stored(greeted: Service, shell: Client) -> None:
    """The command and curl read the same value (E01, E02)."""
    store, read, *curl = _printed(greeted, "application").splitlines()
    _paste(shell, _settings(greeted), store)
    password = _paste(shell, _settings(greeted), read)
    assert len(password.strip()) == 48
    answer = json.loads(_paste(shell, "\n".join(curl).replace("curl ", "curl --silent ")))
    assert answer["data"]["data"] == {"password": password.strip()}
