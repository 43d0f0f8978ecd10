"""A running `sealward dev` for tests that need the whole service: `from tests.service import service`.

Each has a folder, ports and validation ports of its own, and leaves no process behind.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Self

import pytest

from cli.offline.check_config import to_toml

_START_SECONDS = 60
_STOP_SECONDS = 20


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def sealward(*arguments: str | Path, environment: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    return subprocess.run(
        [sys.executable, "-m", "cli", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=_START_SECONDS,
        check=False,
        stdin=subprocess.DEVNULL,
        env={**os.environ, **(environment or {})},
    )


def processes_of(pid: int) -> list[int]:
    """Return the process ids of all descendants of `pid` that run."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if fields[0] != "Z":
                parents[int(entry.name)] = int(fields[1])
    found = [child for child, parent in parents.items() if parent == pid]
    for child in found:
        found.extend(grandchild for grandchild, parent in parents.items() if parent == child)
    return found


def is_running(pid: int) -> bool:
    """Tell whether there is such a process, other than as a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


class Service:
    """`sealward dev` over `data`, with `document` as its configuration file; `with` starts and stops it.

    Validation ports are free ones unless the document names others. `ready` is the content of ready.json.
    """

    def __init__(
        self,
        data: Path,
        document: Mapping[str, Any] | None = None,
        *,
        listen: str = "127.0.0.1:0",
        arguments: tuple[str, ...] = ("--no-proof",),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.data = data
        self.log = data.with_name(f"{data.name}.log")
        self.document = with_ports(document or {})
        self._listen = listen
        self._arguments = arguments
        self._environment = {**os.environ, **(environment or {})}
        self._process: subprocess.Popen[bytes] | None = None
        self.ready: dict[str, Any] = {}

    def __enter__(self) -> Self:
        """Start it."""
        self.start()
        return self

    def __exit__(self, failure: type[BaseException] | None, *_: object) -> None:
        """Stop it, unless the test has done so."""
        if self._process is not None:
            code = self.stop()
            assert code == 0 or failure is not None, self.output

    def start(self) -> None:
        """Start it; return when `ready.json` is there."""
        config = self.data.with_name(f"{self.data.name}.toml")
        config.write_text("\n".join(to_toml(dict(self.document))))
        command = [sys.executable, "-m", "cli", "dev", "--data", str(self.data), "--listen", self._listen]
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [*command, "--config", str(config), *self._arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self._environment,
            )
        deadline = time.monotonic() + _START_SECONDS
        while not self._is_ready():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop(signal.SIGKILL)
                raise AssertionError(self.output)
            time.sleep(0.05)

    def _is_ready(self) -> bool:
        """Read `ready.json`, unless it is one that a killed predecessor left."""
        try:
            ready = json.loads((self.data / "ready.json").read_bytes())
        except FileNotFoundError:
            return False
        if ready["pid"] != self.pid:
            return False
        self.ready = ready
        return True

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send the signal, and return the exit code."""
        assert self._process is not None
        self._process.send_signal(number)
        try:
            code = self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise
        self._process = None
        return code

    @property
    def pid(self) -> int:
        """The supervisor's process id."""
        assert self._process is not None
        return self._process.pid

    @property
    def output(self) -> str:
        """All that it has printed since it was last started."""
        return self.log.read_text(errors="replace")

    @property
    def address(self) -> str:
        """The URL of the TLS listener, without a slash at its end."""
        return str(self.ready["address"])

    @property
    def http_address(self) -> str:
        """The URL of the plain HTTP listener, without a slash at its end."""
        return str(self.ready["http_address"])

    @property
    def directory(self) -> str:
        """The URL of the default ACME directory."""
        return str(self.ready["acme_directory"])

    @property
    def ca_file(self) -> Path:
        """The root certificate, in PEM."""
        return Path(self.ready["ca_file"])

    @property
    def http01_port(self) -> int:
        """The port at which http-01 challenges are validated."""
        return int(self.document["acme"]["validation"]["http01_port"])

    @property
    def tlsalpn01_port(self) -> int:
        """The port at which tls-alpn-01 challenges are validated."""
        return int(self.document["acme"]["validation"]["tlsalpn01_port"])


def with_ports(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the document with validation ports, where it has none."""
    acme = document.get("acme", {})
    ports = {"http01_port": free_port(), "tlsalpn01_port": free_port()}
    return {**document, "acme": {**acme, "validation": {**ports, **acme.get("validation", {})}}}


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One running service for all tests that only use it."""
    with Service(tmp_path_factory.mktemp("service") / "data") as running:
        yield running
