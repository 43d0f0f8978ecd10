"""Periodic duties, one runner at a time, elected through the database."""

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

from sqlalchemy import select, update
from sqlalchemy.exc import IntegrityError

from hsm.errors import HsmError
from pki.clock import to_ms
from pki.core import Core
from pki.errors import SealwardError
from pki.storage.database import Tx
from pki.storage.tables import job_locks

logger = logging.getLogger("sealward.jobs")

_TERM = timedelta(seconds=15)
_RENEWED_AT = timedelta(seconds=10)
"""What must be left of a term when it is renewed: not at each turn, since each renewal is a write to the disk."""
_PAUSE = 0.25
_LOCK = "duties"
_TOKENS_KEPT = timedelta(days=30)
"""How long the row of a token stays after its end, for look-ups by accessor; the audit log keeps it for ever."""
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Duty:
    """Something to do every `period` seconds; `run` must be safe to repeat and to be cut short."""

    name: str
    period: float
    run: Callable[[], object]
    everywhere: bool = False
    """Whether every replica does it for itself (its own TLS certificate, say), elected or not."""


class Runner:
    """Runs duties while this process holds the election; a failing duty is reported and tried again."""

    def __init__(self, core: Core, duties: Sequence[Duty]) -> None:
        self._core = core
        self._duties = duties
        self._due = dict.fromkeys((duty.name for duty in duties), 0.0)
        self._elected_until = 0.0
        self._seen: tuple[str, int] | None = None
        self._seen_at = 0.0
        self._stopping = threading.Event()

    def stop(self) -> None:
        """End `run` after the duty that is running."""
        self._stopping.set()

    def run(self) -> None:
        """Run what is due, four times a second, until stopped; then leave the duties to others and close the core."""
        while not self._stopping.wait(_PAUSE):
            self.turn()
        self._try(self._resign, "resigning")
        self._core.close()

    def turn(self) -> None:
        """Run every duty that is due now, the shared ones only when elected."""
        elected = self._try(self._elect, "election")
        for duty in self._duties:
            if self._stopping.is_set():
                return
            now = self._core.clock.monotonic()
            if self._due[duty.name] <= now and (elected or duty.everywhere):
                self._due[duty.name] = now + duty.period
                self._try(duty.run, duty.name)

    def _try(self, work: Callable[[], T], name: str) -> T | None:
        try:
            return work()
        except (SealwardError, HsmError) as error:
            logger.warning("%s will be tried again: %s", name, error)
        except Exception:
            logger.exception("%s failed", name)
        return None

    def _elect(self) -> bool:
        began = self._core.clock.monotonic()
        if self._elected_until - _RENEWED_AT.total_seconds() > began:
            return True
        try:
            elected = self._core.database.write(self._claim)
        except IntegrityError:
            elected = False
        self._elected_until = began + _TERM.total_seconds() if elected else 0.0
        return elected

    def _claim(self, tx: Tx) -> bool:
        """Take or renew the term, unless it is another's that has not ended."""
        now, holder = self._core.clock.now(), self._core.worker
        values = {"holder": holder, "until_at": to_ms(now + _TERM)}
        row = tx.execute(select(job_locks).where(job_locks.c.name == _LOCK)).first()
        if row is None:
            tx.execute(job_locks.insert().values(name=_LOCK, **values))
            return True
        if row.holder != holder and row.until_at > to_ms(now) and not self._is_abandoned(row.holder, row.until_at):
            return False
        is_as_read = (job_locks.c.holder == row.holder) & (job_locks.c.until_at == row.until_at)
        return tx.execute(update(job_locks).where(job_locks.c.name == _LOCK, is_as_read).values(**values)).rowcount == 1

    def _is_abandoned(self, holder: str, until_at: int) -> bool:
        """Tell whether this term was not renewed for as long as a term lasts, by the clock that never steps back.

        A holder that died before the time of day stepped back has left a term that would seem to last for as long.
        """
        now = self._core.clock.monotonic()
        if self._seen != (holder, until_at):
            self._seen, self._seen_at = (holder, until_at), now
        return now - self._seen_at >= _TERM.total_seconds()

    def _resign(self) -> None:
        """End this process's own term, so that its successor need not wait for that."""
        if self._elected_until:
            mine = (job_locks.c.name == _LOCK) & (job_locks.c.holder == self._core.worker)
            self._core.database.write(lambda tx: tx.execute(update(job_locks).where(mine).values(until_at=0)))


def house_duties(core: Core) -> list[Duty]:
    """Return the duties of the house itself."""
    return [
        Duty("reconcile the ledger", 2.0, core.reconciler.run),
        Duty("reconcile the ledger of SSH", 2.0, core.ssh.reconciler.run),
        Duty("publish CRLs", 0.5, core.crls.publish_due),
        Duty("forget ended tokens", 600.0, lambda: _forget_tokens(core)),
        Duty("forget ended secret-ids", 600.0, lambda: core.database.write(core.approles.delete_expired)),
        Duty("renew the server's certificate", 60.0, core.server_certificate.renew_if_due, everywhere=True),
    ]


def _forget_tokens(core: Core) -> None:
    while core.database.write(lambda tx: core.tokens.forget(tx, ended_for=_TOKENS_KEPT)):
        pass
