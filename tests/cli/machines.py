"""What the machine does to a command in these tests: a wrong clock, a full or read-only disk, a taken port."""

import contextlib
import errno
import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

_SOURCE = Path(__file__).with_name("clockshift.c")


@pytest.fixture(scope="session")
def clock_shifted_by(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], dict[str, str]]:
    """Give the environment in which a process sees the time of day shifted by some days."""
    library = tmp_path_factory.mktemp("clock") / "clockshift.so"
    subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-o", library, _SOURCE, "-ldl"], check=True)
    return lambda days: {"LD_PRELOAD": str(library), "SEALWARD_TEST_CLOCK_SHIFT": str(days * 86400)}


@contextlib.contextmanager
def taken_port(port: int = 0) -> Iterator[int]:
    """Listen on a port of 127.0.0.1, a free one unless it is named; one that needs more rights is taken as well."""
    with socket.socket() as listener:
        with contextlib.suppress(PermissionError):
            _bind(listener, port)
            listener.listen()
        yield port or listener.getsockname()[1]


def _bind(listener: socket.socket, port: int) -> None:
    """Bind it, if need be when another test has done with the port."""
    deadline = time.monotonic() + 60
    while True:
        try:
            listener.bind(("127.0.0.1", port))
        except OSError as error:
            if error.errno != errno.EADDRINUSE or time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return


class Disk:
    """A small file system of its own, in memory."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def change(self, options: str) -> None:
        """Remount it with other options: `size=1m`, `ro`."""
        subprocess.run(["mount", "-o", f"remount,{options}", self.path], check=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """Mount an empty file system of 64 KiB; needs root, as CI has it."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root")
    path = tmp_path / "disk"
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k,mode=700", "tmpfs", path], check=True)
    yield Disk(path)
    subprocess.run(["umount", "--lazy", path], check=True)
