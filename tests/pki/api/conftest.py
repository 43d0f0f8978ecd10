"""A real listener over a small application, and the whole service."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.pki.api import wire
from tests.service import Service, free_port, processes_of

BODY_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Listener:
    """A running listener: its port, its process, and the file that it logs to."""

    port: int
    pid: int
    log: Path

    def ask(self, octets: bytes, *, half_close: bool = False) -> wire.Reply:
        """Send those octets on a new connection, and read the answer."""
        return wire.exchange(self.port, octets, half_close=half_close)

    def resident(self) -> int:
        """Return the octets of memory that its processes take up."""
        pages = [Path(f"/proc/{pid}/statm").read_text().split()[1] for pid in (self.pid, *processes_of(self.pid))]
        return sum(map(int, pages)) * 4096


@pytest.fixture(scope="session")
def listener(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Listener]:
    """Give the listener over the small application."""
    port, log = free_port(), tmp_path_factory.mktemp("listener") / "log"
    command = [sys.executable, "-m", "tests.pki.api.listener", str(port)]
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT)
    running = Listener(port, process.pid, log)
    try:
        _wait(running)
        workers = processes_of(process.pid)
        yield running
        assert processes_of(process.pid) == workers, log.read_text()  # D4: nothing ended a process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(10)


def _wait(listener: Listener) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            assert listener.ask(wire.request()).status == 200
        except OSError:
            assert time.monotonic() < deadline, listener.log.read_text()
            time.sleep(0.05)
        else:
            return


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Give the whole service, which waits for bodies no longer than `BODY_SECONDS`."""
    document = {"server": {"body_timeout": BODY_SECONDS}}
    with Service(tmp_path_factory.mktemp("service") / "data", document) as running:
        yield running
