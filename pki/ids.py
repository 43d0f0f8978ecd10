"""The only source of randomness and of serial numbers."""

import base64
import os
from collections.abc import Callable

SERIAL_OCTETS = 20
"""RFC 5280 4.1.2.2 allows 20 octets at most; 158 bits of ours are random."""


class Ids:
    """Makes ids, serials and bearer tokens from one source of random octets."""

    def __init__(self, random: Callable[[int], bytes] = os.urandom) -> None:
        self._random = random

    def new(self) -> str:
        """Return an id of 128 random bits: 26 characters of lower-case base32."""
        return base64.b32encode(self._random(16)).decode().rstrip("=").lower()

    def serial(self) -> int:
        """Return a certificate serial number: positive, 20 octets exactly, 158 random bits (RFC 5280 4.1.2.2)."""
        value = int.from_bytes(self._random(SERIAL_OCTETS))
        top = 1 << (SERIAL_OCTETS * 8 - 1)
        return (value & (top - 1)) | (top >> 1)

    def octets(self, count: int) -> bytes:
        """Return that many random octets, for a key."""
        return self._random(count)

    def token(self) -> str:
        """Return a bearer secret of 256 random bits: 43 characters of base64url."""
        return base64.urlsafe_b64encode(self._random(32)).decode().rstrip("=")


def serial_to_hex(serial: int) -> str:
    """Return the serial as tables and log lines keep it: lower-case hex, even length, no prefix."""
    text = f"{serial:x}"
    return text if len(text) % 2 == 0 else f"0{text}"
