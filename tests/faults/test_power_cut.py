"""Power cuts: the disk keeps what was flushed to it, and forgets the rest.

The database is on an ext4 file system whose disk is a file behind a loop device. Pages of files and the journal's
metadata stay in the machine's memory until somebody flushes them, for ext4's own commits are an hour apart and the
kernel's write-back begins after 30 seconds. So a copy of the file behind the device is what a disk holds after the
power failed. The process that issues is stopped for the copy, at whatever point it has reached, so that the copy is
of one moment; then it goes on. The copy is mounted (ext4 replays its journal), and the database in it examined.
"""

import dataclasses
import os
import random
import shutil
import signal
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from pki.config import Config
from pki.storage.database import Database
from tests.clocks import FrozenClock
from tests.counts import count
from tests.faults.crash_acts import Actor, issue_for_ever
from tests.faults.crash_checks import missing, unreserved, violations
from tests.faults.crash_disks import Image, await_stopped, mounted
from tests.faults.crash_figures import tell


@dataclass
class Losses:
    """What was answered over all cuts, and what some disk did not have: answers, and messages given to the token."""

    answered: list[bytes] = field(default_factory=list)
    answers: set[str] = field(default_factory=set)
    intents: set[str] = field(default_factory=set)


Cuts = Callable[[str, int], Losses]


@pytest.fixture
def dialect() -> str:
    """A PostgreSQL server's flushes are its own affair; that commits wait for them is asked elsewhere."""
    return "sqlite"


@pytest.fixture
def cut_power(house_config: Config, house_clock: FrozenClock, tmp_path: Path) -> Cuts:
    """Give a function that cuts the power so many times, with SQLite flushing as told."""
    log = tmp_path / "signed"

    def cut(synchronous: str, times: int) -> Losses:
        losses = Losses()
        image = Image(tmp_path / "disk.img", 64)
        log.write_text("")
        with image.mounted() as folder:
            config = _on(house_config, folder)
            image.flush()
            with Actor(issue_for_ever, config, house_clock.moment, log, synchronous) as actor:
                actor.await_ready()
                actor.go()
                dice = random.Random(5)
                for _ in range(times):
                    time.sleep(dice.uniform(0.02, 0.2))
                    os.kill(actor.pid, signal.SIGSTOP)
                    await_stopped(actor.pid)
                    losses.answered += actor.heard()
                    signed = log.read_text().split()
                    image.copy(tmp_path / "copy.img")
                    os.kill(actor.pid, signal.SIGCONT)
                    _examine(tmp_path / "copy.img", signed, losses)
        return losses

    return cut


def _on(house: Config, folder: Path) -> Config:
    """Put the founded house's database into the folder; its token stays where it is."""
    shutil.copyfile(house.database.url.removeprefix("sqlite:///"), folder / "house.db")
    database = dataclasses.replace(house.database, url=f"sqlite:///{folder}/house.db")
    return dataclasses.replace(house, database=database)


def _examine(image: Path, signed: list[str], losses: Losses) -> None:
    """Note what a disk has lost; the database on it must be sound apart from that."""
    with mounted(image, image.with_suffix("")) as folder, closing(Database.open(f"sqlite:///{folder}/house.db")) as cut:
        assert violations(cut) == []
        losses.answers.update(missing(cut, losses.answered))
        losses.intents.update(unreserved(cut, signed))


def test_power_cuts_lose_nothing_that_was_answered(cut_power: Cuts) -> None:
    """Z-B11: nothing answered and nothing signed is lost, and the database is sound, over every cut."""
    for _ in range(count(1, 10)):
        losses = cut_power("FULL", 30)
        tell(answered=len(losses.answered), lost=len(losses.answers))
        assert len(losses.answered) > 100
        assert losses.answers == set()
        assert losses.intents == set()


def test_without_the_flush_the_same_cuts_lose(cut_power: Cuts) -> None:
    """Z-B11: SQLite's `synchronous=NORMAL` loses what it answered, so the test above can fail."""
    losses = cut_power("NORMAL", 5)
    tell(answered=len(losses.answered), lost=len(losses.answers))
    assert losses.answers != set()
    assert losses.intents != set()
