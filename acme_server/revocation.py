"""Revocation by those who may ask for it (RFC 8555 7.6; X11).

They are: the account that ordered the certificate, the certificate's own key, and an account that holds authorizations
for all names in it. The certificate is the one whose very octets were issued here, whatever its serial number says.
"""

from collections.abc import Mapping
from typing import Any

from cryptography import x509

from acme_server import store
from acme_server.account_keys import thumbprint_of
from acme_server.authentication import Signed
from acme_server.door import Door
from acme_server.encoding import decode_base64url
from acme_server.problems import Problem, ProblemType, malformed
from acme_server.records import Account
from pki.errors import Conflict
from pki.ledger.entries import KEY_COMPROMISE, Entry
from pki.storage.database import Tx


def _certificate(payload: Mapping[str, Any]) -> bytes:
    text = payload.get("certificate")
    if not isinstance(text, str) or not text:
        raise malformed("certificate must be the certificate in base64url of its DER")
    return decode_base64url(text, "certificate")


def _reason(payload: Mapping[str, Any]) -> int:
    reason = payload.get("reason", 0)
    if isinstance(reason, bool) or not isinstance(reason, int):
        raise Problem(ProblemType.BAD_REVOCATION_REASON, "reason must be a number of RFC 5280 5.3.1")
    return reason


def _denied() -> Problem:
    return Problem(
        ProblemType.UNAUTHORIZED,
        "a certificate is revoked by the account that ordered it, by its own key, or by an account that holds valid "
        "authorizations for all its names",
    )


def _require_key(entry: Entry, signed: Signed) -> None:
    certificate = x509.load_der_x509_certificate(entry.certificate or b"")
    if thumbprint_of(certificate.public_key()) != signed.key.thumbprint:
        raise _denied()


def _require_account(tx: Tx, door: Door, entry: Entry, account: Account, reason: int) -> None:
    if entry.requester == f"acme:{account.id}":
        return
    if not entry.names or store.proven_names(tx, account, entry.names, door.clock.now()) != set(entry.names):
        raise _denied()
    # Names say nothing about the key: who only controls those could have another's key refused for ever.
    if reason == KEY_COMPROMISE:
        raise Problem(
            ProblemType.BAD_REVOCATION_REASON,
            "keyCompromise is given by the account that ordered the certificate, or with its key; give another reason",
        )


def revoke(door: Door, signed: Signed) -> None:
    """Revoke the certificate in the payload.

    Raises:
        NotFound: no such certificate was issued here.
        Problem: malformed, unauthorized, alreadyRevoked, badRevocationReason.
        Rejected: badRevocationReason; unauthorized for a certificate of the authority itself.
    """
    payload = signed.payload()
    reason = _reason(payload)
    entry = door.revocation.find(_certificate(payload))
    account = signed.account
    if account is None:
        _require_key(entry, signed)

    def checking(tx: Tx) -> None:
        if account is not None:
            _require_account(tx, door, entry, account, reason)

    actor = f"acme:{account.id}" if account is not None else f"acme-key:{signed.key.thumbprint}"
    try:
        door.revocation.revoke(entry, reason, actor, checking=checking)
    except Conflict:
        raise Problem(ProblemType.ALREADY_REVOKED, "the certificate is revoked already") from None
