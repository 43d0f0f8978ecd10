"""What goes wrong at a start is told in one line that says what to do, and leaves nothing half-made."""

import contextlib
import fcntl
import sqlite3
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.machines import Disk, taken_port
from tests.service import Service, sealward

Shift = Callable[[int], dict[str, str]]


def _dev(data: Path, *arguments: str | Path, environment: dict[str, str] | None = None) -> str:
    """Run `dev`, which must fail; return its one line."""
    listen = [] if "--listen" in arguments else ["--listen", "127.0.0.1:0"]
    return _line(sealward("dev", "--data", data, *listen, *arguments, environment=environment))


def _line(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 1, done.stdout + done.stderr
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("sealward: ")
    return lines[0]


def _config(tmp_path: Path, text: str) -> tuple[str, Path]:
    file = tmp_path / "dev.toml"
    file.write_text(text)
    return "--config", file


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of dev's that was made and is not in use, for tests which change nothing in it."""
    with Service(tmp_path_factory.mktemp("made") / "data") as service:
        return service.data


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[server]\nlisen = 1\n", 'unknown key in [server]: "lisen" (the nearest known one is "listen")'),
        ("[sever]\n", 'unknown section "sever" (the nearest known one is "server")'),
        ("[http]\nlisten = 80\n", '[http] listen: must be text of the form "HOST:PORT"'),
        ("[http\n", "is not TOML"),
        ("[http]\nlisten = '0.0.0.0:8080'\n", "dev serves this machine alone"),
        ("[hsm]\nmodule = '/absent.so'\n", "there is no PKCS#11 module /absent.so (mend [hsm] module)"),
    ],
)
def test_wrong_configuration_is_told_before_anything_is_made(tmp_path: Path, text: str, words: str) -> None:
    """An unknown key names the nearest known one; the folder is not even made."""
    assert words in _dev(tmp_path / "data", *_config(tmp_path, text))
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("listen", ["0.0.0.0:8443", "[::]:8443", "192.0.2.1:8443", "a.example:8443"])
def test_dev_refuses_to_be_reached_from_elsewhere(tmp_path: Path, listen: str) -> None:
    """Dev has a root token in a file and validates loopback: it is for this machine alone."""
    line = _dev(tmp_path / "data", "--listen", listen)
    assert "dev serves this machine alone" in line
    assert "sealward serve" in line
    assert not (tmp_path / "data").exists()


def test_malformed_listen_address_is_told(tmp_path: Path) -> None:
    """--listen wants HOST:PORT."""
    assert "for example 127.0.0.1:8443" in _dev(tmp_path / "data", "--listen", "8443")


def test_taken_port_is_told(tmp_path: Path, made: Path) -> None:
    """A second service must not share the port in silence, whether the folder is new or not."""
    with taken_port() as port:
        for data in (tmp_path / "data", made):
            line = _dev(data, "--listen", f"127.0.0.1:{port}")
            assert f"cannot listen on 127.0.0.1:{port}: Address already in use" in line
    assert not (tmp_path / "data" / "token").exists()


def test_taken_http_port_is_told_at_a_restart(tmp_path: Path) -> None:
    """The HTTP port stands in certificates, so that no other is chosen when it is taken."""
    with Service(tmp_path / "data") as service:
        port = int(service.http_address.rpartition(":")[2])
    with taken_port(port):
        line = _dev(tmp_path / "data")
    assert f"cannot listen on 127.0.0.1:{port}" in line
    assert "[http] listen" in line


def test_second_dev_on_the_same_folder_refuses(tmp_path: Path) -> None:
    """Two services would write each other's files; the first goes on."""
    with Service(tmp_path / "data") as service:
        assert "another `sealward dev` runs on" in _dev(service.data)
        assert (service.data / "ready.json").exists()


def test_folder_with_other_things_is_refused(tmp_path: Path) -> None:
    """A folder that is somebody's is left alone: nothing is written, no mode changed."""
    (tmp_path / "letter.txt").write_text("dear")
    mode = tmp_path.stat().st_mode
    assert "holds other things" in _dev(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["letter.txt"]
    assert tmp_path.stat().st_mode == mode


def test_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    """The path leads through a file."""
    (tmp_path / "file").write_text("")
    assert "Not a directory" in _dev(tmp_path / "file" / "data")


def test_read_only_disk_is_told(disk: Disk) -> None:
    """Nothing can be written: one line, and what to do."""
    disk.change("ro")
    line = _dev(disk.path / "data")
    assert "Read-only file system" in line
    assert "remount" in line


def test_full_disk_is_told_and_a_later_start_completes(disk: Disk) -> None:
    """At whatever step the disk is full, the next start on a disk with room has a whole CA."""
    data = disk.path / "data"
    for size in (4, 12, 20, 40, 64, 160, 300, 380, 420, 600):
        disk.change(f"size={size}k")
        line = _dev(data)
        assert "No space left on device" in line or "is full" in line, (size, line)
        assert "free space" in line
        assert not (data / "ready.json").exists()
    disk.change("size=50m")
    with Service(data, arguments=()) as service:
        assert "openssl verify says OK" in service.output


def test_wrong_pin_is_offered_once(tmp_path: Path) -> None:
    """Tokens lock after a few wrong PINs (Z-B2); when it is mended, the service starts."""
    with Service(tmp_path / "data") as service:
        pass
    right = (service.data / "pin").read_text()
    (service.data / "pin").write_text("not the PIN\n")
    line = _dev(service.data)
    assert "PIN" in line
    assert "mend the PIN and restart; the PIN was offered once" in line
    assert "not the PIN" not in line
    (service.data / "pin").write_text(right)
    with service:
        assert service.ready


def test_pin_that_others_can_read_is_refused(tmp_path: Path) -> None:
    """A secret's file is for its owner alone (A02)."""
    with Service(tmp_path / "data") as service:
        pass
    (service.data / "pin").chmod(0o644)
    assert "is open to other users (chmod 600" in _dev(service.data)


def test_locked_database_is_told(tmp_path: Path) -> None:
    """Somebody else's transaction stays open: the start gives up after seconds, and says what to look for."""
    with Service(tmp_path / "data") as service:
        pass
    with contextlib.closing(sqlite3.connect(service.data / "sealward.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert "the database stays locked by somebody else" in _dev(service.data)
    with (service.data / "sealward.db.lock").open("a") as other_turn:
        fcntl.flock(other_turn, fcntl.LOCK_EX)
        assert "the database stays locked by somebody else" in _dev(service.data)


def test_damaged_database_is_told(tmp_path: Path) -> None:
    """A file that is no database is left as it is."""
    with Service(tmp_path / "data") as service:
        pass
    for path in service.data.glob("sealward.db*"):
        path.unlink()
    (service.data / "sealward.db").write_bytes(b"no database, but as long as the header of one" * 100)
    (service.data / "sealward.db").chmod(0o600)
    assert "the database is damaged, or is no database" in _dev(service.data)


def test_database_that_does_not_answer_is_told(tmp_path: Path) -> None:
    """PostgreSQL is down: one line, without the password, and no token is made for it in vain twice."""
    with taken_port() as closed:
        pass
    url = f"postgresql+psycopg://sealward:secret-word@127.0.0.1:{closed}/sealward"
    line = _dev(tmp_path / "data", *_config(tmp_path, f"[database]\nurl = '{url}'\n"))
    assert "the database cannot be reached" in line
    assert "secret-word" not in line


def test_expired_intermediate_is_told(made: Path, clock_shifted_by: Shift) -> None:
    """Six years on, nothing could be issued any more, the server's own certificate included."""
    line = _dev(made, environment=clock_shifted_by(6 * 365))
    assert "issuer intermediate expired at" in line


def test_clock_before_the_ca_is_told(made: Path, clock_shifted_by: Shift) -> None:
    """A clock that stands before the CA's first second is wrong: nothing is signed (CA11)."""
    line = _dev(made, environment=clock_shifted_by(-2))
    assert "the clock says" in line
    assert "set the machine's clock" in line


def test_expired_server_certificate_is_renewed_at_the_start(tmp_path: Path, clock_shifted_by: Shift) -> None:
    """A service that was off for a year starts, since its own certificate is never a reason not to (Z-B14)."""
    with Service(tmp_path / "data") as service:
        first = (service.data / "tls" / "server.pem").read_bytes()
    with Service(tmp_path / "data", service.document, environment=clock_shifted_by(400)) as later:
        assert (later.data / "tls" / "server.pem").read_bytes() != first
