"""Each kind of fault is mended in process: real SoftHSM, real faults or CKR codes put between it and its callers."""

import contextlib
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from pkcs11.exceptions import UserAlreadyLoggedIn

from hsm import (
    Hsm,
    HsmBusy,
    HsmError,
    HsmKeyNotFound,
    HsmLoginFailed,
    HsmMisconfigured,
    HsmStuck,
    HsmUnavailable,
    HsmUnsupported,
    KeyAlgorithm,
    TokenECKey,
)
from tests.hsm import interposer as ckr
from tests.hsm.interposer import Interposer, Real
from tests.tokens import USER_PIN, SoftToken, fresh_token

ECDSA = ec.ECDSA(hashes.SHA256())


def make_key(hsm: Hsm) -> TokenECKey:
    """Return a new P-256 key of that token."""
    key = hsm.signing_key(hsm.generate_key(KeyAlgorithm.EC_P256, "ca"))
    assert isinstance(key, TokenECKey)
    return key


def eventually(call: Callable[[], object], seconds: float) -> float:
    """Call until no HsmUnavailable comes; return after how many seconds, at most `seconds`."""
    begun = time.monotonic()
    while True:
        try:
            call()
        except HsmUnavailable:
            if time.monotonic() - begun > seconds:
                raise
            time.sleep(0.02)
        else:
            return time.monotonic() - begun


@pytest.mark.parametrize("function", ["C_SignInit", "C_Sign"])
@pytest.mark.parametrize("code", [ckr.SESSION_HANDLE_INVALID, ckr.OPERATION_ACTIVE, ckr.KEY_HANDLE_INVALID])
def test_a_lost_session_is_replaced(hsm: Hsm, interposer: Interposer, function: str, code: int) -> None:
    """K2: a session fault costs the caller nothing, and the module is not restarted for it."""
    key = make_key(hsm)
    seen = hsm.generation
    interposer.fail(function, code)
    key.sign(b"tbs", ECDSA)
    assert hsm.generation == seen
    key.sign(b"tbs", ECDSA)


def test_a_session_fault_that_lasts_is_told_after_one_retry(hsm: Hsm, interposer: Interposer) -> None:
    """K2: one retry for each kind of fault, then HsmUnavailable."""
    key = make_key(hsm)
    interposer.fail("C_SignInit", ckr.SESSION_HANDLE_INVALID, times=100)
    with pytest.raises(HsmUnavailable):
        key.sign(b"tbs", ECDSA)
    assert interposer.calls["C_SignInit"] == 2


def test_a_lost_login_is_renewed_once_for_all_threads(hsm: Hsm, interposer: Interposer) -> None:
    """K2: after a logout behind our back eight threads go on, and the PIN is offered once."""
    key = make_key(hsm)
    login_session = hsm.sessions._login_session
    assert login_session is not None
    interposer.watch("C_Login")
    assert interposer.real("C_Logout")(int(getattr(login_session, "handle"))) == 0  # noqa: B009  # not in its stubs
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda _: key.sign(b"tbs", ECDSA), range(32)))
    assert interposer.calls["C_Login"] == 1


def test_a_key_is_not_missed_while_another_thread_logs_in(hsm: Hsm, interposer: Interposer) -> None:
    """K2: searched for without a login and found invisible, which must not read as "no such key"."""
    key = make_key(hsm)
    login_session = hsm.sessions._login_session
    assert login_session is not None
    number = int(getattr(login_session, "handle"))  # noqa: B009  # not in its stubs

    def between(real: Real, *arguments: int) -> int:
        with contextlib.suppress(UserAlreadyLoggedIn):
            hsm.sessions._module.calls.login(number, USER_PIN)  # as the other thread does, just after this search
        return real(*arguments)

    assert interposer.real("C_Logout")(number) == 0
    hsm.sessions.forget_handles()
    interposer.put("C_FindObjectsFinal", between)
    assert key.sign(b"tbs", ECDSA)


def test_a_pin_that_is_refused_when_the_login_was_lost_is_told_as_such(hsm: Hsm, interposer: Interposer) -> None:
    """K2: CKR_PIN_LOCKED at the new login is HsmLoginFailed, no bare PKCS#11 error, and not tried again."""
    key = make_key(hsm)
    login_session = hsm.sessions._login_session
    assert login_session is not None
    interposer.fail("C_Login", ckr.PIN_LOCKED)
    assert interposer.real("C_Logout")(int(getattr(login_session, "handle"))) == 0  # noqa: B009  # not in its stubs
    for _ in range(2):
        with pytest.raises(HsmLoginFailed):
            key.sign(b"tbs", ECDSA)
    assert interposer.calls["C_Login"] == 1


def test_a_device_that_fails_at_the_new_login_is_recovered(hsm: Hsm, interposer: Interposer) -> None:
    """K2: one fault may hide another: the login is lost, and logging in anew finds a broken device."""
    key = make_key(hsm)
    login_session = hsm.sessions._login_session
    assert login_session is not None
    interposer.fail("C_Login", ckr.DEVICE_ERROR)
    assert interposer.real("C_Logout")(int(getattr(login_session, "handle"))) == 0  # noqa: B009  # not in its stubs
    assert key.sign(b"tbs", ECDSA)


def test_a_module_that_somebody_finalised_is_initialised_anew(hsm: Hsm) -> None:
    """K2: CKR_CRYPTOKI_NOT_INITIALIZED, whichever call meets it first, restarts the module."""
    key = make_key(hsm)
    for call in (lambda: key.sign(b"tbs", ECDSA), hsm.check):
        seen = hsm.generation
        hsm.sessions._module.calls.finalize()
        call()
        assert hsm.generation == seen + 2


@pytest.mark.parametrize("function", ["C_SignInit", "C_Sign"])
def test_a_device_error_restarts_the_module(hsm: Hsm, interposer: Interposer, function: str) -> None:
    """K2: CKR_DEVICE_ERROR on the n-th call: the module is restarted, and the same call succeeds."""
    key = make_key(hsm)
    seen = hsm.generation
    interposer.fail(function, ckr.DEVICE_ERROR)
    key.sign(b"tbs", ECDSA)
    assert hsm.generation > seen


def test_threads_that_fail_together_restart_the_module_once(hsm: Hsm, interposer: Interposer) -> None:
    """K2: recovery is single-flight, and calls in flight are drained first."""
    key = make_key(hsm)
    seen = hsm.generation
    together = threading.Barrier(4)
    failing = [4]

    def between(real: Real, *arguments: int) -> int:
        if failing[0] > 0:
            failing[0] -= 1
            together.wait(5)
            return ckr.DEVICE_ERROR
        return real(*arguments)

    interposer.put("C_SignInit", between)
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda _: key.sign(b"tbs", ECDSA), range(4)))
    assert hsm.generation == seen + 2  # one C_Finalize, one C_Initialize


def test_a_vague_error_restarts_the_module_only_when_it_repeats(hsm: Hsm, interposer: Interposer) -> None:
    """K2: CKR_GENERAL_ERROR may be the session's or the device's: the cheap cure first."""
    key = make_key(hsm)
    seen = hsm.generation
    interposer.fail("C_SignInit", ckr.GENERAL_ERROR)
    key.sign(b"tbs", ECDSA)
    assert hsm.generation == seen
    interposer.fail("C_SignInit", ckr.GENERAL_ERROR, times=2)
    key.sign(b"tbs", ECDSA)
    assert hsm.generation > seen


def test_a_broken_device_is_answered_at_once_and_recovers_within_a_second(hsm: Hsm, interposer: Interposer) -> None:
    """K2: while the device is broken calls fail fast; when it is back they succeed, in the same process."""
    key = make_key(hsm)
    interposer.fail("C_SignInit", ckr.DEVICE_ERROR, times=10_000)
    with pytest.raises(HsmUnavailable):
        key.sign(b"tbs", ECDSA)
    begun = time.monotonic()
    with pytest.raises(HsmUnavailable):
        key.sign(b"tbs", ECDSA)
    assert time.monotonic() - begun < 0.1
    interposer.restore()
    assert eventually(lambda: key.sign(b"tbs", ECDSA), 1.0) < 1.0


def test_a_token_that_is_removed_and_put_back_serves_again(token_folder: Path, tmp_path: Path) -> None:
    """K2: the token's folder goes away and comes back: unavailable meanwhile, then the same key signs."""
    before = set((token_folder / "tokens").iterdir())
    soft_token = fresh_token()
    (folder,) = set((token_folder / "tokens").iterdir()) - before
    with soft_token.open() as hsm:
        key = make_key(hsm)
        folder.rename(tmp_path / "away")
        for _ in range(3):
            with pytest.raises(HsmUnavailable):
                key.sign(b"tbs", ECDSA)
            with pytest.raises(HsmUnavailable):
                hsm.check()
        (tmp_path / "away").rename(folder)
        assert eventually(lambda: key.sign(b"tbs", ECDSA), 1.0) < 1.0
        hsm.check()


def test_two_tokens_of_one_module_survive_each_others_restart(soft_token: SoftToken, interposer: Interposer) -> None:
    """K2: a restart for one token is a restart for all of the module's; the other one logs in anew by itself."""
    with soft_token.open() as first, fresh_token().open() as second:
        keys = make_key(first), make_key(second)
        interposer.fail("C_SignInit", ckr.DEVICE_ERROR)
        keys[0].sign(b"tbs", ECDSA)
        keys[1].sign(b"tbs", ECDSA)
    with pytest.raises(HsmUnavailable, match="closed"):
        keys[0].sign(b"tbs", ECDSA)


def test_one_token_opened_twice_is_closed_once_without_harm(soft_token: SoftToken) -> None:
    """Closing one Hsm does not log the other out: C_Logout would act on the whole process."""
    with soft_token.open() as first:
        key = make_key(first)
        soft_token.open().close()
        assert key.sign(b"tbs", ECDSA)


def test_a_token_without_room_is_used_with_fewer_sessions(soft_token: SoftToken, interposer: Interposer) -> None:
    """CKR_SESSION_COUNT shrinks the pool; the callers share the sessions there are."""
    room = [3]

    def between(real: Real, *arguments: int) -> int:
        if room[0] == 0:
            return ckr.SESSION_COUNT
        room[0] -= 1
        return real(*arguments)

    def slow(real: Real, *arguments: int) -> int:
        time.sleep(0.01)  # so that callers meet
        return real(*arguments)

    interposer.put("C_OpenSession", between)
    interposer.put("C_SignInit", slow)
    with soft_token.open() as hsm:
        key = make_key(hsm)
        with ThreadPoolExecutor(8) as threads:
            signatures = list(threads.map(lambda _: key.sign(b"tbs", ECDSA), range(64)))
        assert len(signatures) == 64
        assert hsm.sessions._turnstile.size <= 2  # and one that holds the login


def test_a_token_that_never_has_room_is_told_so_and_forgets_nobody(hsm: Hsm, interposer: Interposer) -> None:
    """CKR_DEVICE_MEMORY that lasts is HsmBusy after one retry, and every caller's place is given back."""
    key = make_key(hsm)
    interposer.fail("C_SignInit", ckr.DEVICE_MEMORY, times=10_000)
    for _ in range(3):
        with pytest.raises(HsmBusy, match="DeviceMemory"):
            key.sign(b"tbs", ECDSA)
    assert interposer.calls["C_SignInit"] == 6
    interposer.restore()
    key.sign(b"tbs", ECDSA)
    assert hsm.sessions._turnstile._inside == 0


def test_no_more_sessions_are_open_than_allowed(soft_token: SoftToken, interposer: Interposer) -> None:
    """`max_sessions` bounds the pool; one more session holds the login for life."""
    interposer.watch("C_OpenSession")
    with soft_token.open(max_sessions=2) as hsm:
        key = make_key(hsm)
        with ThreadPoolExecutor(8) as threads:
            list(threads.map(lambda _: key.sign(b"tbs", ECDSA), range(64)))
        assert interposer.calls["C_OpenSession"] <= 3


def test_who_finds_no_session_in_time_is_told_so(soft_token: SoftToken, interposer: Interposer) -> None:
    """A checkout has a deadline: HsmBusy, while the call that holds the session goes on."""
    with soft_token.open(max_sessions=1, checkout_timeout=0.2) as hsm, ThreadPoolExecutor(1) as threads:
        key = make_key(hsm)
        entered, leave = threading.Event(), threading.Event()

        def between(real: Real, *arguments: int) -> int:
            entered.set()
            leave.wait(10)
            return real(*arguments)

        interposer.put("C_SignInit", between)
        slow = threads.submit(key.sign, b"tbs", ECDSA)
        entered.wait(5)
        with pytest.raises(HsmBusy):
            hsm.random(1)
        leave.set()
        slow.result(5)


def test_a_module_is_never_restarted_under_a_running_call(soft_token: SoftToken, interposer: Interposer) -> None:
    """A call that hangs inside the module cannot be cancelled: HsmStuck tells to replace the process."""
    with soft_token.open(checkout_timeout=0.3) as hsm, ThreadPoolExecutor(1) as threads:
        key = make_key(hsm)
        entered, leave = threading.Event(), threading.Event()

        def between(real: Real, *arguments: int) -> int:
            if not entered.is_set():
                entered.set()
                leave.wait(10)
                return real(*arguments)
            return ckr.DEVICE_ERROR

        interposer.put("C_SignInit", between)
        hanging = threads.submit(key.sign, b"tbs", ECDSA)
        entered.wait(5)
        with pytest.raises(HsmStuck, match="replace this worker"):
            key.sign(b"tbs", ECDSA)
        leave.set()
        hanging.result(5)
        interposer.restore()
        eventually(lambda: key.sign(b"tbs", ECDSA), 1.0)


def test_a_wrong_pin_is_offered_exactly_once(soft_token: SoftToken, interposer: Interposer) -> None:
    """K2: opening with a wrong PIN costs the token one attempt."""
    interposer.watch("C_Login")
    with pytest.raises(HsmLoginFailed) as refusal:
        Hsm.open(soft_token.module, soft_token.label, "not-the-pin")
    assert interposer.calls["C_Login"] == 1
    assert "not-the-pin" not in f"{refusal.value!r}{refusal.value}{refusal.value.__cause__!r}"


def test_a_pin_changed_meanwhile_is_offered_exactly_once(hsm: Hsm, interposer: Interposer) -> None:
    """K2: when a recovery finds the PIN wrong, no thread and no later call offers it again."""
    key = make_key(hsm)
    hsm.sessions._pin = "changed-at-the-token"
    interposer.watch("C_Login")
    interposer.fail("C_SignInit", ckr.DEVICE_ERROR)
    outcomes: list[HsmError] = []

    def sign() -> None:
        try:
            key.sign(b"tbs", ECDSA)
        except HsmError as error:
            outcomes.append(error)

    threads = [threading.Thread(target=sign) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    time.sleep(0.3)
    for _ in range(3):
        with pytest.raises(HsmLoginFailed):
            key.sign(b"tbs", ECDSA)
    assert interposer.calls["C_Login"] == 1
    assert any(isinstance(error, HsmLoginFailed) for error in outcomes)


def test_an_unknown_label_and_a_missing_module_are_misconfigurations(soft_token: SoftToken, tmp_path: Path) -> None:
    """The operator's mistakes are told apart from the device's failures, with what to do."""
    with pytest.raises(HsmMisconfigured, match="0 tokens"):
        Hsm.open(soft_token.module, "no-such-token", soft_token.pin)
    with pytest.raises(HsmMisconfigured, match="can be loaded"):
        Hsm.open(tmp_path / "missing.so", soft_token.label, soft_token.pin)


def test_a_destroyed_key_signs_no_more(hsm: Hsm) -> None:
    """A handle cached in some session does not outlive its key."""
    key = make_key(hsm)
    key.sign(b"tbs", ECDSA)
    hsm.destroy_key(key.key_id)
    with pytest.raises(HsmKeyNotFound):
        key.sign(b"tbs", ECDSA)
    with pytest.raises(HsmKeyNotFound):
        hsm.signing_key(key.key_id)
    with pytest.raises(HsmKeyNotFound):
        hsm.destroy_key(key.key_id)


def test_the_health_check_sees_a_lost_device_and_mends_it(hsm: Hsm, interposer: Interposer) -> None:
    """K2: `check` is the keep-alive: it recovers what it can and raises what it cannot."""
    hsm.check()
    interposer.fail("C_GetTokenInfo", ckr.DEVICE_ERROR)
    hsm.check()
    interposer.fail("C_GetTokenInfo", ckr.DEVICE_ERROR, times=10_000)
    with pytest.raises(HsmUnavailable):
        hsm.check()
    interposer.restore()
    eventually(hsm.check, 1.0)


def test_an_unsupported_mechanism_is_no_reason_to_restart(hsm: Hsm, interposer: Interposer) -> None:
    """CKR_MECHANISM_INVALID is permanent: HsmUnsupported, no retry, no restart."""
    key = make_key(hsm)
    seen = hsm.generation
    interposer.fail("C_SignInit", 0x70, times=100)
    with pytest.raises(HsmUnsupported, match="MechanismInvalid"):
        key.sign(b"tbs", ECDSA)
    assert (interposer.calls["C_SignInit"], hsm.generation) == (1, seen)
