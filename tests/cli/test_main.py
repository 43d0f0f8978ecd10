"""The `sealward` command itself."""

import subprocess
import sys
import time
from pathlib import Path

from tests.service import sealward

_HEAVY = ("hsm", "pki.core", "flask", "granian", "sqlalchemy", "cryptography", "acme")


def test_help_answers_within_200_milliseconds() -> None:
    """--help imports no sub-command, so that it answers at once (the best of five runs, on a busy machine)."""
    times = []
    for _ in range(5):
        begun = time.monotonic()
        done = sealward("--help")
        times.append(time.monotonic() - begun)
        assert done.returncode == 0
        assert "check-config" in done.stdout
    assert min(times) < 0.2


def test_help_imports_no_room() -> None:
    """What makes a start slow is imported by the command that needs it."""
    left = f"[name for name in {_HEAVY} if name in sys.modules]"
    script = f"import sys\nfrom cli.main import run\nrun(['--help'])\nsys.exit(str({left}))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.stderr.strip() == "[]"


def test_every_command_is_there_and_has_help() -> None:
    """The table of lazily imported commands names modules that exist."""
    for command in ("dev", "init", "serve", "check-config", "migrate", "hsm"):
        done = sealward(command, "--help")
        assert done.returncode == 0, done.stderr
        assert f"Usage: sealward {command}" in done.stdout


def test_version_is_that_of_the_package() -> None:
    """--version says name and version."""
    assert sealward("--version").stdout.startswith("sealward, version ")


def test_wrong_usage_exits_with_2() -> None:
    """An unknown command, an unknown option and a missing option are wrong usage, which is told apart from failure."""
    for arguments in (["frob"], ["--frob"], ["dev"]):
        done = sealward(*arguments)
        assert done.returncode == 2
        assert "Traceback" not in done.stderr


def test_failure_shows_a_traceback_only_with_debug(tmp_path: Path) -> None:
    """A user is told in one line; --debug adds where it happened."""
    absent = tmp_path / "absent.toml"
    plain = sealward("check-config", "--config", absent)
    assert plain.returncode == 1
    assert plain.stderr.startswith(f"sealward: cannot read {absent}")
    assert len(plain.stderr.splitlines()) == 1
    debug = sealward("--debug", "check-config", "--config", absent)
    assert debug.returncode == 1
    assert "Traceback" in debug.stderr
