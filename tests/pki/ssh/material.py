"""What tests ask to be certified, and how they look at what they get."""

import subprocess
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from pki.mounts import Mount
from pki.ssh.authority import SshAuthority
from pki.ssh.encoding import string
from pki.ssh.keys import line
from pki.ssh.role import Role
from pki.ssh.sign import Asker, Issued, Wish

ALICE = Asker("userpass-alice (accessor)", "userpass-alice")


def public_line(public_key: Any) -> str:
    """Return a public key of cryptography's as a line of text."""
    return str(public_key.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode())


def fresh_line(kind: str = "ed25519") -> str:
    """Return the line of a new public key; of a security key, one that is in no device."""
    if kind == "sk-ed25519":
        point = ed25519.Ed25519PrivateKey.generate().public_key().public_bytes_raw()
        return line(string(b"sk-ssh-ed25519@openssh.com") + string(point) + string(b"ssh:"))
    if kind == "sk-ec":
        public = ec.generate_private_key(ec.SECP256R1()).public_key()
        point = public.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        name = b"sk-ecdsa-sha2-nistp256@openssh.com"
        return line(string(name) + string(b"nistp256") + string(point) + string(b"ssh:"))
    if kind == "rsa":
        return public_line(rsa.generate_private_key(65537, 2048).public_key())
    if kind == "ed25519":
        return public_line(ed25519.Ed25519PrivateKey.generate().public_key())
    curve = {"p256": ec.SECP256R1(), "p384": ec.SECP384R1(), "p521": ec.SECP521R1()}[kind]
    return public_line(ec.generate_private_key(curve).public_key())


def user_role(**changes: Any) -> Role:
    """Return a role that lets people in as alice or deploy."""
    values: dict[str, Any] = {"kind": "user", "allowed_users": ("alice", "deploy"), "ttl": 3600, "max_ttl": 3600}
    return Role(**{**values, **changes})


def host_role(**changes: Any) -> Role:
    """Return a role for hosts below internal.example."""
    values: dict[str, Any] = {"kind": "host", "allowed_domains": ("internal.example",), "subdomains": True}
    return Role(**{**values, "ttl": 7 * 86400, "max_ttl": 7 * 86400, **changes})


def wish(**changes: Any) -> Wish:
    """Return a wish for alice's certificate by the role dev."""
    values: dict[str, Any] = {
        "role": "dev",
        "kind": "user",
        "public_key": changes.get("public_key") or fresh_line(),
        "valid_principals": ("alice",),
        "lifetime": None,
        "extensions": {},
        "critical_options": {},
        "key_id": "",
    }
    return Wish(**{**values, **changes})


def set_role(ssh: SshAuthority, mount: Mount, role: Role, name: str = "dev") -> None:
    """Write a role."""
    ssh.database.write(lambda tx: ssh.roles.set(tx, mount, name, role))


def issue(ssh: SshAuthority, mount: Mount, **changes: Any) -> Issued:
    """Issue a certificate to alice, recording nothing of a request."""
    return ssh.gate.issue(mount, wish(**changes), ALICE, lambda _tx, _facts: None)


def shown(folder: Path, certificate: str) -> str:
    """Return what ssh-keygen says of a certificate."""
    (folder / "shown-cert.pub").write_text(certificate)
    done = subprocess.run(
        ["ssh-keygen", "-L", "-f", "shown-cert.pub"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env={"TZ": "UTC", "PATH": "/usr/bin:/bin"},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
