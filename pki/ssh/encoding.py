"""The few types of which SSH's keys, signatures and certificates are made (RFC 4251 section 5)."""

from pki.errors import Malformed


def string(value: bytes) -> bytes:
    """Return octets with their length before them."""
    return len(value).to_bytes(4) + value


def mpint(value: int) -> bytes:
    """Return a number that is not negative, in the fewest octets whose first bit is 0."""
    return string(value.to_bytes(value.bit_length() // 8 + 1) if value else b"")


class Reader:
    """Takes one field after the other; what is cut short or left over is refused.

    Raises Malformed.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._position = 0

    def octets(self, count: int) -> bytes:
        """Take that many octets."""
        end = self._position + count
        if end > len(self._data):
            raise Malformed("an SSH key is cut short")
        taken = self._data[self._position : end]
        self._position = end
        return taken

    def string(self) -> bytes:
        """Take a string of octets."""
        return self.octets(int.from_bytes(self.octets(4)))

    def text(self) -> str:
        """Take a string of visible ASCII."""
        value = self.string()
        if not value.isascii() or not value.decode("ascii").isprintable():
            raise Malformed("an SSH key has a name that is not plain text")
        return value.decode("ascii")

    def mpint(self) -> int:
        """Take a positive number in its one right form."""
        value = self.string()
        number = int.from_bytes(value)
        if number == 0 or mpint(number)[4:] != value:
            raise Malformed("an SSH key has a number that is not written in its shortest form, or not positive")
        return number

    def rest(self) -> bytes:
        """Return what was not taken yet, and leave it."""
        return self._data[self._position :]

    def end(self) -> None:
        """Refuse what is left over."""
        if self._position != len(self._data):
            raise Malformed("an SSH key is followed by something else")
