"""What a ceremony does, act by act: drafted, linted and encoded by the authority's own code, and written down first.

There is no database on the offline machine: the transcript takes the ledger's place. What will be signed is on the
disk, linted, before the token signs.
"""

import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from hsm.keys import TokenKey
from pki.authority import signatures
from pki.authority.crl import encode_list
from pki.authority.drafts import Drafter, preview, spki
from pki.authority.extensions import Extensions
from pki.authority.hierarchy import require_algorithm
from pki.authority.issuers import Issuer
from pki.authority.lint import Linter
from pki.authority.locations import Locations
from pki.authority.profiles import Profile
from pki.authority.requests import requested_key
from pki.authority.signatures import SCHEMES, scheme_of
from pki.authority.tbs import Draft, assemble
from pki.ceremony.script import ROOT, Act, CreateRoot, Crl, Script, SignIntermediate
from pki.ceremony.token import RecordedToken
from pki.ceremony.transcript import Transcript, as_text
from pki.clock import Clock
from pki.errors import Misconfigured, Rejected
from pki.ids import Ids
from pki.ledger.weak_keys import PublicKey

LABEL = "root of ceremony"
"""Begins the label of every root's key; what follows is random, so no two ceremonies have one label."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came out of an act: the name of its file, and what it holds in DER."""

    file: str
    kind: str
    der: bytes

    def pem(self) -> bytes:
        """Return the file's content."""
        if self.kind == "crl":
            return x509.load_der_x509_crl(self.der).public_bytes(Encoding.PEM)
        return x509.load_der_x509_certificate(self.der).public_bytes(Encoding.PEM)


def root_id(certificate: x509.Certificate) -> str:
    """Return the id of an external root, which stands in the URLs of its CRL and certificate.

    Derived from its key, so that the offline machine and the service agree on it without carrying it.
    """
    return hashlib.sha256(spki(certificate.public_key())).hexdigest()[:32]  # type: ignore[arg-type]


def as_issuer(certificate: x509.Certificate, key_id: bytes = b"") -> Issuer:
    """Return an external root as an issuer; without `key_id` it can sign nothing."""
    return Issuer(root_id(certificate), ROOT, "root", None, key_id, certificate)


def key_in_request(octets: bytes) -> PublicKey:
    """Return the public key of a request in PEM, as it was carried here.

    Raises:
        Rejected: badCSR or weakKey.
    """
    try:
        der = x509.load_pem_x509_csr(octets).public_bytes(Encoding.DER)
    except ValueError:
        raise Rejected("this is no certificate request in PEM", "badCSR", advice="carry the right file here") from None
    return requested_key(der)


class Performer:
    """Performs the acts of one script, over one token. `requests` holds the files of requests, by their names."""

    def __init__(
        self, script: Script, token: RecordedToken, transcript: Transcript, clock: Clock, requests: Mapping[str, bytes]
    ) -> None:
        self._token = token
        self._transcript = transcript
        self._clock = clock
        self._requests = requests
        self._linter = Linter()
        self._drafter = Drafter(clock, Ids(), Extensions(Locations(script.base_url)))
        self._issuer: Issuer | None = None
        self._key: TokenKey | None = None

    def use(self, certificate: x509.Certificate, label: str) -> None:
        """Let the acts sign as a root that was made before.

        Raises:
            Misconfigured: the token does not have its key.
        """
        key = self._token.find(label, certificate.public_key())
        if key is None:
            advice = "is it the right token? `root` in the script names the certificate and its key's label"
            raise Misconfigured(f"the token holds no key labelled {label!r} of that root", advice=advice)
        self._key, self._issuer = key, as_issuer(certificate, key.key_id)

    def perform(self, step: int, act: Act) -> Outcome:
        """Perform the act of that number, from 1.

        Raises:
            HsmError: the token did not do its part.
            LintFailed, Rejected, BadClock, Misconfigured: nothing was signed.
        """
        if isinstance(act, CreateRoot):
            return self._create_root(step, act)
        if isinstance(act, SignIntermediate):
            return self._sign_intermediate(step, act)
        return self._sign_crl(step, act)

    def close(self) -> None:
        """Sign the transcript's last line with the root's key."""
        key = self._token.unrecorded(self.key)
        self._transcript.close(lambda message: signatures.sign(key, message))

    @property
    def key(self) -> TokenKey:
        """The root's key."""
        if self._key is None:
            raise Misconfigured("no root was made or named", advice="mend the script")
        return self._key

    @property
    def issuer(self) -> Issuer:
        """The root."""
        if self._issuer is None:
            raise Misconfigured("no root was made or named", advice="mend the script")
        return self._issuer

    def _create_root(self, step: int, act: CreateRoot) -> Outcome:
        label = f"{LABEL} {secrets.token_hex(5)}"
        self._key = self._token.generate(require_algorithm(act.algorithm, "algorithm"), label)
        draft = self._drafter.root(act.profile(), act.subject.name(), self._key.public_key())
        der = self._certify(step, act.profile(), draft, None)
        self._issuer = as_issuer(x509.load_der_x509_certificate(der), self._key.key_id)
        return self._outcome(step, act, der)

    def _sign_intermediate(self, step: int, act: SignIntermediate) -> Outcome:
        request = self._requests[act.request]
        draft = self._drafter.ca(act.profile(), self.issuer, act.subject.name(), key_in_request(request))
        der = self._certify(step, act.profile(), draft, self.issuer, request=as_text(request))
        return self._outcome(step, act, der)

    def _sign_crl(self, step: int, act: Crl) -> Outcome:
        certificate = self.issuer.certificate
        this_update = self._clock.now().replace(microsecond=0)
        next_update = min(this_update + timedelta(days=act.days), certificate.not_valid_after_utc)
        entries = [item.entry() for item in act.revoked]
        body = encode_list(self.issuer, act.number, this_update, next_update, entries)
        der = self._sign(step, "crl", body, scheme_of(certificate.public_key()).name)
        return self._outcome(step, act, der)

    def _certify(self, step: int, profile: Profile, draft: Draft, issuer: Issuer | None, **facts: str) -> bytes:
        body = draft.encode()
        self._linter.check(preview(draft, body, self.key.public_key()), issuer.certificate if issuer else None)
        return self._sign(step, profile.name, body, draft.scheme.name, **facts)

    def _sign(self, step: int, kind: str, body: bytes, scheme: str, **facts: str) -> bytes:
        digest = hashlib.sha256(body).hexdigest()
        self._transcript.add(
            "draft", step=step, kind=kind, tbs=as_text(body), tbs_sha256=digest, scheme=scheme, **facts
        )
        return assemble(body, SCHEMES[scheme], signatures.sign(self.key, body))

    def _outcome(self, step: int, act: Act, der: bytes) -> Outcome:
        outcome = Outcome(act.file, kind_of(act), der)
        digest = hashlib.sha256(der).hexdigest()
        self._transcript.add(
            "outcome", step=step, kind=outcome.kind, file=act.file, der=as_text(der), der_sha256=digest
        )
        return outcome


def kind_of(act: Act) -> str:
    """Return what kind of thing comes out of an act: root, intermediate or crl."""
    if isinstance(act, Crl):
        return "crl"
    return act.profile().name
