"""SSH certificates as octets (OpenSSH's PROTOCOL.certkeys): what is signed, and that with its signature.

An encoder of our own, since a library's signs on the spot, and turns a security key's certificate into one of a plain
key. The format is flat: every field stands once, in one order.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from pki.ssh.encoding import string
from pki.ssh.keys import SubjectKey

USER, HOST = "user", "host"
_KINDS = {USER: 1, HOST: 2}
NONCE_OCTETS = 32
SERIAL_BITS = 63
"""PROTOCOL.certkeys has 64, databases a sign."""


@dataclass(frozen=True, slots=True)
class Draft:
    """Everything that a certificate says. `kind` is user or host; `issuer_key` the CA's public key as SSH writes it.

    It is valid from the second of `not_before` up to, and without, that of `not_after`. Options whose value is empty
    are flags.
    """

    key: SubjectKey
    nonce: bytes
    serial: int
    kind: str
    key_id: str
    valid_principals: tuple[str, ...]
    not_before: datetime
    not_after: datetime
    critical_options: Mapping[str, str]
    extensions: Mapping[str, str]
    issuer_key: bytes

    def encode(self) -> bytes:
        """Return the octets that the CA signs: the certificate up to its signature."""
        return b"".join(
            (
                string(_certificate_type(self.key.name)),
                string(self.nonce),
                self.key.fields,
                self.serial.to_bytes(8),
                _KINDS[self.kind].to_bytes(4),
                string(self.key_id.encode()),
                string(b"".join(string(item.encode()) for item in self.valid_principals)),
                int(self.not_before.timestamp()).to_bytes(8),
                int(self.not_after.timestamp()).to_bytes(8),
                string(_options(self.critical_options)),
                string(_options(self.extensions)),
                string(b""),  # reserved
                string(self.issuer_key),
            )
        )


def assemble(body: bytes, signature: bytes) -> bytes:
    """Return the certificate: what was signed, and the signature as SSH writes it."""
    return body + string(signature)


def _certificate_type(name: str) -> bytes:
    """Return the type of certificates for keys of type `name`: `-cert-v01` stands before OpenSSH's domain."""
    return f"{name.removesuffix('@openssh.com')}-cert-v01@openssh.com".encode()


def _options(options: Mapping[str, str]) -> bytes:
    """Return options in the order of their names, as the format demands; a value is a string within a string."""
    return b"".join(
        string(name.encode()) + string(string(value.encode()) if value else b"")
        for name, value in sorted(options.items())
    )
