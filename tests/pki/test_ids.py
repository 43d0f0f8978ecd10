"""Ids, serial numbers and bearer tokens: their form never depends on the octets drawn, and none comes twice."""

import itertools
import re
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pki.ids import SERIAL_OCTETS, Ids, serial_to_hex
from tests.counts import count

DRAWS = [bytes, lambda size: b"\xff" * size, lambda size: bytes(range(size))]
ID = re.compile("[a-z2-7]{26}")
TOKEN = re.compile("[A-Za-z0-9_-]{43}")


@pytest.mark.parametrize("draw", DRAWS)
def test_forms_do_not_depend_on_what_is_drawn(draw: Callable[[int], bytes]) -> None:
    """An id has 26 letters and digits of its alphabet, a token 43, a key its octets; none needs quoting in a URL."""
    ids = Ids(draw)
    assert ID.fullmatch(ids.new())
    assert TOKEN.fullmatch(ids.token())
    assert ids.octets(32) == draw(32)
    assert len({ids.new(), ids.new()}) == 1


@pytest.mark.parametrize("draw", DRAWS)
def test_a_serial_takes_twenty_octets_in_der(draw: Callable[[int], bytes]) -> None:
    """X4, RFC 5280 4.1.2.2: positive, so that no octet is put before the twenty, and none fewer is needed."""
    serial = Ids(draw).serial()
    assert len(serial.to_bytes(SERIAL_OCTETS, signed=True)) == SERIAL_OCTETS
    assert serial > 0
    assert serial.bit_length() == SERIAL_OCTETS * 8 - 1
    assert len(serial_to_hex(serial)) == SERIAL_OCTETS * 2


@given(st.binary(min_size=20, max_size=20), st.binary(min_size=20, max_size=20))
def test_158_bits_of_a_serial_are_those_drawn(first: bytes, second: bytes) -> None:
    """No drawn bit but the top two is lost: CAs of the public web need 64 (Baseline Requirements 7.1)."""
    drawn = [int.from_bytes(octets) & ((1 << 158) - 1) for octets in (first, second)]
    serials = [Ids(lambda _, octets=octets: octets).serial() for octets in (first, second)]  # type: ignore[misc]
    assert [serial & ((1 << 158) - 1) for serial in serials] == drawn
    assert (serials[0] == serials[1]) == (drawn[0] == drawn[1])


def test_every_free_bit_of_a_serial_takes_both_values() -> None:
    """Over some hundreds of serials no bit stands still but the top two."""
    serials = [Ids().serial() for _ in range(400)]
    for bit in range(SERIAL_OCTETS * 8):
        values = {serial >> bit & 1 for serial in serials}
        assert values == ({0, 1} if bit < 158 else {1} if bit == 158 else {0})


@pytest.mark.parametrize("make", [Ids().serial, Ids().new, Ids().token])
def test_nothing_comes_twice(make: Callable[[], object]) -> None:
    """X4: none of a million, in the long run of these tests, is made again."""
    number = count(50_000, 1_000_000)
    assert len(set(itertools.islice(iter(make, None), number))) == number


@given(st.integers(min_value=1, max_value=(1 << 160) - 1))
def test_serials_are_written_in_whole_octets(serial: int) -> None:
    """Lower-case hex of even length reads back as the serial."""
    text = serial_to_hex(serial)
    assert re.fullmatch("(?:[0-9a-f]{2})+", text)
    assert int(text, 16) == serial
    assert not text.startswith("00")
