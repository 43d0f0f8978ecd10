"""A backup is whole and sealed, or is not there; a restored house has everything, and repeats no number."""

import dataclasses
import fcntl
import os
import shutil
import sqlite3
import stat
import threading
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest

from pki.audit.events import Events, Filter
from pki.backup import back_up, database_file, restore, try_restore
from pki.clock import rfc3339
from pki.config import Config, DatabaseConfig
from pki.core import Core, database_url, open_core
from pki.errors import Conflict, DatabaseUnavailable, Denied, HsmFailure, Malformed, Misconfigured
from pki.founding import INTERMEDIATE, ROOT
from pki.identity.tokens import NewToken
from pki.mounts import Mount
from tests.clocks import FrozenClock
from tests.counts import count
from tests.faults.crash_acts import wanted
from tests.faults.crash_checks import violations
from tests.faults.crash_disks import Image
from tests.house_fixture import configure
from tests.tokens import SoftToken

_CERTIFICATES = count(20, 500)


@pytest.fixture
def dialect() -> str:
    """Name the database that is backed up here: PostgreSQL has ways of its own."""
    return "sqlite"


@pytest.fixture
def bare(house_token: SoftToken, tmp_path: Path) -> Config:
    """Give a configuration with the same token, and no database at its place."""
    folder = tmp_path / "bare"
    folder.mkdir()
    return configure(f"sqlite:///{folder}/restored.db", house_token, folder)


@pytest.fixture
def backup(core: Core, tmp_path: Path) -> Path:
    """Give a backup of a house with some secrets and certificates."""
    _fill(core)
    return _backed_up(core, tmp_path / "house.backup")


def _url(core: Core) -> str:
    return database_url(core.config)


def _backed_up(core: Core, target: Path) -> Path:
    back_up(core, _url(core), target)
    return target


def _mount(core: Core) -> Mount:
    found = core.mounts.get("secret/")
    assert found is not None
    return found


def _fill(core: Core) -> None:
    for number in range(5):
        for version in range(2):
            core.secrets.write(_mount(core), f"app/{number}", {"value": f"{number}.{version}"})
    core.gate.issue(wanted())


def _token(core: Core) -> str:
    new = NewToken("somebody", ("default",), timedelta(days=1), "auth/token/create")
    return core.database.write(lambda tx: core.tokens.add(tx, new)).token


def _serials(core: Core, number: int) -> set[str]:
    return {core.gate.issue(wanted()).serial for _ in range(number)}


def _events(core: Core, action: str) -> list[tuple[str, str, str]]:
    return [(item.actor, item.object, item.outcome) for item in Events(core.database).find("root", Filter("", action))]


def _contents(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_restored_house_has_everything_and_repeats_no_number(
    core: Core, bare: Config, house_clock: FrozenClock, tmp_path: Path
) -> None:
    """O1 A13 X9: secrets open, certificates are there; serials, CRL numbers and versions go on apart from the other."""
    _fill(core)
    known = core.gate.issue(wanted())
    core.revocation.revoke(known, 4, "test:backup")
    issuers = [core.issuers.named(name) for name in (ROOT, INTERMEDIATE)]
    numbers = [core.crls.publish(issuer) for issuer in issuers]
    before = _token(core)
    backup = _backed_up(core, tmp_path / "house.backup")
    later, after = _serials(core, _CERTIFICATES), _token(core)
    numbers += [core.crls.publish(issuer) for issuer in issuers for _ in range(3)]
    house_clock.advance(timedelta(seconds=1))
    restored = restore(bare, backup, clock=house_clock)
    assert (restored.versions, restored.made_at) == (10, rfc3339(house_clock.now() - timedelta(seconds=1)))
    with closing(open_core(bare, house_clock)) as other:
        for number in range(5):
            for version in range(2):
                stored = other.secrets.read(_mount(other), f"app/{number}", version + 1)
                assert stored is not None
                assert stored.data == {"value": f"{number}.{version}"}
        entry = other.gate.find(known.id)
        assert entry is not None
        assert (entry.state, entry.certificate) == ("revoked", known.certificate)
        fresh = _serials(other, _CERTIFICATES)
        assert len(later | fresh) == 2 * _CERTIFICATES
        published = [other.crls.publish(other.issuers.named(name)) for name in (ROOT, INTERMEDIATE)]
        assert min(published) > max(numbers)
        assert violations(other.database) == []
        for token in (before, after):
            with pytest.raises(Denied):
                other.tokens.authenticate(token)
    assert core.tokens.authenticate(before).policies


def test_backup_and_restore_are_in_the_audit_logs(
    core: Core, backup: Path, bare: Config, house_clock: FrozenClock
) -> None:
    """A13: the log of the one says when it was backed up, that of the other from what it came, as its last event."""
    made = ("house:operator", rfc3339(house_clock.now()), "success")
    assert _events(core, "backup.make") == [made]
    restore(bare, backup, clock=house_clock)
    with closing(open_core(bare, house_clock)) as other:
        assert _events(other, "backup.make") == _events(other, "backup.restore") == [made]
    assert _events(core, "backup.restore") == []


def test_backup_under_writers_holds_what_was_answered_before_it(
    core: Core, bare: Config, house_clock: FrozenClock, tmp_path: Path
) -> None:
    """A13: the service goes on meanwhile; what it answered before the copy is in it, whole."""
    mount, stopping = _mount(core), threading.Event()
    answered = dict.fromkeys(range(4), 0)

    def write(writer: int) -> None:
        while not stopping.is_set():
            stored = core.secrets.write(mount, f"writer/{writer}", {"value": os.urandom(512).hex()})
            answered[writer] = stored.version.number

    threads = [threading.Thread(target=write, args=(writer,)) for writer in answered]
    for thread in threads:
        thread.start()
    try:
        for number in range(count(3, 30)):
            least = dict(answered)
            made = _backed_up(core, tmp_path / f"{number}.backup")
            place = tmp_path / f"place-{number}"
            place.mkdir()
            here = dataclasses.replace(bare, database=DatabaseConfig(url=f"sqlite:///{place}/house.db"))
            restore(here, made, clock=house_clock)
            with closing(open_core(here, house_clock)) as other:
                for writer, version in least.items():
                    metadata = other.secrets.metadata(_mount(other), f"writer/{writer}")
                    assert version == 0 or (metadata is not None and metadata.secret.current_version >= version)
                assert violations(other.database) == []
    finally:
        stopping.set()
        for thread in threads:
            thread.join()


def test_backup_and_restored_database_are_for_their_owner_alone(
    backup: Path, bare: Config, house_clock: FrozenClock
) -> None:
    """A02: nobody else reads them, whatever the umask; nothing else is left beside them."""
    restore(bare, backup, clock=house_clock)
    path = database_file(bare.database.url)
    assert stat.S_IMODE(backup.stat().st_mode) == stat.S_IMODE(path.stat().st_mode) == 0o600
    assert _contents(path.parent) == ["pin", "restored.db"]
    assert [name for name in _contents(backup.parent) if name.startswith(".")] == []


def test_check_leaves_nothing(
    backup: Path, bare: Config, house_clock: FrozenClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A13: the drill says what a restore would, and changes neither place nor backup."""
    folder, before = tmp_path / "temporary", backup.read_bytes()
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    tried = try_restore(bare, backup, house_clock)
    assert (tried.certificates, tried.versions) == (3, 10)
    assert _contents(folder) == []
    assert _contents(database_file(bare.database.url).parent) == ["pin"]
    assert backup.read_bytes() == before


def test_altered_and_cut_backups_are_refused_and_leave_nothing(
    backup: Path, bare: Config, house_clock: FrozenClock
) -> None:
    """A13: wherever an octet was changed, and wherever the file was cut; the place stays bare."""
    whole, place = backup.read_bytes(), database_file(bare.database.url).parent
    header = whole.index(b"}") + 1
    spots = [0, 18, *range(22, header, count(11, 1)), header, header + 17, len(whole) // 2, len(whole) - 1]
    altered = [whole[:spot] + bytes([whole[spot] ^ 1]) + whole[spot + 1 :] for spot in spots]
    cut = [whole[:length] for length in (0, 5, 20, header - 1, header, header + 10, len(whole) // 2, len(whole) - 1)]
    for octets in (*altered, *cut, whole + b"\0", whole + whole, b"SQLite format 3\0" * 100):
        backup.write_bytes(octets)
        with pytest.raises((Malformed, HsmFailure)) as refusal:
            restore(bare, backup, clock=house_clock)
        assert refusal.value.advice
        assert _contents(place) == ["pin"]
    backup.write_bytes(whole)
    assert restore(bare, backup, clock=house_clock).versions == 10


def test_another_token_opens_nothing(
    backup: Path, bare: Config, soft_token: SoftToken, house_clock: FrozenClock, tmp_path: Path
) -> None:
    """K5 A01: the backup is of no use with a token that does not hold its key."""
    other = tmp_path / "other"
    other.mkdir()
    stranger = configure(bare.database.url, soft_token, other)
    for act in (restore, try_restore):
        with pytest.raises(HsmFailure, match=r"does not open this backup.*restore the token"):
            act(stranger, backup, clock=house_clock)
    assert _contents(database_file(bare.database.url).parent) == ["pin"]


def test_nothing_is_written_over(core: Core, backup: Path, bare: Config, house_clock: FrozenClock) -> None:
    """A13: neither a backup nor a database, nor what is left of one, is replaced."""
    whole = backup.read_bytes()
    with pytest.raises(Conflict, match="name a new file"):
        _backed_up(core, backup)
    assert backup.read_bytes() == whole
    path = database_file(bare.database.url)
    for suffix in ("", "-wal", "-shm", "-journal"):
        present = path.with_name(path.name + suffix)
        present.write_bytes(b"present")
        with pytest.raises(Conflict, match=r"move the database and its -wal"):
            restore(bare, backup, clock=house_clock)
        assert present.read_bytes() == b"present"
        present.unlink()
    dangling = backup.with_name("dangling")
    dangling.symlink_to("nowhere")
    with pytest.raises(Conflict):
        _backed_up(core, dangling)


def test_a_killed_command_leaves_nothing_in_the_way(
    core: Core, bare: Config, house_clock: FrozenClock, tmp_path: Path
) -> None:
    """A13: what it left in its folder is removed by the next one, and is never taken for a backup."""
    target, path = tmp_path / "house.backup", database_file(bare.database.url)
    for folder, names in (
        (tmp_path / ".house.backup.part", ("copy", "copy-journal", "sealed")),
        (path.parent / f".{path.name}.part", (path.name, f"{path.name}-wal", f"{path.name}.lock")),
    ):
        folder.mkdir()
        for name in names:
            (folder / name).write_bytes(b"half")
    restore(bare, _backed_up(core, target), clock=house_clock)
    assert _contents(path.parent) == ["pin", path.name]


def test_two_commands_do_not_write_the_same_file(core: Core, tmp_path: Path) -> None:
    """A13: the second is told, and the first one's work is left alone."""
    folder = tmp_path / ".house.backup.part"
    folder.mkdir()
    (folder / "sealed").write_bytes(b"in progress")
    descriptor = os.open(folder, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        with pytest.raises(Conflict, match="by another command"):
            _backed_up(core, tmp_path / "house.backup")
    finally:
        os.close(descriptor)
    assert (folder / "sealed").read_bytes() == b"in progress"


def test_absent_folders_and_other_databases_are_told(core: Core, backup: Path, bare: Config, tmp_path: Path) -> None:
    """A13: what to do instead is said."""
    with pytest.raises(Misconfigured, match=r"there is no folder .*make it"):
        _backed_up(core, tmp_path / "absent" / "house.backup")
    shutil.rmtree(database_file(bare.database.url).parent)
    with pytest.raises(Misconfigured, match="there is no folder"):
        restore(bare, backup)
    for url in ("postgresql+psycopg://user@host/name", "sqlite://", ""):
        with pytest.raises(Misconfigured, match="use pg_dump"):
            database_file(url)


def test_a_backup_whose_database_is_not_whole_is_refused(
    core: Core, bare: Config, house_clock: FrozenClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A13: the seal says that it is what was written, and SQLite whether that was a database."""
    honest = sqlite3.connect

    def damage(target: Path) -> None:
        octets = bytearray(target.read_bytes())
        page = int.from_bytes(octets[16:18])
        for start in range(5 * page, len(octets), page):
            octets[start : start + 8] = bytes(8)
        target.write_bytes(octets)

    def copy_badly(path: Path, target: Path) -> None:
        with closing(honest(path)) as source, closing(honest(target)) as copy:
            source.backup(copy)
        damage(target)

    monkeypatch.setattr("pki.backup._copy", copy_badly)
    backup = _backed_up(core, tmp_path / "house.backup")
    with pytest.raises((Malformed, DatabaseUnavailable)):
        restore(bare, backup, clock=house_clock)
    assert _contents(database_file(bare.database.url).parent) == ["pin"]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Give a disk of 4 MiB."""
    with Image(tmp_path / "disk.img", 4).mounted() as disk:
        yield disk


def test_full_disk_is_told_and_leaves_nothing(
    core: Core, bare: Config, backup: Path, small_disk: Path, house_clock: FrozenClock
) -> None:
    """A13 Z-B12: whatever step has no room, neither half a backup nor half a database is left, and the log tells."""
    ballast, present, made = small_disk / "ballast", small_disk / "house.db", small_disk / "house.backup"
    here = dataclasses.replace(bare, database=DatabaseConfig(url=f"sqlite:///{present}"))
    outcomes = []
    for room in (4, 100, 300, 500, 800, 2000):  # KiB: a backup of the house takes some 410, twice while it is made
        for act, target in ((partial(_backed_up, core, made), made), (partial(restore, here, backup), present)):
            ballast.write_bytes(bytes(shutil.disk_usage(small_disk).free - room * 1024))
            try:
                act()
                outcomes.append("success")
            except (OSError, DatabaseUnavailable) as error:
                assert "No space left" in str(error) or "disk under the database is full" in str(error)  # noqa: PT017
                outcomes.append("failed")
            assert target.exists() == (outcomes[-1] == "success")
            assert set(_contents(small_disk)) <= {"lost+found", "ballast", target.name}
            target.unlink(missing_ok=True)
            ballast.unlink()
    assert outcomes[:4] == ["failed"] * 4
    assert outcomes[-2:] == ["success"] * 2
    logged = [outcome for _, _, outcome in _events(core, "backup.make")]
    assert logged.count("failed") == outcomes[::2].count("failed")
    assert try_restore(here, backup, house_clock).versions == 10
