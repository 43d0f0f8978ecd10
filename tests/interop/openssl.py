"""What openssl says of a certificate, and of a server that shows one."""

import os
import subprocess
import urllib.request
from collections.abc import Mapping
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from tests.interop.deadlines import eventually

REVOKED_WITHIN_SECONDS = 2


def _openssl(*arguments: str | Path, environment: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["openssl", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
        stdin=subprocess.DEVNULL,
        env={**os.environ, **(environment or {})},
    )


def verify(chain: Path, root: Path, *options: str | Path) -> subprocess.CompletedProcess[str]:
    """Return the verdict on the first certificate in `chain`, whose others are the issuers up to `root`."""
    return _openssl(
        "verify", "-x509_strict", "-purpose", "sslserver", "-CAfile", root, "-untrusted", chain, *options, chain
    )


def crl_of(certificate: x509.Certificate, folder: Path) -> Path:
    """Fetch the CRL from where the certificate says it is; return the file, in PEM."""
    points = certificate.extensions.get_extension_for_class(x509.CRLDistributionPoints).value
    url = points[0].full_name[0].value
    with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 - the service's own
        crl = x509.load_der_x509_crl(answer.read())
    path = folder / "crl.pem"
    path.write_bytes(crl.public_bytes(Encoding.PEM))
    return path


def wait_until_revoked(chain: Path, root: Path) -> None:
    """Wait until openssl refuses the certificate for what the CRL of its issuer says."""
    certificate = x509.load_pem_x509_certificate(chain.read_bytes())

    def refused() -> bool | None:
        verdict = verify(chain, root, "-crl_check", "-CRLfile", crl_of(certificate, chain.parent))
        return True if verdict.returncode and "certificate revoked" in verdict.stderr else None

    eventually(refused, REVOKED_WITHIN_SECONDS, lambda: f"{chain} is good still")


def connect(
    port: int, name: str, root: Path, *options: str | Path, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Connect to the TLS server at a port of this machine, as one that must be `name`: a DNS name or IPv4 address."""
    is_address = name.replace(".", "").isdecimal()
    who = ("-noservername", "-verify_ip", name) if is_address else ("-servername", name, "-verify_hostname", name)
    return _openssl(
        *("s_client", "-connect", f"127.0.0.1:{port}", *who),
        *("-verify_return_error", "-x509_strict", "-CAfile", root, *options),
        environment=environment,
    )


def served(port: int, name: str, root: Path) -> x509.Certificate | None:
    """Return the certificate that the server at a port shows for `name`, or None if openssl does not like it."""
    answer = connect(port, name, root)
    if answer.returncode or "Verify return code: 0 (ok)" not in answer.stdout:
        return None
    return x509.load_pem_x509_certificate(answer.stdout.encode())
