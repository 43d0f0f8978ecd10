"""kill -9 at every system call of a signing that changes a file, and right after C_Sign."""

import base64
import hashlib
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from pki.config import Config
from pki.core import open_core
from pki.ledger.entries import RESERVATION
from pki.mounts import Mount
from pki.storage.tables import audit_events, ssh_certificates
from tests.clocks import FrozenClock
from tests.counts import count
from tests.faults.crash_acts import Actor
from tests.faults.crash_tracing import killed_at, require_strace
from tests.pki.ssh import crash_acts
from tests.pki.ssh.conftest import authority
from tests.pki.ssh.material import set_role, user_role

_KILLED = -9
_MOUNT = Mount("crash", "root", "ssh/", "secret", "ssh")


@dataclass
class Trial:
    """A house in which signing is killed, and what was heard of it before."""

    config: Config
    moment: datetime
    log: Path
    answered: list[bytes] = field(default_factory=list)
    kills: int = 0

    def run(self, kill_at: int | None = None, *, then_die: bool = False) -> int:
        """Sign once, killed at the n-th call if it gets there; return the exit code."""
        with Actor(crash_acts.sign, self.config, self.moment, self.log, _MOUNT, then_die=then_die) as actor:
            actor.await_ready()
            if kill_at is None:
                actor.go()
                code = actor.end()
            else:
                with killed_at(actor.pid, kill_at):
                    actor.go()
                    code = actor.end()
            self.answered += [base64.b64decode(line.split()[1]) for line in actor.heard()]
        assert code in {0, _KILLED}
        self.kills += code == _KILLED
        return code

    def restart(self) -> int:
        """Open the house a minute later, clear up, and check everything; return how much was left."""
        self.moment += RESERVATION + timedelta(seconds=1)
        with closing(open_core(self.config, FrozenClock(self.moment))) as core:
            left = authority(core).reconciler.run()
            with core.database.read() as tx:
                rows = tx.execute(select(ssh_certificates)).all()
                told = tx.execute(select(audit_events.c.object, audit_events.c.action)).all()
        recorded = Counter(hashlib.sha256(row.tbs).hexdigest() for row in rows)
        assert [digest for digest in self.log.read_text().split() if recorded[digest] != 1] == []
        assert {row.state for row in rows} <= {"issued", "abandoned"}
        assert {row.id for row in rows} == {item.object for item in told if item.action == "ssh.reserve"}
        abandoned = {row.id for row in rows if row.state == "abandoned"}
        assert abandoned == {item.object for item in told if item.action == "ssh.abandon"}
        assert set(self.answered) <= {row.certificate for row in rows if row.state == "issued"}
        return left


@pytest.fixture
def trial(house_config: Config, house_clock: FrozenClock, tmp_path: Path) -> Trial:
    """Give a founded house with an SSH CA to crash in."""
    log = tmp_path / "signed"
    log.touch()
    with closing(open_core(house_config, house_clock)) as core:
        ssh = authority(core)
        ssh.issuers.found(_MOUNT)
        set_role(ssh, _MOUNT, user_role())
    return Trial(house_config, house_clock.moment, log)


def test_kill_between_signature_and_record_leaves_one_intent(trial: Trial) -> None:
    """Z-B1: what the token had signed is in the database, byte for byte; nobody has it, and it is given up."""
    for _ in range(count(2, 50)):
        assert trial.run(then_die=True) == _KILLED
        assert trial.restart() == 1
    assert trial.answered == []
    assert trial.run() == 0
    assert trial.restart() == 0
    assert trial.answered


def test_signing_killed_at_any_write_or_flush_loses_nothing(trial: Trial) -> None:
    """Z-B1: what was answered stays, and no message was signed that is not recorded."""
    require_strace()
    number, left = 1, 0
    while trial.run(number) == _KILLED:
        left += trial.restart()
        number += count(3, 1)
    assert trial.restart() == 0
    assert trial.kills >= 3
    assert left >= 1
    assert trial.answered
