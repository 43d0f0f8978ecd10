"""Nonces: made here, used once, not too old."""

import base64
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acme_server.door import nonce_key
from acme_server.nonces import Nonces
from acme_server.problems import Problem, ProblemType
from pki.core import Core
from tests.clocks import FrozenClock

KEY = bytes(range(32))


class Spent:
    """Remembers used nonces, as the database does: one of two that come at once is first."""

    def __init__(self) -> None:
        self.until: dict[str, int] = {}
        self._lock = threading.Lock()

    def __call__(self, nonce: str, until: int) -> bool:
        """Record the nonce; False when it is known."""
        with self._lock:
            return self.until.setdefault(nonce, until) is until


def _make(key: bytes = KEY, clock: FrozenClock | None = None, spent: Spent | None = None) -> Nonces:
    return Nonces(key, clock or FrozenClock(datetime(2026, 1, 1, tzinfo=UTC)), spent or Spent())


def _refused(nonces: Nonces, nonce: str) -> str:
    with pytest.raises(Problem) as caught:
        nonces.check(nonce)
    assert (caught.value.type, caught.value.status) == (ProblemType.BAD_NONCE, 400)
    return caught.value.detail


def test_a_nonce_is_taken_once() -> None:
    """X14: the first use is accepted, the second is badNonce."""
    nonces = _make()
    nonce = nonces.issue()
    nonces.check(nonce)
    assert "used before" in _refused(nonces, nonce)


def test_of_200_replays_at_once_one_is_taken() -> None:
    """X14: a nonce used 200 times in parallel over two replicas is accepted exactly once."""
    spent = Spent()
    replicas = [_make(spent=spent), _make(spent=spent)]
    nonce = replicas[0].issue()

    def use(number: int) -> bool:
        try:
            replicas[number % 2].check(nonce)
        except Problem:
            return False
        return True

    with ThreadPoolExecutor(20) as pool:
        assert sum(pool.map(use, range(200))) == 1


def test_replays_to_one_process_do_not_reach_the_database() -> None:
    """X14, D3: what was just spent here is refused here; the last few thousand are known, and no more."""
    calls: list[str] = []
    nonces = Nonces(KEY, FrozenClock(datetime(2026, 1, 1, tzinfo=UTC)), lambda nonce, _until: not calls.append(nonce))
    first = nonces.issue()
    nonces.check(first)
    for _ in range(3):
        assert "used before" in _refused(nonces, first)
    assert calls == [first]
    for _ in range(4096):
        nonces.check(nonces.issue())
    nonces.check(first)
    assert calls.count(first) == 2


def test_nonces_are_unlike_each_other_and_are_base64url() -> None:
    """RFC 8555 6.5.1: base64url; 128 random bits in each."""
    nonces = _make()
    made = {nonces.issue() for _ in range(1000)}
    assert len(made) == 1000
    assert {len(nonce) for nonce in made} == {51}
    randoms = {base64.urlsafe_b64decode(nonce + "=")[6:22] for nonce in made}
    assert len(randoms) == 1000


def test_a_nonce_expires() -> None:
    """X14: after its lifetime a nonce is refused, without being recorded as used."""
    clock, spent = FrozenClock(datetime(2026, 1, 1, tzinfo=UTC)), Spent()
    nonces = _make(clock=clock, spent=spent)
    nonce = nonces.issue()
    clock.advance(timedelta(hours=1))
    assert "expired" in _refused(nonces, nonce)
    assert not spent.until


def test_a_used_nonce_is_remembered_until_no_replica_takes_it() -> None:
    """X14: replicas' clocks may differ by a minute; a replica behind must not take a nonce that one ahead forgot."""
    clock, spent = FrozenClock(datetime(2026, 1, 1, tzinfo=UTC)), Spent()
    nonces = _make(clock=clock, spent=spent)
    begun = int(clock.now().timestamp() * 1000)
    nonce = nonces.issue()
    clock.advance(timedelta(seconds=-60))
    nonces.check(nonce)
    assert spent.until[nonce] >= begun + 3_600_000 + 60_000
    early = nonces.issue()
    clock.advance(timedelta(seconds=-61))
    _refused(nonces, early)


def test_a_nonce_of_another_key_is_refused() -> None:
    """X14: only nonces that this service made are taken."""
    assert "not issued here" in _refused(_make(), _make(key=bytes(32)).issue())


def test_every_altered_bit_is_noticed() -> None:
    """X14: a nonce with any one bit changed is badNonce."""
    nonces, spent = _make(), Spent()
    octets = base64.urlsafe_b64decode(nonces.issue() + "=")
    for bit in range(len(octets) * 8):
        altered = (int.from_bytes(octets) ^ (1 << bit)).to_bytes(len(octets))
        _refused(nonces, base64.urlsafe_b64encode(altered).decode().rstrip("="))
    assert not spent.until


@given(st.text(max_size=80))
def test_any_text_is_refused(text: str) -> None:
    """X14, D4: whatever a client sends as a nonce is badNonce, never another exception."""
    _refused(_make(), text)


def test_a_short_key_is_not_taken() -> None:
    """A key of less than 256 bits is a fault of the caller."""
    with pytest.raises(ValueError, match="32 octets"):
        _make(key=bytes(31))


def test_a_start_of_the_machine_ends_all_nonces(core: Core, tmp_path: Path) -> None:
    """X14: on SQLite the last spent nonces may be lost in a power cut, so none from before it is taken after it."""
    boot = tmp_path / "boot_id"
    boot.write_text("first\n")
    before, clock = nonce_key(core, boot), FrozenClock(datetime(2026, 1, 1, tzinfo=UTC))
    nonce = Nonces(before, clock, Spent()).issue()
    Nonces(nonce_key(core, boot), clock, Spent()).check(nonce)
    boot.write_text("second\n")
    after = Nonces(nonce_key(core, boot), clock, Spent())
    if core.database.dialect == "sqlite":
        with pytest.raises(Problem) as caught:
            after.check(nonce)
        assert caught.value.type is ProblemType.BAD_NONCE
    else:
        assert nonce_key(core, boot) == before  # replicas on several machines share it, and the database is flushed
