"""Errors as the Vault HTTP API answers them: `{"errors": [...]}`, with the house's classes turned into it by one table.

Beside `errors` stand `code`, a word that programs can rely on, `advice`, what to do next, and `request_id`: clients of
that API ignore what they do not know.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import orjson

from hsm.errors import HsmError
from pki.errors import (
    BadClock,
    Conflict,
    DatabaseUnavailable,
    Denied,
    HsmFailure,
    LintFailed,
    Malformed,
    Misconfigured,
    NotFound,
    NotReady,
    RateLimited,
    Rejected,
    Sealed,
    SealwardError,
)

CONTENT_TYPE = "application/json"
"""Exactly so: some clients compare it, and lose the messages where a character set follows."""
PERMISSION_DENIED = "permission denied"
_RETRY_SECONDS = 5


@dataclass(frozen=True, slots=True)
class Translation:
    """How one class of the house's errors is answered. A fixed `message` hides what only the operator should read."""

    status: HTTPStatus
    code: str
    message: str = ""
    advice: str = ""
    retry: bool = False


_BAD_REQUEST = HTTPStatus.BAD_REQUEST
_UNAVAILABLE = HTTPStatus.SERVICE_UNAVAILABLE
_LATER = "try again in a few seconds; if it lasts, tell the operator"
_OPERATOR = "tell the operator: the service's log says what is wrong"

TRANSLATIONS: Mapping[type[SealwardError], Translation] = {
    Malformed: Translation(_BAD_REQUEST, "malformed"),
    Denied: Translation(HTTPStatus.FORBIDDEN, "denied"),
    NotFound: Translation(HTTPStatus.NOT_FOUND, "not_found"),
    Conflict: Translation(_BAD_REQUEST, "conflict"),  # that API's clients know no 409: a failed check-and-set is 400
    NotReady: Translation(_BAD_REQUEST, "not_ready"),
    Rejected: Translation(_BAD_REQUEST, "rejected"),
    LintFailed: Translation(_BAD_REQUEST, "lint_failed"),
    RateLimited: Translation(HTTPStatus.TOO_MANY_REQUESTS, "rate_limited"),
    Sealed: Translation(_UNAVAILABLE, "sealed", "the service is sealed", "its operator must unseal it", retry=True),
    HsmFailure: Translation(_UNAVAILABLE, "unavailable", "the HSM does not serve now", _LATER, retry=True),
    DatabaseUnavailable: Translation(
        _UNAVAILABLE, "unavailable", "the database does not serve now; nothing was answered", _LATER, retry=True
    ),
    BadClock: Translation(_UNAVAILABLE, "unavailable", "the server's clock is wrong", _OPERATOR, retry=True),
    Misconfigured: Translation(_UNAVAILABLE, "misconfigured", "the service is not configured for this", _OPERATOR),
}
_UNFORESEEN = Translation(HTTPStatus.INTERNAL_SERVER_ERROR, "internal", "the service failed", _OPERATOR)


class UnsupportedOperation(Exception):
    """The path is served, but not for this verb: an answer that has no meaning outside HTTP."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """What is answered instead of a reply. An empty `message` is an empty list of errors, as for a missing secret."""

    status: int
    code: str
    message: str
    advice: str = ""
    retry_after: int | None = None

    @property
    def outcome(self) -> str:
        """How the request ended, in the audit log's words."""
        if self.status == HTTPStatus.FORBIDDEN:
            return "denied"
        return "failed" if self.status >= HTTPStatus.INTERNAL_SERVER_ERROR else "refused"

    def body(self, request_id: str) -> bytes:
        """Return the body of the answer."""
        document: dict[str, Any] = {"errors": [self.message] if self.message else [], "code": self.code}
        if self.advice:
            document["advice"] = self.advice
        document["request_id"] = request_id
        return orjson.dumps(document)


ABSENT = Refusal(HTTPStatus.NOT_FOUND, "not_found", "")
"""There is nothing at the path: an empty list, a secret that is not there."""


def refuse(error: Exception, *, authenticated: bool = True) -> Refusal:
    """Return the refusal that tells the client of `error`; what no line of the table covers is a bare 500.

    A refusal of somebody who gave no good token has the code `unauthenticated`, and the same status 403.
    """
    if isinstance(error, UnsupportedOperation):
        return Refusal(HTTPStatus.METHOD_NOT_ALLOWED, "unsupported", "unsupported operation", str(error))
    if isinstance(error, HsmError):
        error = HsmFailure(error.message, advice=error.advice)
    found = next((TRANSLATIONS[item] for item in type(error).__mro__ if item in TRANSLATIONS), None)
    if found is None or not isinstance(error, SealwardError):
        return Refusal(_UNFORESEEN.status, _UNFORESEEN.code, _UNFORESEEN.message, _UNFORESEEN.advice)
    code = "unauthenticated" if isinstance(error, Denied) and not authenticated else found.code
    message, advice = (found.message, found.advice) if found.message else (error.message, error.advice)
    return Refusal(found.status, code, message, advice, _retry_after(error, found))


def _retry_after(error: SealwardError, found: Translation) -> int | None:
    if isinstance(error, RateLimited):
        return error.retry_after
    return _RETRY_SECONDS if found.retry else None


_FRONT_CODES: Mapping[int, str] = {
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "too_large",
    HTTPStatus.REQUEST_TIMEOUT: "too_slow",
    HTTPStatus.NOT_IMPLEMENTED: "unsupported",
    HTTPStatus.INTERNAL_SERVER_ERROR: "internal",
}


def v1_refusal(_path: str, status: HTTPStatus, detail: str) -> tuple[str, bytes]:
    """Return what the front refuses, before the gateway is called, in this dialect (pki.api.front)."""
    return CONTENT_TYPE, orjson.dumps({"errors": [detail], "code": _FRONT_CODES.get(status, "malformed")})
