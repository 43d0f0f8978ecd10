"""The dns-01 challenge (RFC 8555 8.4): a TXT record below the name."""

import hashlib
import hmac

from acme_server.encoding import encode_base64url
from acme_server.identifiers import Identifier
from acme_server.problems import ProblemType
from acme_server.validation.deadline import Deadline
from acme_server.validation.failure import ValidationFailed
from acme_server.validation.resolve import resolve_texts
from acme_server.validation.settings import ValidationSettings


def validate(identifier: Identifier, _token: str, key_authorization: str, settings: ValidationSettings) -> None:
    """Look for the digest of the key authorization among the TXT records at `_acme-challenge` below the name.

    Raises:
        ValidationFailed: they can't be looked up, or the digest is not among them.
    """
    if identifier.type != "dns":
        raise ValidationFailed(ProblemType.REJECTED_IDENTIFIER, "dns-01 is for DNS names only (RFC 8738 7)")
    name = f"_acme-challenge.{identifier.base.value}"
    expected = encode_base64url(hashlib.sha256(key_authorization.encode()).digest()).encode()
    texts = resolve_texts(name, settings, Deadline(settings.deadline))
    matches = [hmac.compare_digest(text, expected) for text in texts]
    if not any(matches):
        found = f"{len(texts)} TXT records, none of which is" if texts else "no TXT record with"
        raise ValidationFailed(
            ProblemType.INCORRECT_RESPONSE, f"{name} has {found} the digest of this challenge's key authorization"
        )
