"""kill -9 at every system call of an issuance, a revocation and a CRL that changes a file, and right after C_Sign."""

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from pki.config import Config
from pki.core import open_core
from pki.founding import INTERMEDIATE
from pki.ledger.entries import RESERVATION
from tests.clocks import FrozenClock
from tests.counts import count
from tests.faults import crash_acts
from tests.faults.crash_acts import Act, Actor
from tests.faults.crash_checks import left_reserved, missing, unreserved, violations
from tests.faults.crash_figures import tell
from tests.faults.crash_tracing import killed_at, require_strace

_ROUNDS = count(1, 4)
_KILLED = -9


@dataclass
class Trial:
    """A house in which acts are killed, and what was heard of them before."""

    config: Config
    moment: datetime
    log: Path
    answered: list[bytes] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    kills: int = 0

    def run(self, act: Act, kill_at: int | None = None, **options: bool) -> int:
        """Run an act, killed at its n-th call if it gets there; return its exit code."""
        with Actor(act, self.config, self.moment, self.log, **options) as actor:
            actor.await_ready()
            if kill_at is None:
                actor.go()
                code = actor.end()
            else:
                with killed_at(actor.pid, kill_at):
                    actor.go()
                    code = actor.end()
            self._hear(actor.heard())
        assert code in {0, _KILLED}
        self.kills += code == _KILLED
        return code

    def _hear(self, said: list[Any]) -> None:
        self.answered += [item for item in said if isinstance(item, bytes)]
        self.numbers += [item for item in said if isinstance(item, int)]

    def restart(self) -> int:
        """Open the house again a minute later, finish what was left, and check everything; return how much was left."""
        self.moment += RESERVATION + timedelta(seconds=1)
        with closing(open_core(self.config, FrozenClock(self.moment))) as core:
            left = core.reconciler.run()
            number = core.crls.publish(core.issuers.named(INTERMEDIATE))
            assert all(number > earlier for earlier in self.numbers)
            self.numbers.append(number)
            assert left_reserved(core.database) == 0
            assert violations(core.database) == []
            assert missing(core.database, self.answered) == []
            assert unreserved(core.database, self.log.read_text().split()) == []
        return left

    def sweep(self, act: Act, step: int, before: Callable[[], object] = lambda: None) -> int:
        """Kill the act at each call, or each `step`-th, until it comes to its end; return how often it left work."""
        left, number = 0, 1
        while True:
            before()
            code = self.run(act, number)
            left += self.restart() > 0
            if code == 0:
                return left
            number += step


@pytest.fixture
def trial(house_config: Config, house_clock: FrozenClock, tmp_path: Path) -> Iterator[Trial]:
    """Give a founded house to crash in."""
    log = tmp_path / "signed"
    log.touch()
    made = Trial(house_config, house_clock.moment, log)
    yield made
    tell(kills=made.kills, answered=len(made.answered), crls=len(made.numbers))


def test_issuance_killed_at_any_write_or_flush_loses_nothing(trial: Trial) -> None:
    """Z-B1: what was answered stays, what was reserved is finished, and no message was signed that is not recorded."""
    require_strace()
    left = sum(trial.sweep(crash_acts.issue, count(3, 1)) for _ in range(_ROUNDS))
    assert trial.kills >= 4 * _ROUNDS
    assert left >= _ROUNDS
    assert len(trial.answered) >= _ROUNDS


def test_revocation_and_crl_killed_at_any_write_or_flush_lose_nothing(trial: Trial) -> None:
    """X9: a CRL's number is never given again, whatever became of the first one to have it."""
    require_strace()
    for _ in range(_ROUNDS):
        trial.sweep(crash_acts.revoke_and_publish, count(8, 1))
    assert trial.kills >= 3 * _ROUNDS
    assert len(set(trial.numbers)) == len(trial.numbers)


def test_reconciler_killed_at_any_write_or_flush_leaves_its_work_to_the_next(trial: Trial) -> None:
    """CA49: the minute after its own crash, another finishes what it had taken over."""
    require_strace()

    def leave_one() -> None:
        assert trial.run(crash_acts.issue, then_die=True) == _KILLED
        trial.moment += RESERVATION + timedelta(seconds=1)

    for _ in range(_ROUNDS):
        trial.sweep(crash_acts.reconcile, count(12, 1), leave_one)
    assert trial.kills >= 4 * _ROUNDS


@pytest.mark.parametrize("act", [crash_acts.issue, crash_acts.publish])
def test_kill_between_signature_and_record_leaves_one_intent(trial: Trial, act: Act) -> None:
    """Z-B1: what the token had signed is in the database, byte for byte, and a certificate of it is finished."""
    for _ in range(count(2, 50)):
        assert trial.run(act, then_die=True) == _KILLED
        assert trial.restart() == (act is crash_acts.issue)
    assert trial.answered == []
