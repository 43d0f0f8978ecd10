"""The Makefile and the script of the continuous integration do what the README says."""

import re
import stat

from tests.house.programs import run_any
from tests.house.tree import ROOT

MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
PROMISED = {"help", "install", "run", "test", "soak", "lock", "docs"}


def test_help_lists_every_promised_target() -> None:
    """`make help` needs nothing installed."""
    result = run_any(["make", "help"], cwd=ROOT, timeout=30)
    assert result.returncode == 0, result.stderr
    assert set(re.findall(r"^  make ([a-z-]+)", result.stdout, re.MULTILINE)) >= PROMISED


def test_every_recipe_is_sound_bash() -> None:
    """What make would run is syntactically right, and stops at the first failure."""
    for target in sorted(PROMISED | {"lint", "format", "clean", "test-needs"}):
        recipe = run_any(["make", "--dry-run", "--always-make", target], cwd=ROOT, timeout=30).stdout
        assert run_any(["bash", "-n", "-c", recipe], cwd=ROOT, timeout=30).stderr == ""
    assert ".SHELLFLAGS := -euo pipefail -c" in MAKEFILE


def test_ci_calls_the_readme_s_test_command() -> None:
    """The integration runs `make test` and knows nothing that a newcomer does not."""
    script = ROOT / ".ci/run"
    lines = [line for line in script.read_text(encoding="utf-8").splitlines() if line and line[0] != "#"]
    assert lines[-1] == "exec make test </dev/null"
    assert "set -euo pipefail" in lines
    assert script.stat().st_mode & stat.S_IXUSR


def test_pip_takes_nothing_that_is_not_locked() -> None:
    """Each install from a registry checks hashes; the project itself is installed without looking for anything."""
    installs = re.findall(r"^.*\(PIP\) install .*$", MAKEFILE, re.MULTILINE)
    assert len(installs) == 3
    assert all("--require-hashes" in line or "--no-deps --no-build-isolation" in line for line in installs)
