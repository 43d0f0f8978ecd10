"""The programs of this environment, whether or not it is activated."""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.house.tree import ROOT

BIN = Path(sys.executable).parent


def run(program: str, *arguments: str, cwd: Path = ROOT, timeout: float = 120) -> subprocess.CompletedProcess[str]:
    """Run a program that `make install` has put into the environment, without input."""
    found = shutil.which(program, path=str(BIN))
    assert found is not None, f"{program} is not installed: run `make install`"
    return run_any([found, *arguments], cwd=cwd, timeout=timeout)


def run_any(
    command: Sequence[str], *, cwd: Path, timeout: float, home: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command with the environment's programs first on its path, and a home of its own where one is given."""
    environment = {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}"}
    if home is not None:
        environment["HOME"] = str(home)
    return subprocess.run(
        command,
        cwd=cwd,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout,
    )
