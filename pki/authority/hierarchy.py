"""Make CAs: a key generated in the HSM, and its certificate through the gate.

A creation that fails leaves no key pair in the token, and no issuer: what a crash left behind is cleared by the next
attempt, which finds keys by their label.
"""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from cryptography import x509
from sqlalchemy import delete, insert, select, update

from hsm.algorithms import KeyAlgorithm
from hsm.device import Hsm
from hsm.errors import HsmError, HsmKeyNotFound
from hsm.keys import TokenKey
from pki.authority.drafts import spki
from pki.authority.issue import Gate, WantedCa
from pki.authority.issuers import Issuer, Issuers
from pki.authority.profiles import NAMESPACE, Profile
from pki.clock import Clock, to_ms
from pki.errors import Conflict, HsmFailure, Misconfigured
from pki.ids import Ids
from pki.ledger.weak_keys import PublicKey
from pki.storage.database import Database, Tx
from pki.storage.guard import outside_write
from pki.storage.tables import issuers

_ACTOR = "house:founding"


class Hierarchy:
    """Makes issuers. A profile of kind root or ca says what each is; its name is the issuer's.

    The keys' labels begin with `cluster_id`: a token may hold the keys of several installations, and what is cleared
    here must be this one's.
    """

    def __init__(
        self,
        *,
        database: Database,
        hsm: Hsm,
        clock: Clock,
        ids: Ids,
        gate: Gate,
        issuers: Issuers,
        cluster_id: str,
    ) -> None:
        self._database = database
        self._hsm = hsm
        self._clock = clock
        self._ids = ids
        self._gate = gate
        self._issuers = issuers
        self._cluster_id = cluster_id

    def create(self, profile: Profile, parent: Issuer | None, subject: x509.Name, algorithm: KeyAlgorithm) -> Issuer:
        """Make a CA below `parent`, or a self-signed root when that is None.

        Raises:
            Conflict: an issuer of that name is active.
            Rejected: the parent's path length allows none below it.
            HsmFailure, DatabaseUnavailable, LintFailed: nothing was made.
        """
        issuer_id = self._ids.new()
        with self._key(profile.name, algorithm) as (key_id, key):
            row = {
                "id": issuer_id,
                "name": profile.name,
                "kind": "root" if parent is None else "intermediate",
                "parent_id": None if parent is None else parent.id,
                "key_id_hex": key_id.hex(),
                "key_algorithm": algorithm.value,
                "subject": subject.rfc4514_string(),
            }
            wanted = WantedCa(
                issuer_id=issuer_id,
                key_id=key_id,
                subject=subject,
                public_key=key.public_key(),
                requester=_ACTOR,
                reserving=lambda tx, _: self._insert(tx, row, key.public_key()),
                recording=lambda tx, der: _activate(tx, issuer_id, der),
            )
            if parent is None:
                self._gate.issue_root(profile, wanted)
            else:
                self._gate.issue_ca(profile, parent, wanted)
        return self._issuers.get(issuer_id)

    def reserve(self, name: str, subject: x509.Name, algorithm: KeyAlgorithm) -> TokenKey:
        """Make the key of an intermediate that a CA elsewhere certifies, reserve its issuer, and return the key.

        It becomes active when the certificate is installed. A second call gives the same key as the first.

        Raises:
            Conflict: an issuer of that name is active.
            HsmFailure, DatabaseUnavailable: nothing was made.
        """
        found = self._reserved(name, subject)
        if found is not None:
            return found
        with self._key(name, algorithm) as (key_id, key):
            row = {
                "id": self._ids.new(),
                "name": name,
                "kind": "intermediate",
                "key_id_hex": key_id.hex(),
                "key_algorithm": algorithm.value,
                "subject": subject.rfc4514_string(),
            }
            self._database.write(lambda tx: self._insert(tx, row, key.public_key()))
        return key

    def _reserved(self, name: str, subject: x509.Name) -> TokenKey | None:
        query = select(issuers.c.key_id_hex).where(
            issuers.c.name == name, issuers.c.state == "reserved", issuers.c.subject == subject.rfc4514_string()
        )
        with self._database.read() as tx:
            key_id = tx.execute(query).scalars().first()
        try:
            return None if key_id is None else self._hsm.signing_key(bytes.fromhex(key_id))
        except HsmKeyNotFound:
            return None
        except HsmError as error:
            raise HsmFailure(f"the HSM did not give the key: {error.message}", advice=error.advice) from error

    @contextmanager
    def _key(self, name: str, algorithm: KeyAlgorithm) -> Iterator[tuple[bytes, TokenKey]]:
        """Give a fresh key; destroy it when the block fails."""
        outside_write("generating a CA key")
        label = key_label(self._cluster_id, f"issuer {name}")
        try:
            self._clear(name, label)
            key_id = self._hsm.generate_key(algorithm, label)
        except HsmError as error:
            raise HsmFailure(f"the HSM made no key: {error.message}", advice=error.advice) from error
        try:
            yield key_id, self._hsm.signing_key(key_id)
        except BaseException:
            self._hsm.destroy_key(key_id)
            raise

    def _clear(self, name: str, label: str) -> None:
        """Remove what an interrupted creation left: keys that no issuer has, and an issuer that never got active."""
        if self._issuers.find(name) is not None:
            raise Conflict(f"there is an issuer {name} already", advice="use it, or choose another name")

        def forget(tx: Tx) -> set[str]:
            tx.execute(delete(issuers).where(issuers.c.name == name, issuers.c.state == "reserved"))
            return set(tx.execute(select(issuers.c.key_id_hex)).scalars())

        used = self._database.write(forget)
        for key_id in self._hsm.find_key_ids(label):
            if key_id.hex() not in used:
                self._hsm.destroy_key(key_id)

    def _insert(self, tx: Tx, row: Mapping[str, object], public_key: PublicKey) -> None:
        derived = {
            "namespace_id": NAMESPACE,
            "subject_key_id": x509.SubjectKeyIdentifier.from_public_key(public_key).digest.hex(),
            "spki_sha256": hashlib.sha256(spki(public_key)).hexdigest(),
            "not_before": 0,
            "not_after": 0,
            "state": "reserved",
            "created_at": to_ms(self._clock.now()),
        }
        tx.execute(insert(issuers).values({**row, **derived}))


def _activate(tx: Tx, issuer_id: str, der: bytes) -> None:
    certificate = x509.load_der_x509_certificate(der)
    done = tx.execute(
        update(issuers)
        .where(issuers.c.id == issuer_id, issuers.c.state == "reserved")
        .values(
            state="active",
            certificate=der,
            not_before=to_ms(certificate.not_valid_before_utc),
            not_after=to_ms(certificate.not_valid_after_utc),
        )
    )
    if done.rowcount != 1:
        raise Conflict(f"issuer {issuer_id} is no longer being made")


def key_label(cluster_id: str, what: str) -> str:
    """Return the label of a key in the HSM, by which people and an interrupted creation's successor know it."""
    return f"{cluster_id[:8]} {what}"


def require_algorithm(name: str, what: str) -> KeyAlgorithm:
    """Return the algorithm of a CA key by its name in the configuration.

    Raises:
        Misconfigured: there is none of that name that signs.
    """
    known = [item for item in KeyAlgorithm if item is not KeyAlgorithm.AES_256]
    found = next((item for item in known if item.value == name), None)
    if found is None:
        raise Misconfigured(f"{what}: no such key algorithm: {name}", advice=f"use one of {', '.join(known)}")
    return found
