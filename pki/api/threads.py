"""Threads for calls that wait on disk and token: the one that became idle last is next.

A queue that all threads wait on wakes them in turn, and each finds its caches cold: measured, an ACME order took some
2 ms of CPU less with one thread a worker than with eight. Taken from a stack, the same few threads serve a quiet hour,
and all of them a busy one.
"""

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class _Job(Generic[T]):
    """A call, and the future of the event loop that waits for it."""

    __slots__ = ("_call", "_future", "_loop")

    def __init__(self, call: Callable[[], T], loop: asyncio.AbstractEventLoop) -> None:
        self._call = call
        self._loop = loop
        self._future: asyncio.Future[T] = loop.create_future()

    def run(self) -> Callable[[], object]:
        """Make the call, and return what hands its outcome to the event loop."""
        try:
            result = self._call()
        except BaseException as error:  # noqa: BLE001 - it is raised where the call is awaited
            return partial(self._loop.call_soon_threadsafe, self._settle, self._future.set_exception, error)
        return partial(self._loop.call_soon_threadsafe, self._settle, self._future.set_result, result)

    def _settle(self, settle: Callable[[Any], None], value: object) -> None:
        if not self._future.cancelled():
            settle(value)

    async def outcome(self) -> T:
        """Return what the call returned, or raise what it raised."""
        return await self._future


class Threads:
    """At most `size` daemon threads, started when they are needed."""

    def __init__(self, size: int, name: str) -> None:
        self._size = size
        self._name = name
        self._lock = threading.Lock()
        self._started = 0
        self._idle: list[_Thread] = []
        self._waiting: deque[_Job[Any]] = deque()

    async def run(self, call: Callable[[], T]) -> T:
        """Make `call` in a thread; what it raises is raised here."""
        job = _Job(call, asyncio.get_running_loop())
        self._assign(job)
        return await job.outcome()

    def _assign(self, job: _Job[Any]) -> None:
        with self._lock:
            if self._idle:
                thread = self._idle.pop()
            elif self._started < self._size:
                self._started += 1
                thread = _Thread(f"{self._name}-{self._started}", self._next)
            else:
                self._waiting.append(job)
                return
        thread.take(job)

    def _next(self, thread: "_Thread") -> _Job[Any] | None:
        """Return what waits longest; or nothing, and `thread` is idle from now on."""
        with self._lock:
            if self._waiting:
                return self._waiting.popleft()
            self._idle.append(thread)
            return None


class _Thread:
    """One thread: it runs what it is given, asks for more, and waits."""

    def __init__(self, name: str, more: Callable[["_Thread"], _Job[Any] | None]) -> None:
        self._more = more
        self._given: _Job[Any] | None = None
        self._wake = threading.Lock()
        self._wake.acquire()
        threading.Thread(target=self._serve, name=name, daemon=True).start()

    def take(self, job: _Job[Any]) -> None:
        """Run `job`: this thread is idle."""
        self._given = job
        self._wake.release()

    def _serve(self) -> None:
        while True:
            self._wake.acquire()
            job = self._given
            while job is not None:
                hand_over = job.run()
                # Idle before the outcome is known, so that what follows from it finds this thread and no other.
                job = self._more(self)
                with contextlib.suppress(RuntimeError):  # the event loop has ended: the process is about to
                    hand_over()
