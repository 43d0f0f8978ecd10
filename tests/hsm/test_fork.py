"""A PKCS#11 module does not cross a fork: the child opens its own Hsm."""

import os
from collections.abc import Callable

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from hsm import Hsm, HsmUnavailable, KeyAlgorithm, TokenECKey
from tests.tokens import SoftToken

ECDSA = ec.ECDSA(hashes.SHA256())


def in_child(work: Callable[[], bool]) -> bool:
    """Run `work` in a forked child and return its answer."""
    child = os.fork()
    if child == 0:
        try:
            os._exit(0 if work() else 1)
        finally:
            os._exit(2)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_forked_child_cannot_use_the_parents_hsm(hsm: Hsm) -> None:
    """The inherited object says so clearly, and the parent goes on undisturbed."""
    key = hsm.signing_key(hsm.generate_key(KeyAlgorithm.EC_P256, "ca"))
    assert isinstance(key, TokenECKey)

    def work() -> bool:
        try:
            key.sign(b"tbs", ECDSA)
        except HsmUnavailable as error:
            hsm.close()
            return "fork" in str(error)
        return False

    assert in_child(work)
    key.sign(b"tbs", ECDSA)


def test_a_forked_child_opens_its_own_hsm(soft_token: SoftToken, hsm: Hsm) -> None:
    """The child initialises the module anew; parent and child both sign afterwards."""
    key_id = hsm.generate_key(KeyAlgorithm.EC_P256, "ca")

    def sign(opened: Hsm) -> bool:
        key = opened.signing_key(key_id)
        return isinstance(key, TokenECKey) and bool(key.sign(b"tbs", ECDSA))

    def work() -> bool:
        with soft_token.open() as own:
            return sign(own)

    assert in_child(work)
    assert sign(hsm)
