"""A sealed file opens whole, with its key and its header, or not at all."""

import io
import os
import struct

import pytest

from pki.errors import Malformed
from pki.seal import archive
from pki.seal.archive import MAGIC, open_archive, read_header, write_archive

PIECE = 1 << 20
HEADER = b'{"whose":"ours"}'
KEY = bytes(range(32))


def _sealed(plain: bytes, key: bytes = KEY, header: bytes = HEADER) -> bytes:
    target = io.BytesIO()
    write_archive(io.BytesIO(plain), target, header, key)
    return target.getvalue()


def _opened(sealed: bytes, key: bytes = KEY) -> bytes:
    source, target = io.BytesIO(sealed), io.BytesIO()
    open_archive(source, target, read_header(source), key)
    return target.getvalue()


@pytest.mark.parametrize("size", [0, 1, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE])
def test_what_was_sealed_opens(size: int) -> None:
    """A13: files of every length come back, the empty one and those that end with a piece among them."""
    plain = os.urandom(size)
    sealed = _sealed(plain)
    assert _opened(sealed) == plain
    assert size < 16 or plain[:16] not in sealed


@pytest.mark.parametrize("place", [len(MAGIC) + 6, len(MAGIC) + 4 + len(HEADER) + 1, -1])
def test_one_changed_octet_is_noticed(place: int) -> None:
    """A bit in the header, in a piece or at the end is enough."""
    sealed = bytearray(_sealed(os.urandom(100)))
    sealed[place] ^= 1
    with pytest.raises(Malformed):
        _opened(bytes(sealed))


def test_pieces_can_neither_go_nor_change_places() -> None:
    """K5: the number of a piece and the end of the file are bound."""
    sealed = _sealed(os.urandom(3 * PIECE))
    start = len(MAGIC) + 4 + len(HEADER)
    whole = PIECE + 16
    first, second, third = (sealed[start + number * whole : start + (number + 1) * whole] for number in range(3))
    for altered in (first + second, second + first + third, first + third, first + second + third + third):
        with pytest.raises(Malformed):
            _opened(sealed[:start] + altered)


def test_another_key_does_not_open_it() -> None:
    """A01: without the key there is nothing to read."""
    with pytest.raises(Malformed):
        _opened(_sealed(b"secret"), bytes(32))


@pytest.mark.parametrize(
    "octets",
    [b"", b"SQLite format 3\0", MAGIC, MAGIC + struct.pack(">I", 1 << 31), MAGIC + struct.pack(">I", 5) + b"abc"],
    ids=["empty", "a database", "no header", "huge header", "cut header"],
)
def test_what_is_no_backup_is_said_to_be_none(octets: bytes) -> None:
    """A file of another kind is refused before any key is asked for."""
    with pytest.raises(Malformed, match=r"no backup|cut short"):
        read_header(io.BytesIO(octets))


def test_a_header_has_a_bound() -> None:
    """What is in clear is small."""
    with pytest.raises(ValueError, match="too long"):
        write_archive(io.BytesIO(), io.BytesIO(), bytes(archive._LONGEST_HEADER + 1), KEY)
