"""A file sealed whole under one key of its own: AES-256-GCM over pieces, whose order, number and end are bound.

Each piece's nonce is its number and whether it is the last (the STREAM construction of Hoang, Reyhanitabar, Rogaway
and Vizár), so that nothing can be cut off, exchanged or put behind. The key seals one file and no other.
"""

import hashlib
import struct
from collections.abc import Iterator
from typing import BinaryIO

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from pki.errors import Malformed

MAGIC = b"sealward backup 1\n"
_PIECE = 1 << 20
_TAG = 16
_LONGEST_HEADER = 1 << 16
_ADVICE = "take another copy of the backup: this one was cut short or altered"


def write_archive(source: BinaryIO, target: BinaryIO, header: bytes, key: bytes) -> None:
    """Seal what `source` holds into `target`, behind `header`, which is in clear and cannot be altered."""
    if len(header) > _LONGEST_HEADER:
        raise ValueError("the header is too long")
    target.write(MAGIC + struct.pack(">I", len(header)) + header)
    cipher, bound = AESGCM(key), hashlib.sha256(header).digest()
    target.writelines(cipher.encrypt(nonce, piece, bound) for nonce, piece in _pieces(source, _PIECE))


def read_header(source: BinaryIO) -> bytes:
    """Return the header, and leave `source` before the first piece.

    Raises:
        Malformed: this is no such file.
    """
    start = source.read(len(MAGIC) + 4)
    length = int.from_bytes(start[len(MAGIC) :])
    if not start.startswith(MAGIC) or len(start) != len(MAGIC) + 4 or length > _LONGEST_HEADER:
        raise Malformed("this is no backup of Sealward", advice="name the file that `sealward backup` wrote")
    header = source.read(length)
    if len(header) != length:
        raise Malformed("the backup is cut short", advice=_ADVICE)
    return header


def open_archive(source: BinaryIO, target: BinaryIO, header: bytes, key: bytes) -> None:
    """Write into `target` what was sealed; `source` stands where `read_header` left it.

    Raises:
        Malformed: it was altered or cut short, or this is not its key; `target` then holds only whole pieces.
    """
    cipher, bound = AESGCM(key), hashlib.sha256(header).digest()
    try:
        target.writelines(cipher.decrypt(nonce, piece, bound) for nonce, piece in _pieces(source, _PIECE + _TAG))
    except InvalidTag:
        raise Malformed("the backup does not open", advice=_ADVICE) from None


def _pieces(source: BinaryIO, size: int) -> Iterator[tuple[bytes, bytes]]:
    """Yield nonces and pieces; the last one, which may be empty, has a nonce of its own kind."""
    number, piece = 0, source.read(size)
    while True:
        following = source.read(size)
        yield struct.pack(">QI", number, 0 if following else 1), piece
        if not following:
            return
        number, piece = number + 1, following
