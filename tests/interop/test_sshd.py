"""A real sshd lets in whom our certificates name, for as long as they say, and nobody else."""

import base64
import subprocess
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from hsm.algorithms import KeyAlgorithm
from pki.core import Core, open_core
from pki.founding import found
from pki.mounts import Mount
from pki.ssh.authority import SshAuthority
from pki.ssh.role import Role
from pki.ssh.sign import Asker, Issued, Wish
from tests.clocks import FrozenClock
from tests.house_fixture import configure
from tests.interop.sshd import HOST, USER, Sshd, accepted, make_key, running_sshd, sshd_program
from tests.pki.ssh.conftest import authority
from tests.tokens import fresh_token

_OURS = Mount("ours", "root", "ssh/", "secret", "ssh")
_THEIRS = Mount("theirs", "root", "other/", "secret", "ssh")
_RSA = Mount("rsa", "root", "rsa/", "secret", "ssh")
_P384 = Mount("p384", "root", "p384/", "secret", "ssh")
_MOUNTS = (_OURS, _THEIRS, _RSA, _P384)
_PTY = {"permit-pty": ""}

Sign = Callable[..., Path]


@pytest.fixture(scope="module")
def core(token_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Core]:
    """Give a founded house, whose clock stands still at the present."""
    assert token_folder.is_dir()
    folder = tmp_path_factory.mktemp("house")
    config = configure(f"sqlite:///{folder}/house.db", fresh_token(), folder)
    found(config)
    opened = open_core(config, FrozenClock(datetime.now(UTC)))
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def ssh(core: Core) -> SshAuthority:
    """Give its SSH authority: several mounts with CA keys of different kinds, each with roles for anybody."""
    ssh = authority(core)
    for mount, algorithm in ((_RSA, KeyAlgorithm.RSA_2048), (_P384, KeyAlgorithm.EC_P384)):
        ssh.issuers.create(mount, "user", algorithm, lambda _tx, _issuer: None)
    roles = {
        "people": Role(
            kind="user",
            allowed_users=("*",),
            ttl=3600,
            max_ttl=3600,
            critical_options=("force-command", "source-address"),
            extensions=("permit-pty",),
        ),
        "hosts": Role(kind="host", allowed_domains=("*",), ttl=3600, max_ttl=3600),
    }
    for mount in _MOUNTS:
        ssh.issuers.found(mount)
        for name, role in roles.items():
            ssh.database.write(lambda tx, where=mount, name=name, role=role: ssh.roles.set(tx, where, name, role))  # type: ignore[misc]
    return ssh


@pytest.fixture(scope="module")
def sign(ssh: SshAuthority) -> Sign:
    """Give what certifies the key in a file, as `sealward ssh sign` does: the certificate is put beside it."""

    def write(key: Path, mount: Mount = _OURS, **changes: Any) -> Issued:
        public_key = key.with_name(f"{key.name}.pub").read_text()
        values: dict[str, Any] = {"role": "people", "kind": "user", "valid_principals": (USER,), "lifetime": None}
        values |= {"extensions": {}, "critical_options": {}, "key_id": "", **changes}
        issued = ssh.gate.issue(
            mount, Wish(public_key=public_key, **values), Asker("test:alice", "alice"), lambda _tx, _facts: None
        )
        key.with_name(f"{key.name}-cert.pub").write_text(f"{issued.line}\n")
        return issued

    return write  # type: ignore[return-value]


@pytest.fixture(scope="module")
def server(ssh: SshAuthority, sign: Sign, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    """Give a server that trusts our CA for people, and shows a certificate of our CA for hosts.

    It also trusts our hosts' CA for people: so that what keeps a host's certificate out is its kind.
    """
    folder = tmp_path_factory.mktemp("sshd")
    make_key(folder / "host_key")
    sign(folder / "host_key", role="hosts", kind="host", valid_principals=(HOST,))
    trusted = [ssh.issuers.get(mount, "user").line for mount in (_OURS, _RSA, _P384)]
    (folder / "user_ca.pub").write_text("\n".join([*trusted, ssh.issuers.get(_OURS, "host").line]) + "\n")
    (folder / "known_hosts").write_text(f"@cert-authority *.internal.example {ssh.issuers.get(_OURS, 'host').line}\n")
    with running_sshd(sshd_program(), folder) as running:
        yield running


@pytest.fixture
def key(tmp_path: Path) -> Path:
    """Give a person's new key."""
    make_key(tmp_path / "id")
    return tmp_path / "id"


def _refusal(server: Sshd, key: Path, *options: str) -> str:
    """Return what the server says of a login that it must refuse."""
    before = len(server.log)
    done = server.login(key, *options)
    assert done.returncode == 255
    assert "Permission denied" in done.stderr
    assert accepted(server.log[before:]) == []
    return server.log[before:]


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "rsa"])
def test_a_fresh_certificate_lets_its_holder_in(server: Sshd, sign: Any, tmp_path: Path, kind: str) -> None:
    """CA40 I04: with every usual kind of key; sshd's log names the certificate by key id and serial."""
    make_key(tmp_path / "id", kind)
    issued = sign(tmp_path / "id")
    done = server.login(tmp_path / "id")
    assert (done.returncode, done.stdout) == (0, "in\n"), done.stderr + server.log
    key_id, serial = accepted(server.log)[-1]
    assert serial == issued.serial
    assert key_id.startswith("alice-people-")


@pytest.mark.parametrize("mount", [_RSA, _P384], ids=["rsa", "p384"])
def test_a_ca_of_another_kind_is_accepted(server: Sshd, sign: Any, key: Path, mount: Mount) -> None:
    """S21: sshd as it is shipped takes no ssh-rsa, and ours is rsa-sha2-512."""
    issued = sign(key, mount)
    done = server.login(key)
    assert done.returncode == 0, done.stderr + server.log
    assert accepted(server.log)[-1][1] == issued.serial


def test_an_expired_certificate_is_refused(server: Sshd, sign: Any, key: Path, core: Core) -> None:
    """CA56: by its own second, without anybody's doing."""
    sign(key, lifetime=timedelta(seconds=1))
    time.sleep(max(0.0, core.clock.now().timestamp() + 2 - time.time()))
    assert "expired" in _refusal(server, key)


def test_another_principal_is_refused(server: Sshd, sign: Any, key: Path) -> None:
    """H1: a certificate lets in as the names in it, and as nobody else."""
    sign(key, valid_principals=("somebody", "else"))
    assert "name is not a listed principal" in _refusal(server, key)


def test_a_certificate_of_another_ca_is_refused(server: Sshd, sign: Any, key: Path) -> None:
    """A mount is a CA of its own."""
    sign(key, _THEIRS)
    assert "Failed publickey" in _refusal(server, key)


def test_a_host_s_certificate_lets_nobody_in(server: Sshd, sign: Any, key: Path) -> None:
    """H5: whatever names it holds, and although the server trusts its CA."""
    sign(key, role="hosts", kind="host", valid_principals=(USER,))
    assert "Failed publickey" in _refusal(server, key)


def test_a_key_without_its_certificate_is_refused(server: Sshd, key: Path) -> None:
    """The server knows no key, only the CA."""
    (key.parent / "id-cert.pub").touch()
    assert "Accepted" not in _refusal(server, key)


def test_a_tampered_certificate_is_refused(server: Sshd, sign: Any, key: Path) -> None:
    """The signature covers every name."""
    sign(key, valid_principals=("somebody",))
    certificate = key.with_name("id-cert.pub")
    kind, text = certificate.read_text().split()
    octets = base64.b64decode(text).replace(b"\x08somebody", len(USER).to_bytes(1) + USER.encode().ljust(8, b"x"))
    certificate.write_text(f"{kind} {base64.b64encode(octets).decode()}\n")
    assert server.login(key).returncode != 0


def test_a_forced_command_is_run_in_place_of_any_other(server: Sshd, sign: Any, key: Path) -> None:
    """H3: critical options bind."""
    sign(key, critical_options={"force-command": "echo forced"})
    assert server.login(key, command="echo free").stdout == "forced\n"


def test_another_source_address_is_refused(server: Sshd, sign: Any, key: Path) -> None:
    """H3: the certificate is good from its networks alone."""
    sign(key, critical_options={"source-address": "10.0.0.0/8"})
    assert _refusal(server, key)
    sign(key, critical_options={"source-address": "10.0.0.0/8,127.0.0.1"})
    assert server.login(key).returncode == 0


def test_a_terminal_is_given_to_who_has_the_extension(server: Sshd, sign: Any, key: Path) -> None:
    """H3: what the role does not give is not there."""
    sign(key)
    assert "PTY allocation request failed" in server.login(key, "-tt", command="tty").stderr
    sign(key, extensions=_PTY)
    assert "/dev/" in server.login(key, "-tt", command="tty").stdout


def test_a_host_s_certificate_is_accepted_by_the_client(server: Sshd, sign: Any, key: Path, ssh: SshAuthority) -> None:
    """CA41: by @cert-authority, for the name in it alone, of the hosts' CA alone, and never of people's."""
    sign(key)
    host_ca, user_ca, other = (
        ssh.issuers.get(mount, kind).line for mount, kind in ((_OURS, "host"), (_OURS, "user"), (_THEIRS, "host"))
    )
    assert server.login(key, known_hosts=f"@cert-authority {HOST} {host_ca}\n").returncode == 0
    for line in (f"@cert-authority {HOST} {user_ca}", f"@cert-authority {HOST} {other}", f"{HOST} {host_ca}", ""):
        done = server.login(key, known_hosts=f"{line}\n")
        assert done.returncode == 255
        assert "verification failed" in done.stderr
    done = server.login(key, "-o", "HostKeyAlias=other.internal.example")
    assert done.returncode == 255


def test_ssh_keygen_reads_what_was_signed(sign: Any, key: Path) -> None:
    """S19: type, CA, names, time and options, as people look at them."""
    sign(key, extensions=_PTY)
    told = subprocess.run(
        ["ssh-keygen", "-L", "-f", f"{key}-cert.pub"], capture_output=True, text=True, check=True
    ).stdout
    assert "user certificate" in told
    assert USER in told
    assert "permit-pty" in told
