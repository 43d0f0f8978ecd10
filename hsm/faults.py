"""What a PKCS#11 failure means for recovery, and for the caller."""

import enum
from collections.abc import Set as AbstractSet

from pkcs11 import exceptions as ckr

from hsm.cryptoki import NOT_INITIALIZED
from hsm.errors import HsmBusy, HsmError, HsmLoginFailed, HsmMisconfigured, HsmUnavailable, HsmUnsupported


class Fault(enum.Enum):
    """What has to be mended before a retry; the last two are not mended here."""

    SESSION = "a new session"
    LOGIN = "a login"
    MODULE = "a restart of the module"
    CAPACITY = "fewer sessions"
    PIN = "another PIN"
    REQUEST = "another request"


_SESSION = (
    ckr.SessionHandleInvalid,
    ckr.SessionClosed,
    ckr.OperationActive,
    ckr.OperationNotInitialized,
    ckr.ObjectHandleInvalid,
    ckr.KeyHandleInvalid,
    ckr.FunctionCancelled,
)
_MODULE = (ckr.DeviceError, ckr.DeviceRemoved, ckr.TokenNotPresent, ckr.TokenNotRecognised, ckr.SlotIDInvalid)
_CAPACITY = (ckr.SessionCount, ckr.DeviceMemory, ckr.HostMemory)
_PIN = (
    ckr.PinIncorrect,
    ckr.PinLocked,
    ckr.PinExpired,
    ckr.PinInvalid,
    ckr.PinLenRange,
    ckr.UserPinNotInitialized,
    ckr.AnotherUserAlreadyLoggedIn,
    ckr.UserTooManyTypes,
)
# Vague codes: a bad session or a bad device. The first time take the cheap cure, then the other.
_VAGUE = (ckr.GeneralError, ckr.FunctionFailed)


def classify(error: ckr.PKCS11Error, tried: AbstractSet[Fault]) -> Fault:
    """Return what has to be mended, given the cures this call has `tried` already."""
    if isinstance(error, _VAGUE):
        return Fault.MODULE if Fault.SESSION in tried else Fault.SESSION
    if isinstance(error, ckr.UserNotLoggedIn):
        return Fault.LOGIN
    for family, fault in ((_SESSION, Fault.SESSION), (_MODULE, Fault.MODULE), (_CAPACITY, Fault.CAPACITY)):
        if isinstance(error, family):
            return fault
    if isinstance(error, _PIN):
        return Fault.PIN
    return Fault.MODULE if NOT_INITIALIZED in str(error) else Fault.REQUEST


def meaning(error: ckr.PKCS11Error, fault: Fault) -> HsmError:
    """Return the error that the caller sees when the cure did not help, or there is none."""
    name = type(error).__name__ if type(error) is not ckr.PKCS11Error else str(error)
    if fault is Fault.PIN:
        return HsmLoginFailed(f"the token refused the login: {name}")
    if fault is Fault.CAPACITY:
        return HsmBusy(f"the token has no room: {name}")
    if isinstance(error, ckr.TokenWriteProtected):
        return HsmMisconfigured("the token is write-protected", advice="open it for writing, or use another token")
    if fault is Fault.REQUEST:
        return HsmUnsupported(f"the token refused the request: {name}")
    return HsmUnavailable(f"the token does not serve: {name}")
