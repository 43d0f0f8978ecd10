"""What must stand before the listeners start, done in a child of its own: it loads the PKCS#11 module."""

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from cli.offline.files import write_private
from pki.config import Config
from pki.core import Core, open_core
from pki.errors import Misconfigured
from pki.founding import INTERMEDIATE, ROOT, found

_TOKEN_KIND = "root"  # noqa: S105 - a kind


@dataclass(frozen=True, slots=True)
class Prepared:
    """`token` is a new root token; `fingerprint` the root certificate's SHA-256, in hex with colons."""

    token: str
    fingerprint: str


def prepare_dev(config: Config, root_pem: Path) -> Prepared:
    """Make what is absent of the CA, renew the server's certificate if due, and make a new root token.

    Raises:
        SealwardError, HsmError, OSError: something cannot be made.
    """
    found(config)
    with closing(open_core(config)) as core:
        core.server_certificate.renew_if_due()
        fingerprint = write_root(core, root_pem)
        core.tokens.revoke_kind(_TOKEN_KIND)
        return Prepared(core.tokens.make(_TOKEN_KIND, ("root",), None), fingerprint)


def prepare_serve(config: Config) -> None:
    """Open everything once, so that what is wrong is told once, and renew the server's certificate if due.

    Raises:
        SealwardError, HsmError: the service cannot start.
    """
    with closing(open_core(config)) as core:
        if core.issuers.find(INTERMEDIATE) is None:
            advice = "hold the ceremony of its external root, then run `sealward ceremony install`"
            raise Misconfigured("there is no intermediate yet", advice=advice)
        core.server_certificate.renew_if_due()


def write_root(core: Core, path: Path) -> str:
    """Write the root certificate as PEM for everybody, and return its SHA-256 fingerprint. Raises OSError."""
    certificate = core.issuers.named(ROOT).certificate
    pem = certificate.public_bytes(Encoding.PEM)
    if not path.exists() or path.read_bytes() != pem:
        write_private(path, pem, 0o644)
    return certificate.fingerprint(SHA256()).hex(":").upper()
