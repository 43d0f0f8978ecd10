"""The database gone, its disk full, read-only or aborted: a clear refusal, nothing half-done, service afterwards."""

import re
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from pki.core import Core, open_core
from pki.errors import DatabaseUnavailable
from pki.founding import INTERMEDIATE
from pki.ledger.entries import RESERVATION, Entry
from pki.storage.database import Database
from pki.storage.migrate import migrate
from tests.acme_server.client import Client, OrderOf, csr_for, refused
from tests.clocks import FrozenClock
from tests.faults.crash_acts import wanted
from tests.faults.crash_checks import left_reserved, missing, violations
from tests.faults.crash_disks import Image
from tests.faults.crash_storage import FAULTS, Fault, sqlite_renamed
from tests.house_fixture import Rows, configure, copy_house
from tests.tokens import SoftToken

Opening = Callable[[str], Core]


@pytest.fixture(params=FAULTS)
def fault(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Fault]:
    """Give each fault in its turn."""
    with FAULTS[request.param](tmp_path) as made:
        yield made


@pytest.fixture
def open_house(house_rows: Rows, house_token: SoftToken, house_clock: FrozenClock, tmp_path: Path) -> Opening:
    """Give a function that opens a house at an address, and founds it there if need be."""

    def opening(url: str) -> Core:
        with closing(Database.open(url)) as database:
            fresh = database.dialect == "postgresql" or database.point("SELECT name FROM sqlite_master") is None
            if fresh:
                migrate(database)
        if fresh:
            copy_house(url, house_rows)
        return open_core(configure(url, house_token, tmp_path), house_clock)

    return opening


@pytest.fixture
def core(fault: Fault, open_house: Opening) -> Iterator[Core]:
    """Give a house over a database that will fail."""
    with closing(open_house(fault.url)) as opened:
        yield opened


def _issue_until_refused(core: Core, words: str) -> list[bytes]:
    """Issue until the database refuses, in those words; return the certificates, for a full disk has a little room."""
    return _certificates(_until_refused(lambda: core.gate.issue(wanted()), words))


def _until_refused(work: Callable[[], Entry | int], words: str) -> list[Entry | int]:
    done = []
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            done.append(work())
        except DatabaseUnavailable as error:
            if re.search(words, str(error)) is None:
                raise
            return done
    raise AssertionError("the database goes on")


def _certificates(entries: list[Entry | int]) -> list[bytes]:
    return [entry.certificate for entry in entries if isinstance(entry, Entry) and entry.certificate is not None]


def _door_refuses(client: Client) -> None:
    """Ask for orders until one is refused with a problem that says to come again."""
    body = {"identifiers": [{"type": "dns", "value": "b.example.com"}]}
    for _ in range(500):
        response = client.post(client.url("new-order"), body)
        if response.status_code != 201:
            assert refused(response) == (503, "serverInternal")
            assert int(response.headers["Retry-After"]) > 0
            return
    raise AssertionError("the door goes on")


def _is_sound(core: Core, clock: FrozenClock, answered: list[bytes]) -> None:
    """Finish what was left, a minute later: then everything is accounted for."""
    clock.advance(RESERVATION + timedelta(seconds=1))
    core.reconciler.run()
    core.crls.publish(core.issuers.named(INTERMEDIATE))
    assert left_reserved(core.database) == 0
    assert violations(core.database) == []
    assert missing(core.database, answered) == []


def test_a_fault_of_the_database_is_told_and_over_when_mended(
    core: Core, client: Client, prove: Callable[..., OrderOf], fault: Fault, house_clock: FrozenClock
) -> None:
    """Z-B12: gate, CRLs and ACME door refuse, say what to do, leave nothing unaudited, and need no restart."""
    order = prove(client, "a.example.com")
    kept = core.gate.issue(wanted())
    answered = _certificates([kept])
    with fault.present():
        answered += _issue_until_refused(core, fault.words)
        _until_refused(lambda: core.crls.publish(core.issuers.named(INTERMEDIATE)), fault.words)
        _door_refuses(client)
    answered += _certificates([core.gate.issue(wanted())])
    core.revocation.revoke(kept, 4, "test:crash")
    assert order.finalize(csr_for(["a.example.com"])).status_code == 200
    answered.append(order.certificate())
    _is_sound(core, house_clock, answered)


def test_a_removed_file_is_never_written_to_and_a_backup_serves_after_a_restart(
    open_house: Opening, house_clock: FrozenClock, tmp_path: Path
) -> None:
    """O1: no answer stands for what only an unlinked file holds; another file under the name is not taken for it."""
    path = tmp_path / "house.db"
    with sqlite_renamed(tmp_path) as fault, closing(open_house(fault.url)) as core:
        answered = _certificates([core.gate.issue(wanted())])
        with closing(sqlite3.connect(path)) as shell:
            shell.execute("VACUUM INTO ?", (str(tmp_path / "backup.db"),))
        path.unlink()
        assert _issue_until_refused(core, fault.words) == []
        shutil.move(tmp_path / "backup.db", path)
        for name in ("house.db-wal", "house.db-shm"):
            (tmp_path / name).unlink(missing_ok=True)
        assert _issue_until_refused(core, fault.words) == []
    with closing(open_house(fault.url)) as core:
        answered += _certificates([core.gate.issue(wanted())])
        _is_sound(core, house_clock, answered)


def test_a_file_system_that_gave_up_keeps_what_was_answered(
    open_house: Opening, house_clock: FrozenClock, tmp_path: Path
) -> None:
    """Z-B12: after ext4 has aborted, writes are refused; mounted anew, the disk holds all that was answered before."""
    image = Image(tmp_path / "disk.img", 8)
    with image.mounted() as disk:
        url = f"sqlite:///{disk}/house.db"
        with closing(open_house(url)) as core:
            answered = _certificates([core.gate.issue(wanted()) for _ in range(20)])
            image.abort()
            assert _issue_until_refused(core, "disk under the database failed.*kernel's log") == []
            with core.database.read() as tx:
                assert tx.exec_driver_sql("SELECT count(*) FROM certificates").scalar_one() > 20
    with image.mounted(), closing(open_house(url)) as core:
        answered += _certificates([core.gate.issue(wanted())])
        _is_sound(core, house_clock, answered)
