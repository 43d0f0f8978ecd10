"""Each CKR code has one meaning for recovery and one for the caller."""

import inspect

import pytest
from pkcs11 import exceptions as ckr

from hsm import HsmBusy, HsmError, HsmLoginFailed, HsmMisconfigured, HsmUnavailable, HsmUnsupported
from hsm import cryptoki as cryptoki_module
from hsm.cryptoki import NOT_INITIALIZED
from hsm.faults import Fault, classify, meaning

NONE: frozenset[Fault] = frozenset()
CODES = [kind for _, kind in inspect.getmembers(ckr, inspect.isclass) if issubclass(kind, ckr.PKCS11Error)]

EXPECTED = {
    Fault.SESSION: (
        ckr.SessionHandleInvalid,
        ckr.SessionClosed,
        ckr.OperationActive,
        ckr.ObjectHandleInvalid,
        ckr.KeyHandleInvalid,
    ),
    Fault.LOGIN: (ckr.UserNotLoggedIn,),
    Fault.MODULE: (ckr.DeviceError, ckr.DeviceRemoved, ckr.TokenNotPresent, ckr.SlotIDInvalid),
    Fault.CAPACITY: (ckr.SessionCount, ckr.DeviceMemory),
    Fault.PIN: (ckr.PinIncorrect, ckr.PinLocked, ckr.PinExpired, ckr.UserPinNotInitialized),
    Fault.REQUEST: (ckr.MechanismInvalid, ckr.MechanismParamInvalid, ckr.DataLenRange, ckr.AttributeTypeInvalid),
}


@pytest.mark.parametrize("fault", Fault)
def test_the_codes_fall_into_their_classes(fault: Fault) -> None:
    """K2: five classes that are mended or told, and the requests that the token refuses."""
    for kind in EXPECTED[fault]:
        assert classify(kind(), NONE) is fault, kind
        assert classify(kind(), frozenset({Fault.SESSION})) is fault, kind


@pytest.mark.parametrize("kind", [ckr.GeneralError, ckr.FunctionFailed])
def test_a_vague_code_gets_the_cheap_cure_first(kind: type[ckr.PKCS11Error]) -> None:
    """K2: CKR_GENERAL_ERROR is the session's the first time, the module's when it repeats."""
    assert classify(kind(), NONE) is Fault.SESSION
    assert classify(kind(), frozenset({Fault.SESSION})) is Fault.MODULE


def test_a_module_that_was_not_initialised_is_restarted() -> None:
    """K2: python-pkcs11 and our own calls tell CKR_CRYPTOKI_NOT_INITIALIZED by a text alone."""
    assert classify(ckr.PKCS11Error(NOT_INITIALIZED), NONE) is Fault.MODULE
    with pytest.raises(ckr.PKCS11Error) as raised:
        cryptoki_module._check(0x190)
    assert classify(raised.value, NONE) is Fault.MODULE


@pytest.mark.parametrize("kind", CODES)
def test_every_code_has_a_meaning_with_advice(kind: type[ckr.PKCS11Error]) -> None:
    """No code of python-pkcs11's reaches the caller bare, and each error says what to do next."""
    error = kind()
    told = meaning(error, classify(error, frozenset({Fault.SESSION})))
    assert isinstance(told, HsmError)
    assert told.advice
    assert told.advice in str(told)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ckr.PinIncorrect(), HsmLoginFailed),
        (ckr.SessionCount(), HsmBusy),
        (ckr.DeviceRemoved(), HsmUnavailable),
        (ckr.UserNotLoggedIn(), HsmUnavailable),
        (ckr.MechanismInvalid(), HsmUnsupported),
        (ckr.TokenWriteProtected(), HsmMisconfigured),
        (ckr.PKCS11Error("CKR 0x80000001"), HsmUnsupported),
    ],
    ids=lambda item: item.__name__ if isinstance(item, type) else type(item).__name__,
)
def test_the_caller_is_told_by_meaning(error: ckr.PKCS11Error, expected: type[HsmError]) -> None:
    """Doors translate meanings, not codes; a vendor's own code is named as it is."""
    told = meaning(error, classify(error, NONE))
    assert type(told) is expected
    if expected is not HsmMisconfigured:
        assert (type(error).__name__ if type(error) is not ckr.PKCS11Error else "0x80000001") in told.message


@pytest.mark.parametrize(("value", "kind"), cryptoki_module._RETURN_VALUES.items())
def test_our_own_calls_tell_codes_as_the_library_does(value: int, kind: type[ckr.PKCS11Error]) -> None:
    """One table classifies what comes by either way."""
    with pytest.raises(kind):
        cryptoki_module._check(value)
