"""What can go wrong, by meaning.

No HTTP numbers stand here: each door turns a class into its own dialect by one table. Every error says what the
caller can do next (`advice`), and none ever carries a secret.
"""

from collections.abc import Sequence


class SealwardError(Exception):
    """Something the caller, or the operator, can act on: `message` says what, `advice` what to do next."""

    def __init__(self, message: str, *, advice: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.advice = advice

    def __str__(self) -> str:
        """Return the message, followed by the advice where there is one."""
        return f"{self.message} ({self.advice})" if self.advice else self.message


class Malformed(SealwardError):
    """The request cannot be read as what it claims to be."""


class Denied(SealwardError):
    """The principal may not do this."""


class NotFound(SealwardError):
    """There is no such object, or none that the caller may know of."""


class Conflict(SealwardError):
    """The object's state has moved on: somebody else was first, or it exists already."""


class NotReady(SealwardError):
    """The object's state does not allow this yet."""


class Rejected(SealwardError):
    """The request is well formed, but a rule of the house refuses it.

    `code` names the rule's family (`badCSR`, `weakKey`, `rejectedIdentifier`, ...); `identifier` the name at fault;
    `subproblems` further rejections when several names are at fault.
    """

    def __init__(
        self,
        message: str,
        code: str,
        *,
        identifier: str | None = None,
        subproblems: Sequence["Rejected"] = (),
        advice: str = "",
    ) -> None:
        super().__init__(message, advice=advice)
        self.code = code
        self.identifier = identifier
        self.subproblems = tuple(subproblems)


class LintFailed(SealwardError):
    """The certificate that would be signed breaks a standard; nothing was signed."""

    def __init__(self, findings: Sequence[str]) -> None:
        super().__init__("the certificate would not conform: " + "; ".join(findings))
        self.findings = tuple(findings)


class RateLimited(SealwardError):
    """Too much was asked in too short a time; `retry_after` is in seconds."""

    def __init__(self, message: str, *, retry_after: int, advice: str = "") -> None:
        super().__init__(message, advice=advice)
        self.retry_after = retry_after


class Sealed(SealwardError):
    """The keyring is not unwrapped in memory, so nothing sealed can be read or written."""


class HsmFailure(SealwardError):
    """The HSM does not serve now; nothing was signed or lost."""


class DatabaseUnavailable(SealwardError):
    """The database does not serve now; nothing was half-written."""


class BadClock(SealwardError):
    """The machine's clock cannot be right, so nothing that carries a date is made."""


class Misconfigured(SealwardError):
    """The operator's configuration or the machine's state must be mended first."""
