"""What is answered when something is refused: problem documents (RFC 8555 6.7, RFC 7807).

The table at the end turns the house's errors, which know no HTTP, into problems.
"""

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

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

URN = "urn:ietf:params:acme:error:"
CONTENT_TYPE = "application/problem+json"
_RETRY_SECONDS = 5


class ProblemType(enum.StrEnum):
    """Error types by their short names: RFC 8555 6.7, RFC 9773 (alreadyReplaced), ACME profiles (invalidProfile)."""

    ACCOUNT_DOES_NOT_EXIST = "accountDoesNotExist"
    ALREADY_REPLACED = "alreadyReplaced"
    ALREADY_REVOKED = "alreadyRevoked"
    BAD_CSR = "badCSR"
    BAD_NONCE = "badNonce"
    BAD_PUBLIC_KEY = "badPublicKey"
    BAD_REVOCATION_REASON = "badRevocationReason"
    BAD_SIGNATURE_ALGORITHM = "badSignatureAlgorithm"
    CAA = "caa"
    COMPOUND = "compound"
    CONNECTION = "connection"
    DNS = "dns"
    EXTERNAL_ACCOUNT_REQUIRED = "externalAccountRequired"
    INCORRECT_RESPONSE = "incorrectResponse"
    INVALID_CONTACT = "invalidContact"
    INVALID_PROFILE = "invalidProfile"
    MALFORMED = "malformed"
    ORDER_NOT_READY = "orderNotReady"
    RATE_LIMITED = "rateLimited"
    REJECTED_IDENTIFIER = "rejectedIdentifier"
    SERVER_INTERNAL = "serverInternal"
    TLS = "tls"
    UNAUTHORIZED = "unauthorized"
    UNSUPPORTED_CONTACT = "unsupportedContact"
    UNSUPPORTED_IDENTIFIER = "unsupportedIdentifier"
    USER_ACTION_REQUIRED = "userActionRequired"

    @property
    def urn(self) -> str:
        """Return the type as it stands in a problem document."""
        return URN + self.value


_STATUSES: Mapping[ProblemType, HTTPStatus] = {
    ProblemType.ALREADY_REPLACED: HTTPStatus.CONFLICT,
    ProblemType.CAA: HTTPStatus.FORBIDDEN,
    ProblemType.EXTERNAL_ACCOUNT_REQUIRED: HTTPStatus.FORBIDDEN,
    ProblemType.INCORRECT_RESPONSE: HTTPStatus.FORBIDDEN,
    ProblemType.ORDER_NOT_READY: HTTPStatus.FORBIDDEN,
    ProblemType.RATE_LIMITED: HTTPStatus.TOO_MANY_REQUESTS,
    ProblemType.SERVER_INTERNAL: HTTPStatus.INTERNAL_SERVER_ERROR,
    ProblemType.UNAUTHORIZED: HTTPStatus.FORBIDDEN,
    ProblemType.USER_ACTION_REQUIRED: HTTPStatus.FORBIDDEN,
}
"""Statuses other than 400 (Bad Request)."""


@dataclass(frozen=True, slots=True)
class Subproblem:
    """What is wrong with one identifier of several (RFC 8555 6.7.1); `identifier` has the members type and value."""

    type: ProblemType
    detail: str
    identifier: Mapping[str, str] = field(default_factory=dict)

    def to_document(self) -> dict[str, Any]:
        """Return the subproblem as JSON values."""
        document: dict[str, Any] = {"type": self.type.urn, "detail": self.detail}
        if self.identifier:
            document["identifier"] = dict(self.identifier)
        return document


class Problem(Exception):
    """A refusal in ACME's own words. `headers` go with the answer; `status` follows from the type unless given.

    `algorithms` is for badSignatureAlgorithm (RFC 8555 6.2), `instance` for userActionRequired (RFC 8555 7.3.3).
    """

    def __init__(
        self,
        problem_type: ProblemType,
        detail: str,
        *,
        status: int | None = None,
        subproblems: Sequence[Subproblem] = (),
        algorithms: Sequence[str] = (),
        instance: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.type = problem_type
        self.detail = detail
        self.status = int(_STATUSES.get(problem_type, HTTPStatus.BAD_REQUEST) if status is None else status)
        self.subproblems = tuple(subproblems)
        self.algorithms = tuple(algorithms)
        self.instance = instance
        self.headers = dict(headers or {})

    def to_document(self) -> dict[str, Any]:
        """Return the problem document as JSON values."""
        document: dict[str, Any] = {"type": self.type.urn, "detail": self.detail, "status": self.status}
        if self.subproblems:
            document["subproblems"] = [item.to_document() for item in self.subproblems]
        if self.algorithms:
            document["algorithms"] = list(self.algorithms)
        if self.instance:
            document["instance"] = self.instance
        return document


def malformed(detail: str) -> Problem:
    """Return the problem for a message that cannot be read as what it claims to be."""
    return Problem(ProblemType.MALFORMED, detail)


@dataclass(frozen=True, slots=True)
class Translation:
    """How one class of the house's errors is answered. A fixed `detail` hides what only the operator should read."""

    type: ProblemType
    status: HTTPStatus
    detail: str = ""
    retry: bool = False


_INTERNAL = ProblemType.SERVER_INTERNAL
_UNAVAILABLE = HTTPStatus.SERVICE_UNAVAILABLE

TRANSLATIONS: Mapping[type[SealwardError], Translation] = {
    Malformed: Translation(ProblemType.MALFORMED, HTTPStatus.BAD_REQUEST),
    Denied: Translation(ProblemType.UNAUTHORIZED, HTTPStatus.FORBIDDEN),
    NotFound: Translation(ProblemType.MALFORMED, HTTPStatus.NOT_FOUND),
    Conflict: Translation(ProblemType.MALFORMED, HTTPStatus.CONFLICT),
    NotReady: Translation(ProblemType.ORDER_NOT_READY, HTTPStatus.FORBIDDEN),
    Rejected: Translation(ProblemType.UNAUTHORIZED, HTTPStatus.FORBIDDEN),
    RateLimited: Translation(ProblemType.RATE_LIMITED, HTTPStatus.TOO_MANY_REQUESTS),
    LintFailed: Translation(_INTERNAL, _UNAVAILABLE),
    Sealed: Translation(_INTERNAL, _UNAVAILABLE, "the server is sealed; ask its operator to unseal it", retry=True),
    HsmFailure: Translation(_INTERNAL, _UNAVAILABLE, "the HSM does not serve now; try again", retry=True),
    DatabaseUnavailable: Translation(_INTERNAL, _UNAVAILABLE, "the database does not serve now; try again", retry=True),
    BadClock: Translation(_INTERNAL, _UNAVAILABLE, "the server's clock is wrong; ask its operator", retry=True),
    Misconfigured: Translation(_INTERNAL, _UNAVAILABLE, "the server's configuration must be mended; ask its operator"),
}

_REJECTIONS: Mapping[str, ProblemType] = {
    **{item.value: item for item in ProblemType},
    "weakKey": ProblemType.BAD_CSR,
    "badPublicKey": ProblemType.BAD_CSR,
}
"""Codes of `Rejected`: the names of ACME's own types, and some others.

Rooms know the keys of certificates only, and such a key is badCSR; badPublicKey is an account's (RFC 8555 6.7).
"""


def _rejection_type(code: str) -> ProblemType:
    return _REJECTIONS.get(code, ProblemType.UNAUTHORIZED)


def _identifier(value: str | None) -> dict[str, str]:
    if value is None:
        return {}
    kind, separator, name = value.partition(":")
    return {"type": kind, "value": name} if separator and kind in {"dns", "ip"} else {"type": "dns", "value": value}


def _subproblems(error: Rejected) -> list[Subproblem]:
    if error.subproblems:
        return [item for part in error.subproblems for item in _subproblems(part)]
    return [Subproblem(_rejection_type(error.code), str(error), _identifier(error.identifier))]


def _from_rejection(error: Rejected) -> Problem:
    named = bool(error.subproblems) or error.identifier is not None
    return Problem(_rejection_type(error.code), str(error), subproblems=_subproblems(error) if named else ())


def from_error(error: SealwardError) -> Problem:
    """Return the problem that tells the client of `error`; a class that no line of the table covers is a bare 500."""
    if isinstance(error, Rejected):
        return _from_rejection(error)
    found = next((TRANSLATIONS[item] for item in type(error).__mro__ if item in TRANSLATIONS), None)
    if found is None:
        return Problem(_INTERNAL, "the server failed")
    headers = {"Retry-After": str(_RETRY_SECONDS)} if found.retry else {}
    if isinstance(error, RateLimited):
        headers = {"Retry-After": str(error.retry_after)}
    return Problem(found.type, found.detail or str(error), status=found.status, headers=headers)
