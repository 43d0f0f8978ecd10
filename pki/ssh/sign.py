"""The one way to a signed SSH certificate: role, reserve, sign, record.

Nothing is signed that is not already recorded. Write 1 reserves the serial and stores what will be signed; then, with
no transaction open, the HSM signs; write 2 stores the certificate, if the reservation still stands. What does not
get so far was never given to anybody, and is given up.
"""

import contextlib
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from hsm.errors import HsmError
from pki.audit.trail import Event, Trail
from pki.clock import Clock
from pki.errors import DatabaseUnavailable, HsmFailure, Rejected
from pki.ids import Ids
from pki.ledger import entries
from pki.ledger import ssh as ledger
from pki.ledger.ssh import SerialTaken, SshReservation
from pki.mounts import Mount
from pki.ssh import keys, signatures
from pki.ssh.certificates import NONCE_OCTETS, SERIAL_BITS, Draft, assemble
from pki.ssh.issuers import SshIssuer, SshIssuers
from pki.ssh.keys import SubjectKey
from pki.ssh.role import Role
from pki.ssh.roles import Roles
from pki.storage.database import Database, Tx
from pki.storage.guard import outside_write

Recording = Callable[[Tx, Mapping[str, Any]], None]
"""(tx, plain facts of the certificate): writes the request's audit event in write 2; it may raise, and be run again."""

RECONCILER = "house:reconcile"
_SERIAL_ATTEMPTS = 3
_REQUESTER_LIMIT = 255


@dataclass(frozen=True, slots=True)
class Wish:
    """What somebody asks of a role. `kind` is user or host; what is empty, or None, is left to the role."""

    role: str
    kind: str
    public_key: str
    valid_principals: Sequence[str]
    lifetime: timedelta | None
    extensions: Mapping[str, str]
    critical_options: Mapping[str, str]
    key_id: str


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asks: `name` as the audit log and the ledger have it, `display_name` as key ids do."""

    name: str
    display_name: str


@dataclass(frozen=True, slots=True)
class Issued:
    """An issued certificate: `line` is what goes into id_ed25519-cert.pub."""

    id: str
    serial: int
    line: str


@dataclass(frozen=True, slots=True)
class _Intent:
    """What is about to be signed: `body` is the certificate up to its signature."""

    id: str
    mount: Mount
    role: str
    asker: Asker
    issuer: SshIssuer
    draft: Draft
    body: bytes

    def facts(self) -> dict[str, Any]:
        """Return what audit events tell of it."""
        return {
            "certificate": self.id,
            "serial": f"{self.draft.serial:x}",
            "kind": self.draft.kind,
            "role": self.role,
            "key_id": self.draft.key_id,
            "valid_principals": list(self.draft.valid_principals),
            "public_key": keys.fingerprint(self.draft.key.sha256),
            "issuer": self.issuer.id,
            "seconds": int((self.draft.not_after - self.draft.not_before).total_seconds()),
        }


class SshGate:
    """Issues certificates. `worker` names this process in reservations."""

    def __init__(
        self,
        *,
        database: Database,
        clock: Clock,
        ids: Ids,
        trail: Trail,
        issuers: SshIssuers,
        roles: Roles,
        worker: str,
    ) -> None:
        self._database = database
        self._clock = clock
        self._ids = ids
        self._trail = trail
        self._issuers = issuers
        self._roles = roles
        self._worker = worker

    def issue(self, mount: Mount, wish: Wish, asker: Asker, recording: Recording) -> Issued:
        """Issue a certificate within the bounds of the role.

        Raises:
            Malformed: the public key cannot be read.
            Rejected: the role does not allow it, or nothing does.
            NotFound: there is no such role, or the mount has no CA key.
            BadClock, Misconfigured, HsmFailure, DatabaseUnavailable: nothing was issued.
        """
        role = self._roles.get(mount, wish.role)
        issuer = self._issuers.get(mount, role.kind)
        intent = self._reserve_drafted(mount, role, issuer, wish, asker)
        try:
            return self._complete(intent, recording)
        except Exception:
            with contextlib.suppress(DatabaseUnavailable):  # then its deadline passes
                self.abandon(intent.id, asker.name)
            raise

    def abandon(self, certificate_id: str, actor: str) -> None:
        """Give up a reservation that nobody will finish; nothing happens to what is no longer reserved.

        Raises:
            DatabaseUnavailable: not now; it stays reserved.
        """

        def work(tx: Tx) -> None:
            if ledger.abandon(tx, certificate_id):
                self._trail.record(tx, Event(actor, "ssh.abandon", certificate_id))

        self._database.write(work)

    def _reserve_drafted(self, mount: Mount, role: Role, issuer: SshIssuer, wish: Wish, asker: Asker) -> _Intent:
        for attempt in range(1, _SERIAL_ATTEMPTS + 1):
            draft = self._draft(role, issuer, wish, asker)
            intent = _Intent(self._ids.new(), mount, wish.role, asker, issuer, draft, draft.encode())
            try:
                self._reserve(intent)
            except SerialTaken:
                if attempt == _SERIAL_ATTEMPTS:
                    raise
            else:
                return intent
        raise AssertionError("unreachable")

    def _draft(self, role: Role, issuer: SshIssuer, wish: Wish, asker: Asker) -> Draft:
        if wish.kind != role.kind:
            raise Rejected(
                f"role {wish.role} is for {role.kind}s, not for {wish.kind}s",
                "unauthorized",
                advice="ask by another role",
            )
        key = keys.read_line(wish.public_key)
        role.check_key(key)
        now = self._clock.now().replace(microsecond=0)
        return Draft(
            key=key,
            nonce=self._ids.octets(NONCE_OCTETS),
            serial=int.from_bytes(self._ids.octets(8)) >> (64 - SERIAL_BITS),
            kind=role.kind,
            key_id=role.key_id(wish.key_id, role=wish.role, display_name=asker.display_name, key=key),
            valid_principals=role.principals(wish.valid_principals),
            not_before=now - timedelta(seconds=role.backdate),
            not_after=now + role.lifetime(wish.lifetime),
            critical_options=role.granted_critical_options(wish.critical_options),
            extensions=role.granted_extensions(wish.extensions),
            issuer_key=issuer.public_key,
        )

    def _reserve(self, intent: _Intent) -> None:
        now, key = self._clock.now(), intent.draft.key
        wanted = _reservation(intent, self._worker)
        event = Event(intent.asker.name, "ssh.reserve", intent.id, detail=intent.facts())

        def work(tx: Tx) -> None:
            self._trail.require_forward(tx)
            _refuse_known_key(tx, key)
            ledger.reserve(tx, wanted, now)
            self._trail.record(tx, event)

        self._database.write(work)

    def _complete(self, intent: _Intent, recording: Recording) -> Issued:
        certificate = assemble(intent.body, self._sign(intent))
        facts = intent.facts()

        def work(tx: Tx) -> None:
            ledger.record(tx, intent.id, certificate, self._clock.now())
            recording(tx, facts)

        self._database.write(work)
        return Issued(intent.id, intent.draft.serial, keys.line(certificate))

    def _sign(self, intent: _Intent) -> bytes:
        outside_write("signing an SSH certificate")
        try:
            # The signature is verified with the issuer's public key before the key releases it.
            return signatures.sign(self._issuers.key(intent.issuer), intent.body)
        except HsmError as error:
            raise HsmFailure(f"the HSM did not sign: {error.message}", advice=error.advice) from error


def _refuse_known_key(tx: Tx, key: SubjectKey) -> None:
    state = entries.key_state(tx, key.spki_sha256)
    if state.blocked is not None:
        raise Rejected("this key was reported as compromised", "badPublicKey", advice="make a new key")
    if state.of_issuer:
        raise Rejected("this is the key of a CA", "badPublicKey", advice="make a new key")


def _reservation(intent: _Intent, worker: str) -> SshReservation:
    draft = intent.draft
    return SshReservation(
        id=intent.id,
        namespace_id=intent.mount.namespace_id,
        mount_id=intent.mount.id,
        issuer_id=intent.issuer.id,
        serial=draft.serial,
        kind=draft.kind,
        role=intent.role,
        requester=intent.asker.name[-_REQUESTER_LIMIT:],
        key_id=draft.key_id,
        valid_principals=draft.valid_principals,
        public_key_sha256=draft.key.sha256.hex(),
        tbs=intent.body,
        tbs_sha256=hashlib.sha256(intent.body).hexdigest(),
        not_before=draft.not_before,
        not_after=draft.not_after,
        worker=worker,
    )
