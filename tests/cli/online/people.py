"""People at the command line: each has a folder, settings and a token of their own, and a running service."""

import json
import os
import pty
import select
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.service import Service

_SECONDS = 30
_OURS = "SEALWARD_"


class Person:
    """Runs `sealward` in `folder` against `service`, as one who knows its address and its root."""

    def __init__(self, folder: Path, address: str, ca_file: Path | None) -> None:
        self.folder = folder
        self.settings = folder / "settings"
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
        self.environment |= {"XDG_CONFIG_HOME": str(self.settings), "SEALWARD_ADDR": address, "HOME": str(folder)}
        if ca_file is not None:
            self.environment["SEALWARD_CACERT"] = str(ca_file)

    @property
    def token_file(self) -> Path:
        """Where `login` keeps the token."""
        return self.settings / "sealward/default.token"

    def run(
        self, *words: str | Path, typed: str | bytes = "", environment: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run one command to its end; `typed` comes by standard input."""
        done = subprocess.run(
            [sys.executable, "-m", "cli", *map(str, words)],
            input=typed.encode() if isinstance(typed, str) else typed,
            capture_output=True,
            timeout=_SECONDS,
            check=False,
            cwd=self.folder,
            env={**self.environment, "PYTHONPATH": str(Path.cwd()), **(environment or {})},
        )
        return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())

    def does(self, *words: str | Path, typed: str | bytes = "") -> str:
        """Run a command that succeeds, and return what it printed."""
        done = self.run(*words, typed=typed)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def sees(self, *words: str | Path) -> Any:
        """Run a command that succeeds, and return its data."""
        return json.loads(self.does(*words, "--output", "json"))

    def fails(self, code: int, *words: str | Path, typed: str | bytes = "") -> str:
        """Run a command that ends with `code` and one line on stderr, and return that line."""
        done = self.run(*words, typed=typed)
        assert done.returncode == code, done
        assert done.stdout == ""
        assert len(done.stderr.splitlines()) == 1, done.stderr
        assert done.stderr.startswith("sealward: ")
        return done.stderr

    def sits(self, *words: str | Path, typed: str = "") -> tuple[int, str]:
        """Run a command at a terminal, type there, and return the exit code and all that the terminal showed."""
        master, slave = pty.openpty()
        environment = {**self.environment, "PYTHONPATH": str(Path.cwd()), "COLUMNS": "200"}
        process = subprocess.Popen(
            [sys.executable, "-m", "cli", *map(str, words)],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            cwd=self.folder,
            env=environment,
            start_new_session=True,
        )
        os.close(slave)
        try:
            return _watch(process, master, typed)
        finally:
            process.kill()
            process.wait()
            os.close(master)

    def logs_in(self, token: str) -> None:
        """Log in by a token."""
        self.does("login", typed=f"{token}\n")


def _watch(process: subprocess.Popen[bytes], master: int, typed: str) -> tuple[int, str]:
    """Type each line when the program has asked for it, and return how it ended and what was shown."""
    shown, lines, deadline = b"", typed.splitlines(keepends=True), time.monotonic() + _SECONDS
    asked = 0
    while time.monotonic() < deadline:
        if select.select([master], [], [], 0.1)[0]:
            try:
                piece = os.read(master, 4096)
            except OSError:  # the terminal is closed: nobody holds its other end
                piece = b""
            if not piece:
                break
            shown += piece
        elif process.poll() is not None:
            break
        if lines and shown[asked:].endswith(b": "):
            asked = len(shown)
            os.write(master, lines.pop(0).encode())
    return process.wait(_SECONDS), shown.decode()


def person_of(service: Service, folder: Path) -> Person:
    """Return somebody without a token, in a new folder."""
    folder.mkdir()
    return Person(folder, service.address, service.ca_file)


def hire(administrator: Person, person: Person, name: str, policy: str, *options: str) -> Person:
    """Let the administrator write a policy, and log somebody in by a token that has it."""
    administrator.does("policy", "set", name, "-", typed=policy)
    made = administrator.sees("token", "create", "--policy", name, "--display-name", name, *options)
    person.logs_in(made["client_token"])
    return person
