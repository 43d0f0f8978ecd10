"""Some ten meanings for the many CKR codes of PKCS#11.

Each carries `advice`: what the operator or the caller can do next. None ever carries a PIN or key material.
"""


class HsmError(Exception):
    """Something went wrong at the token: the message says what, `advice` what to do next."""

    default_advice = ""

    def __init__(self, message: str, *, advice: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.advice = advice or self.default_advice

    def __str__(self) -> str:
        """Return the message, followed by the advice where there is one."""
        return f"{self.message} ({self.advice})" if self.advice else self.message


class HsmUnavailable(HsmError):
    """The module, the device or the token is gone, or is being recovered."""

    default_advice = "try again; if it lasts, see that the device, its token and its daemon are up"


class HsmStuck(HsmUnavailable):
    """A call hangs inside the module and cannot be cancelled, so the module cannot be restarted under it."""

    default_advice = "replace this worker process"


class HsmBusy(HsmError):
    """No session came free before the deadline, or the token has no room for more."""

    default_advice = "try again later, or give the token more sessions"


class HsmLoginFailed(HsmError):
    """The token refused the PIN. It is never offered a second time: tokens lock after a few wrong ones."""

    default_advice = "mend the PIN and restart; the PIN was offered once and will not be offered again"


class HsmKeyNotFound(HsmError):
    """The token holds no key of that id and kind."""

    default_advice = "see that this is the right token and that it was restored whole"


class HsmUnsupported(HsmError):
    """The token, or this room, does not offer that mechanism, hash, padding or use."""

    default_advice = "choose another algorithm; `probe` tells what this token can do"


class HsmUnsafe(HsmError):
    """The token gives up, or would give up, a key; or a key's attributes are not those asked for."""

    default_advice = "do not keep keys in this token"


class HsmMisconfigured(HsmError):
    """The module is missing, or the token's label is unknown or not unique."""


class HsmBadSignature(HsmError):
    """The token returned a signature that does not verify; it was not released."""

    default_advice = "the key pair does not match or the device is faulty: take it out of service"


class HsmBadCiphertext(HsmError):
    """A wrapped key did not open: it was altered, moved, or wrapped under another key."""

    default_advice = "restore the row from a backup; the token itself works"
