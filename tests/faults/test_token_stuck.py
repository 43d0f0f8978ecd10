"""A call that hangs inside the token's module cannot be cancelled: its process is replaced, and the service goes on."""

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.offline.proof import Proof, prove
from hsm import Hsm, HsmStuck, softhsm
from hsm.module import stuck_module
from pki.config import Config
from pki.core import open_core
from pki.errors import SealwardError
from pki.storage.database import Database
from tests.clocks import FrozenClock
from tests.faults.shim import HANG, Shim, cleared
from tests.faults.token_house import attempt, behind, in_background, issue, recovers, verify
from tests.faults.token_ledger import without_intent
from tests.service import Service, is_running, processes_of
from tests.tokens import SoftToken

DEVICE_ERROR = 0x30
FOREVER = 3600.0
TIMEOUT = 0.5
REPLACED = 10.0
"""Seconds within which the hanging process is gone: six timeouts, and what a new one needs to start."""


def wait_for_fault(shim: Shim, function: str) -> None:
    """Return when the fault has struck."""
    deadline = time.monotonic() + 10
    while not shim.fired(function):
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_a_module_that_cannot_be_restarted_is_told_as_stuck(
    house_config: Config, house_clock: FrozenClock, faults: Shim
) -> None:
    """K2: one thread hangs in C_Sign when the device fails for another: HsmStuck for all, until it comes out."""
    with contextlib.closing(open_core(behind(house_config, faults.module, TIMEOUT), house_clock)) as core:
        faults.fail("C_Sign", HANG, times=1)
        with in_background(faults, lambda: attempt(core)) as hanging:
            wait_for_fault(faults, "C_Sign")
            assert stuck_module(FOREVER) is None
            faults.fail("C_SignInit", DEVICE_ERROR, times=1)
            refused = attempt(core)
            assert refused.failure is not None
            assert isinstance(refused.failure.__cause__, HsmStuck)
            assert refused.seconds < 2 * TIMEOUT + 0.5
            assert stuck_module(FOREVER) == faults.module
            assert attempt(core).seconds < TIMEOUT
            faults.clear()
            hanging.result(5)
        assert stuck_module(FOREVER) is None
        recovers(lambda: verify(core, issue(core)))


def test_a_call_that_takes_too_long_is_told_as_stuck(
    house_config: Config, house_clock: FrozenClock, faults: Shim
) -> None:
    """K2: the others' calls go on, so that nobody else would notice the one that never ends."""
    with contextlib.closing(open_core(behind(house_config, faults.module), house_clock)) as core:
        faults.fail("C_Sign", HANG, times=1)
        with in_background(faults, lambda: attempt(core)) as hanging:
            wait_for_fault(faults, "C_Sign")
            issue(core)
            time.sleep(0.2)
            assert stuck_module(FOREVER) is None
            assert stuck_module(0.1) == faults.module
            faults.clear()
            verify(core, hanging.result(5).entry or issue(core))
        assert stuck_module(0.1) is None


@pytest.mark.parametrize("function", ["C_Initialize", "C_Login", "C_OpenSession"])
def test_a_start_that_hangs_is_told_as_stuck(soft_token: SoftToken, faults: Shim, function: str) -> None:
    """K2: a process that begins while the device hangs is replaced as well, until one comes through."""
    faults.fail(function, HANG, times=1)
    with in_background(faults, lambda: Hsm.open(faults.module, soft_token.label, soft_token.pin)) as opening:
        wait_for_fault(faults, function)
        time.sleep(0.2)
        assert stuck_module(0.1) == faults.module
        faults.clear()
        opening.result(5).close()
    assert stuck_module(0.1) is None


@pytest.fixture
def shim_of_service(shim_library: Path, tmp_path: Path) -> Iterator[Shim]:
    """Give a shim for processes of their own, before the SoftHSM of this machine."""
    folder = tmp_path / "shim"
    folder.mkdir()
    with cleared(Shim(shim_library, folder, softhsm.find_module())) as shim:
        yield shim


def proved(service: Service) -> Proof:
    """Obtain a certificate from the service, as a client does."""
    return prove(service.directory, service.ca_file, "localhost", service.http01_port)


def test_a_worker_whose_call_hangs_is_replaced(shim_of_service: Shim, soft_token: SoftToken, tmp_path: Path) -> None:
    """K2, Z-B1: the process ends itself and is replaced; the service stays, and what it signed was committed before."""
    shim = shim_of_service
    pin = tmp_path / "pin"
    pin.touch(mode=0o600)
    pin.write_text(soft_token.pin)
    hsm = {"module": str(shim.module), "token_label": soft_token.label, "pin_file": str(pin), "timeout": TIMEOUT}
    document = {"hsm": hsm, "server": {"workers": 1}}
    with Service(tmp_path / "data", document, environment=shim.environment) as service:
        assert proved(service)
        before = set(processes_of(service.pid))
        shim.fail("C_Sign", HANG, times=1)
        with pytest.raises((SealwardError, OSError)):
            proved(service)
        shim.clear()
        begun = time.monotonic()
        while "is started again" not in service.output:
            assert time.monotonic() - begun < REPLACED, service.output
            time.sleep(0.05)
        assert "a call hangs inside shim.so" in service.output
        eventually_proved(service)
        assert is_running(service.pid)
        assert set(processes_of(service.pid)) - before
    database = Database.open(f"sqlite:///{tmp_path}/data/sealward.db")
    try:
        assert len(shim.signatures()) >= 5
        assert without_intent(database, shim.signatures()) == []
    finally:
        database.close()


def eventually_proved(service: Service) -> None:
    """Obtain a certificate as soon as the new worker listens."""
    begun = time.monotonic()
    while True:
        try:
            proved(service)
        except (SealwardError, OSError):
            assert time.monotonic() - begun < REPLACED, service.output
            time.sleep(0.1)
        else:
            return
