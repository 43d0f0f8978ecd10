"""Challenge validation: one module for each challenge type, all with one signature.

A validator returns when the challenge is met and raises `ValidationFailed` when it is not, whatever the other side
does, and always within the deadline. It is called outside any database write.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from acme_server.identifiers import Identifier
from acme_server.validation import dns01, http01, tlsalpn01
from acme_server.validation.failure import ValidationFailed
from acme_server.validation.settings import ValidationSettings

Validator = Callable[[Identifier, str, str, ValidationSettings], None]
"""(identifier, token, key authorization, settings)."""

VALIDATORS: Mapping[str, Validator] = MappingProxyType(
    {"http-01": http01.validate, "dns-01": dns01.validate, "tls-alpn-01": tlsalpn01.validate}
)

__all__ = ["VALIDATORS", "ValidationFailed", "ValidationSettings", "Validator"]
