"""`sealward backup` and `sealward restore`, beside services that serve."""

import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from cli.offline.check_config import to_toml
from hsm import softhsm
from tests.cli.machines import Disk
from tests.counts import count
from tests.faults.crash_figures import tell
from tests.faults.crash_tracing import killing_at, require_strace
from tests.faults.four_kinds_api import Api
from tests.service import Service, sealward

_CERTIFICATES = count(5, 100)
_KEPT = ("token", "pin", "so-pin", "lock")
"""What of a folder of dev's is the token, and a folder to serve from."""


def _issue(api: Api) -> str:
    return str(api.post("pki/issue/default", {"alt_names": "a.example.com"}).data["serial_number"])


def _sign(api: Api) -> str:
    key = ed25519.Ed25519PrivateKey.generate().public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    return str(api.post("ssh/sign/people", {"public_key": key.decode()}).data["serial_number"])


def _token(api: Api) -> str:
    return str(api.post("auth/token/create", {"policies": ["default"]}).document["auth"]["client_token"])


def _revoke(api: Api, serial: str) -> int:
    """Revoke a certificate, and return the number of the CRL that says so."""
    before = api.crl_number()
    api.post("pki/revoke", {"serial_number": serial})
    deadline = time.monotonic() + 15
    while api.crl_number() == before:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return api.crl_number()


def _ok(*arguments: str | Path, environment: dict[str, str] | None = None) -> str:
    done = sealward(*arguments, environment=environment)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def _line(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 1, done.stdout + done.stderr
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1, done.stderr
    return done.stderr


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Give a folder of dev's that nobody serves, and a backup of it."""
    folder = tmp_path_factory.mktemp("stopped")
    with Service(folder / "data") as service:
        Api.of(service).post("secret/data/app", {"data": {"value": "kept"}})
        _ok("backup", "--data", service.data, "--to", folder / "house.backup")
    return folder / "data", folder / "house.backup"


@dataclass
class Issued:
    """Serials of certificates and of SSH certificates, numbers of CRLs, and client tokens."""

    serials: list[str] = field(default_factory=list)
    ssh_serials: list[str] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)

    def go_on(self, api: Api) -> None:
        """Issue some of each kind, and revoke one certificate."""
        for _ in range(_CERTIFICATES):
            self.serials.append(_issue(api))
            self.ssh_serials.append(_sign(api))
        self.numbers.append(_revoke(api, self.serials[-1]))
        self.tokens.append(_token(api))


def _bare(data: Path, folder: Path) -> Path:
    """Make a folder in which only the token is."""
    folder.mkdir()
    for name in _KEPT:
        copy = shutil.copytree if (data / name).is_dir() else shutil.copy
        copy(data / name, folder / name)
    return folder


def test_drill_of_a_restore_beside_the_service_that_goes_on(tmp_path: Path) -> None:
    """A13 O1 X9: bare folder, token, backup: all is there; serials and CRL numbers are apart; tokens are dead."""
    backup, before, after, fresh = tmp_path / "house.backup", Issued(), Issued(), Issued()
    values = {f"app/{number}": {"value": f"of {number}", "list": [number]} for number in range(10)}
    with Service(tmp_path / "first") as service:
        first = Api.of(service)
        first.post("ssh/roles/people", {"allow_user_certificates": True, "allowed_users": "a", "default_user": "a"})
        for path, value in values.items():
            first.post(f"secret/data/{path}", {"data": value})
        before.go_on(first)
        assert "Back the token up too" in _ok("backup", "--data", service.data, "--to", backup)
        first.post("secret/data/app/0", {"data": {"value": "later"}})
        after.go_on(first)
        bare = _bare(service.data, tmp_path / "second")
        assert "and 10 versions of secrets, each opened" in _ok("restore", "--data", bare, backup)
        with Service(bare) as restored:
            second = Api.of(restored)
            assert {path: second.get(f"secret/data/{path}")["data"] for path in values} == values
            assert set(before.serials) <= set(second.list("pki/certs"))
            assert second.get(f"pki/cert/{before.serials[-1]}")["revocation_time"] > 0
            fresh.go_on(second)
            after.go_on(first)
            assert len({*before.serials, *after.serials, *fresh.serials}) == 4 * _CERTIFICATES
            assert len({*before.ssh_serials, *after.ssh_serials, *fresh.ssh_serials}) == 4 * _CERTIFICATES
            assert min(fresh.numbers) > max(*before.numbers, after.numbers[0])
            for token in (*before.tokens, *after.tokens):
                second.token = token
                assert second.ask("GET", "auth/token/lookup-self").status == 403
            second.token = restored.ready["token"]
            assert _events(second)[-1] == "backup.restore"
        assert _events(first) == ["backup.make"]


def _events(api: Api) -> list[str]:
    events: list[dict[str, Any]] = api.get("sys/log/events?actor=house:operator")["events"]
    return [event["action"] for event in events]


def test_restore_is_refused_while_the_service_runs_and_tried_beside_it(tmp_path: Path) -> None:
    """A13: the drill disturbs nobody; a restore waits for the service to be stopped."""
    with Service(tmp_path / "data") as service:
        Api.of(service).post("secret/data/app", {"data": {"value": "kept"}})
        backup = tmp_path / "house.backup"
        _ok("backup", "--data", service.data, "--to", backup)
        tried = _ok("restore", "--data", service.data, "--check", backup)
        assert "3 certificates, 0 SSH certificates, and 1 versions of secrets, each opened" in tried
        assert "nothing of it is left" in tried
        line = _line(sealward("restore", "--data", service.data, backup))
        assert "another `sealward dev` runs on" in line
        assert Api.of(service).get("secret/data/app")["data"] == {"value": "kept"}


def test_what_cannot_be_restored_is_told_in_one_line(stopped: tuple[Path, Path], tmp_path: Path) -> None:
    """A13: each is told what to do, and changes nothing."""
    data, backup = stopped
    cut = tmp_path / "cut"
    cut.write_bytes(backup.read_bytes()[:-1])
    bare = _bare(data, tmp_path / "bare")
    for arguments, words in (
        (("restore", "--data", data, backup), "move the database and its -wal and -shm files away first"),
        (("restore", "--data", bare, cut), "take another copy of the backup: this one was cut short or altered"),
        (("restore", "--data", bare, bare / "pin"), "name the file that `sealward backup` wrote"),
        (("restore", "--data", tmp_path, backup), "is no folder of `sealward dev`"),
        (("backup", "--data", tmp_path, "--to", tmp_path / "new"), "is no folder of `sealward dev`"),
        (("backup", "--data", data, "--to", backup), "name a new file for each backup"),
        (("backup", "--data", data, "--to", tmp_path / "absent" / "new"), "make it, for the service's user alone"),
        (("backup", "--data", data, "--to", bare / "pin" / "new"), "there is no folder"),
        (("backup", "--data", bare, "--to", tmp_path / "new"), "there is no database at"),
    ):
        assert words in _line(sealward(*arguments))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bare", "cut"]
    assert not (bare / "sealward.db").exists()


def test_disk_that_is_read_only_is_told(stopped: tuple[Path, Path], disk: Disk) -> None:
    """A13: of a folder that cannot be written, or has no room, it is said what to do."""
    data, _ = stopped
    assert "free space or enlarge the volume" in _line(sealward("backup", "--data", data, "--to", disk.path / "new"))
    assert list(disk.path.iterdir()) == []
    disk.change("ro")
    assert "remount that file system" in _line(sealward("backup", "--data", data, "--to", disk.path / "new"))


def test_service_for_others_is_backed_up_by_its_configuration(tmp_path: Path) -> None:
    """A13: two commands with --config; with another token, nothing opens."""
    document = {
        "server": {"base_url": "https://ca.example", "tls_directory": str(tmp_path / "tls")},
        "http": {"base_url": "http://ca.example"},
        "database": {"url": f"sqlite:///{tmp_path}/ca.db"},
        "hsm": {"module": str(softhsm.find_module()), "token_label": "ca", "pin_file": str(tmp_path / "pin")},
    }
    environment = {
        "SOFTHSM2_CONF": str(softhsm.write_config(tmp_path / "softhsm")),
        "SEALWARD_CONFIG": _written(tmp_path / "ca.toml", document),
    }
    _ok("init", environment=environment)
    backup = tmp_path / "ca.backup"
    _ok("backup", "--to", backup, environment=environment)
    root = (tmp_path / "tls" / "root.pem").read_bytes()
    shutil.rmtree(tmp_path / "tls")
    for path in tmp_path.glob("ca.db*"):
        path.unlink()
    other = {**document, "hsm": {**document["hsm"], "token_label": "other", "pin_file": str(tmp_path / "pin2")}}
    stranger = {**environment, "SEALWARD_CONFIG": _written(tmp_path / "other.toml", other)}
    _ok("init", environment=stranger)
    for path in tmp_path.glob("ca.db*"):
        path.unlink()
    assert "restore the token from its own backup first" in _line(sealward("restore", backup, environment=stranger))
    assert list(tmp_path.glob("ca.db*")) == []
    assert "Next: sealward serve" in _ok("restore", backup, environment=environment)
    assert (tmp_path / "tls" / "root.pem").read_bytes() == root
    assert "it is initialised already" in _line(sealward("init", environment=environment))


def test_postgresql_has_its_own_ways(tmp_path: Path) -> None:
    """A13: of another database it is said how it is backed up."""
    document = {
        "server": {"base_url": "https://ca.example"},
        "http": {"base_url": "http://ca.example"},
        "database": {"url": "postgresql+psycopg://somebody@127.0.0.1:1/house"},
        "hsm": {"module": str(softhsm.find_module())},
    }
    config = _written(tmp_path / "ca.toml", document)
    (tmp_path / "file").touch()
    for command in (("backup", "--to", tmp_path / "new"), ("restore", tmp_path / "file")):
        assert "use pg_dump" in _line(sealward(*command, "--config", config))


def _written(path: Path, document: dict[str, Any]) -> str:
    path.write_text("\n".join(to_toml(document)))
    return str(path)


def _killed(number: int, *arguments: str | Path) -> bool:
    """Run a command that is killed at its n-th call that changes a file; tell whether it came so far."""
    command = ["strace", *killing_at(number), sys.executable, "-m", "cli", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, timeout=120, check=False)
    assert done.returncode in {0, -9, 137}, done.stderr
    return done.returncode != 0


def test_killed_commands_leave_a_whole_file_or_none(stopped: tuple[Path, Path], tmp_path: Path) -> None:
    """A13 Z-B1: killed at any write or flush, neither half a backup nor half a database has the name of a whole one."""
    require_strace()
    data, backup = stopped
    bare, target, kills = _bare(data, tmp_path / "bare"), tmp_path / "new.backup", {"backup": 0, "restore": 0}
    for number in range(1, 10_000, count(25, 1)):
        if not _killed(number, "backup", "--data", data, "--to", target):
            break
        kills["backup"] += 1
        if target.exists():
            _ok("restore", "--data", bare, "--check", target)
            target.unlink()
    target.unlink()
    for number in range(1, 10_000, count(25, 1)):
        if not _killed(number, "restore", "--data", bare, backup):
            break
        kills["restore"] += 1
        if (bare / "sealward.db").exists():
            _ok("backup", "--data", bare, "--to", target)
            target.unlink()
            for path in bare.glob("sealward.db*"):
                path.unlink()
    tell(**kills)
    assert min(kills.values()) > 1
    _ok("backup", "--data", bare, "--to", target)
    assert "and 1 versions of secrets, each opened" in _ok("restore", "--data", bare, "--check", target)
    assert [path.name for path in (*bare.iterdir(), *tmp_path.iterdir()) if path.name.startswith(".")] == []
