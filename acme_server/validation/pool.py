"""The threads that validate: a few a worker, with a fair share for each account.

A hostile account whose servers never answer holds its share of the threads until each deadline, and no more.
"""

import logging
import threading
from collections import Counter, deque
from collections.abc import Callable

logger = logging.getLogger("sealward.acme.validation")

Job = Callable[[], object]
_Item = tuple[Job, threading.Event]

THREADS = 8
_SHARE = THREADS // 2
_WAITING = 2000
_WAITING_EACH = 250
_LINGER_SECONDS = 0.1
_LINGERING = 2


class Pool:
    """Runs jobs, each for an owner; owners take turns, and none has more than its share of the threads at once."""

    def __init__(self, threads: int = THREADS, share: int = _SHARE, waiting: int = _WAITING) -> None:
        self._size = threads
        self._share = share
        self._limit = waiting
        self._wake = threading.Condition()
        self._waiting: dict[str, deque[_Item]] = {}
        self._running: Counter[str] = Counter()
        self._threads: list[threading.Thread] = []
        self._idle = 0
        self._closed = False
        self._lingering = threading.BoundedSemaphore(_LINGERING)

    def has_room(self, owner: str) -> bool:
        """Tell whether another job of `owner` may wait: neither its own queue nor all of them together are full."""
        with self._wake:
            mine = len(self._waiting.get(owner, ()))
            return mine < _WAITING_EACH and self._count() < self._limit

    def submit(self, owner: str, job: Job) -> threading.Event:
        """Run `job` when it is its turn; return what is set at its end. It ends by itself; what it raises is logged."""
        ended = threading.Event()
        with self._wake:
            if self._closed:
                return ended
            self._waiting.setdefault(owner, deque()).append((job, ended))
            if self._idle < self._count() and len(self._threads) < self._size:
                thread = threading.Thread(target=self._serve, name="acme-validation", daemon=True)
                self._threads.append(thread)
                thread.start()
            self._wake.notify()
        return ended

    def linger(self, ended: threading.Event) -> bool:
        """Wait a moment for the end of a job, and tell whether it came; only a few callers may wait at once."""
        if not self._lingering.acquire(blocking=False):
            return False
        try:
            return ended.wait(_LINGER_SECONDS)
        finally:
            self._lingering.release()

    def close(self) -> None:
        """Drop what waits, and end the threads after the jobs that are running."""
        with self._wake:
            self._closed = True
            self._waiting.clear()
            self._wake.notify_all()
        for thread in self._threads:
            thread.join()

    def _count(self) -> int:
        return sum(map(len, self._waiting.values()))

    def _take(self) -> tuple[str, _Item] | None:
        for owner, jobs in self._waiting.items():
            if self._running[owner] < self._share:
                item = jobs.popleft()
                del self._waiting[owner]
                if jobs:
                    self._waiting[owner] = jobs  # at the end: the others' turn comes first
                self._running[owner] += 1
                return owner, item
        return None

    def _await_job(self) -> tuple[str, _Item] | None:
        with self._wake:
            self._idle += 1
            try:
                while not self._closed:
                    taken = self._take()
                    if taken is not None:
                        return taken
                    self._wake.wait()
                return None
            finally:
                self._idle -= 1

    def _finished(self, owner: str) -> None:
        with self._wake:
            self._running[owner] -= 1
            if self._running[owner] == 0:
                del self._running[owner]
            self._wake.notify()

    def _serve(self) -> None:
        while (taken := self._await_job()) is not None:
            owner, (job, ended) = taken
            try:
                job()
            except Exception:
                logger.exception("a validation failed unexpectedly; the duties will restart it")
            finally:
                ended.set()
                self._finished(owner)
