"""The house's own TLS certificate: issued by itself, renewed in time, never a reason not to start (Z-B14).

Key and chain stand in one file of mode 0600, so that they change together: the TLS library needs the key in clear.
"""

import ipaddress
import os
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from pki.authority.drafts import Wanted
from pki.authority.issue import Gate
from pki.authority.issuers import Issuers
from pki.authority.names import Name, dns_name
from pki.authority.profiles import SERVER_PROFILE
from pki.clock import Clock
from pki.errors import Misconfigured, Rejected

_SPENT = 2 / 3
"""The share of its life after which a certificate is renewed."""


def server_name(text: str) -> Name:
    """Return the name, DNS or IP, under which clients reach the service.

    Raises:
        Misconfigured: it is neither.
    """
    try:
        return Name("ip", str(ipaddress.ip_address(text)))
    except ValueError:
        pass
    try:
        return dns_name(text)
    except Rejected as error:
        raise Misconfigured(f"[server] names: {error.message}", advice="give DNS names and IP addresses") from None


class ServerCertificate:
    """Keeps the PEM file at `path` valid for `names`."""

    def __init__(self, gate: Gate, issuers: Issuers, clock: Clock, path: Path, names: Sequence[str]) -> None:
        self._gate = gate
        self._issuers = issuers
        self._clock = clock
        self._path = path
        self._names = tuple(sorted({server_name(text) for text in names}))

    def renew_if_due(self) -> bool:
        """Issue a new certificate with a new key if the file lacks a good one; return whether it did.

        Due is what is absent, unreadable, for other names, not below the present issuer, not valid now, or two thirds
        through its life.

        Raises:
            SealwardError: nothing was issued; the file is as it was.
        """
        if self._is_good():
            return False
        key = ec.generate_private_key(ec.SECP256R1())
        wanted = Wanted(SERVER_PROFILE.name, key.public_key(), self._names, "house:server")
        entry = self._gate.issue_by(SERVER_PROFILE, wanted)
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        _replace(self._path, pem + self._gate.chain_pem(entry).encode())
        return True

    def _is_good(self) -> bool:
        try:
            pem = self._path.read_bytes()
            key = load_pem_private_key(pem, None)
            certificate = x509.load_pem_x509_certificates(pem)[0]
            alternative = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
            issuer = self._issuers.named(SERVER_PROFILE.issuer)
            certificate.verify_directly_issued_by(issuer.certificate)
        except (
            OSError,
            ValueError,
            TypeError,
            IndexError,
            x509.InvalidVersion,
            x509.ExtensionNotFound,
            InvalidSignature,
        ):
            return False
        wanted = {name.general_name() for name in self._names}
        return (
            key.public_key() == certificate.public_key()
            and set(alternative) == wanted
            and _is_fresh(certificate, self._clock.now())
        )


def _is_fresh(certificate: x509.Certificate, now: datetime) -> bool:
    start = certificate.not_valid_before_utc
    life: timedelta = certificate.not_valid_after_utc - start
    return start <= now < start + life * _SPENT


def _replace(path: Path, content: bytes) -> None:
    """Write the file whole or not at all, for its owner alone."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        fresh.rename(path)
    except OSError as error:
        fresh.unlink(missing_ok=True)
        raise Misconfigured(
            f"cannot write {path}: {error.strerror}", advice="let the service's user write there, on a disk with room"
        ) from error
