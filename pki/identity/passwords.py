"""Passwords: which are taken, and how one is compared with what is kept of it.

What is kept is an argon2id string over a keyed digest of the password, by a service key that is sealed under the HSM:
who has the database alone cannot even try passwords (A10). Hashing is dear by purpose, and strangers can ask for it, so
few are done at once, and few may wait (D3).
"""

import base64
import hashlib
import hmac
import threading
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager

from argon2 import PasswordHasher, Type
from argon2.exceptions import HashingError, InvalidHashError, VerificationError, VerifyMismatchError

from pki.errors import Malformed, Misconfigured, RateLimited
from pki.ids import Ids
from pki.storage.guard import outside_write

SHORTEST, LONGEST = 8, 1024
"""Characters of a password."""

_DISTINCT = 4
_MEMORY_KIB, _PASSES, _LANES, _SALT, _HASH = 19 * 1024, 2, 1, 16, 32
"""OWASP's first recommendation for argon2id: some 25 ms of one core."""


class Passwords:
    """Hashes and compares, `at_once` at a time; `waiting` more wait their turn, and whoever comes then is refused.

    Together they are to be fewer than the threads that serve requests, or logins alone could hold them all.
    """

    def __init__(self, key: bytes, ids: Ids, *, at_once: int = 1, waiting: int = 3) -> None:
        self._key = key
        self._ids = ids
        self._hasher = PasswordHasher(_PASSES, _MEMORY_KIB, _LANES, _HASH, _SALT, type=Type.ID)
        self._dummy = "$".join(
            ("", "argon2id", "v=19", f"m={_MEMORY_KIB},t={_PASSES},p={_LANES}", _unpadded(_SALT), _unpadded(_HASH))
        )
        self._admitted = threading.Semaphore(at_once + waiting)
        self._turns = threading.Semaphore(at_once)

    def verifier(self, owner: str, name: str, password: str) -> str:
        """Return what is kept of a new password. `owner` says in one text whose it is, `name` is the user's name.

        Raises:
            Malformed: it is too short or too long, too simple, or has control characters.
            RateLimited: too many passwords are being hashed now.
            Misconfigured: the machine lacks memory for it.
        """
        _check_new(name, password)
        with self._turn():
            try:
                return self._hasher.hash(self._digest(owner, password), salt=self._ids.octets(_SALT))
            except HashingError:
                raise Misconfigured("a password could not be hashed", advice="the machine lacks memory") from None

    def matches(self, owner: str, verifier: str | None, password: str) -> bool:
        """Tell whether it is the password; with no verifier it is not, which takes as long to find out (A2).

        Raises:
            RateLimited: too many passwords are being hashed now.
            Misconfigured: the verifier cannot be read, or the machine lacks memory.
        """
        fits = len(password) <= LONGEST
        with self._turn():
            try:
                self._hasher.verify(verifier or self._dummy, self._digest(owner, password if fits else ""))
            except VerifyMismatchError:
                return False
            except (InvalidHashError, VerificationError):
                raise Misconfigured(
                    "a password could not be compared",
                    advice="if it is one user's alone, set it anew; else the machine lacks memory",
                ) from None
        return fits and verifier is not None

    def _digest(self, owner: str, password: str) -> bytes:
        """Return 32 octets for argon2: two spellings of the same characters are one password (RFC 8265 4.2.2)."""
        text = unicodedata.normalize("NFC", password)
        return hmac.digest(self._key, f"{owner}\0{text}".encode(errors="surrogatepass"), hashlib.sha256)

    @contextmanager
    def _turn(self) -> Iterator[None]:
        outside_write("a password's hash")
        if not self._admitted.acquire(blocking=False):
            raise RateLimited("too many logins at once", retry_after=1, advice="try again in a second")
        try:
            with self._turns:
                yield
        finally:
            self._admitted.release()


def _check_new(name: str, password: str) -> None:
    if not SHORTEST <= len(password) <= LONGEST:
        raise Malformed(f"a password has {SHORTEST} to {LONGEST} characters", advice="a few words are a good one")
    if any(unicodedata.category(character) in {"Cc", "Cs"} for character in password):
        raise Malformed("a password has no control characters")
    rest = password.casefold().replace(name, "")
    if len(rest) < SHORTEST or len(set(rest)) < _DISTINCT:
        raise Malformed(
            "the password is too easy to guess",
            advice=f"beside the user's name it needs {SHORTEST} characters, {_DISTINCT} of them different",
        )


def _unpadded(octets: int) -> str:
    return base64.b64encode(bytes(octets)).decode().rstrip("=")
