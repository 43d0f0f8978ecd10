"""Duties: shared ones run in one process at a time, others in each, and a failing one stops neither."""

import dataclasses
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import delete, select

from hsm.errors import HsmError
from pki.clock import to_ms
from pki.config import Config
from pki.core import Core, open_core
from pki.errors import DatabaseUnavailable
from pki.jobs import Duty, Runner, house_duties
from pki.storage.database import Database
from pki.storage.tables import job_locks
from tests.clocks import FrozenClock

TERM = timedelta(seconds=15)
Run = Callable[[], object]


@dataclasses.dataclass
class Replica:
    """A process's runner, and how often it has run its duties: one shared, one for each process."""

    core: Core
    shared: int = 0
    own: int = 0

    def __post_init__(self) -> None:
        """Make the runner."""
        duties = [Duty("shared", 1.0, self._run_shared), Duty("own", 1.0, self._run_own, everywhere=True)]
        self.runner = Runner(self.core, duties)

    def _run_shared(self) -> None:
        self.shared += 1

    def _run_own(self) -> None:
        self.own += 1


@pytest.fixture
def replicas(house_config: Config, house_clock: FrozenClock) -> Iterator[list[Replica]]:
    """Give two processes' runners over one database."""
    made = [Replica(open_core(house_config, house_clock)) for _ in range(2)]
    yield made
    for replica in made:
        replica.core.close()


def _turn(clock: FrozenClock, *turning: Replica, seconds: float) -> None:
    """Let a time pass in which those take their turns four times a second."""
    for _ in range(round(seconds * 4)):
        clock.advance(timedelta(seconds=0.25))
        for replica in turning:
            replica.runner.turn()


def _lock(core: Core) -> tuple[str, int]:
    with core.database.read() as tx:
        row = tx.execute(select(job_locks.c.holder, job_locks.c.until_at)).one()
    return row.holder, row.until_at


def test_one_of_two_runs_the_shared_duties(replicas: list[Replica], house_clock: FrozenClock) -> None:
    """Elected through the database; a duty runs once in its period, and those of each process in both."""
    first, second = replicas
    _turn(house_clock, first, second, seconds=60)
    assert (first.shared, second.shared) == (60, 0)
    assert (first.own, second.own) == (60, 60)
    assert _lock(first.core)[0] == first.core.worker


def test_another_takes_over_when_the_holder_dies(replicas: list[Replica], house_clock: FrozenClock) -> None:
    """Not before its term has ended, and soon after; when it comes back it waits."""
    first, second = replicas
    _turn(house_clock, first, second, seconds=20)
    ends = _lock(first.core)[1]
    while to_ms(house_clock.now()) < ends - 250:
        _turn(house_clock, second, seconds=0.25)
        assert second.shared == 0
    _turn(house_clock, second, seconds=1)
    assert second.shared == 1
    before = first.shared
    _turn(house_clock, second, first, seconds=30)
    assert first.shared == before
    assert second.shared > 25


def test_who_ends_leaves_the_duties_at_once(replicas: list[Replica], house_clock: FrozenClock) -> None:
    """After a clean end nobody waits for the rest of a term."""
    first, second = replicas
    _turn(house_clock, first, seconds=1)
    first.runner.stop()
    first.runner.run()
    _turn(house_clock, second, seconds=0.25)
    assert second.shared == 1


def test_who_was_not_elected_leaves_the_holder_alone(replicas: list[Replica], house_clock: FrozenClock) -> None:
    """The end of a process that waited takes nothing from the one that works."""
    first, second = replicas
    _turn(house_clock, first, second, seconds=1)
    lock = _lock(first.core)
    second.runner.stop()
    second.runner.run()
    assert _lock(first.core) == lock


def test_who_lost_the_duties_leaves_the_holder_alone(replicas: list[Replica], house_clock: FrozenClock) -> None:
    """A process that stood still while its term ended does not end the term of the one that took over."""
    first, second = replicas
    _turn(house_clock, first, seconds=1)
    house_clock.advance(TERM * 2)
    _turn(house_clock, second, seconds=1)
    lock = _lock(second.core)
    first.runner.stop()
    first.runner.run()
    assert _lock(second.core) == lock


def test_many_at_once_elect_one(replicas: list[Replica], house_config: Config, house_clock: FrozenClock) -> None:
    """Whoever inserts or swaps the one row first; the others are turned away without an error."""
    everybody = [*replicas, *(Replica(open_core(house_config, house_clock)) for _ in range(2))]
    for _ in range(5):
        replicas[0].core.database.write(lambda tx: tx.execute(delete(job_locks)))
        house_clock.advance(TERM * 2)
        threads = [threading.Thread(target=replica.runner.turn) for replica in everybody]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    for replica in everybody[2:]:
        replica.core.close()
    assert sum(replica.shared for replica in everybody) == 5


def test_a_clock_that_steps_back_does_not_stop_the_holder(replicas: list[Replica], house_clock: FrozenClock) -> None:
    """Its term is renewed, by the new time of day, and the other one still waits."""
    first, second = replicas
    _turn(house_clock, first, second, seconds=6)
    house_clock.advance(timedelta(hours=-2))
    before = first.shared
    _turn(house_clock, first, second, seconds=10)
    assert first.shared - before == 10
    assert second.shared == 0
    assert _lock(first.core)[1] <= to_ms(house_clock.now() + TERM)


def test_a_clock_that_steps_back_after_a_death_delays_nothing(
    replicas: list[Replica], house_clock: FrozenClock
) -> None:
    """A term that would last for hours now is over when it was not renewed for as long as a term lasts."""
    first, second = replicas
    _turn(house_clock, first, second, seconds=1)
    house_clock.advance(timedelta(hours=-2))
    _turn(house_clock, second, seconds=14)
    assert second.shared == 0
    _turn(house_clock, second, seconds=2)
    assert second.shared >= 1


def test_a_clock_that_steps_forward_leaves_one_holder(replicas: list[Replica], house_clock: FrozenClock) -> None:
    """Whoever is first after the step holds the duties; within a term the other one knows."""
    first, second = replicas
    _turn(house_clock, first, second, seconds=1)
    house_clock.advance(timedelta(hours=2))
    _turn(house_clock, first, second, seconds=16)
    counts = [first.shared, second.shared]
    _turn(house_clock, first, second, seconds=10)
    assert sorted([first.shared - counts[0], second.shared - counts[1]]) == [0, 10]


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (DatabaseUnavailable("no database", advice="wait"), "bad will be tried again: no database (wait)"),
        (HsmError("no HSM"), "bad will be tried again: no HSM"),
        (ZeroDivisionError("division"), "bad failed"),
    ],
)
def test_a_failing_duty_is_reported_and_tried_again(
    core: Core, house_clock: FrozenClock, caplog: pytest.LogCaptureFixture, error: Exception, line: str
) -> None:
    """What is foreseen in one line, what is not with its trace; the duties after it run as ever."""
    tried: list[str] = []

    def fail() -> None:
        tried.append("bad")
        raise error

    runner = Runner(core, [Duty("bad", 1.0, fail), Duty("good", 1.0, lambda: tried.append("good"))])
    for _ in range(3):
        house_clock.advance(timedelta(seconds=1))
        runner.turn()
    assert tried == ["bad", "good"] * 3
    assert [record.getMessage() for record in caplog.records] == [line] * 3
    assert ("Traceback" in caplog.text) == isinstance(error, ZeroDivisionError)


def test_without_a_database_each_process_does_its_own(
    core: Core, house_clock: FrozenClock, caplog: pytest.LogCaptureFixture
) -> None:
    """The election fails in one line a turn; the process's own certificate is renewed all the same."""
    replica = Replica(core)
    core.database.write(lambda tx: tx.exec_driver_sql("ALTER TABLE job_locks RENAME TO away"))
    try:
        _turn(house_clock, replica, seconds=2)
    finally:
        core.database.write(lambda tx: tx.exec_driver_sql("ALTER TABLE away RENAME TO job_locks"))
    assert (replica.shared, replica.own) == (0, 2)
    assert "election" in caplog.text
    _turn(house_clock, replica, seconds=2)
    assert replica.shared == 2


def test_a_missed_period_is_not_made_up_for(core: Core, house_clock: FrozenClock) -> None:
    """After a long stop a duty runs once, not as often as it was due."""
    replica = Replica(core)
    _turn(house_clock, replica, seconds=1)
    house_clock.advance(timedelta(hours=1))
    _turn(house_clock, replica, seconds=1)
    assert replica.shared == 2


def test_stopping_ends_the_run_after_the_duty_that_runs(house_config: Config) -> None:
    """The duties after it are left to others, and the core is closed."""
    core = open_core(house_config)
    begun, done = threading.Event(), []

    def work() -> None:
        begun.set()
        runner.stop()
        done.append("first")

    runner = Runner(core, [Duty("first", 60.0, work), Duty("second", 60.0, lambda: done.append("second"))])
    thread = threading.Thread(target=runner.run)
    thread.start()
    assert begun.wait(10)
    thread.join(10)
    assert not thread.is_alive()
    assert done == ["first"]


def test_an_idle_runner_writes_once_in_some_seconds(core: Core, house_clock: FrozenClock, dialect: str) -> None:
    """Each write is a turn of the disk: in a minute of the house's own duties one renewal in five seconds is left."""
    runner = Runner(core, house_duties(core))
    for _ in range(8):
        house_clock.advance(timedelta(seconds=0.25))
        runner.turn()
    watcher = Database.open(core.config.database.url)
    commits, terms = set(), set()
    for _ in range(240):
        house_clock.advance(timedelta(seconds=0.25))
        runner.turn()
        terms.add(_lock(core)[1])
        if dialect == "sqlite":
            with watcher.read() as tx:
                commits.add(tx.exec_driver_sql("PRAGMA data_version").scalar_one())
    watcher.close()
    assert 10 <= len(terms) <= 13
    assert dialect != "sqlite" or len(commits) <= len(terms) + 1


def test_the_houses_duties_keep_the_house(core: Core, house_clock: FrozenClock, tmp_path: Path) -> None:
    """CRLs are made before they end, and the server's certificate is there, by nothing but turns."""
    runner = Runner(core, house_duties(core))
    runner.turn()
    assert list((tmp_path / "tls").iterdir())
    with core.database.read() as tx:
        before = tx.exec_driver_sql("SELECT count(*) FROM crls WHERE state = 'published'").scalar_one()
    house_clock.advance(timedelta(hours=13))
    runner.turn()
    with core.database.read() as tx:
        after = tx.exec_driver_sql("SELECT count(*) FROM crls WHERE state = 'published'").scalar_one()
    assert after == before + 2


def test_duties_in_real_time_run_soon(house_config: Config) -> None:
    """A revocation is published within a second: duties are looked at four times a second."""
    core = open_core(house_config)
    moments: list[float] = []
    runner = Runner(core, [Duty("tick", 0.5, lambda: moments.append(time.monotonic()))])
    thread = threading.Thread(target=runner.run)
    thread.start()
    deadline = time.monotonic() + 10
    while len(moments) < 3 and time.monotonic() < deadline:
        time.sleep(0.02)
    runner.stop()
    thread.join(10)
    assert len(moments) >= 3
    assert moments[-1] - moments[0] < 3
