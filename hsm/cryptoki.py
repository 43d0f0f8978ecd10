"""The few PKCS#11 calls that python-pkcs11 lacks or makes unsafely, through the module's own function list.

python-pkcs11 0.10.1 calls C_Initialize(NULL), which tells the module that no two threads will ever call it, and then
releases the GIL around every call: with SoftHSM two signing threads crash the process. It also logs in only while it
opens a session (and leaks that session when the login fails), and logs the whole process out when it closes one.
"""

import ctypes
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

from pkcs11 import exceptions as ckr

from hsm.errors import HsmMisconfigured

# Positions in CK_FUNCTION_LIST (PKCS#11 v2.40, pkcs11f.h); the first field is the version.
_INITIALIZE, _FINALIZE, _INIT_TOKEN, _CLOSE_SESSION, _GET_SESSION_INFO, _LOGIN = 0, 1, 9, 13, 15, 18
_FUNCTIONS = 68
_OS_LOCKING_OK = 2
_USER = 1
_LOGGED_IN_STATES = (1, 3)  # CKS_RO_USER_FUNCTIONS, CKS_RW_USER_FUNCTIONS
_NOT_INITIALIZED, _ALREADY_INITIALIZED = 0x190, 0x191

_RETURN_VALUES: Mapping[int, type[ckr.PKCS11Error]] = MappingProxyType(
    {
        0x02: ckr.HostMemory,
        0x03: ckr.SlotIDInvalid,
        0x05: ckr.GeneralError,
        0x06: ckr.FunctionFailed,
        0x30: ckr.DeviceError,
        0x31: ckr.DeviceMemory,
        0x32: ckr.DeviceRemoved,
        0x90: ckr.OperationActive,
        0xA0: ckr.PinIncorrect,
        0xA1: ckr.PinInvalid,
        0xA2: ckr.PinLenRange,
        0xA3: ckr.PinExpired,
        0xA4: ckr.PinLocked,
        0xB0: ckr.SessionClosed,
        0xB1: ckr.SessionCount,
        0xB3: ckr.SessionHandleInvalid,
        0xE0: ckr.TokenNotPresent,
        0xE1: ckr.TokenNotRecognised,
        0x100: ckr.UserAlreadyLoggedIn,
        0x101: ckr.UserNotLoggedIn,
        0x102: ckr.UserPinNotInitialized,
        0x104: ckr.AnotherUserAlreadyLoggedIn,
        0x105: ckr.UserTooManyTypes,
    }
)

# python-pkcs11 has no class for CKR_CRYPTOKI_NOT_INITIALIZED, only a text that holds these words.
NOT_INITIALIZED = "not initialized"


class _InitializeArgs(ctypes.Structure):
    _fields_ = (
        ("create_mutex", ctypes.c_void_p),
        ("destroy_mutex", ctypes.c_void_p),
        ("lock_mutex", ctypes.c_void_p),
        ("unlock_mutex", ctypes.c_void_p),
        ("flags", ctypes.c_ulong),
        ("reserved", ctypes.c_void_p),
    )


class _SessionInfo(ctypes.Structure):
    _fields_ = (
        ("slot", ctypes.c_ulong),
        ("state", ctypes.c_ulong),
        ("flags", ctypes.c_ulong),
        ("device_error", ctypes.c_ulong),
    )


class Cryptoki:
    """Calls into one shared object; failures are python-pkcs11's exceptions, so that one table classifies all."""

    def __init__(self, path: Path) -> None:
        try:
            get_function_list = ctypes.CDLL(str(path)).C_GetFunctionList
        except (OSError, AttributeError) as error:
            raise HsmMisconfigured(
                f"{path} is not a PKCS#11 module that can be loaded",
                advice="name the vendor's PKCS#11 shared object; for SoftHSM: apt install softhsm2",
            ) from error
        address = _function_list(path, get_function_list)
        # python-pkcs11 asks for a list of its own: what we initialise and log in must be what it uses.
        if _function_list(path, get_function_list) != address:
            raise HsmMisconfigured(
                f"{path} gives every caller an instance of its own (p11-kit's proxy and client do)",
                advice="name the module that stands behind it",
            )
        self._functions = (ctypes.c_void_p * _FUNCTIONS).from_address(address + ctypes.sizeof(ctypes.c_void_p))

    def initialize(self) -> None:
        """C_Initialize with CKF_OS_LOCKING_OK; a module that someone initialised before us is finalised first."""
        arguments = _InitializeArgs(flags=_OS_LOCKING_OK)
        value = self._call(_INITIALIZE, ctypes.byref(arguments))
        if value == _ALREADY_INITIALIZED:
            self.finalize()
            value = self._call(_INITIALIZE, ctypes.byref(arguments))
        _check(value)

    def finalize(self) -> None:
        """C_Finalize; that the module was not initialised is no error."""
        self._call(_FINALIZE, None)

    def init_token(self, slot: int, so_pin: str, label: str) -> None:
        """C_InitToken: make, or wipe and make anew, the token in that slot. `label` is at most 32 bytes of UTF-8."""
        secret = so_pin.encode()
        padded = label.encode().ljust(32)
        _check(self._call(_INIT_TOKEN, ctypes.c_ulong(slot), secret, ctypes.c_ulong(len(secret)), padded))

    def login(self, session: int, pin: str) -> None:
        """C_Login of the normal user: it counts for every session that this process has with the token."""
        secret = pin.encode()
        _check(self._call(_LOGIN, ctypes.c_ulong(session), ctypes.c_ulong(_USER), secret, ctypes.c_ulong(len(secret))))

    def close_session(self, session: int) -> None:
        """C_CloseSession; a session that is gone already is no error."""
        self._call(_CLOSE_SESSION, ctypes.c_ulong(session))

    def is_logged_in(self, session: int) -> bool:
        """Whether the user is logged in, by C_GetSessionInfo on that session."""
        info = _SessionInfo()
        _check(self._call(_GET_SESSION_INFO, ctypes.c_ulong(session), ctypes.byref(info)))
        return info.state in _LOGGED_IN_STATES

    def _call(self, position: int, *arguments: object) -> int:
        # Read from the list on every call: the list is the module's, and it may be interposed.
        function = ctypes.CFUNCTYPE(ctypes.c_ulong)(self._functions[position] or 0)
        return int(function(*arguments))


def _function_list(path: Path, get_function_list: Callable[..., int]) -> int:
    address = ctypes.c_void_p()
    value = get_function_list(ctypes.byref(address))
    if value != 0 or not address.value:
        raise HsmMisconfigured(
            f"{path} offers no functions: CKR {value:#x}", advice="see what its vendor says must be set for it"
        )
    return address.value


def _check(value: int) -> None:
    if value == 0:
        return
    if value == _NOT_INITIALIZED:
        raise ckr.PKCS11Error(NOT_INITIALIZED)
    known = _RETURN_VALUES.get(value)
    raise known() if known else ckr.PKCS11Error(f"CKR {value:#x}")
