"""kill -9 while a CA is being made: the next attempt completes it, and no key of the first stays in the token."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from cli.offline.check_config import to_toml
from hsm import softhsm
from pki.config import Config, load
from tests.counts import count
from tests.faults.crash_acts import Actor, look_into_house, make_house, make_token
from tests.faults.crash_figures import tell
from tests.faults.crash_tracing import killed_at, killing_at, require_strace
from tests.house_fixture import configure
from tests.service import free_port, sealward
from tests.tokens import USER_PIN, SoftToken

_KILLED = -9
_SHOWN = "bootstrap credential"
_KINDS = [*"22223333", "4"]
"""CKO_PUBLIC_KEY and CKO_PRIVATE_KEY of root, intermediate and the two CAs of SSH, CKO_SECRET_KEY of the KEK."""


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, SoftToken]:
    """Give a folder with an empty token."""
    folder, token = tmp_path_factory.mktemp("pristine"), SoftToken(softhsm.find_module(), "crash", USER_PIN)
    with Actor(make_token, folder, token) as actor:
        actor.await_ready()
        actor.go()
        assert actor.end() == 0
    return folder, token


def _run_killed(folder: Path, config: Config, number: int) -> int:
    with Actor(make_house, folder, config) as actor:
        actor.await_ready()
        with killed_at(actor.pid, number):
            actor.go()
            return actor.end()


def _run(folder: Path, config: Config) -> int:
    with Actor(make_house, folder, config) as actor:
        actor.await_ready()
        actor.go()
        return actor.end()


def _look(folder: Path, config: Config) -> tuple[list[str], list[str]]:
    with Actor(look_into_house, folder, config) as actor:
        actor.await_ready()
        actor.go()
        assert actor.end() == 0
        ((labels, wrong),) = actor.heard()
    return labels, wrong


def test_founding_killed_at_any_write_or_flush_is_completed_by_the_next(
    pristine: tuple[Path, SoftToken], tmp_path: Path
) -> None:
    """CA49: database and token then hold one house: three keys, two issuers, everything audited, and it issues."""
    require_strace()
    empty, token = pristine
    number, step, kills = 1, count(31, 1), 0
    while True:
        folder = tmp_path / str(number)
        shutil.copytree(empty, folder)
        config = configure(f"sqlite:///{folder}/house.db", token, folder)
        code = _run_killed(folder, config, number)
        assert code in {0, _KILLED}
        assert _run(folder, config) == 0, f"killed at call {number}, it cannot be completed"
        labels, wrong = _look(folder, config)
        assert sorted(label.rpartition(" ")[2] for label in labels) == _KINDS, (number, labels)
        assert wrong == [], number
        shutil.rmtree(folder)
        if code == 0:
            break
        kills += 1
        number += step
    tell(kills=kills)
    assert kills >= 5


def _site(folder: Path) -> tuple[Path, dict[str, str]]:
    """Return the configuration file and environment of a machine on which nothing has been initialised."""
    port, http_port = free_port(), free_port()
    document = {
        "server": {
            "listen": f"127.0.0.1:{port}",
            "base_url": f"https://ca.example:{port}",
            "names": ["ca.example", "127.0.0.1"],
            "tls_directory": str(folder / "tls"),
        },
        "http": {"listen": f"127.0.0.1:{http_port}", "base_url": f"http://ca.example:{http_port}"},
        "database": {"url": f"sqlite:///{folder}/ca.db"},
        "hsm": {"module": str(softhsm.find_module()), "token_label": "ca", "pin_file": str(folder / "pin")},
    }
    config = folder / "sealward.toml"
    config.write_text("\n".join(to_toml(document)))
    return config, {"SOFTHSM2_CONF": str(softhsm.write_config(folder / "token")), "SEALWARD_CONFIG": str(config)}


def test_init_killed_at_any_write_or_flush_is_completed_by_the_next(tmp_path: Path) -> None:
    """CA49: whenever `sealward init` is killed, running it again ends well, and shows the credential."""
    require_strace()
    number, step, kills = 1, count(160, 7), 0
    while True:
        folder = tmp_path / str(number)
        folder.mkdir()
        config, environment = _site(folder)
        command = ["strace", *killing_at(number), sys.executable, "-m", "cli", "init"]
        first = subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, check=False)
        if first.returncode == 0:
            break
        again = sealward("init", environment=environment)
        if _SHOWN not in first.stdout:
            assert again.returncode == 0, f"killed at call {number}: {again.stderr}"
            assert _SHOWN in again.stdout
        labels, wrong = _look(folder / "token", load(config))
        assert sorted(label.rpartition(" ")[2] for label in labels) == _KINDS, (number, labels)
        assert wrong == [], number
        kills += 1
        number += step
    tell(kills=kills)
    assert kills >= 3
