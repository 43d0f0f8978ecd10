"""Counts requests, for all worker processes of a machine together.

A scrape is answered by whichever process it meets, so each keeps its counts in a file of its own, mapped into memory,
and the answer is the sum over the files. A file that its process has left is taken over by the next one, which counts
on from there: no count ever falls, whatever dies.
"""

import fcntl
import hashlib
import itertools
import mmap
import os
import threading
import weakref
from array import array
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pki.errors import Misconfigured

BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0)
"""Upper bounds in seconds; what takes longer is counted beyond the last."""
CLASSES = ("2xx", "4xx", "5xx")
_WIDTH = len(BUCKETS) + 2
_DIGEST = 32
_ITEM = 8


@dataclass(frozen=True, slots=True)
class Count:
    """How long requests took: `buckets` holds how many fell into each, the last those beyond all; `seconds` the sum."""

    action: str
    status_class: str
    buckets: Sequence[int]
    seconds: float


class Counters:
    """Counters of `actions`, in files below `directory`; what is none of the actions is counted as `other`.

    Raises:
        Misconfigured: the files cannot be made.
    """

    def __init__(self, directory: Path, actions: Sequence[str]) -> None:
        self._actions = (*sorted(set(actions)), "other")
        self._directory = directory
        names = ",".join((*self._actions, *CLASSES, *map(str, BUCKETS)))
        self._digest = hashlib.sha256(names.encode()).digest()
        self._size = _DIGEST + _ITEM * _WIDTH * len(self._actions) * len(CLASSES)
        self._offsets = {
            pair: position * _WIDTH for position, pair in enumerate(itertools.product(self._actions, CLASSES))
        }
        self._lock = threading.Lock()
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._descriptor = self._take_file()
        except OSError as error:
            message = f"the counters cannot be kept in {directory}: {error.strerror}"
            raise Misconfigured(message, advice="let the service's user write there") from None
        self._release = weakref.finalize(self, os.close, self._descriptor)
        self._map = mmap.mmap(self._descriptor, self._size)
        self._items = memoryview(self._map)[_DIGEST:].cast("d")

    def observe(self, action: str, status: int, seconds: float) -> None:
        """Count a request that was answered with that status after so many seconds."""
        status_class = f"{min(max(status // 100, 2), 5)}xx" if status // 100 != 3 else "2xx"  # noqa: PLR2004
        offset = self._offsets.get((action, status_class))
        if offset is None:
            offset = self._offsets["other", status_class]
        with self._lock:
            self._items[offset + bisect_left(BUCKETS, seconds)] += 1
            self._items[offset + _WIDTH - 1] += seconds

    def counts(self) -> Iterator[Count]:
        """Yield what all processes have counted, without what never happened."""
        totals = array("d", bytes(self._size - _DIGEST))
        for path in sorted(self._directory.glob("counters-*")):
            data = path.read_bytes()
            if len(data) == self._size and data.startswith(self._digest):
                for position, value in enumerate(array("d", data[_DIGEST:])):
                    totals[position] += value
        for (action, status_class), offset in self._offsets.items():
            buckets = [int(value) for value in totals[offset : offset + _WIDTH - 1]]
            if any(buckets):
                yield Count(action, status_class, buckets, totals[offset + _WIDTH - 1])

    def close(self) -> None:
        """Leave the file to the next process."""
        self._items.release()
        self._map.close()
        self._release()

    def _take_file(self) -> int:
        """Return the first file that nobody holds, emptied if it is another version's."""
        for number in itertools.count():
            path = self._directory / f"counters-{number}"
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(descriptor)
                continue
            if os.fstat(descriptor).st_size != self._size or os.pread(descriptor, _DIGEST, 0) != self._digest:
                os.ftruncate(descriptor, 0)
                os.ftruncate(descriptor, self._size)
                os.pwrite(descriptor, self._digest, 0)
            return descriptor
        raise AssertionError("unreachable")
