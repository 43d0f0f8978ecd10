"""The folder in which `sealward dev` keeps everything: token, PINs, database, certificates, ports, `ready.json`."""

import contextlib
import fcntl
import json
import os
import shutil
import socket
import stat
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Self

from cli.files import write_private
from pki.errors import Conflict, Misconfigured, SealwardError

_LOCK_PATIENCE = 3.0
"""Seconds for the processes of a killed predecessor to end: they hold the lock as well."""
_LEAST_ROOM = 128 * 1024
"""Octets: less than the database needs beside its file while it works."""


class DataDirectory:
    """One data folder; make it with `claim`, which holds it for this process until it ends."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.database = path / "sealward.db"
        self.token = path / "token"
        self.pin = path / "pin"
        self.so_pin = path / "so-pin"
        self.tls = path / "tls"
        self.root_pem = path / "root.pem"
        self.ready = path / "ready.json"
        self.root_token = path / "root-token"
        self._ports = path / "ports.json"
        self._lock = path / "lock"

    @classmethod
    def claim(cls, path: Path) -> Self:
        """Make the folder (0700) if it is absent, and lock it.

        Raises:
            Conflict: another `sealward dev` runs on it.
            Misconfigured: it belongs to somebody else, or holds other things.
            OSError: it cannot be made or written.
        """
        directory = cls(path.absolute())
        directory._make()
        directory._take_lock()
        directory.withdraw()
        return directory

    def _make(self) -> None:
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self.path.stat().st_uid != os.geteuid():
            raise Misconfigured(f"{self.path} belongs to another user", advice="name a folder of your own with --data")
        if not self._lock.exists() and any(self.path.iterdir()):
            raise Misconfigured(
                f"{self.path} holds other things",
                advice="name an empty or absent folder with --data, or empty this one",
            )
        if stat.S_IMODE(self.path.stat().st_mode) != 0o700:  # noqa: PLR2004 - the mode itself
            self.path.chmod(0o700)

    def _take_lock(self) -> None:
        # Never closed: the lock ends with the last process of this service.
        descriptor = os.open(self._lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        deadline = time.monotonic() + _LOCK_PATIENCE
        while True:
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            if time.monotonic() > deadline:
                os.close(descriptor)
                raise Conflict(
                    f"another `sealward dev` runs on {self.path}", advice="stop it, or name another folder with --data"
                )
            time.sleep(0.05)

    @contextlib.contextmanager
    def blaming_a_full_disk(self) -> Iterator[None]:
        """Say that the disk is full when something fails in the block and it is: not every part can say so itself.

        Raises:
            SealwardError: the disk is full.
        """
        try:
            yield
        except (SealwardError, OSError) as error:
            if shutil.disk_usage(self.path).free >= _LEAST_ROOM:
                raise
            advice = "free space or enlarge the volume, then start again: what is missing will be made"
            raise SealwardError(f"the disk under {self.path} is full", advice=advice) from error

    def announce(self, document: Mapping[str, object], token: str) -> None:
        """Write the root token's file, and `ready.json`: everything answers."""
        write_private(self.root_token, token.encode() + b"\n")
        write_private(self.ready, json.dumps(document, indent=2).encode() + b"\n")

    def withdraw(self) -> None:
        """Remove `ready.json` and the root token's file: the next start makes another token."""
        self.ready.unlink(missing_ok=True)
        self.root_token.unlink(missing_ok=True)

    def remembered_port(self, name: str) -> int | None:
        """Return the port chosen for `name` at an earlier start, if any.

        Raises:
            Misconfigured: the file of ports is not what was written.
        """
        return self._read_ports().get(name)

    def remember_port(self, name: str, port: int) -> None:
        """Keep a port for the next start: its number stands in certificates, or in clients' settings."""
        ports = {**self._read_ports(), name: port}
        write_private(self._ports, json.dumps(ports).encode())

    def _read_ports(self) -> dict[str, int]:
        try:
            ports: dict[str, int] = json.loads(self._ports.read_bytes())
        except FileNotFoundError:
            return {}
        except ValueError:
            raise Misconfigured(
                f"{self._ports} cannot be read", advice="restore it, or start with another --data"
            ) from None
        return ports


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def can_bind(port: int) -> bool:
    """Tell whether this user can listen on that port of 127.0.0.1 now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
            probe.listen(1)
        except OSError:
            return False
        return True
