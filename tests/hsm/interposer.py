"""Stands between a PKCS#11 module and its callers, in this process, without a C compiler.

A module's functions are called through one table of pointers, which is the module's own memory. Here an entry is
replaced by a function of ours that may call the real one, count, fail with any CKR, or alter what goes by.
"""

import ctypes
from collections import Counter
from collections.abc import Callable
from pathlib import Path

# Positions in CK_FUNCTION_LIST after the version, and how many arguments each takes (PKCS#11 v2.40, pkcs11f.h).
FUNCTIONS = {
    "C_Initialize": (0, 1),
    "C_Finalize": (1, 1),
    "C_GetTokenInfo": (6, 2),
    "C_OpenSession": (12, 5),
    "C_GetSessionInfo": (15, 2),
    "C_Login": (18, 4),
    "C_Logout": (19, 1),
    "C_CopyObject": (21, 5),
    "C_GetAttributeValue": (24, 4),
    "C_SetAttributeValue": (25, 4),
    "C_FindObjectsFinal": (28, 1),
    "C_EncryptInit": (29, 3),
    "C_Encrypt": (30, 5),
    "C_Decrypt": (34, 5),
    "C_SignInit": (42, 3),
    "C_Sign": (43, 5),
    "C_GenerateKey": (58, 5),
    "C_GenerateKeyPair": (59, 8),
    "C_WrapKey": (60, 6),
}
SESSION_COUNT, DEVICE_ERROR, GENERAL_ERROR = 0xB1, 0x30, 0x05
PIN_LOCKED, DEVICE_MEMORY, MECHANISM_INVALID = 0xA4, 0x31, 0x70
SESSION_HANDLE_INVALID, OPERATION_ACTIVE, KEY_HANDLE_INVALID = 0xB3, 0x90, 0x60

Real = Callable[..., int]
Between = Callable[..., int]


class Interposer:
    """Replaces entries of a loaded module's function list until `restore`."""

    def __init__(self, module: Path) -> None:
        library = ctypes.CDLL(str(module))
        address = ctypes.c_void_p()
        assert library.C_GetFunctionList(ctypes.byref(address)) == 0
        assert address.value
        self._table = (ctypes.c_void_p * 68).from_address(address.value + ctypes.sizeof(ctypes.c_void_p))
        self._originals: dict[int, int | None] = {}
        self._kept: list[object] = []
        self.calls: Counter[str] = Counter()

    def put(self, name: str, between: Between) -> None:
        """Call `between(real, *arguments)` in place of the function; its result is the CKR."""
        position, arity = FUNCTIONS[name]
        original = self._originals.setdefault(position, self._table[position])
        prototype = ctypes.CFUNCTYPE(ctypes.c_ulong, *[ctypes.c_size_t] * arity)
        real = prototype(original or 0)

        def call(*arguments: int) -> int:
            self.calls[name] += 1
            return between(real, *arguments)

        callback = prototype(call)
        self._kept.append(callback)  # the module may still be inside it: never freed
        self._table[position] = ctypes.cast(callback, ctypes.c_void_p).value

    def watch(self, name: str) -> None:
        """Count the calls of that function in `calls`."""
        self.put(name, lambda real, *arguments: real(*arguments))

    def fail(self, name: str, value: int, *, times: int = 1) -> None:
        """Fail the next `times` calls with that CKR; then let them through."""
        left = [times]

        def between(real: Real, *arguments: int) -> int:
            if left[0] > 0:
                left[0] -= 1
                return value
            return real(*arguments)

        self.put(name, between)

    def real(self, name: str) -> Real:
        """Return the module's own function."""
        position, arity = FUNCTIONS[name]
        original = self._originals.get(position, self._table[position])
        return ctypes.CFUNCTYPE(ctypes.c_ulong, *[ctypes.c_size_t] * arity)(original or 0)

    def restore(self) -> None:
        """Put the module's own functions back."""
        for position, original in self._originals.items():
            self._table[position] = original
        self._originals.clear()


class _Attribute(ctypes.Structure):
    _fields_ = (("kind", ctypes.c_ulong), ("value", ctypes.c_void_p), ("length", ctypes.c_ulong))


def set_flag(template: int, count: int, kind: int, *, value: bool) -> None:
    """Set a CK_BBOOL in a template on its way into the module (or in an answer on its way out)."""
    for attribute in (_Attribute * count).from_address(template):
        if attribute.kind == kind and attribute.value and attribute.length == 1:
            ctypes.c_ubyte.from_address(attribute.value).value = value


def alter_output(real: Real, *arguments: int) -> int:
    """Put between C_Sign, C_Encrypt or C_Decrypt: flip one bit of what comes out."""
    value = real(*arguments)
    output = arguments[3]
    if value == 0 and output:
        ctypes.c_ubyte.from_address(output).value ^= 1
    return value
