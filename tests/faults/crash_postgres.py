"""A PostgreSQL server of its own for tests that stop it, fill its disk, or make it read-only."""

import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import Any, Self

from sqlalchemy import URL

from tests.postgres import _SERVER_USER, Server, _as, _find_programs, _wait_until_ready


class OwnServer:
    """Runs on a Unix socket in `home`; `with` starts and ends it, and removes everything."""

    def __init__(self) -> None:
        self._programs = _find_programs()
        self._user = None if Path("/proc/self").stat().st_uid else _SERVER_USER  # it refuses to run as root
        self.home = Path(tempfile.mkdtemp(prefix="sealward-pg-"))
        self.give(self.home)
        self._process: subprocess.Popen[Any] | None = None
        options = "-c default_transaction_read_only=off"  # whatever a test makes the default for others
        query = {"host": str(self.home), "options": options}
        self.admin = Server(URL.create("postgresql+psycopg", "sealward", database="postgres", query=query))

    def __enter__(self) -> Self:
        """Make the cluster and start it."""
        self._run("initdb", "-U", "sealward", "--auth=trust", "-N", "-E", "UTF8", "--locale=C")
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop it and remove its files."""
        self.stop()
        shutil.rmtree(self.home, ignore_errors=True)

    def give(self, folder: Path) -> None:
        """Make the server's user the owner of a folder."""
        if self._user is not None:
            shutil.chown(folder, self._user, self._user)

    def url(self, database: str) -> str:
        """Return the address at which the service finds a database."""
        address = self.admin.url.set(database=database).difference_update_query(["options"])
        return address.render_as_string(hide_password=False)

    def start(self) -> None:
        """Start it; return when it answers."""
        options = [f"--unix_socket_directories={self.home}", "--listen_addresses=", "--fsync=on"]
        command = ["setpriv", "--pdeathsig", "INT", str(self._programs / "postgres"), "-D", str(self.home / "data")]
        with (self.home / "log").open("a") as log:
            process = subprocess.Popen([*command, *options], **_as(self._user), stdout=log, stderr=log)
        self._process = process
        _wait_until_ready(self._programs, self.home, process)

    def stop(self) -> None:
        """End it at once, as a crash does: no connection is told."""
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait(30)
            self._process = None

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(self._programs / program), "-D", str(self.home / "data"), *arguments]
        subprocess.run(command, **_as(self._user), check=True, capture_output=True, timeout=60)
