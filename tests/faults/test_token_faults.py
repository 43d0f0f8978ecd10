"""The token fails at its n-th call: an issuance succeeds or is refused at once, and nothing is signed wrongly (K2)."""

import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from hsm import HsmError
from pki.authority.crl import Crls
from pki.core import Core
from pki.errors import HsmFailure
from pki.ledger.entries import Entry
from tests.counts import count
from tests.faults.shim import ALTER, HANG, Shim
from tests.faults.token_house import AT_ONCE, Outcome, attempt, in_background, issue, recovers, verify
from tests.faults.token_ledger import intents, without_intent

# Twelve kinds of CKR (PKCS#11 v2.40, pkcs11t.h).
KINDS = {
    "GENERAL_ERROR": 0x05,
    "FUNCTION_FAILED": 0x06,
    "DEVICE_ERROR": 0x30,
    "DEVICE_MEMORY": 0x31,
    "DEVICE_REMOVED": 0x32,
    "KEY_HANDLE_INVALID": 0x60,
    "OPERATION_ACTIVE": 0x90,
    "SESSION_COUNT": 0xB1,
    "SESSION_HANDLE_INVALID": 0xB3,
    "TOKEN_NOT_PRESENT": 0xE0,
    "USER_NOT_LOGGED_IN": 0x101,
    "CRYPTOKI_NOT_INITIALIZED": 0x190,
}
ALWAYS_CALLED = ("C_SignInit", "C_Sign")
FOR_A_NEW_SESSION = (
    "C_OpenSession",
    "C_FindObjectsInit",
    "C_FindObjects",
    "C_FindObjectsFinal",
    "C_GetSessionInfo",
    "C_GetAttributeValue",
)
# python-pkcs11 ends a search that failed once more while it forgets it, and can only complain that this fails too.
pytestmark = pytest.mark.filterwarnings(
    "ignore:Exception ignored in. 'pkcs11._pkcs11.OperationContext:pytest.PytestUnraisableExceptionWarning"
)
LASTING = 1_000_000

Case = tuple[str, int, int]
"""A function, the call of it that fails first, and how many fail."""


def cases(kind: str, wanted: int) -> list[Case]:
    """Return that many different cases, the same ones for the same kind."""
    every = [
        (function, nth, times)
        for function in (*ALWAYS_CALLED, *FOR_A_NEW_SESSION)
        for nth in (1, 2, 3)
        for times in (1, 2, LASTING)
    ]
    return random.Random(kind).sample(every, wanted)


def strike(core: Core, shim: Shim, code: int, case: Case) -> list[Outcome]:
    """Issue on four threads until the fault has struck, and four times more."""
    function, nth, times = case
    shim.fail(function, code, nth=nth, times=times)
    outcomes: list[Outcome] = []
    with ThreadPoolExecutor(4) as threads:
        for _ in range(8):
            if function in FOR_A_NEW_SESSION:
                shim.fail("C_SignInit", KINDS["SESSION_HANDLE_INVALID"], times=1)  # so that sessions are opened anew
            struck = shim.fired(function) > 0
            outcomes += threads.map(lambda _: attempt(core), range(4))
            if struck:
                return outcomes
    raise AssertionError(f"{case} never struck")


@pytest.mark.parametrize("kind", KINDS)
def test_every_issuance_succeeds_or_is_refused_at_once(core: Core, faults: Shim, kind: str) -> None:
    """K2, Z-B1: twelve kinds of CKR at the n-th call: no wrong signature, and normal again within 2 s of its end."""
    entries: list[Entry] = []
    for case in cases(kind, count(3, 17)):
        outcomes = strike(core, faults, KINDS[kind], case)
        assert max(outcome.seconds for outcome in outcomes) < AT_ONCE, case
        entries.extend(outcome.entry for outcome in outcomes if outcome.entry is not None)
        assert all(outcome.failure is None or outcome.failure.advice for outcome in outcomes), case
        faults.clear()
        assert recovers(lambda: entries.append(issue(core))) < 2.0, case
    for entry in entries:
        verify(core, entry)
    assert without_intent(core.database, faults.signatures()) == []
    assert len({item.digest for item in faults.signatures()}) >= len(entries)


def test_a_wrong_signature_is_never_released(core: Core, faults: Shim) -> None:
    """K3: what the token returns is verified first; a flipped bit is HsmFailure, and nothing is recorded as issued."""
    faults.fail("C_Sign", ALTER, nth=1)
    outcomes = [attempt(core) for _ in range(5)]
    assert [str(outcome.failure) for outcome in outcomes if "does not verify" in str(outcome.failure)] != []
    assert all(outcome.entry is None for outcome in outcomes)
    faults.clear()
    verify(core, issue(core))


def test_an_intent_is_committed_before_its_signature(core: Core, faults: Shim) -> None:
    """Z-B1: at the moment of each C_Sign the row with its TBS can be read by others, a CRL's as well."""
    faults.serve("C_Sign", 0.02)
    seen: list[bool] = []
    finished = threading.Event()

    def watch() -> None:
        known = 0
        while not finished.is_set():
            fresh = faults.signatures()[known:]
            rows = intents(core.database) if fresh else {}
            seen.extend(rows.get((item.key_id, item.digest)) == 1 for item in fresh)
            known += len(fresh)
            time.sleep(0.001)

    watcher = threading.Thread(target=watch)
    watcher.start()
    for _ in range(5):
        issue(core)
    for issuer in core.issuers.active():
        core.crls.publish(issuer)
    finished.set()
    watcher.join()
    assert seen == [True] * 7


def test_a_crl_is_published_after_the_fault(core: Core, faults: Shim) -> None:
    """K2: a CRL that the token did not sign is refused, and the next one has another number (Z-B11)."""
    crls: Crls = core.crls
    issuer = core.issuers.named("intermediate")
    first = crls.publish(issuer)
    faults.fail("C_Sign", KINDS["DEVICE_ERROR"])
    with pytest.raises(HsmFailure):
        crls.publish(issuer)
    faults.clear()
    numbers: list[int] = []
    assert recovers(lambda: numbers.append(crls.publish(issuer))) < 2.0
    assert numbers[0] > first
    assert without_intent(core.database, faults.signatures()) == []


def test_the_pin_is_offered_once_for_each_start_of_the_module(core: Core, faults: Shim) -> None:
    """K2: a PIN that the token refuses after a restart of the module is not offered again: it would lock."""
    faults.fail("C_SignInit", KINDS["DEVICE_ERROR"], times=1)
    faults.fail("C_Login", 0xA0)
    before = faults.calls("C_Login")
    for _ in range(6):
        outcome = attempt(core)
        assert outcome.entry is None
    assert faults.calls("C_Login") == before + 1
    with pytest.raises(HsmError, match="PIN"):
        core.hsm.check()


def test_a_stuck_call_holds_up_nobody_else(core: Core, faults: Shim) -> None:
    """K2: while one thread hangs in C_Sign, the others issue on their own sessions."""
    faults.fail("C_Sign", HANG, nth=1, times=1)
    with in_background(faults, lambda: attempt(core)) as hanging:
        while not faults.fired("C_Sign"):
            time.sleep(0.001)
        for _ in range(5):
            verify(core, issue(core))
        assert not hanging.done()
        faults.clear()
        assert hanging.result(5).entry is not None
