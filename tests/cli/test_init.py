"""The production path: `init`, `serve`, `check-config`, `migrate`, `hsm doctor`."""

import contextlib
import json
import os
import re
import signal
import ssl
import stat
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from cli.offline.check_config import to_toml
from hsm import softhsm
from tests.service import free_port, processes_of, sealward


@dataclass(frozen=True)
class Site:
    """A machine on which a service for others is to run: its configuration, and where SoftHSM keeps tokens."""

    folder: Path
    config: Path
    environment: dict[str, str]
    address: str

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command with this configuration."""
        return sealward(*arguments, environment={**self.environment, "SEALWARD_CONFIG": str(self.config)})


def _site(folder: Path, **database: str) -> Site:
    port, http_port = free_port(), free_port()
    document = {
        "server": {
            "listen": f"127.0.0.1:{port}",
            "base_url": f"https://ca.example:{port}",
            "names": ["ca.example", "127.0.0.1"],
            "tls_directory": str(folder / "tls"),
        },
        "http": {"listen": f"127.0.0.1:{http_port}", "base_url": f"http://ca.example:{http_port}"},
        "database": database or {"url": f"sqlite:///{folder}/ca.db"},
        "hsm": {"module": str(softhsm.find_module()), "token_label": "ca", "pin_file": str(folder / "pin")},
    }
    config = folder / "sealward.toml"
    config.write_text("\n".join(to_toml(document)))
    environment = {"SOFTHSM2_CONF": str(softhsm.write_config(folder / "softhsm"))}
    return Site(folder, config, environment, f"https://127.0.0.1:{port}")


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """A machine on which nothing has been initialised."""
    return _site(tmp_path)


@pytest.fixture(scope="module")
def initialised(tmp_path_factory: pytest.TempPathFactory) -> tuple[Site, str]:
    """A machine on which `init` has run, and what it printed."""
    site = _site(tmp_path_factory.mktemp("site"))
    done = site.run("init")
    assert done.returncode == 0, done.stderr
    return site, done.stdout


def _fails(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 1, done.stdout
    assert len(done.stderr.splitlines()) == 1, done.stderr
    return done.stderr


@contextlib.contextmanager
def _serving(site: Site) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "cli", "serve", "--config", str(site.config)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **site.environment},
    )
    with process:
        try:
            assert process.stdout is not None
            assert "Sealward serves https://ca.example:" in process.stdout.readline()
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 0


def test_init_shows_the_bootstrap_credential_once(initialised: tuple[Site, str]) -> None:
    """One credential, good for a day, instead of a permanent root token; no file holds it (A02)."""
    site, printed = initialised
    credentials = re.findall(r"sw\.[A-Za-z0-9_-]{43}", printed)
    assert len(credentials) == 1
    assert "good for 24 hours" in printed
    for path in site.folder.rglob("*"):
        if path.is_file():
            assert credentials[0].encode() not in path.read_bytes()


def test_init_says_what_is_lost_with_the_token(initialised: tuple[Site, str]) -> None:
    """Who runs it learns that the token is the only place of the keys, and how to back it up (F06)."""
    _, printed = initialised
    for words in ("If it is lost", "Back it up now", "To back it up, copy that", "security officer's PIN"):
        assert words in printed


def test_init_writes_secrets_for_their_owner_alone(initialised: tuple[Site, str]) -> None:
    """PINs and the server's key have mode 0600."""
    site, _ = initialised
    for path in (site.folder / "pin", site.folder / "pin.security-officer", site.folder / "tls" / "server.pem"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_second_init_refuses_and_says_what_stands(initialised: tuple[Site, str]) -> None:
    """A CA is made once: the second run names the CAs that are there and changes nothing."""
    site, _ = initialised
    root = (site.folder / "tls" / "root.pem").read_bytes()
    line = _fails(site.run("init"))
    assert "it is initialised already: CN=Sealward Root CA" in line
    assert "CN=Sealward Intermediate CA" in line
    assert (site.folder / "tls" / "root.pem").read_bytes() == root


def test_serve_answers_under_the_root(initialised: tuple[Site, str]) -> None:
    """What `init` made is served; every URL begins with the configured address."""
    site, _ = initialised
    with _serving(site):
        context = ssl.create_default_context(cafile=str(site.folder / "tls" / "root.pem"))
        url = f"{site.address}/acme/default/directory"
        with urllib.request.urlopen(url, context=context, timeout=10) as answer:  # noqa: S310 - ours
            assert json.load(answer)["newOrder"].startswith("https://ca.example:")


def test_second_serve_is_told_that_the_port_is_taken(initialised: tuple[Site, str]) -> None:
    """Two services do not share a port in silence."""
    site, _ = initialised
    with _serving(site) as first:
        assert "cannot listen on 127.0.0.1:" in _fails(site.run("serve"))
        assert len(processes_of(first.pid)) > 0


def test_serve_before_init_says_what_to_do(site: Site) -> None:
    """Neither an empty database nor one that was only migrated can be served."""
    assert "run `sealward migrate`" in _fails(site.run("serve"))
    assert site.run("migrate").stdout.startswith("The database is migrated: 0001")
    softhsm_made = _fails(site.run("serve"))
    assert "cannot read" in softhsm_made
    assert "pin" in softhsm_made


def test_interrupted_init_is_completed(site: Site) -> None:
    """Killed at whatever moment, the next `init` makes the rest, and shows a credential."""
    for delay in (0.5, 0.7, 0.9, 1.1):
        process = subprocess.Popen(
            [sys.executable, "-m", "cli", "init", "--config", str(site.config)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, **site.environment},
        )
        time.sleep(delay)
        process.kill()
        process.wait()
    done = site.run("init")
    assert done.returncode == 0 or "it is initialised already" in done.stderr, done.stderr
    assert (site.folder / "tls" / "server.pem").exists()


def test_init_uses_a_token_that_is_there(site: Site) -> None:
    """A token of the operator's is used, with the PIN that the operator wrote; no second one is made."""
    script = "from hsm import softhsm; softhsm.init_token(softhsm.find_module(), 'ca', '5678-so', '1234-user')"
    subprocess.run([sys.executable, "-c", script], check=True, env={**os.environ, **site.environment})
    line = _fails(site.run("init"))
    assert "write the token's user PIN into it, with mode 0600" in line
    (site.folder / "pin").write_text("1234-user\n")
    (site.folder / "pin").chmod(0o600)
    done = site.run("init")
    assert done.returncode == 0, done.stderr
    assert not (site.folder / "pin.security-officer").exists()
    assert "made just now" not in done.stdout


def test_init_on_the_token_of_another_ca_destroys_no_key(initialised: tuple[Site, str], tmp_path: Path) -> None:
    """An operator who names the wrong database must not lose the CA whose keys are in the token."""
    first, _ = initialised
    other = _site(tmp_path)
    text = other.config.read_text().replace(str(tmp_path / "pin"), str(first.folder / "pin"))
    other.config.write_text(text)
    Site(tmp_path, other.config, first.environment, other.address).run("init")
    with _serving(first):
        pass


def test_check_config_shows_what_is_in_force_without_secrets(tmp_path: Path) -> None:
    """Defaults included; a password in the database's URL is not shown."""
    site = _site(tmp_path, url="postgresql+psycopg://sealward:secret-word@db.example/ca")
    done = site.run("check-config")
    assert done.returncode == 0, done.stderr
    assert "secret-word" not in done.stdout
    assert 'url = "postgresql+psycopg://sealward:***@db.example/ca"' in done.stdout
    assert "crl_hours = 24" in done.stdout
    as_json = json.loads(site.run("check-config", "--output", "json").stdout)
    assert as_json["authority"]["crl_hours"] == 24
    assert as_json["hsm"]["token_label"] == "ca"  # noqa: S105 - a name


def test_shown_configuration_can_be_read_again(site: Site, tmp_path: Path) -> None:
    """What `check-config` prints is a configuration file that says the same."""
    shown = site.run("check-config").stdout
    again = tmp_path / "again.toml"
    again.write_text(shown)
    assert sealward("check-config", "--config", again).stdout == shown


def test_paths_are_taken_from_the_folder_of_the_configuration(site: Site) -> None:
    """Those that are not named too: wherever a command is run, it means the same files."""
    lines = [
        line for line in site.config.read_text().splitlines() if not line.startswith(("tls_directory", "pin_file"))
    ]
    site.config.write_text("\n".join(lines))
    shown = json.loads(site.run("check-config", "--output", "json").stdout)
    assert shown["server"]["tls_directory"] == str(site.folder / "tls")
    assert shown["hsm"]["pin_file"] == str(site.folder / "pin")


@pytest.mark.parametrize("key", ["base_url", "url", "module"])
def test_check_config_names_what_is_missing(site: Site, key: str) -> None:
    """What only the operator can know must be there."""
    lines = [line for line in site.config.read_text().splitlines() if not line.startswith(f"{key} =")]
    site.config.write_text("\n".join(lines))
    assert key in _fails(site.run("check-config"))


def test_migrate_twice_changes_nothing(site: Site) -> None:
    """Migrating what is migrated is no error."""
    assert site.run("migrate").returncode == 0
    assert site.run("migrate").stdout == "The database was up to date.\n"


def test_doctor_calls_a_good_token_safe(initialised: tuple[Site, str]) -> None:
    """Each check is listed, and the exit code is the verdict."""
    site, _ = initialised
    done = site.run("hsm", "doctor", "--output", "json")
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(done.stdout)
    assert report["safe"] is True
    assert {"name": "sign ec-p256 sha256", "ok": True, "detail": ""} in report["checks"]
    assert "SAFE: no key comes out." in site.run("hsm", "doctor").stdout


def test_doctor_tells_a_missing_module(site: Site) -> None:
    """One line, not a stack of the library's."""
    text = site.config.read_text().replace(str(softhsm.find_module()), "/absent.so")
    site.config.write_text(text)
    assert "/absent.so" in _fails(site.run("hsm", "doctor"))


def test_port_of_a_name_without_address_is_told(site: Site) -> None:
    """[server] listen may be a name, if it has an address."""
    text = re.sub(r'listen = "127.0.0.1', 'listen = "no-such-host.invalid', site.config.read_text(), count=1)
    site.config.write_text(text)
    assert "has no address" in _fails(site.run("serve"))
