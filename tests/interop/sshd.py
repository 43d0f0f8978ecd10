"""OpenSSH's own server on loopback, and its own client: as shipped, with configurations of ours and no password."""

import getpass
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.interop import clients
from tests.interop.deadlines import eventually
from tests.service import free_port

HOST = "db1.internal.example"
"""The name by which the client knows the server, whatever its address."""
USER = getpass.getuser()
"""Who may log in: without root's rights a server lets nobody else in."""

_PLACES = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin"))
_CONFIG = """
ListenAddress 127.0.0.1
Port {port}
PidFile none
HostKey {folder}/host_key
HostCertificate {folder}/host_key-cert.pub
TrustedUserCAKeys {folder}/user_ca.pub
AuthorizedKeysFile none
PubkeyAuthentication yes
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
StrictModes no
PermitRootLogin prohibit-password
AllowAgentForwarding no
LogLevel VERBOSE
"""


def sshd_program() -> str:
    """Return the path of sshd; its version goes into the report."""
    path = shutil.which("sshd", path=_PLACES)
    if path is None or shutil.which("ssh") is None:
        pytest.skip("sshd is missing: `make test-needs` installs it (Debian's package openssh-server)")
    said = subprocess.run(["ssh", "-V"], capture_output=True, text=True, check=True, timeout=20).stderr
    clients.VERSIONS["OpenSSH"] = said.strip()
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # compiled in; a boot script makes it elsewhere
    return path


def make_key(path: Path, kind: str = "ed25519") -> str:
    """Generate a key pair as people do, and return the line of its public half."""
    command = ["ssh-keygen", "-q", "-t", kind, "-N", "", "-C", "a person's laptop", "-f", str(path)]
    subprocess.run([*command, *(["-b", "3072"] if kind == "rsa" else [])], check=True, timeout=60)
    return path.with_name(f"{path.name}.pub").read_text()


class Sshd:
    """A running server, whose keys and configuration are in `folder`."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder
        self.port = port

    @property
    def log(self) -> str:
        """All that it has said."""
        return (self.folder / "sshd.log").read_text()

    def is_listening(self) -> bool | None:
        """Tell whether it answers; None when it does not yet."""
        return True if "Server listening" in self.log else None

    def login(
        self, key: Path, *options: str, command: str = "echo in", known_hosts: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Log in by that key and the certificate beside it, and run a command; `options` come before those of here."""
        hosts = key.with_name("known_hosts")
        hosts.write_text(known_hosts if known_hosts is not None else self.folder.joinpath("known_hosts").read_text())
        settings = {
            "BatchMode": "yes",
            "CertificateFile": f"{key}-cert.pub",
            "GlobalKnownHostsFile": "none",
            "HostKeyAlias": HOST,
            "IdentitiesOnly": "yes",
            "StrictHostKeyChecking": "yes",
            "UserKnownHostsFile": str(hosts),
        }
        chosen = [item for name, value in settings.items() for item in ("-o", f"{name}={value}")]
        program = ["ssh", "-F", "none", "-i", str(key), "-p", str(self.port), *options, *chosen]
        environment = {name: value for name, value in os.environ.items() if name != "SSH_AUTH_SOCK"}
        return subprocess.run(
            [*program, f"{USER}@127.0.0.1", command],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            stdin=subprocess.DEVNULL,
            env=environment,
        )


def accepted(log: str) -> list[tuple[str, int]]:
    """Return the key id and the serial of each certificate that let somebody in."""
    found = re.findall(r'Accepted publickey .* ID "?(.*?)"? \(serial (\d+)\) CA', log)
    return [(key_id, int(serial)) for key_id, serial in found]


@contextmanager
def running_sshd(program: str, folder: Path) -> Iterator[Sshd]:
    """Run a server over what is in `folder`, and end it. What its sshd_config says already goes before what is here."""
    server = Sshd(folder, free_port())
    config = folder / "sshd_config"
    said = config.read_text() if config.exists() else ""
    config.write_text(said + _CONFIG.format(port=server.port, folder=folder))
    command = [program, "-D", "-e", "-f", str(folder / "sshd_config")]
    with clients.serving(command, folder, {}, folder / "sshd.log"):
        eventually(server.is_listening, 20, lambda: server.log)
        yield server
