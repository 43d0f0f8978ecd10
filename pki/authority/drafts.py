"""From a wish and a profile to a certificate that could be signed: dates, subject, extensions."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from pki.authority.extensions import Extensions
from pki.authority.issuers import Issuer
from pki.authority.names import Name
from pki.authority.profiles import Profile
from pki.authority.signatures import placeholder, scheme_of
from pki.authority.tbs import Draft, assemble
from pki.clock import Clock, rfc3339
from pki.errors import BadClock, Misconfigured, Rejected
from pki.ids import Ids
from pki.ledger.weak_keys import PublicKey

_SECOND = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked of the gate. Of a request, nothing but its key and its names gets here.

    `profile` is the name of a leaf profile; `requester` is `door:who`; `lifetime`, at most the profile's, is that
    unless given; `request_id` stands in the audit events.
    """

    profile: str
    public_key: PublicKey
    names: tuple[Name, ...]
    requester: str
    lifetime: timedelta | None = None
    request_id: str | None = None


def spki(public_key: PublicKey) -> bytes:
    """Return a public key as SubjectPublicKeyInfo in DER."""
    return public_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def preview(draft: Draft, body: bytes, issuer_key: object) -> x509.Certificate:
    """Return the certificate as it will be but for its signature, to be linted; `body` is the draft's TBS."""
    return x509.load_der_x509_certificate(assemble(body, draft.scheme, placeholder(issuer_key)))


class Drafter:
    """Drafts certificates; the serial number is new for each."""

    def __init__(self, clock: Clock, ids: Ids, extensions: Extensions) -> None:
        self._clock = clock
        self._ids = ids
        self._extensions = extensions

    def leaf(self, profile: Profile, issuer: Issuer, wanted: Wanted) -> Draft:
        """Draft an end-entity certificate.

        Raises:
            BadClock, Misconfigured: see `validity`.
            Rejected: a longer lifetime than the profile's is asked for.
        """
        common_name = profile.common_name(wanted.names)
        attributes = [x509.NameAttribute(NameOID.COMMON_NAME, common_name)] if common_name else []
        lifetime = _lifetime(profile, wanted.lifetime)
        subject = x509.Name(attributes)
        return self._draft(profile, issuer, subject, wanted.public_key, names=wanted.names, lifetime=lifetime)

    def ca(self, profile: Profile, issuer: Issuer, subject: x509.Name, public_key: PublicKey) -> Draft:
        """Draft an intermediate's certificate; errors as `leaf`."""
        return self._draft(profile, issuer, subject, public_key, names=(), lifetime=_lifetime(profile, None))

    def root(self, profile: Profile, subject: x509.Name, public_key: PublicKey) -> Draft:
        """Draft a self-signed certificate."""
        start = self._clock.now().replace(microsecond=0)
        return Draft(
            serial=self._ids.serial(),
            scheme=scheme_of(public_key),
            issuer=subject.public_bytes(),
            not_before=start,
            not_after=start + _lifetime(profile, None) - _SECOND,
            subject=subject.public_bytes(),
            public_key=spki(public_key),
            extensions=self._extensions.encode(profile, None, public_key, (), named=True),
        )

    def _draft(
        self,
        profile: Profile,
        issuer: Issuer,
        subject: x509.Name,
        public_key: PublicKey,
        *,
        names: Sequence[Name],
        lifetime: timedelta,
    ) -> Draft:
        not_before, not_after = self.validity(issuer, timedelta(seconds=profile.backdate), lifetime)
        return Draft(
            serial=self._ids.serial(),
            scheme=scheme_of(issuer.public_key),
            issuer=issuer.subject,
            not_before=not_before,
            not_after=not_after,
            subject=subject.public_bytes(),
            public_key=spki(public_key),
            extensions=self._extensions.encode(profile, issuer, public_key, names, named=bool(list(subject))),
        )

    def validity(self, issuer: Issuer, backdate: timedelta, lifetime: timedelta) -> tuple[datetime, datetime]:
        """Return first and last second of a certificate that begins now, within its issuer's validity (X7).

        Both ends belong to the lifetime (RFC 5280 4.1.2.5).

        Raises:
            BadClock: the machine's clock stands before the issuer's first second.
            Misconfigured: the issuer has expired.
        """
        now = self._clock.now().replace(microsecond=0)
        first, last = issuer.certificate.not_valid_before_utc, issuer.certificate.not_valid_after_utc
        if now < first:
            raise BadClock(
                f"the clock says {rfc3339(now)}, but issuer {issuer.name} begins at {rfc3339(first)}",
                advice="set the machine's clock; nothing was signed",
            )
        if now >= last:
            raise Misconfigured(
                f"issuer {issuer.name} expired at {rfc3339(last)}", advice="make a new issuer; nothing was signed"
            )
        start = max(now - backdate, first)
        return start, min(start + lifetime - _SECOND, last)


def _lifetime(profile: Profile, wish: timedelta | None) -> timedelta:
    longest = timedelta(seconds=profile.lifetime)
    if wish is None:
        return longest
    if not _SECOND <= wish <= longest:
        raise Rejected(
            f"profile {profile.name} issues for {profile.lifetime} s at most", "malformed", advice="ask for less"
        )
    return wish
