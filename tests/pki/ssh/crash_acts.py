"""What is done, and killed, in processes of their own."""

import contextlib
import hashlib
import os
import signal
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from pki.config import Config
from pki.core import open_core
from pki.mounts import Mount
from pki.ssh import signatures
from tests.clocks import FrozenClock
from tests.pki.ssh.conftest import authority
from tests.pki.ssh.material import issue


@contextlib.contextmanager
def _signatures_noted(log: Path, *, then_die: bool) -> Iterator[None]:
    """Note the SHA-256 of each message before the token signs it; end the process after the first, if so wished."""
    honest = signatures.sign

    def sign(key: Any, message: bytes) -> bytes:
        with log.open("a") as file:
            file.write(hashlib.sha256(message).hexdigest() + "\n")
        signature = honest(key, message)
        if then_die:
            os.kill(os.getpid(), signal.SIGKILL)
        return signature

    signatures.sign = sign
    try:
        yield
    finally:
        signatures.sign = honest


def sign(
    talk: Connection, config: Config, moment: datetime, log: Path, mount: Mount, *, then_die: bool = False
) -> None:
    """Sign one certificate for alice, and say its line."""
    with closing(open_core(config, FrozenClock(moment))) as core, _signatures_noted(log, then_die=then_die):
        ssh = authority(core)
        talk.send("ready")
        talk.recv()
        talk.send(issue(ssh, mount).line)
