"""A founded house whose token is behind the fault shim, and what its tests do with it."""

import contextlib
import dataclasses
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from hsm import softhsm
from pki.authority.issue import Wanted
from pki.authority.names import Name
from pki.config import Config
from pki.core import Core, open_core
from pki.errors import HsmFailure
from pki.founding import found
from pki.ledger.entries import Entry
from tests.clocks import FrozenClock
from tests.faults.shim import Shim
from tests.house_fixture import configure
from tests.tokens import SoftToken

T = TypeVar("T")
AT_ONCE = 3.0
"""Seconds within which a fault is told, on a busy machine as well; who waited in vain for a session would take five."""


@pytest.fixture(scope="session")
def shim(shim_library: Path, token_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Shim:
    """Give the shim that this process has loaded.

    The SoftHSM behind it is a copy of the file, so that it shares no state with the one that other tests use.
    """
    assert token_folder.is_dir()
    folder = tmp_path_factory.mktemp("shim")
    copy = folder / "softhsm.so"
    shutil.copyfile(softhsm.find_module(), copy)
    return Shim(shim_library, folder, copy).load()


@pytest.fixture
def faults(shim: Shim) -> Iterator[Shim]:
    """Give the shim without any fault; afterwards it has none either, so that no call hangs for ever."""
    shim.reset()
    yield shim
    shim.reset()


def behind(config: Config, module: Path, timeout: float = 5.0) -> Config:
    """Return the configuration with another module before the same token."""
    return dataclasses.replace(config, hsm=dataclasses.replace(config.hsm, module=str(module), timeout=timeout))


@pytest.fixture
def core(house_config: Config, house_clock: FrozenClock, faults: Shim) -> Iterator[Core]:
    """Give a founded house whose token is behind the shim."""
    with contextlib.closing(open_core(behind(house_config, faults.module), house_clock)) as opened:
        yield opened


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an issuance ended: with an entry or a failure, after so many seconds."""

    entry: Entry | None
    failure: HsmFailure | None
    seconds: float


def issue(core: Core) -> Entry:
    """Issue a certificate of the default profile for a fresh name and key."""
    name = Name("dns", f"{secrets.token_hex(6)}.example.com")
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    return core.gate.issue(Wanted(profile="default", public_key=key, names=(name,), requester="test:faults"))


def attempt(core: Core) -> Outcome:
    """Issue, and tell how it ended; anything but success and HsmFailure is raised."""
    begun = time.monotonic()
    try:
        entry, failure = issue(core), None
    except HsmFailure as error:
        entry, failure = None, error
    return Outcome(entry, failure, time.monotonic() - begun)


def verify(core: Core, entry: Entry) -> None:
    """Raise unless the entry's certificate is signed by its issuer and holds what was recorded."""
    assert entry.certificate is not None
    certificate = x509.load_der_x509_certificate(entry.certificate)
    certificate.verify_directly_issued_by(core.issuers.get(entry.issuer_id).certificate)
    assert certificate.tbs_certificate_bytes == entry.tbs


@contextlib.contextmanager
def in_background(shim: Shim, work: Callable[[], T]) -> Iterator[Future[T]]:
    """Run `work`, which hangs by a fault, beside the block; at its end the fault is gone, whatever happened."""
    with ThreadPoolExecutor(1) as threads:
        try:
            yield threads.submit(work)
        finally:
            shim.clear()


def recovers(work: Callable[[], object], seconds: float = 2.0) -> float:
    """Repeat `work` until it raises no HsmFailure; return after how long, at most `seconds`."""
    begun = time.monotonic()
    while True:
        try:
            work()
        except HsmFailure:
            if time.monotonic() - begun > seconds:
                raise
            time.sleep(0.02)
        else:
            return time.monotonic() - begun


@pytest.fixture
def own_house(migrated_url: str, soft_token: SoftToken, tmp_path: Path) -> Config:
    """Give the configuration of a founded house with a token of its own, for a test that harms it."""
    config = configure(migrated_url, soft_token, tmp_path)
    found(config)
    return config
