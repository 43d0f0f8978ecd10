"""The clients, as their authors ship them: where they are, which version each is, and how to run one."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

_SECONDS = 60
_PATH = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)))
VERSIONS: dict[str, str] = {}
"""The version of each client that was used, for the end of the report."""


@dataclass(frozen=True)
class Done:
    """A program that has ended: its exit code, and all it printed."""

    code: int
    output: str


@dataclass(frozen=True)
class Client:
    """A client's program, run in a folder that is its home and working directory too."""

    program: str
    folder: Path
    environment: Mapping[str, str]

    def attempt(self, *arguments: str | Path, **environment: str) -> Done:
        """Run it to its end, whichever that is."""
        done = subprocess.run(
            [self.program, *map(str, arguments)],
            cwd=self.folder,
            env=environment_in(self.folder, {**self.environment, **environment}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=_SECONDS,
            check=False,
        )
        return Done(done.returncode, done.stdout)

    def run(self, *arguments: str | Path, **environment: str) -> str:
        """Run it to a good end; return what it printed."""
        done = self.attempt(*arguments, **environment)
        assert done.code == 0, done.output
        return done.output


def environment_in(folder: Path, more: Mapping[str, str]) -> dict[str, str]:
    """Return a plain environment in which `folder` is home, and the clients are found."""
    return {"HOME": str(folder), "PATH": _PATH, "LC_ALL": "C.UTF-8", **more}


def program(name: str, package: str, version: str) -> str:
    """Return the path of a client's program; its version goes into the report."""
    path = shutil.which(name, path=_PATH)
    if path is None:
        pytest.skip(f"{name} is missing: `make test-needs` installs it ({package})")
    said = subprocess.run([path, version], capture_output=True, text=True, timeout=_SECONDS, check=True).stdout
    VERSIONS[name] = said.splitlines()[0] + _packaged(name, path)
    return path


def _packaged(name: str, path: str) -> str:
    """Return the version of the distribution's package: lego as Debian builds it calls itself `dev`."""
    query = shutil.which("dpkg-query")
    if query is None or not path.startswith("/usr/bin/"):
        return ""
    command = [query, "--show", "--showformat=${Version}", name]
    found = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False)
    return f" (Debian package {found.stdout})" if found.returncode == 0 else ""


@contextlib.contextmanager
def serving(command: list[str], folder: Path, environment: Mapping[str, str], log: Path) -> Iterator[None]:
    """Run a client that serves, with its output in `log`; end it and whatever it started."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment_in(folder, environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise
