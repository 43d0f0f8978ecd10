"""The one issuance gate: policy, lint, reserve, sign, verify, record. Every door and every duty passes through it.

Nothing is signed that is not already recorded. Write 1 reserves the serial and stores what will be signed; then,
with no transaction open, the token signs; write 2 stores the certificate, if the reservation still stands.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from sqlalchemy.exc import IntegrityError

from hsm.errors import HsmError
from pki.audit.trail import Event, Trail
from pki.authority import name_constraints, signatures, tbs
from pki.authority.drafts import Drafter, Wanted, preview
from pki.authority.issuers import Issuer, Issuers
from pki.authority.lint import Linter
from pki.authority.profiles import NAMESPACE, Profile, Profiles
from pki.authority.tbs import Draft
from pki.clock import Clock
from pki.errors import Conflict, HsmFailure, NotFound, Rejected
from pki.ids import Ids, serial_to_hex
from pki.ledger import entries
from pki.ledger.entries import Entry, Reservation
from pki.ledger.weak_keys import PublicKey, check_key
from pki.storage.database import Database, Tx
from pki.storage.guard import outside_write

__all__ = ["Gate", "Wanted", "WantedCa"]

Reserving = Callable[[Tx, str], None]
"""(tx, certificate id): what else happens in the transaction that reserves; it may raise, and may be run again."""
Recording = Callable[[Tx, bytes], None]
"""(tx, certificate in DER): what else happens in the transaction that records."""

RECONCILER = "house:reconcile"
"""The actor in the events of what a reservation's own worker did not bring to its end."""
_SERIAL_ATTEMPTS = 3
_NAME_LIMIT = 100


@dataclass(frozen=True, slots=True)
class WantedCa:
    """A CA certificate to be: `issuer_id` and `key_id` are those of the CA itself, whose key is in the HSM.

    `reserving` and `recording` are what else happens in the two transactions.
    """

    issuer_id: str
    key_id: bytes
    subject: x509.Name
    public_key: PublicKey
    requester: str
    reserving: Reserving
    recording: Recording


@dataclass(frozen=True, slots=True)
class _Case:
    """Who asks for what, of whom."""

    profile: Profile
    issuer: Issuer
    requester: str
    names: tuple[str, ...] = ()
    reserving: Reserving | None = None
    recording: Recording | None = None
    awaited: bool = True
    request_id: str | None = None


@dataclass(frozen=True, slots=True)
class _Intent:
    """What is about to be signed: `body` is its TBS, `preview` the certificate but for its signature."""

    id: str
    case: _Case
    draft: Draft
    body: bytes
    preview: x509.Certificate


class Gate:
    """Issues certificates. `worker` names this process in reservations."""

    def __init__(
        self,
        *,
        database: Database,
        clock: Clock,
        ids: Ids,
        trail: Trail,
        issuers: Issuers,
        profiles: Profiles,
        drafter: Drafter,
        linter: Linter,
        worker: str,
    ) -> None:
        self._database = database
        self._clock = clock
        self._ids = ids
        self._trail = trail
        self._issuers = issuers
        self._profiles = profiles
        self._drafter = drafter
        self._linter = linter
        self._worker = worker

    def issue(self, wanted: Wanted, *, reserving: Reserving | None = None, awaited: bool = True) -> Entry:
        """Issue an end-entity certificate by the profile of that name.

        `reserving` ties the certificate's id to what was asked for; when the HSM then fails, the reservation stays,
        and `reconcile` finishes it. One that nobody knows of, or comes back for (`awaited` False), is abandoned.

        Raises:
            Rejected: the key or a name is refused.
            NotFound: there is no such profile.
            BadClock, Misconfigured, LintFailed, HsmFailure, DatabaseUnavailable: nothing was issued.
        """
        profile = self._profiles.get(wanted.profile)
        if profile.kind != "leaf":
            raise Rejected(f"profile {profile.name} is not for end entities", "unauthorized")
        return self.issue_by(profile, wanted, reserving=reserving, awaited=awaited)

    def issue_by(
        self, profile: Profile, wanted: Wanted, *, reserving: Reserving | None = None, awaited: bool = True
    ) -> Entry:
        """Issue an end-entity certificate by a profile of the house's own; as `issue`."""
        issuer = self._issuers.named(profile.issuer)
        if issuer.kind == "root":
            raise Rejected("a root issues no end-entity certificates", "unauthorized", advice="name an intermediate")
        check_key(wanted.public_key)
        profile.check_key(wanted.public_key)
        self._check_names(profile, issuer, wanted)
        names = tuple(str(name) for name in wanted.names)
        case = _Case(profile, issuer, wanted.requester, names, reserving, awaited=awaited, request_id=wanted.request_id)
        return self._issue(case, lambda: self._drafter.leaf(profile, issuer, wanted))

    def issue_ca(self, profile: Profile, issuer: Issuer, wanted: WantedCa) -> Entry:
        """Issue an intermediate's certificate, below an issuer whose path length still allows one (X8).

        Raises:
            Rejected, BadClock, Misconfigured, LintFailed, HsmFailure, DatabaseUnavailable: nothing was issued.
        """
        check_key(wanted.public_key)
        room = issuer.certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.path_length
        if room is not None and (profile.path_length is None or profile.path_length >= room):
            advice = "give the new one a shorter path length"
            raise Rejected(f"issuer {issuer.name} has a path length of {room}", "unauthorized", advice=advice)
        case = _Case(profile, issuer, wanted.requester, (), wanted.reserving, wanted.recording)
        return self._issue(case, lambda: self._drafter.ca(profile, issuer, wanted.subject, wanted.public_key))

    def issue_root(self, profile: Profile, wanted: WantedCa) -> Entry:
        """Issue a self-signed certificate; errors as `issue_ca`."""
        draft = self._drafter.root(profile, wanted.subject, wanted.public_key)
        itself = preview(draft, draft.encode(), wanted.public_key)
        issuer = Issuer(wanted.issuer_id, profile.name, "root", None, wanted.key_id, itself)
        case = _Case(profile, issuer, wanted.requester, (), wanted.reserving, wanted.recording)
        return self._issue(case, lambda: draft)

    def finish(self, entry: Entry) -> Entry:
        """Sign what an overdue reservation holds, the same TBS, and record it.

        Raises:
            HsmFailure, DatabaseUnavailable: not now; it stays reserved.
        """
        issuer = self._issuers.get(entry.issuer_id)
        return self._complete(entry, issuer, RECONCILER)

    def abandon(self, certificate_id: str, actor: str, request_id: str | None = None) -> None:
        """Give up a reservation that nobody will finish; nothing happens to what is no longer reserved.

        Raises:
            DatabaseUnavailable: not now; it stays reserved.
        """
        event = Event(actor, "certificate.abandon", certificate_id, request_id=request_id)

        def work(tx: Tx) -> None:
            if entries.abandon(tx, certificate_id):
                self._trail.record(tx, event)

        self._database.write(work)

    def find(self, certificate_id: str) -> Entry | None:
        """Return the ledger's entry of that id, if any."""
        try:
            with self._database.read() as tx:
                return entries.get(tx, certificate_id)
        except NotFound:
            return None

    def chain_pem(self, entry: Entry) -> str:
        """Return the certificate and those above it, the root left out, in PEM (RFC 8555 7.4.2).

        Raises:
            NotFound: it is not issued.
        """
        if entry.certificate is None:
            raise NotFound(f"certificate {entry.id} is not issued")
        issuer = self._issuers.get(entry.issuer_id)
        chain = (x509.load_der_x509_certificate(entry.certificate), *self._issuers.chain(issuer))
        return "".join(item.public_bytes(Encoding.PEM).decode() for item in chain)

    def _check_names(self, profile: Profile, issuer: Issuer, wanted: Wanted) -> None:
        if not 1 <= len(wanted.names) <= _NAME_LIMIT or len(set(wanted.names)) != len(wanted.names):
            raise Rejected(f"a certificate has 1 to {_NAME_LIMIT} names, each once", "badCSR")
        profile.check_names(wanted.names)
        name_constraints.check_names(wanted.names, [item.certificate for item in self._issuers.path(issuer)])

    def _issue(self, case: _Case, drafts: Callable[[], Draft]) -> Entry:
        reserved = self._reserve_drafted(case, drafts)
        try:
            return self._complete(reserved, case.issuer, case.requester, case.recording, case.request_id)
        except HsmFailure:
            if case.reserving is None or not case.awaited:
                self.abandon(reserved.id, case.requester, case.request_id)
            else:
                self._database.write(lambda tx: entries.release(tx, reserved.id, self._clock.now()))
            raise

    def _reserve_drafted(self, case: _Case, drafts: Callable[[], Draft]) -> Entry:
        for attempt in range(1, _SERIAL_ATTEMPTS + 1):
            intent = self._prepare(case, drafts())
            try:
                return self._reserve(intent)
            except IntegrityError:
                # The serial exists already with this issuer (X6), which a sound source of randomness never shows.
                if attempt == _SERIAL_ATTEMPTS:
                    raise
        raise AssertionError("unreachable")

    def _prepare(self, case: _Case, draft: Draft) -> _Intent:
        body = draft.encode()
        unsigned = preview(draft, body, case.issuer.public_key)
        if case.profile.kind == "root":
            self._linter.check(unsigned, None)
        elif case.profile.kind == "ca":
            self._linter.check(unsigned, case.issuer.certificate)
        else:
            shape = (case.profile.name, case.profile.version, case.issuer.id)
            self._linter.check(unsigned, case.issuer.certificate, shape=shape)
        return _Intent(self._ids.new(), case, draft, body, unsigned)

    def _reserve(self, intent: _Intent) -> Entry:
        case, now = intent.case, self._clock.now()
        wanted = _reservation(intent, self._worker)
        detail: dict[str, object] = {"issuer": case.issuer.name, "profile": case.profile.name, "serial": wanted.serial}
        detail |= {"names": list(case.names)}
        event = Event(case.requester, "certificate.reserve", intent.id, detail=detail, request_id=case.request_id)

        def work(tx: Tx) -> None:
            self._trail.require_forward(tx)
            key = entries.key_state(tx, wanted.spki_sha256)
            if key.blocked is not None:
                raise Rejected("this key was reported as compromised", "badPublicKey", advice="make a new key")
            if key.of_issuer and case.profile.kind in {"leaf", "server"}:
                raise Rejected("this is the key of a CA", "badPublicKey", advice="make a new key")
            entries.reserve(tx, wanted, now)
            if case.reserving is not None:
                case.reserving(tx, intent.id)
            self._trail.record(tx, event)

        self._database.write(work)
        return entries.reserved(wanted)

    def _complete(
        self,
        reserved: Entry,
        issuer: Issuer,
        actor: str,
        recording: Recording | None = None,
        request_id: str | None = None,
    ) -> Entry:
        certificate = self._sign(reserved, issuer)
        fingerprint = hashlib.sha256(certificate).hexdigest()
        detail = {"fingerprint": fingerprint}
        event = Event(actor, "certificate.issue", reserved.id, detail=detail, request_id=request_id)

        def work(tx: Tx) -> Entry:
            issued = entries.record(tx, reserved, certificate, fingerprint, self._clock.now())
            if recording is not None:
                recording(tx, certificate)
            self._trail.record(tx, event)
            return issued

        try:
            return self._database.write(work)
        except Conflict:
            # The deadline passed meanwhile and another worker was first: its certificate is the one.
            found = self.find(reserved.id)
            if found is None or found.certificate is None:
                raise
            return found

    def _sign(self, reserved: Entry, issuer: Issuer) -> bytes:
        outside_write("signing a certificate")
        try:
            # The signature is verified with the issuer's public key before the key releases it.
            signature = signatures.sign(self._issuers.key(issuer), reserved.tbs)
        except HsmError as error:
            raise HsmFailure(f"the HSM did not sign: {error.message}", advice=error.advice) from error
        certificate = tbs.assemble(reserved.tbs, signatures.SCHEMES[reserved.signature_algorithm], signature)
        if x509.load_der_x509_certificate(certificate).tbs_certificate_bytes != reserved.tbs:
            raise AssertionError("the certificate does not hold what was recorded")
        return certificate


def _reservation(intent: _Intent, worker: str) -> Reservation:
    case, draft = intent.case, intent.draft
    return Reservation(
        id=intent.id,
        namespace_id=NAMESPACE,
        issuer_id=case.issuer.id,
        serial=serial_to_hex(draft.serial),
        kind=case.profile.kind,
        profile=case.profile.name,
        requester=case.requester,
        tbs=intent.body,
        tbs_sha256=hashlib.sha256(intent.body).hexdigest(),
        signature_algorithm=draft.scheme.name,
        spki_sha256=hashlib.sha256(draft.public_key).hexdigest(),
        subject=intent.preview.subject.rfc4514_string(),
        names=case.names,
        not_before=draft.not_before,
        not_after=draft.not_after,
        worker=worker,
    )
