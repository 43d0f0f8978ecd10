"""Operations that change what is certified: sign, issue, revoke."""

from contextlib import suppress
from dataclasses import dataclass, field

from pki.authority.issue import Wanted
from pki.authority.profiles import Profile
from pki.authority.requests import CertificateRequest
from pki.authority.revoke import REASONS
from pki.engines.pki import answers, wishes
from pki.engines.pki.names import certified
from pki.engines.pki.reading import Reading
from pki.engines.pki.role_operations import RoleOperations
from pki.engines.pki.roles import DOOR, role_of
from pki.engines.pki.rooms import requester
from pki.engines.pki.settings import Role
from pki.engines.pki.wishes import IssueBody, PrivateKey, RevokeBody, SignBody, Wishes
from pki.errors import Conflict, NotFound, Rejected
from pki.ledger.entries import Entry
from pki.ledger.weak_keys import PublicKey
from pki.operations.call import Call, Reply
from pki.operations.declare import Verb, operation
from pki.storage.database import Tx

_REASONS = {name.lower(): number for number, name in REASONS.items()}


@dataclass(frozen=True, slots=True)
class _Serving:
    """The profile that a role is, and the role as it was set."""

    profile: Profile
    rules: Role


@dataclass(frozen=True, slots=True)
class _Subject:
    """What is certified: the key, the CSR that names are taken from, and the private key if it was made here."""

    public_key: PublicKey
    request: CertificateRequest | None = None
    key: PrivateKey | None = field(default=None, repr=False)


class Pki(RoleOperations, Reading):
    """Issues X.509 certificates by roles, and revokes them; the issuers' keys never leave the HSM."""

    type = "pki"

    @operation(Verb.UPDATE, "sign/<name:role>", SignBody)
    def sign(self, call: Call, body: SignBody, role: str) -> Reply:
        """Issue a certificate for the key of a CSR."""
        serving = self._serving(role, body)
        request = wishes.read_csr(body.csr)
        subject = _Subject(request.public_key, request if serving.rules.use_csr_sans else None)
        return self._certify(call, body, serving, subject)

    @operation(Verb.UPDATE, "issue/<name:role>", IssueBody)
    def issue(self, call: Call, body: IssueBody, role: str) -> Reply:
        """Make a key and issue a certificate for it: the key is in the answer, and is kept nowhere."""
        serving = self._serving(role, body)
        serving.profile.check_names(certified(body, None))  # before a key is made, which takes time
        key = wishes.make_key(serving.rules)
        return self._certify(call, body, serving, _Subject(key.public_key(), key=key))

    @operation(Verb.UPDATE, "revoke", RevokeBody)
    def revoke(self, call: Call, body: RevokeBody) -> Reply:
        """Revoke a certificate, by its serial number or by itself; the CRL follows within a second."""
        reason = _reason(body.reason)
        entry = self._named(call, body)
        if entry.state != "revoked":
            entry = self._revoke(call, entry, reason)
        if entry.revocation_reason != reason:
            known = REASONS.get(entry.revocation_reason or 0, "another")
            raise Conflict(f"the certificate is already revoked, for the reason {known}", advice="a reason stays")
        return Reply({**answers.revocation(entry), "state": "revoked"})

    def _serving(self, role: str, body: Wishes) -> _Serving:
        wishes.require_supported(body)
        answers.check_formats(body)
        profile = self._rooms.profiles.get(role)
        if DOOR not in profile.doors:
            advice = f"its doors lack {DOOR}: an administrator can write them anew"
            raise Rejected(f"role {role} does not serve this API", "unauthorized", advice=advice)
        return _Serving(profile, role_of(profile))

    def _certify(self, call: Call, body: Wishes, serving: _Serving, subject: _Subject) -> Reply:
        wishes.require_common_name(body, serving.rules, subject.request)
        lifetime, warnings = wishes.lifetime(body, serving.rules, serving.profile)
        wanted = Wanted(
            profile=serving.profile.name,
            public_key=subject.public_key,
            names=certified(body, subject.request),
            requester=requester(call),
            lifetime=lifetime,
            request_id=call.request_id,
        )

        def record(tx: Tx, certificate_id: str) -> None:
            call.record(tx, certificate=certificate_id, role=wanted.profile)

        # Whoever asked has no answer and asks anew, so that nobody comes back for what the HSM did not sign.
        entry = self._rooms.gate.issue(wanted, reserving=record, awaited=False)
        path = self._path(self._rooms.issuers.get(entry.issuer_id))
        if entry.not_after == path[0].not_valid_after_utc:
            warnings.append("the certificate ends with its issuer")
        return Reply(answers.issued(entry, path, body, subject.key), warnings=warnings)

    def _named(self, call: Call, body: RevokeBody) -> Entry:
        if bool(body.serial_number) == bool(body.certificate):
            raise Rejected("name one certificate", "malformed", advice="give serial_number, or certificate")
        if body.certificate:
            return self._rooms.revocation.find(wishes.read_certificate(body.certificate))
        found = self._find_existing(call, answers.serial_of(body.serial_number))
        if found is None:
            raise NotFound("there is no certificate with this serial number")
        return found

    def _revoke(self, call: Call, entry: Entry, reason: int) -> Entry:
        def record(tx: Tx) -> None:
            call.record(tx, certificate=entry.id, serial=entry.serial, reason=REASONS[reason])

        with suppress(Conflict):  # somebody was first, and the ledger says for which reason
            self._rooms.revocation.revoke(entry, reason, requester(call), checking=record)
        found = self._rooms.gate.find(entry.id)
        if found is None or found.state != "revoked":
            raise Conflict("the certificate's state has moved on", advice="read it, and try again")
        return found


def _reason(given: str | int) -> int:
    """Return the number of a reason (RFC 5280 5.3.1), given as that or by name."""
    text = str(given).strip().lower()
    number = int(text) if text.isascii() and text.isdigit() and len(text) == 1 else _REASONS.get(text)
    if number not in REASONS:
        advice = f"give one of {', '.join(REASONS.values())}"
        raise Rejected("this reason is not given here", "badRevocationReason", advice=advice)
    return number
