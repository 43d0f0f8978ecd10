"""Small file systems of their own, for power cuts and full disks; mounting them needs root, as CI has it."""

import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

_NEVER = 3600
"""Seconds between ext4's own commits: what is on the image got there because somebody asked for it."""


def _run(*command: str | Path) -> None:
    subprocess.run(command, check=True, capture_output=True)


def _require(*programs: str) -> None:
    if os.geteuid() != 0:
        pytest.skip("missing: root, to mount file systems")
    for program in programs:
        if shutil.which(program) is None:
            pytest.skip(f"missing: {program} (apt install e2fsprogs mount)")


@contextlib.contextmanager
def mounted(image: Path, folder: Path) -> Iterator[Path]:
    """Mount an image through a loop device."""
    folder.mkdir(exist_ok=True)
    done = subprocess.run(
        ["mount", "-o", f"loop,commit={_NEVER}", image, folder], check=False, capture_output=True, text=True
    )
    if done.returncode:
        pytest.skip(f"missing: loop devices: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        _run("umount", "--lazy", folder)


class Image:
    """An ext4 file system in a file. `path` is its image, `folder` where it is mounted."""

    def __init__(self, path: Path, megabytes: int) -> None:
        _require("mkfs.ext4", "chattr")
        self.path = path
        self.folder = path.with_suffix("")
        with path.open("wb") as file:
            file.truncate(megabytes << 20)
        _run("mkfs.ext4", "-q", "-F", "-m", "0", path)

    @contextlib.contextmanager
    def mounted(self) -> Iterator[Path]:
        """Mount it."""
        with mounted(self.path, self.folder) as folder:
            yield folder

    def flush(self) -> None:
        """Write everything out."""
        _run("sync", "--file-system", self.folder)

    def copy(self, path: Path) -> None:
        """Copy the image as it is on its disk: without what only the memory of the machine holds."""
        _run("cp", "--sparse=always", self.path, path)

    def abort(self) -> None:
        """Make the file system refuse all writes until it is mounted anew, as ext4 does after an error of the disk."""
        _run("mount", "-o", "remount,abort", self.folder)


def fill(folder: Path) -> Path:
    """Take all the room that is left, and return the file that has it."""
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        for size in (1 << 20, 4096, 1):
            with contextlib.suppress(OSError):
                while True:
                    file.write(bytes(size))
    return ballast


@contextlib.contextmanager
def immutable(*files: Path) -> Iterator[None]:
    """Let nobody write the files, root and who has them open included."""
    _run("chattr", "+i", *files)
    try:
        yield
    finally:
        _run("chattr", "-i", *files)


def await_stopped(pid: int) -> None:
    """Return when every thread of a process that was sent SIGSTOP stands still, none of them in a system call."""
    deadline = time.monotonic() + 30
    tasks = Path(f"/proc/{pid}/task")
    while not all((task / "stat").read_text().rpartition(")")[2].split()[0] == "T" for task in tasks.iterdir()):
        assert time.monotonic() < deadline, "the process does not stop"
        time.sleep(0.001)
