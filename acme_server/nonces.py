"""Anti-replay nonces (RFC 8555 6.5): made without being stored, and spent once.

A nonce is the time at which it was made, 128 random bits and a truncated HMAC over both. Only a nonce that was used
is remembered, by the caller's `spend`, and only until it would be too old anyway; so asking for nonces costs nothing.
"""

import hashlib
import hmac
import os
import threading
from collections.abc import Callable
from datetime import timedelta

from acme_server.encoding import decode_base64url, encode_base64url
from acme_server.problems import Problem, ProblemType
from pki.clock import Clock, to_ms

KEY_OCTETS = 32
_TIME_OCTETS = 6
_RANDOM_OCTETS = 16
_TAG_OCTETS = 16
_OCTETS = _TIME_OCTETS + _RANDOM_OCTETS + _TAG_OCTETS
_PURPOSE = b"sealward acme nonce 1"
_RECENT = 4096
_SKEW_MS = 60_000
"""How far the clocks of two replicas may differ: a nonce of one is taken by the other."""


class Nonces:
    """Issues and checks nonces under one key, which all replicas share.

    `spend(nonce, until)` records that a nonce is used and returns False if it was already; it may forget the nonce
    after `until`, in unix milliseconds. It must be atomic: it is all that stands between two uses at once.
    """

    def __init__(
        self,
        key: bytes,
        clock: Clock,
        spend: Callable[[str, int], bool],
        lifetime: timedelta = timedelta(hours=1),
    ) -> None:
        if len(key) < KEY_OCTETS:
            raise ValueError(f"the key must have {KEY_OCTETS} octets at least")
        self._key = key
        self._clock = clock
        self._spend = spend
        self._lifetime_ms = int(lifetime.total_seconds() * 1000)
        self._lock = threading.Lock()
        self._recent: dict[str, None] = {}

    def issue(self) -> str:
        """Return a new nonce: 51 characters of base64url."""
        body = to_ms(self._clock.now()).to_bytes(_TIME_OCTETS) + os.urandom(_RANDOM_OCTETS)
        return encode_base64url(body + self._tag(body))

    def check(self, nonce: str) -> None:
        """Accept `nonce` once, if it was issued here and is not too old.

        Raises:
            Problem: badNonce; the client asks again with the nonce that comes with this answer (RFC 8555 6.5).
        """
        made = self._made_at(nonce)
        now = to_ms(self._clock.now())
        if not -_SKEW_MS <= now - made < self._lifetime_ms:
            raise self._refused("has expired")
        # A replica whose clock is behind still takes the nonce for a while after this one would not.
        if not (self._is_new_here(nonce) and self._spend(nonce, made + self._lifetime_ms + 2 * _SKEW_MS)):
            raise self._refused("was used before")

    def _is_new_here(self, nonce: str) -> bool:
        """Tell whether this process has not seen the nonce of late, so that replays do not burden the database."""
        with self._lock:
            if nonce in self._recent:
                return False
            self._recent[nonce] = None
            if len(self._recent) > _RECENT:
                del self._recent[next(iter(self._recent))]
            return True

    def _made_at(self, nonce: str) -> int:
        try:
            octets = decode_base64url(nonce, "the nonce")
        except Problem:
            raise self._refused("was not issued here") from None
        body, tag = octets[:-_TAG_OCTETS], octets[-_TAG_OCTETS:]
        if len(octets) != _OCTETS or not hmac.compare_digest(tag, self._tag(body)):
            raise self._refused("was not issued here")
        return int.from_bytes(body[:_TIME_OCTETS])

    def _tag(self, body: bytes) -> bytes:
        return hmac.digest(self._key, _PURPOSE + body, hashlib.sha256)[:_TAG_OCTETS]

    @staticmethod
    def _refused(why: str) -> Problem:
        return Problem(ProblemType.BAD_NONCE, f"the nonce {why}; send the request again with a new one")
