"""Turns at writing: in the order of arrival among threads, and through a file lock among processes.

SQLite lets one writer in at a time and makes the rest poll: two workers then starve each other (measured: a wait of
1.2 s at worst, under 0.1 s with a file lock). threading.Lock, too, lets a late-comer pass those who wait.
"""

import errno
import fcntl
import os
import threading
from collections import deque
from pathlib import Path

from pki.storage.failures import Cause


class Queue:
    """A mutex between threads that serves in the order of arrival."""

    def __init__(self) -> None:
        self._state = threading.Lock()
        self._held = False
        self._waiting: deque[threading.Lock] = deque()

    def acquire(self, timeout: float) -> bool:
        """Wait for the turn at most `timeout` seconds; return whether it came."""
        with self._state:
            if not self._held:
                self._held = True
                return True
            call = threading.Lock()
            call.acquire()
            self._waiting.append(call)
        if call.acquire(timeout=timeout):
            return True
        with self._state:
            if call in self._waiting:
                self._waiting.remove(call)
                return False
        return True  # called in the instant of giving up

    def release(self) -> None:
        """End the turn: the one who waits longest is next."""
        with self._state:
            if self._waiting:
                self._waiting.popleft().release()
            else:
                self._held = False


class WriteTurn:
    """The turn at writing one SQLite file, among the threads of this process and all processes on this machine.

    `path` is the lock file beside the database; it is made with mode 0600, stays empty and is never removed.
    A `with` block holds the turn; DatabaseUnavailable (locked) if it does not come in time.
    """

    def __init__(self, path: Path, timeout: float) -> None:
        self._path = path
        self._timeout = timeout
        self._queue = Queue()
        self._descriptor: int | None = None

    def __enter__(self) -> None:
        """Take the turn."""
        if not self._queue.acquire(self._timeout):
            raise Cause.LOCKED.error("another thread of this process")
        try:
            self._lock_file()
        except BaseException:
            self._queue.release()
            raise

    def __exit__(self, *_: object) -> None:
        """Give the turn back."""
        try:
            if self._descriptor is not None:
                fcntl.flock(self._descriptor, fcntl.LOCK_UN)
        finally:
            self._queue.release()

    def close(self) -> None:
        """Close the lock file, if it is open."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _lock_file(self) -> None:
        if self._descriptor is None:
            try:
                self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            except OSError as error:
                cause = Cause.FULL if error.errno == errno.ENOSPC else Cause.READ_ONLY
                raise cause.error(f"{self._path}: {error.strerror}") from error
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._wait_for_file(self._descriptor)

    def _wait_for_file(self, descriptor: int) -> None:
        # A blocking flock serves in order but knows no deadline, so a thread of its own waits in it. When it comes
        # too late, the descriptor is the thread's: closing it gives the lock back.
        state = threading.Lock()
        came = threading.Event()
        late = threading.Event()

        def wait() -> None:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            with state:
                came.set()
                if late.is_set():
                    os.close(descriptor)

        threading.Thread(target=wait, name="sealward-write-turn", daemon=True).start()
        if came.wait(self._timeout):
            return
        with state:
            if came.is_set():
                return
            late.set()
            self._descriptor = None
        raise Cause.LOCKED.error("another process of this machine")
