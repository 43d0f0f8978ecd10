"""One module for the whole process: loaded once, initialised by one, restarted under nobody."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from hsm import Hsm, HsmMisconfigured, HsmStuck, HsmUnavailable, KeyAlgorithm, TokenECKey, softhsm
from hsm.module import load_module
from tests.hsm.interposer import Interposer, Real
from tests.tokens import SoftToken

ECDSA = ec.ECDSA(hashes.SHA256())


def test_a_module_is_loaded_once_under_all_its_names(tmp_path: Path) -> None:
    """C_Initialize acts on the process, so two names of one file must not become two modules."""
    link = tmp_path / "module.so"
    link.symlink_to(softhsm.find_module())
    assert load_module(link) is load_module(softhsm.find_module())


def test_what_is_no_module_is_told_with_advice(tmp_path: Path) -> None:
    """A file that cannot be loaded, or is another library, is the operator's mistake."""
    text = tmp_path / "text.so"
    text.write_text("no library")
    for path in (text, tmp_path / "missing.so", "libc.so.6"):
        with pytest.raises(HsmMisconfigured, match="name the vendor's PKCS#11 shared object"):
            load_module(path)


def test_the_last_user_finalises_the_module(soft_token: SoftToken, interposer: Interposer) -> None:
    """Initialised by the first, finalised by the last; opening anew initialises anew."""
    interposer.watch("C_Finalize")
    first = soft_token.open()
    users = first.sessions._module._users
    second = soft_token.open()
    assert first.sessions._module._users == users + 1
    second.close()
    second.close()
    assert first.sessions._module._users == users
    first.close()
    assert interposer.calls["C_Finalize"] == (1 if users == 1 else 0)
    with soft_token.open() as hsm:
        hsm.check()


def test_who_opens_during_a_restart_does_not_initialise_again(hsm: Hsm, interposer: Interposer) -> None:
    """A second C_Initialize would be answered by finalising the module under those who are inside again."""
    module = hsm.sessions._module
    entered, leave = threading.Event(), threading.Event()

    def slow(real: Real, *arguments: int) -> int:
        entered.set()
        leave.wait(10)
        return real(*arguments)

    interposer.put("C_Initialize", slow)
    interposer.watch("C_Finalize")
    with ThreadPoolExecutor(2) as threads:
        restart = threads.submit(module.restart, module.generation, 5.0)
        assert entered.wait(5)
        opening = threads.submit(module.acquire)
        time.sleep(0.05)
        leave.set()
        restart.result(5)
        opening.result(5)
    module.release(5.0)
    assert (interposer.calls["C_Initialize"], interposer.calls["C_Finalize"]) == (1, 1)
    hsm.check()


def test_a_hung_call_holds_many_threads_up_once(soft_token: SoftToken) -> None:
    """Each of many threads that want a restart would wait for the same hung call: they wait together."""
    with soft_token.open() as hsm:
        module, drain = hsm.sessions._module, 0.3
        seen = module.enter(1.0)  # the call that hangs
        begun = time.monotonic()
        with ThreadPoolExecutor(8) as threads:
            outcomes = [threads.submit(module.restart, seen, drain) for _ in range(8)]
            for outcome in outcomes:
                assert isinstance(outcome.exception(5), HsmStuck)
        assert time.monotonic() - begun < 4 * drain
        module.leave()
        module.restart(seen, drain)
        assert module.generation == seen + 2


def test_who_enters_during_a_restart_waits_for_its_end(hsm: Hsm) -> None:
    """New calls wait while the module drains and restarts, at most for their own patience."""
    module = hsm.sessions._module
    seen = module.enter(1.0)
    with ThreadPoolExecutor(2) as threads:
        restart = threads.submit(module.restart, seen, 5.0)
        while not module._restarting:
            time.sleep(0.001)
        with pytest.raises(HsmUnavailable, match="still restarting"):
            module.enter(0.05)
        patient = threads.submit(module.enter, 5.0)
        module.leave()
        restart.result(5)
        assert patient.result(5) == seen + 2
        module.leave()


def test_signing_goes_on_through_restarts_and_openings(soft_token: SoftToken) -> None:
    """K2: two signers, a third thread that restarts the module, a fourth that opens and closes: nothing is lost."""
    with soft_token.open() as hsm, ThreadPoolExecutor(4) as threads:
        key = hsm.signing_key(hsm.generate_key(KeyAlgorithm.EC_P256, "ca"))
        assert isinstance(key, TokenECKey)
        over = threading.Event()

        def sign() -> int:
            done = 0
            while not over.is_set():
                key.sign(b"tbs", ECDSA)
                done += 1
            return done

        signers = [threads.submit(sign) for _ in range(2)]
        module = hsm.sessions._module

        def restart() -> None:
            for _ in range(20):
                module.restart(module.generation, 5.0)

        def open_and_close() -> None:
            for _ in range(20):
                soft_token.open().close()

        restarting, opening = threads.submit(restart), threads.submit(open_and_close)
        restarting.result(60)
        opening.result(60)
        over.set()
        assert all(signer.result(10) > 0 for signer in signers)
