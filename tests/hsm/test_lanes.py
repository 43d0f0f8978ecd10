"""The turnstile: lanes, room, deadline, and no place lost."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from hsm import HsmBusy, Lane
from hsm import lanes as lanes_module
from hsm.lanes import Turnstile

SOON = 10.0


def until(true: Callable[[], bool]) -> None:
    """Wait until it is so."""
    end = time.monotonic() + SOON
    while not true():
        assert time.monotonic() < end
        time.sleep(0.001)


def queue(turnstile: Turnstile, threads: ThreadPoolExecutor, wishes: list[Lane]) -> list[Lane]:
    """Queue callers in that order of arrival; return the list in which they note their admission."""
    admitted: list[Lane] = []

    def call(lane: Lane) -> None:
        turnstile.enter(lane)
        admitted.append(lane)
        turnstile.leave()

    for number, lane in enumerate(wishes, 1):
        threads.submit(call, lane)
        until(lambda number=number: len(turnstile._queue) == number)  # type: ignore[misc]  # its own number each
    return admitted


def test_the_most_urgent_lane_goes_first() -> None:
    """CRL and OCSP before issuance, before the vault, before key generation; within a lane, first come first served."""
    turnstile = Turnstile(1, SOON)
    turnstile.enter(Lane.VAULT)
    with ThreadPoolExecutor(5) as threads:
        admitted = queue(turnstile, threads, [Lane.KEYGEN, Lane.VAULT, Lane.ISSUE, Lane.STATUS, Lane.ISSUE])
        turnstile.leave()
    assert admitted == [Lane.STATUS, Lane.ISSUE, Lane.ISSUE, Lane.VAULT, Lane.KEYGEN]


def test_key_generation_never_takes_the_last_session() -> None:
    """An RSA-4096 key takes seconds: meanwhile a session is left for status and issuance."""
    turnstile = Turnstile(2, 0.05)
    turnstile.enter(Lane.KEYGEN)
    with pytest.raises(HsmBusy):
        turnstile.enter(Lane.KEYGEN)
    turnstile.enter(Lane.ISSUE)
    turnstile.leave()
    turnstile.leave()
    turnstile.enter(Lane.KEYGEN)


def test_key_generation_may_use_the_only_session() -> None:
    """With a single session there is nothing to keep free."""
    turnstile = Turnstile(1, 0.05)
    turnstile.enter(Lane.KEYGEN)
    with pytest.raises(HsmBusy):
        turnstile.enter(Lane.STATUS)
    turnstile.leave()
    turnstile.enter(Lane.STATUS)


def test_who_gave_up_does_not_block_the_queue() -> None:
    """A caller whose deadline passed is out of the queue; the next one is admitted."""
    turnstile = Turnstile(1, 0.05)
    turnstile.enter(Lane.ISSUE)
    with pytest.raises(HsmBusy, match=r"within 0\.05 s"):
        turnstile.enter(Lane.STATUS)
    assert turnstile._queue == []
    turnstile.leave()
    turnstile.enter(Lane.ISSUE)
    assert turnstile._inside == 1


def test_a_queue_that_is_full_refuses_at_once() -> None:
    """64 waiting callers a session, then HsmBusy without waiting: the door answers 503 with Retry-After."""
    turnstile = Turnstile(1, SOON)
    turnstile.enter(Lane.ISSUE)
    with ThreadPoolExecutor(lanes_module.WAITING_PER_SESSION) as threads:
        queue(turnstile, threads, [Lane.ISSUE] * lanes_module.WAITING_PER_SESSION)
        begun = time.monotonic()
        with pytest.raises(HsmBusy, match="too many"):
            turnstile.enter(Lane.STATUS)
        assert time.monotonic() - begun < 1.0
        turnstile.leave()
    assert turnstile._inside == 0


def test_room_that_the_token_lacks_is_given_up_and_regained(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shrinking goes down to one; every 30 s one place is tried again, up to the size set."""
    turnstile = Turnstile(4, 0.05)
    turnstile.shrink(2)
    assert turnstile.size == 2
    turnstile.shrink(3)
    assert turnstile.size == 2
    for _ in range(3):
        turnstile.shrink()
    assert turnstile.size == 1
    monkeypatch.setattr(lanes_module, "REGROW_AFTER", 0.0)
    for expected in (2, 3, 4, 4):
        turnstile.enter(Lane.ISSUE)
        turnstile.leave()
        assert turnstile.size == expected


def test_queueing_anew_keeps_the_count_right() -> None:
    """Who leaves and queues anew, admitted or not, is counted once: a place lost here would be lost for good."""
    turnstile = Turnstile(2, 0.05)
    turnstile.enter(Lane.ISSUE)
    turnstile.again(Lane.ISSUE)
    assert turnstile._inside == 1
    turnstile.enter(Lane.ISSUE)
    turnstile.shrink(1)
    with pytest.raises(HsmBusy):
        turnstile.again(Lane.ISSUE)
    turnstile.leave()
    turnstile.leave()
    assert turnstile._inside == 0
    turnstile.enter(Lane.ISSUE)
    with pytest.raises(HsmBusy):
        turnstile.enter(Lane.ISSUE)


def test_many_threads_never_exceed_the_size() -> None:
    """No more than `size` inside at any moment, and nobody is forgotten."""
    turnstile, lock = Turnstile(3, SOON), threading.Lock()
    inside, most, done = 0, 0, 0

    def call(lane: Lane) -> None:
        nonlocal inside, most, done
        turnstile.enter(lane)
        with lock:
            inside += 1
            most = max(most, inside)
        time.sleep(0.0002)
        with lock:
            inside -= 1
            done += 1
        turnstile.leave()

    with ThreadPoolExecutor(12) as threads:
        list(threads.map(call, [*Lane] * 100))
    assert (done, turnstile._inside, turnstile._queue) == (400, 0, [])
    assert most <= 3
