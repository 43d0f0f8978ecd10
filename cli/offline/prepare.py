"""What must stand before the listeners start, done in a child of its own: it loads the PKCS#11 module."""

import getpass
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from cli.files import write_private
from pki.audit.trail import Event
from pki.config import Config
from pki.core import Core, open_core
from pki.errors import Misconfigured, NotFound, Rejected
from pki.founding import INTERMEDIATE, ROOT, found, found_access
from pki.ssh.role import DEFAULT_LIFETIMES, Role
from pki.storage.database import Tx

SSH_ROLE = "me"
"""The role by which whoever runs dev gets SSH certificates for their own login."""
_TOKEN_KIND = "root"  # noqa: S105 - a kind
_HOUSE = "house:dev"
_SSH = "ssh/"


@dataclass(frozen=True, slots=True)
class Prepared:
    """`token` is a new root token; `fingerprint` the root certificate's SHA-256, in hex with colons.

    `login_name` is whom SSH_ROLE lets in; None where there is no such role.
    """

    token: str
    fingerprint: str
    login_name: str | None


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
        token = core.tokens.make(_TOKEN_KIND, ("root",), None)
        return Prepared(token, fingerprint, _ensure_ssh_role(core))


def _ensure_ssh_role(core: Core) -> str | None:
    """Make the role for who runs this, unless it is there; return its login name.

    Without the mount, or with a login name that a certificate cannot hold, there is none: dev serves without it.
    """
    try:
        mount = core.mounts.get(_SSH)
        login_name = getpass.getuser()
    except (NotFound, KeyError, OSError):  # a user without a name, by Python 3.12 and 3.13
        return None
    standing = core.ssh.roles.find(mount, SSH_ROLE)
    if standing is not None:
        return standing.default_user or None
    seconds = DEFAULT_LIFETIMES["user"]
    own = Role(
        kind="user", default_user=login_name, default_extensions={"permit-pty": ""}, ttl=seconds, max_ttl=seconds
    )

    def work(tx: Tx) -> None:
        core.ssh.roles.set(tx, mount, SSH_ROLE, own)
        core.trail.record(tx, Event(_HOUSE, "ssh.write_role", f"{_SSH}roles/{SSH_ROLE}"))

    try:
        core.database.write(work)
    except Rejected:
        return None
    return login_name


def prepare_serve(config: Config) -> None:
    """Open everything once, so that what is wrong is told once, and renew the server's certificate if due.

    Raises:
        SealwardError, HsmError: the service cannot start.
    """
    with closing(open_core(config)) as core:
        if core.issuers.find(INTERMEDIATE) is None:
            advice = "hold the ceremony of its external root, then run `sealward ceremony install`"
            raise Misconfigured("there is no intermediate yet", advice=advice)
        found_access(core)
        core.server_certificate.renew_if_due()


def write_root(core: Core, path: Path) -> str:
    """Write the root certificate as PEM for everybody, and return its SHA-256 fingerprint. Raises OSError."""
    certificate = core.issuers.named(ROOT).certificate
    pem = certificate.public_bytes(Encoding.PEM)
    if not path.exists() or path.read_bytes() != pem:
        write_private(path, pem, 0o644)
    return certificate.fingerprint(SHA256()).hex(":").upper()
