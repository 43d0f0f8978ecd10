"""A stage for ceremonies: two people with keys, an offline token, requests, and a script to change at will."""

import hashlib
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding

from hsm import Hsm
from pki.ceremony.people import sign_script
from pki.ceremony.run import TRANSCRIPT, Held, hold
from pki.ceremony.script import read_script
from pki.ceremony.transcript import read_fragment
from pki.clock import Clock
from tests.tokens import SoftToken

PEOPLE = {"operator": "ada", "witness": "grace"}


def public_line(key: Ed25519PrivateKey) -> str:
    """Return a public key as `ssh-keygen` writes it."""
    public = key.public_key()
    return public.public_bytes(Encoding.OpenSSH, serialization.PublicFormat.OpenSSH).decode()


def write_key(path: Path) -> Ed25519PrivateKey:
    """Make a person's key as `ssh-keygen -t ed25519 -N ''` does, and write it."""
    key = Ed25519PrivateKey.generate()
    path.touch(mode=0o600)
    form = serialization.PrivateFormat.OpenSSH
    path.write_bytes(key.private_bytes(Encoding.PEM, form, serialization.NoEncryption()))
    return key


def write_request(path: Path, key: ec.EllipticCurvePrivateKey | None = None) -> str:
    """Write a request for a new key, and return the SHA-256 of the file."""
    subject = x509.Name.from_rfc4514_string("CN=not read")
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
    request = builder.sign(key or ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
    path.write_bytes(request.public_bytes(Encoding.PEM))
    return hashlib.sha256(path.read_bytes()).hexdigest()


@dataclass
class Stage:
    """The offline machine: its folder holds script, keys, request and PIN."""

    folder: Path
    token: SoftToken
    base_url: str = "http://ca.example:8080"
    document: dict[str, Any] = field(default_factory=dict)

    def prepare(self) -> None:
        """Make the people's keys, the request and the script's document."""
        keys = {role: write_key(self.folder / f"{name}.key") for role, name in PEOPLE.items()}
        pin = self.folder / "pin"
        pin.touch(mode=0o600)
        pin.write_text(self.token.pin)
        digest = write_request(self.folder / "intermediate.csr")
        self.document = {
            "ceremony": "Example root",
            "date": datetime.now(UTC).date().isoformat(),
            **{role: {"name": name, "key": public_line(keys[role])} for role, name in PEOPLE.items()},
            "token": {"module": str(self.token.module), "label": self.token.label, "pin_file": "pin"},
            "base_url": self.base_url,
            "acts": [
                {
                    "act": "create-root",
                    "subject": {"organization": "Example Corp", "common_name": "Example Root"},
                    "algorithm": "ec-p384",
                    "days": 7300,
                },
                {
                    "act": "sign-intermediate",
                    "request": "intermediate.csr",
                    "request_sha256": digest,
                    "subject": {"organization": "Example Corp", "common_name": "Example Intermediate"},
                    "days": 1825,
                    "permitted_dns": ["corp.example"],
                },
                {"act": "crl", "number": 1, "days": 400},
            ],
        }

    @property
    def script(self) -> Path:
        """Where the script is."""
        return self.folder / "script.yaml"

    @property
    def out(self) -> Path:
        """Where the transcript is written."""
        return self.folder / "out"

    def write(self, **changes: Any) -> None:
        """Write the script, with changes at its top."""
        self.document |= changes
        plain = json.loads(json.dumps(self.document))  # nothing in it stands twice, which YAML would refer to
        self.script.write_text(yaml.safe_dump(plain, sort_keys=False))

    def sign(self, *names: str) -> None:
        """Let people sign the script as it is."""
        for name in names or PEOPLE.values():
            sign_script(read_script(self.script), self.folder / f"{name}.key")

    def agree(self, **changes: Any) -> None:
        """Write the script and let both sign it."""
        self.write(**changes)
        self.sign()

    def hold(self, out: Path | None = None, clock: Clock | None = None) -> Held:
        """Hold the ceremony."""
        return hold(self.script, out or self.out, clock)

    def known_root(self, root: x509.Certificate) -> dict[str, str]:
        """Write the root's certificate, and return how a later script names it."""
        (self.folder / "root.pem").write_bytes(root.public_bytes(Encoding.PEM))
        label = next(line.facts["label"] for line in read_fragment(self.out / TRANSCRIPT) if line.act == "generate")
        digest = root.fingerprint(hashes.SHA256()).hex()
        return {"certificate": "root.pem", "sha256": digest, "key_label": str(label)}

    def keys_in_token(self) -> int:
        """Count the objects in the token; a key pair is two."""
        with self.token.open() as hsm:
            return count(hsm)


def count(hsm: Hsm) -> int:
    """Count the objects in an open token."""
    return hsm.sessions.run(1, lambda session: len(session.search({})))  # type: ignore[arg-type]
