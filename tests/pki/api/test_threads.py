"""The threads behind the front: every call runs once, and the warmest idle thread comes first."""

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from pki.api.threads import Threads


def test_a_call_returns_or_raises_where_it_is_awaited() -> None:
    """What a thread raises is the caller's to handle, and the thread serves on."""

    async def use() -> list[object]:
        threads = Threads(1, "test")
        with pytest.raises(ZeroDivisionError):
            await threads.run(lambda: 1 / 0)
        return [await threads.run(lambda: 1), await threads.run(threading.current_thread)]

    first, thread = asyncio.run(use())
    assert first == 1
    assert str(getattr(thread, "name", "")) == "test-1"


def test_a_quiet_hour_is_served_by_one_thread() -> None:
    """One call at a time never starts or wakes a second thread."""

    async def use() -> set[str]:
        threads = Threads(8, "test")
        return {await threads.run(lambda: threading.current_thread().name) for _ in range(200)}

    assert asyncio.run(use()) == {"test-1"}


def test_no_more_run_at_once_than_there_are_threads_and_none_is_lost() -> None:
    """A crowd waits its turn; each call runs exactly once."""
    running, most, done = 0, 0, []
    lock = threading.Lock()

    def call(number: int) -> int:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.001)
        with lock:
            running -= 1
            done.append(number)
        return number

    async def use() -> list[int]:
        threads = Threads(4, "test")
        return await asyncio.gather(*(threads.run(lambda number=number: call(number)) for number in range(500)))

    assert asyncio.run(use()) == list(range(500))
    assert sorted(done) == list(range(500))
    assert most == 4


def test_several_event_loops_share_the_threads() -> None:
    """A result goes to the loop that waits for it."""
    threads = Threads(2, "test")

    async def use(number: int) -> list[int]:
        return [await threads.run(lambda item=item: number * 1000 + item) for item in range(100)]

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda number: asyncio.run(use(number)), range(4)))
    assert found == [[number * 1000 + item for item in range(100)] for number in range(4)]


def test_a_caller_that_gives_up_harms_nobody() -> None:
    """A cancelled request leaves its thread to end its call; the next call is served."""

    async def use() -> str:
        threads = Threads(1, "test")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await threads.run(lambda: time.sleep(0.1))
        return await threads.run(lambda: "served")

    assert asyncio.run(use()) == "served"
