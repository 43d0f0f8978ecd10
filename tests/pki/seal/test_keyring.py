"""The keyring: data keys are unwrapped when needed, kept a minute, and gone when it is locked."""

from datetime import UTC, datetime, timedelta

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from pki.errors import Malformed, NotFound, Sealed
from pki.seal.keyring import Keyring, WrappedDek
from tests.clocks import FrozenClock


class SoftwareKek:
    """A KEK in memory that counts: the keyring's rules are the same whatever holds the KEK."""

    def __init__(self, kek_id: str = "kek1") -> None:
        self.id = kek_id
        self.unwrapped = 0
        self._cipher = AESGCM(bytes(32))

    def wrap(self, dek: bytes, aad: bytes) -> bytes:
        """Return `dek` wrapped."""
        return self._cipher.encrypt(bytes(12), dek, aad)

    def unwrap(self, wrapped: bytes, aad: bytes) -> bytes:
        """Return the data key."""
        self.unwrapped += 1
        return self._cipher.decrypt(bytes(12), wrapped, aad)


@pytest.fixture
def clock() -> FrozenClock:
    """Give a clock that stands still."""
    return FrozenClock(datetime(2025, 1, 1, tzinfo=UTC))


@pytest.fixture
def kek() -> SoftwareKek:
    """Give the KEK that the keyring uses."""
    return SoftwareKek()


@pytest.fixture
def keyring(kek: SoftwareKek, clock: FrozenClock) -> Keyring:
    """Give a keyring with one data key, dek1."""
    keyring = Keyring([kek], "cluster", clock)
    keyring.new_dek("dek1", "root", "mount", "kek1")
    return keyring


def test_value_opens_where_it_was_sealed(keyring: Keyring) -> None:
    """A01: seal and open by the data key's id and the value's place."""
    sealed = keyring.seal("dek1", b"value", "secret", "1")
    assert sealed.dek_id == "dek1"
    assert keyring.open(sealed, "secret", "1") == b"value"
    with pytest.raises(Malformed):
        keyring.open(sealed, "secret", "2")


def test_row_holds_what_the_table_needs_and_no_key(keyring: Keyring, kek: SoftwareKek) -> None:
    """The row of a new data key is complete; its wrapped key opens only through the KEK."""
    dek = keyring.new_dek("dek2", "root", "mount", "kek1")
    assert dek.row(1_700_000_000_000) == {
        "id": "dek2",
        "namespace_id": "root",
        "mount": "mount",
        "kek_id": "kek1",
        "wrapped": dek.wrapped,
        "state": "active",
        "created_at": 1_700_000_000_000,
    }
    with pytest.raises(InvalidTag):
        kek.unwrap(dek.wrapped, b"")


def test_another_process_opens_with_the_row(keyring: Keyring, clock: FrozenClock) -> None:
    """A keyring that was given the row opens what another sealed."""
    dek = keyring.new_dek("dek2", "root", "mount", "kek1")
    sealed = keyring.seal("dek2", b"value")
    other = Keyring([SoftwareKek()], "cluster", clock)
    assert not other.knows("dek2")
    with pytest.raises(NotFound, match="load its row"):
        other.open(sealed)
    other.add(dek)
    assert other.knows("dek2")
    assert other.open(sealed) == b"value"


def test_data_key_is_unwrapped_once_a_minute(keyring: Keyring, kek: SoftwareKek, clock: FrozenClock) -> None:
    """Within its 60 s a data key is used from memory; afterwards the KEK is asked again."""
    for _ in range(3):
        keyring.seal("dek1", b"")
    assert kek.unwrapped == 1
    clock.advance(timedelta(seconds=59))
    keyring.seal("dek1", b"")
    assert kek.unwrapped == 1
    clock.advance(timedelta(seconds=1))
    keyring.seal("dek1", b"")
    assert kek.unwrapped == 2


def test_expired_keys_leave_memory_when_another_is_unwrapped(keyring: Keyring, clock: FrozenClock) -> None:
    """A data key that nobody uses does not stay for ever."""
    keyring.seal("dek1", b"")
    clock.advance(timedelta(seconds=61))
    keyring.new_dek("dek2", "root", "mount", "kek1")
    keyring.seal("dek2", b"")
    assert set(keyring._unwrapped) == {"dek2"}


def test_locked_keyring_is_empty_and_refuses(keyring: Keyring, kek: SoftwareKek) -> None:
    """Sealing the service empties the keyring at once; unsealing asks the KEK anew."""
    sealed = keyring.seal("dek1", b"value")
    keyring.lock()
    assert keyring.locked
    assert keyring._unwrapped == {}
    for call in (
        lambda: keyring.seal("dek1", b""),
        lambda: keyring.open(sealed),
        lambda: keyring.new_dek("dek2", "root", "mount", "kek1"),
    ):
        with pytest.raises(Sealed):
            call()
    keyring.unlock()
    assert keyring.open(sealed) == b"value"
    assert kek.unwrapped == 2


def test_key_unwrapped_while_it_was_being_locked_is_not_kept(clock: FrozenClock) -> None:
    """A seal that comes while the HSM works wins."""

    class Locking(SoftwareKek):
        def unwrap(self, wrapped: bytes, aad: bytes) -> bytes:
            locking.lock()
            return super().unwrap(wrapped, aad)

    locking = Keyring([Locking()], "cluster", clock)
    locking.new_dek("dek1", "root", "mount", "kek1")
    with pytest.raises(Sealed):
        locking.seal("dek1", b"")
    assert locking._unwrapped == {}


def test_wrapped_key_serves_only_its_own_row(keyring: Keyring, clock: FrozenClock) -> None:
    """K5: a wrapped key moved to another namespace, mount, id or cluster does not unwrap."""
    dek = keyring.new_dek("dek2", "root", "mount", "kek1")
    moved = [
        WrappedDek("dek3", "root", "mount", "kek1", dek.wrapped),
        WrappedDek("dek2", "other", "mount", "kek1", dek.wrapped),
        WrappedDek("dek2", "root", "elsewhere", "kek1", dek.wrapped),
    ]
    for row in moved:
        victim = Keyring([SoftwareKek()], "cluster", clock)
        victim.add(row)
        with pytest.raises(InvalidTag):
            victim.seal(row.id, b"")
    stranger = Keyring([SoftwareKek()], "another cluster", clock)
    stranger.add(dek)
    with pytest.raises(InvalidTag):
        stranger.seal("dek2", b"")


def test_unknown_kek_is_named_as_the_cause(clock: FrozenClock) -> None:
    """A data key whose KEK is not configured says so."""
    with pytest.raises(NotFound, match="open the HSM"):
        Keyring([], "cluster", clock).new_dek("dek1", "root", "mount", "kek1")


def test_rewrapped_row_takes_the_place_of_the_old(keyring: Keyring, clock: FrozenClock) -> None:
    """Rotation of the KEK changes the row and not what was sealed."""
    sealed = keyring.seal("dek1", b"value")
    other = Keyring([SoftwareKek("kek1"), SoftwareKek("kek2")], "cluster", clock, random=lambda _: keyring._key("dek1"))
    other.add(other.new_dek("dek1", "root", "mount", "kek2"))
    assert other.open(sealed) == b"value"


def test_no_key_is_shown(keyring: Keyring) -> None:
    """L1: neither the keyring nor what it keeps shows a key."""
    keyring.seal("dek1", b"")
    key = keyring._key("dek1")
    shown = f"{keyring!r} {keyring._unwrapped!r} {keyring._deks!r}"
    for form in (key.hex(), repr(key)[2:-1], str(list(key))[1:-1]):
        assert form not in shown
