"""The shim is the device that it says it is: what is proved and measured with it rests on that."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from hsm import Hsm, HsmUnavailable, KeyAlgorithm, TokenECKey
from tests.faults.shim import Shim, digest_signed
from tests.tokens import SoftToken

ECDSA = ec.ECDSA(hashes.SHA256())
DEVICE_ERROR = 0x30


@pytest.fixture
def key(faults: Shim, soft_token: SoftToken) -> Iterator[TokenECKey]:
    """Give a P-256 key behind the shim."""
    with Hsm.open(faults.module, soft_token.label, soft_token.pin) as hsm:
        made = hsm.signing_key(hsm.generate_key(KeyAlgorithm.EC_P256, "ca"))
        assert isinstance(made, TokenECKey)
        yield made


def seconds_of(key: TokenECKey, signatures: int, threads: int) -> float:
    """Return how long so many signatures take on so many threads."""
    begun = time.monotonic()
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(lambda _: key.sign(b"tbs", ECDSA), range(signatures)))
    return time.monotonic() - begun


def test_so_many_engines_serve_at_a_time(key: TokenECKey, faults: Shim) -> None:
    """Two engines of 20 ms make eight signatures in 80 ms, however many threads ask; eight engines need one turn."""
    key.sign(b"warm", ECDSA)
    faults.serve("C_Sign", 0.02, engines=2)
    assert 0.08 <= seconds_of(key, 8, 8) < 0.24
    faults.serve("C_Sign", 0.02, engines=8)
    assert 0.02 <= seconds_of(key, 8, 8) < 0.14
    faults.serve("C_Sign", 0.02)
    assert 0.08 <= seconds_of(key, 4, 1) < 0.24


def test_every_call_takes_a_round_trip(key: TokenECKey, faults: Shim) -> None:
    """One signature is three calls: C_SignInit, C_Sign for the size, C_Sign."""
    key.sign(b"warm", ECDSA)
    before = faults.calls("C_SignInit") + faults.calls("C_Sign")
    faults.round_trip(0.02)
    assert 0.06 <= seconds_of(key, 1, 1) < 0.2
    assert faults.calls("C_SignInit") + faults.calls("C_Sign") == before + 3


def test_every_signature_is_logged_with_its_key_and_digest(key: TokenECKey, faults: Shim) -> None:
    """Z-B1: also the one whose result the shim has thrown away, since the token has made it."""
    messages = [bytes([length % 256]) * length for length in (0, 1, 55, 56, 63, 64, 65, 1000)]
    for message in messages:
        key.sign(message, ECDSA)
    assert [item.digest for item in faults.signatures()] == [
        digest_signed(message, "ecdsa-with-SHA256") for message in messages
    ]
    assert {item.key_id for item in faults.signatures()} == {key.key_id.hex()}
    faults.fail("C_Sign", DEVICE_ERROR)
    with pytest.raises(HsmUnavailable):
        key.sign(b"lost", ECDSA)
    assert faults.signatures()[-1].digest == digest_signed(b"lost", "ecdsa-with-SHA256")


def test_a_fault_strikes_at_its_call_and_no_other(key: TokenECKey, faults: Shim) -> None:
    """The third call from now fails, and the fourth does not."""
    faults.fail("C_SignInit", DEVICE_ERROR, nth=3, times=1)
    seen = []
    for _ in range(4):
        key.sign(b"tbs", ECDSA)
        seen.append(faults.fired("C_SignInit"))
    assert seen == [0, 0, 1, 1]
