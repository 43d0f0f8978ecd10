"""The CA certificates of this house and the token keys behind them."""

import functools
import threading
from dataclasses import dataclass
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from sqlalchemy import ColumnElement, Row, select

from hsm.device import Hsm
from hsm.keys import TokenKey
from pki.errors import Misconfigured, NotFound
from pki.storage.database import Database
from pki.storage.tables import issuers


@dataclass(frozen=True)
class Issuer:
    """A CA certificate and where its key is: `key_id` is the key's CKA_ID in the HSM, empty when it is not there.

    A root made in a ceremony has its key in another, offline token: it never signs here.
    """

    id: str
    name: str
    kind: str
    parent_id: str | None
    key_id: bytes
    certificate: x509.Certificate

    @functools.cached_property
    def public_key(self) -> CertificatePublicKeyTypes:
        """The key in the certificate, decoded once."""
        return self.certificate.public_key()

    @functools.cached_property
    def subject(self) -> bytes:
        """The name that stands as issuer in what it signs, in DER."""
        return self.certificate.subject.public_bytes()


def _issuer(row: Row[*tuple[Any, ...]]) -> Issuer:
    certificate = x509.load_der_x509_certificate(row.certificate)
    return Issuer(row.id, row.name, row.kind, row.parent_id, bytes.fromhex(row.key_id_hex), certificate)


class Issuers:
    """Looks up active issuers. They never change once active, so each is read and parsed once a process."""

    def __init__(self, database: Database, hsm: Hsm) -> None:
        self._database = database
        self._hsm = hsm
        self._lock = threading.Lock()
        self._known: dict[str, Issuer] = {}

    def get(self, issuer_id: str) -> Issuer:
        """Return the active issuer with this id.

        Raises:
            NotFound: there is none.
        """
        found = self._known.get(issuer_id) or self._read(issuers.c.id == issuer_id)
        if found is None:
            raise NotFound(f"there is no issuer {issuer_id}")
        return found

    def named(self, name: str) -> Issuer:
        """Return the active issuer with this name.

        Raises:
            NotFound: there is none.
        """
        found = self.find(name)
        if found is None:
            raise NotFound(f"there is no issuer {name!a}")
        return found

    def find(self, name: str) -> Issuer | None:
        """Return the active issuer with this name, if any."""
        for issuer in list(self._known.values()):
            if issuer.name == name:
                return issuer
        return self._read(issuers.c.name == name)

    def _read(self, condition: ColumnElement[bool]) -> Issuer | None:
        with self._database.read() as tx:
            row = tx.execute(select(issuers).where(condition, issuers.c.state == "active")).first()
        if row is None:
            return None
        issuer = _issuer(row)
        with self._lock:
            self._known[issuer.id] = issuer
        return issuer

    def active(self) -> list[Issuer]:
        """Return every active issuer, by name."""
        with self._database.read() as tx:
            rows = tx.execute(select(issuers).where(issuers.c.state == "active").order_by(issuers.c.name)).all()
        return [_issuer(row) for row in rows]

    def path(self, issuer: Issuer) -> tuple[Issuer, ...]:
        """Return the issuer and those above it, the root last."""
        path = [issuer]
        while path[-1].parent_id is not None:
            path.append(self.get(path[-1].parent_id))
        return tuple(path)

    def chain(self, issuer: Issuer) -> tuple[x509.Certificate, ...]:
        """Return the certificates a server sends after its own: the issuer and those above it, without the root."""
        return tuple(item.certificate for item in self.path(issuer) if item.kind != "root")

    def key(self, issuer: Issuer) -> TokenKey:
        """Return the issuer's key in the HSM.

        Raises:
            Misconfigured: the issuer's key is elsewhere, or the HSM's is not the one in the issuer's certificate.
            HsmError: the HSM does not serve, or has no such key.
        """
        if not issuer.key_id:
            raise Misconfigured(
                f"the key of issuer {issuer.name} is in another, offline token", advice="sign in a ceremony"
            )
        key = self._hsm.signing_key(issuer.key_id)
        if key.public_key() != issuer.public_key:
            raise Misconfigured(
                f"the HSM's key for issuer {issuer.name} is not the one in its certificate",
                advice="is [hsm] token_label the token that this database belongs to?",
            )
        return key
