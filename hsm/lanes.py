"""Who may use the token next: lanes, a bounded queue, a deadline.

The status lane (CRL, OCSP) goes first, because clients stop trusting everything when revocation status is missing.
Key generation goes last and never takes the last session: an RSA-4096 key takes seconds.
"""

import enum
import heapq
import itertools
import threading
import time
from dataclasses import dataclass, field

from hsm.errors import HsmBusy

WAITING_PER_SESSION = 64
REGROW_AFTER = 30.0


class Lane(enum.IntEnum):
    """What a call is for; the lower goes first."""

    STATUS = 0
    ISSUE = 1
    VAULT = 2
    KEYGEN = 3


@dataclass(order=True, slots=True)
class _Waiter:
    lane: Lane
    arrival: int
    admitted: threading.Event = field(default_factory=threading.Event, compare=False)


class Turnstile:
    """Admits at most `size` callers at a time, the most urgent lane first, then the oldest.

    `timeout` is in seconds; who is not admitted by then gets HsmBusy, as does whoever would make the queue longer
    than `WAITING_PER_SESSION` a session.
    """

    def __init__(self, size: int, timeout: float) -> None:
        self._full = self._size = size
        self._timeout = timeout
        self._lock = threading.Lock()
        self._inside = 0
        self._queue: list[_Waiter] = []
        self._arrivals = itertools.count()
        self._shrunk_at = 0.0

    @property
    def size(self) -> int:
        """How many may be inside now: fewer than at the start while the token lacks room."""
        return self._size

    def enter(self, lane: Lane) -> None:
        """Wait for admission; raise HsmBusy when it does not come in time."""
        with self._lock:
            self._regrow()
            if (not self._queue or self._queue[0].lane > lane) and self._has_room(lane):
                self._inside += 1
                return
            if len(self._queue) >= WAITING_PER_SESSION * self._full:
                raise HsmBusy("too many calls already wait for the token")
            waiter = _Waiter(lane, next(self._arrivals))
            heapq.heappush(self._queue, waiter)
        if waiter.admitted.wait(self._timeout):
            return
        with self._lock:
            if waiter.admitted.is_set():  # admitted between the timeout and the lock
                return
            self._queue.remove(waiter)
            heapq.heapify(self._queue)
        raise HsmBusy(f"no token session came free within {self._timeout:g} s")

    def leave(self) -> None:
        """Make room for the next in the queue."""
        with self._lock:
            self._inside -= 1
            self._admit()

    def again(self, lane: Lane) -> None:
        """Leave and queue anew. Whoever is then not admitted in time still counts as inside, and leaves as usual."""
        self.leave()
        try:
            self.enter(lane)
        except HsmBusy:
            with self._lock:
                self._inside += 1
            raise

    def shrink(self, size: int | None = None) -> None:
        """Admit no more than `size`, or else one fewer: the token has no more room. Grows back by one every 30 s."""
        with self._lock:
            self._size = max(1, self._size - 1 if size is None else min(self._size, size))
            self._shrunk_at = time.monotonic()

    def _regrow(self) -> None:
        if self._size < self._full and time.monotonic() - self._shrunk_at > REGROW_AFTER:
            self._size += 1
            self._shrunk_at = time.monotonic()
            self._admit()

    def _has_room(self, lane: Lane) -> bool:
        kept_free = 1 if lane is Lane.KEYGEN and self._size > 1 else 0
        return self._size - self._inside > kept_free

    def _admit(self) -> None:
        while self._queue and self._has_room(self._queue[0].lane):
            self._inside += 1
            heapq.heappop(self._queue).admitted.set()
