"""Kill a process at its n-th system call that writes, flushes or sends, by strace."""

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator

import pytest

CALLS = "write,pwrite64,writev,fsync,fdatasync,ftruncate,unlink,rename,sendto"


def require_strace() -> None:
    """Skip, naming it, where there is no strace; fail where CI=true."""
    if shutil.which("strace") is None:
        pytest.skip("missing: strace (apt install strace)")


def killing_at(number: int) -> list[str]:
    """Return the options of strace by which the n-th such call of a thread, instead of being made, kills."""
    return ["-f", "-qqq", "-o", os.devnull, "-e", f"trace={CALLS}", "-e", f"inject={CALLS}:signal=KILL:when={number}"]


@contextlib.contextmanager
def killed_at(pid: int, number: int) -> Iterator[None]:
    """Kill the process, or a thread's process, at its n-th such call from now on."""
    command = ["strace", "-p", str(pid), *killing_at(number)]
    command.remove("-qqq")  # it says when it has attached
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as tracer:
        assert tracer.stderr is not None
        said = tracer.stderr.readline()
        assert "attached" in said, said
        try:
            yield
        finally:
            tracer.terminate()
            tracer.stderr.read()
