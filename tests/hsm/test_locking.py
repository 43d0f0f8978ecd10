"""Two threads in one module: the library as it comes crashes, ours does not."""

import signal
import subprocess
import sys

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from hsm import Hsm, KeyAlgorithm, TokenECKey
from tests.counts import count
from tests.tokens import SoftToken

TRIES = 5


def program(*arguments: str, seconds: float = 120) -> subprocess.CompletedProcess[str]:
    """Run a program of `raw_library` in a process of its own; one that hangs is killed and counts as SIGKILL."""
    command = [sys.executable, "-m", "tests.hsm.raw_library", *arguments]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False)
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, -signal.SIGKILL, "", f"hung for {seconds:g} s")


def test_the_bare_library_breaks_on_two_threads(soft_token: SoftToken) -> None:
    """C_Initialize(NULL) lets SoftHSM drop its locks: this must fail, or the next test proves nothing.

    It mostly crashes; it may also hang, or give errors that have no reason (its program then prints them).
    """
    for _ in range(TRIES):
        ran = program("crash", str(soft_token.module), soft_token.label, soft_token.pin, seconds=15)
        if ran.returncode != 0 or ran.stderr:
            return
    raise AssertionError(f"the bare library survived {TRIES} times")


def test_two_threads_sign_unwrap_and_generate_without_a_crash(soft_token: SoftToken) -> None:
    """With CKF_OS_LOCKING_OK every one of many concurrent calls comes out right."""
    rounds = count(500, 5000)
    ran = program("hammer", str(soft_token.module), soft_token.label, soft_token.pin, str(rounds))
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, str(2 * rounds), "")


def test_the_bare_library_signs_with_the_wrong_key_after_a_restart(soft_token: SoftToken) -> None:
    """A key object kept from before signs with another CA's key: the reason why no handle outlives a generation."""
    ran = program("stale", str(soft_token.module), soft_token.label, soft_token.pin)
    assert (ran.stdout, ran.returncode) == ("b", 0), ran.stderr


def test_our_keys_sign_with_the_right_key_after_a_restart(soft_token: SoftToken) -> None:
    """K2: keys are found anew by CKA_ID after a restart, in whatever order; no signature is another key's.

    Another user of the token comes first after each restart and in another order, so that the numbers of sessions and
    keys from before are good ones again, and are others'.
    """
    with soft_token.open() as hsm, soft_token.open() as other:
        key_ids = [hsm.generate_key(KeyAlgorithm.EC_P256, f"ca-{number}") for number in range(4)]
        for shift in range(1, 8):
            seen = hsm.generation
            hsm.sessions._module.restart(seen, 5.0)
            for key_id in reversed(key_ids[shift % 4 :] + key_ids[: shift % 4]):
                assert sign_and_verify(other, key_id)
            for key_id in key_ids:
                assert sign_and_verify(hsm, key_id)
            assert hsm.generation > seen


def sign_and_verify(hsm: Hsm, key_id: bytes) -> bool:
    """Sign with that key and verify with the public half read in the beginning."""
    key = hsm.signing_key(key_id)
    assert isinstance(key, TokenECKey)
    key.public_key().verify(key.sign(b"tbs", ec.ECDSA(hashes.SHA256())), b"tbs", ec.ECDSA(hashes.SHA256()))
    return True


def test_ten_thousand_signatures_on_two_threads_all_verify(soft_token: SoftToken) -> None:
    """CA02, K3: two threads sign at once, in a process that may crash; each signature verifies outside of it."""
    rounds = count(2_000, 10_000) // 2
    ran = program("many", str(soft_token.module), soft_token.label, soft_token.pin, str(rounds))
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, str(2 * rounds), "")
