"""The fault shim (shim.c): a PKCS#11 module in front of another, to which tests give faults while it runs.

`Shim.fail` gives a function a CKR at its n-th call from now; `HANG` lets that call never return, `ALTER` flips a bit of
the signature. `serve` makes it as slow as a real device. `signatures` are all C_Sign calls, in the order of the log.
"""

import contextlib
import ctypes
import hashlib
import mmap
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import pytest

from hsm.module import load_module

HANG, ALTER = 0xFFFFFFFF00000001, 0xFFFFFFFF00000002
_SOURCE = Path(__file__).with_name("shim.c")
_ENGINES = 64
_NANO = 1_000_000_000

# Positions in CK_FUNCTION_LIST after the version (PKCS#11 v2.40, pkcs11f.h).
FUNCTIONS = {
    "C_Initialize": 0,
    "C_Finalize": 1,
    "C_GetSlotList": 4,
    "C_GetTokenInfo": 6,
    "C_OpenSession": 12,
    "C_CloseSession": 13,
    "C_GetSessionInfo": 15,
    "C_Login": 18,
    "C_DestroyObject": 22,
    "C_GetAttributeValue": 24,
    "C_FindObjectsInit": 26,
    "C_FindObjects": 27,
    "C_FindObjectsFinal": 28,
    "C_EncryptInit": 29,
    "C_Encrypt": 30,
    "C_DecryptInit": 33,
    "C_Decrypt": 34,
    "C_SignInit": 42,
    "C_Sign": 43,
    "C_GenerateKey": 58,
    "C_GenerateKeyPair": 59,
    "C_GenerateRandom": 64,
}


class _Plan(ctypes.Structure):
    _fields_ = (
        ("calls", ctypes.c_uint64),
        ("fired", ctypes.c_uint64),
        ("first", ctypes.c_uint64),
        ("last", ctypes.c_uint64),
        ("result", ctypes.c_uint64),
        ("service", ctypes.c_uint64),
        ("engines", ctypes.c_uint64),
        ("free_at", ctypes.c_uint64 * _ENGINES),
    )


class _Control(ctypes.Structure):
    _fields_ = (("round_trip", ctypes.c_uint64), ("plans", _Plan * 68))


@dataclass(frozen=True, slots=True)
class Signature:
    """A C_Sign: when (unix nanoseconds), in which process, with which key, over data of which SHA-256 (hex)."""

    at: int
    pid: int
    key_id: str
    digest: str


class Shim:
    """One shim in a folder of its own, before the module `real`: any number of processes may load it.

    `parameters` are for NSS, which cannot be initialised without any.
    """

    def __init__(self, library: Path, folder: Path, real: Path, parameters: str = "") -> None:
        self.module = folder / "shim.so"
        self._log = folder / "signatures"
        self._log.touch()
        shutil.copyfile(library, self.module)
        control = folder / "control"
        control.write_bytes(bytes(ctypes.sizeof(_Control)))
        with control.open("r+b") as file:
            self._control = _Control.from_buffer(mmap.mmap(file.fileno(), 0))
        self.environment = {
            "SEALWARD_SHIM_MODULE": str(real),
            "SEALWARD_SHIM_CONTROL": str(control),
            "SEALWARD_SHIM_LOG": str(self._log),
            **({"SEALWARD_SHIM_PARAMETERS": parameters} if parameters else {}),
        }

    def load(self) -> Self:
        """Load it into this process, which then needs the environment no more."""
        before = {name: os.environ.get(name) for name in self.environment}
        os.environ.update(self.environment)
        try:
            load_module(self.module)
        finally:
            for name, value in before.items():
                os.environ.pop(name)
                if value is not None:
                    os.environ[name] = value
        return self

    def fail(self, function: str, result: int, *, nth: int = 1, times: int = 1_000_000_000) -> None:
        """Let the n-th call from now give `result`, and those after it, `times` in all."""
        plan = self._plan(function)
        plan.result = result
        plan.fired = 0
        first = plan.calls + nth
        plan.last = first + times - 1
        plan.first = first

    def clear(self) -> None:
        """Take every fault away; calls that hang go on."""
        for plan in self._control.plans:
            plan.first, plan.last = 0, 0

    def serve(self, function: str, seconds: float, engines: int = 0) -> None:
        """Let each call take `seconds` of one of so many engines; 0 engines: no call waits for another."""
        plan = self._plan(function)
        plan.engines = engines
        plan.service = int(seconds * _NANO)

    def round_trip(self, seconds: float) -> None:
        """Let every call of every function take so much longer."""
        self._control.round_trip = int(seconds * _NANO)

    def calls(self, function: str) -> int:
        """Return how often the function was called, in all processes together."""
        return int(self._plan(function).calls)

    def fired(self, function: str) -> int:
        """Return how often the fault that was given last has struck."""
        return int(self._plan(function).fired)

    def signatures(self) -> list[Signature]:
        """Return every C_Sign so far."""
        lines = [line.split() for line in self._log.read_text().splitlines()]
        return [Signature(int(at), int(pid), key_id, digest) for at, pid, key_id, digest in lines]

    def reset(self) -> None:
        """Be as new: no fault, no delay, an empty log."""
        self.clear()
        self.round_trip(0)
        for plan in self._control.plans:
            plan.service = plan.engines = 0
        os.truncate(self._log, 0)

    def _plan(self, function: str) -> _Plan:
        plan: _Plan = self._control.plans[FUNCTIONS[function]]
        return plan


def digest_signed(tbs: bytes, scheme: str) -> str:
    """Return the SHA-256 (hex) of what C_Sign is given for these octets: ECDSA signs their digest."""
    hashes = {"ecdsa-with-SHA256": hashlib.sha256, "ecdsa-with-SHA384": hashlib.sha384}
    return hashlib.sha256(hashes[scheme](tbs).digest()).hexdigest()


@pytest.fixture(scope="session")
def shim_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the compiled shim."""
    if shutil.which("gcc") is None:
        pytest.skip("the fault shim needs a C compiler: apt install gcc libc6-dev")
    library = tmp_path_factory.mktemp("shim") / "shim.so"
    flags = ("-Wall", "-Wextra", "-Werror", "-O2", "-shared", "-fPIC")
    subprocess.run(["gcc", *flags, "-o", library, _SOURCE, "-ldl"], check=True)
    return library


@contextlib.contextmanager
def cleared(shim: Shim) -> Iterator[Shim]:
    """Take every fault away at the end, whatever happens: a call that hangs would hold the tests."""
    try:
        yield shim
    finally:
        shim.reset()
