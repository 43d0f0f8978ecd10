"""`sealward ssh`: a person's key is certified by a role, and written where ssh looks for it."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.cli.online.people import Person, hire

USERS: dict[str, Any] = {
    "allow_user_certificates": True,
    "allowed_users": "deploy,bob",
    "default_user": "deploy",
    "default_extensions": {"permit-pty": ""},
    "ttl": "1h",
}
HOSTS = ("allow_host_certificates=true", "allowed_domains=internal.example", "allow_subdomains=true")


@pytest.fixture(scope="module")
def _roles(administrator: Person) -> None:
    """Roles for people and for hosts."""
    administrator.does("ssh", "role", "set", "deployers", "--file", "-", typed=json.dumps(USERS))
    administrator.does("ssh", "role", "set", "hosts", *HOSTS)


@pytest.fixture
def bob(administrator: Person, somebody: Person, _roles: None) -> Person:
    """One who may log in as deploy, with a key."""
    bob = hire(administrator, somebody, "bob", 'path "ssh/sign/*" { capabilities = ["update"] }')
    ssh_keygen(bob.folder, "-q", "-t", "ed25519", "-N", "", "-f", "id_ed25519")
    return bob


def ssh_keygen(folder: Path, *words: str) -> str:
    """Return what ssh-keygen prints."""
    done = subprocess.run(["ssh-keygen", *words], capture_output=True, text=True, check=True, cwd=folder, timeout=20)
    return done.stdout


def test_certificate_is_written_beside_the_key(bob: Person) -> None:
    """`ssh sign` writes id_ed25519-cert.pub, and ssh-keygen -L reads the role's principals and extensions in it."""
    assert bob.does("ssh", "sign", "deployers", "id_ed25519.pub") == ""
    shown = ssh_keygen(bob.folder, "-L", "-f", "id_ed25519-cert.pub")
    assert "ssh-ed25519-cert-v01@openssh.com user certificate" in shown
    assert "Principals: \n                deploy\n" in shown
    assert "permit-pty" in shown


def test_wishes_are_bounded_by_the_role(bob: Person) -> None:
    """--principal and --ttl are asked for; a principal that the role does not know is refused, and nothing written."""
    bob.does("ssh", "sign", "deployers", "id_ed25519.pub", "--principal", "bob", "--ttl", "10m", "--out", "bob.pub")
    assert "                bob\n" in ssh_keygen(bob.folder, "-L", "-f", "bob.pub")
    bob.fails(1, "ssh", "sign", "deployers", "id_ed25519.pub", "--principal", "root")
    assert not (bob.folder / "id_ed25519-cert.pub").exists()
    bob.fails(5, "ssh", "sign", "absent", "id_ed25519.pub")


def test_certificate_of_standard_input_goes_to_standard_output(bob: Person) -> None:
    """`-` reads the key and prints the certificate, for pipes; a host's is of the other kind."""
    typed = (bob.folder / "id_ed25519.pub").read_text()
    words = ("ssh", "sign", "hosts", "-", "--host", "--principal", "db1.internal.example")
    (bob.folder / "host.pub").write_text(bob.does(*words, typed=typed))
    assert "host certificate" in ssh_keygen(bob.folder, "-L", "-f", "host.pub")


def test_private_key_is_not_sent(bob: Person) -> None:
    """Naming the private half by mistake is wrong usage, and it stays on this machine."""
    assert "private key" in bob.fails(2, "ssh", "sign", "deployers", "id_ed25519")
    bob.fails(2, "ssh", "sign", "deployers", "absent.pub")


def test_ca_keys_are_for_everybody(somebody: Person) -> None:
    """`ssh ca` needs no token, and prints the line that sshd or known_hosts takes."""
    lines = [somebody.does("ssh", "ca", *options) for options in ((), ("--host",))]
    assert len({line.split()[1] for line in lines}) == 2
    for line in lines:
        (somebody.folder / "ca.pub").write_text(line)
        assert "ED25519" in ssh_keygen(somebody.folder, "-l", "-f", "ca.pub")


def test_signature_is_in_the_log(administrator: Person, bob: Person) -> None:
    """The log says who had which key certified by which role."""
    bob.does("ssh", "sign", "deployers", "id_ed25519.pub")
    (event,) = administrator.sees("audit", "list", "--actor", "token-bob", "--action", "ssh.sign", "--limit", "1")
    assert (event["object"], event["outcome"]) == ("ssh/sign/deployers", "success")


def test_role_that_is_shown_can_be_set(administrator: Person, bob: Person) -> None:
    """`ssh role show` prints what `set --file` takes; one that is deleted signs no more; who may not, may not: 4."""
    shown = administrator.does("ssh", "role", "show", "deployers", "-o", "yaml")
    administrator.does("ssh", "role", "set", "copy", "--file", "-", typed=shown)
    assert administrator.does("ssh", "role", "show", "copy", "-o", "yaml") == shown
    assert {"copy", "deployers", "hosts"} <= set(administrator.does("ssh", "role", "list").split())
    administrator.does("ssh", "role", "delete", "copy")
    bob.fails(5, "ssh", "sign", "copy", "id_ed25519.pub")
    bob.fails(4, "ssh", "role", "set", "mine", *HOSTS)
    administrator.fails(1, "ssh", "role", "set", "mine", "frob=1")
    administrator.fails(2, "ssh", "role", "set", "mine")
    administrator.fails(2, "ssh", "role", "set", "mine", "--file", "-", typed="[1, 2]")
