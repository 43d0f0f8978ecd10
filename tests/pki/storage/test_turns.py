"""Turns at writing: in order, in time, and given back."""

import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from pki.errors import DatabaseUnavailable
from pki.storage.turns import Queue, WriteTurn

_HOLDER = """
import fcntl, sys
lock = open(sys.argv[1], "r+")
fcntl.flock(lock, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""


def _holder(path: Path) -> "subprocess.Popen[str]":
    program = subprocess.Popen(
        [sys.executable, "-c", _HOLDER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert program.stdout is not None
    assert program.stdout.readline() == "held\n"
    return program


def test_threads_are_served_in_the_order_of_arrival() -> None:
    """The one who waits longest is next."""
    queue = Queue()
    served: list[int] = []

    def take(number: int) -> None:
        queue.acquire(10)
        served.append(number)
        queue.release()

    queue.acquire(1)
    threads = []
    for number in range(10):
        threads.append(threading.Thread(target=take, args=(number,)))
        threads[-1].start()
        while len(queue._waiting) <= number:
            pass
    queue.release()
    for thread in threads:
        thread.join()
    assert served == list(range(10))


def test_one_who_gave_up_is_passed_over() -> None:
    """A wait that ended leaves the queue, and the turn is not lost to it."""
    queue = Queue()
    assert queue.acquire(1)
    assert not queue.acquire(0.01)
    queue.release()
    assert queue.acquire(0.01)


def test_another_process_that_dies_gives_the_turn_back(tmp_path: Path) -> None:
    """The kernel drops the lock of a process that is killed while holding it."""
    path = tmp_path / "lock"
    path.touch()
    turn = WriteTurn(path, 30)
    with _holder(path) as program:
        threading.Timer(0.2, program.kill).start()
        start = time.monotonic()
        with turn:
            assert time.monotonic() - start >= 0.15
    turn.close()


def test_turn_that_does_not_come_is_reported_and_costs_nothing_later(tmp_path: Path) -> None:
    """A stopped process that holds the lock makes writes fail in time; when it is gone they are served again."""
    path = tmp_path / "lock"
    path.touch()
    turn = WriteTurn(path, 0.2)
    with _holder(path) as program:
        for _ in range(2):
            with pytest.raises(DatabaseUnavailable, match="another process"), turn:
                pass
        program.kill()
    for _ in range(100):
        with turn, pytest.raises(RuntimeError, match="not twice"), _other_turn(path):
            raise AssertionError("two hold the turn")
        break
    turn.close()


def _other_turn(path: Path) -> WriteTurn:
    class Impatient(WriteTurn):
        def _wait_for_file(self, descriptor: int) -> None:
            raise RuntimeError(f"not twice: {descriptor}")

    return Impatient(path, 0.1)
