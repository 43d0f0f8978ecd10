"""A PostgreSQL server for the tests: the one that SEALWARD_TEST_POSTGRES names, else a throw-away one of our own.

Our own listens on a Unix socket in a private temporary directory only, keeps fsync on, and is gone with the session.
"""

import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import pytest
from sqlalchemy import URL, create_engine, make_url, text

_PROGRAMS = ("initdb", "pg_isready", "postgres")
_SERVER_USER = "postgres"
_ADVICE = "install PostgreSQL (apt install postgresql), or name a server in SEALWARD_TEST_POSTGRES"


@dataclass(frozen=True)
class Server:
    """A running server; `url` is that of a superuser on its maintenance database."""

    url: URL

    def create(self, name: str, template: str = "template0") -> URL:
        """Create a database and return its address."""
        self.run(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        return self.url.set(database=name)

    def drop(self, name: str) -> None:
        """Drop a database, whoever is connected to it."""
        self.run(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    def run(self, statement: str) -> None:
        """Run a statement outside any transaction."""
        engine = create_engine(self.url, isolation_level="AUTOCOMMIT")
        try:
            with engine.connect() as connection:
                connection.execute(text(statement))
        finally:
            engine.dispose()


_running = pytest.StashKey[Server]()


def server(config: pytest.Config) -> Server:
    """Return the session's one server, started on first use; skip, naming what is missing, or fail when CI=true."""
    known = config.stash.get(_running, None)
    if known is None:
        if importlib.util.find_spec("psycopg") is None:
            _missing("the Python package psycopg")
        known = config.stash[_running] = _named_server() or _own_server(config)
    return known


def _named_server() -> Server | None:
    url = os.environ.get("SEALWARD_TEST_POSTGRES")
    return Server(make_url(url).set(drivername="postgresql+psycopg")) if url else None


def _own_server(config: pytest.Config) -> Server:
    programs = _find_programs()
    home = Path(tempfile.mkdtemp(prefix="sealward-pg-"))
    config.add_cleanup(lambda: shutil.rmtree(home, ignore_errors=True))
    user = _SERVER_USER if os.geteuid() == 0 else None  # PostgreSQL refuses to run as root
    if user is not None:
        shutil.chown(home, user, user)
    data = home / "data"
    made = subprocess.run(
        [programs / "initdb", "-D", data, "-U", "sealward", "--auth=trust", "-N", "-E", "UTF8", "--locale=C"],
        **_as(user),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    if made.returncode:
        raise RuntimeError(f"initdb failed: {made.stderr}")
    settings = {"listen_addresses": "", "unix_socket_directories": str(home), "max_connections": "200", "fsync": "on"}
    options = [f"--{name}={value}" for name, value in settings.items()]
    with (home / "log").open("w") as log:
        process = subprocess.Popen(
            # The parent-death signal ends the server even where pytest is killed and cleans nothing up.
            ["setpriv", "--pdeathsig", "INT", programs / "postgres", "-D", data, *options],
            **_as(user),
            stdout=log,
            stderr=log,
        )
    config.add_cleanup(lambda: _stop(process))
    _wait_until_ready(programs, home, process)
    return Server(URL.create("postgresql+psycopg", "sealward", database="postgres", query={"host": str(home)}))


def _as(user: str | None) -> dict[str, Any]:
    become: dict[str, Any] = {} if user is None else {"user": user, "group": user, "extra_groups": []}
    return {**become, "cwd": "/"}


def _wait_until_ready(programs: Path, home: Path, process: subprocess.Popen[bytes]) -> None:
    asking = [str(programs / "pg_isready"), "-q", "-h", str(home)]
    for _ in range(300):
        if process.poll() is not None:
            break
        if subprocess.run(asking, check=False).returncode == 0:
            return
        time.sleep(0.1)
    raise RuntimeError(f"PostgreSQL did not start: {(home / 'log').read_text()}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGQUIT)  # at once: nothing here outlives the session
    process.wait(timeout=30)


def _find_programs() -> Path:
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name), reverse=True)
    on_path = shutil.which("initdb")
    if on_path is not None:
        folders.append(Path(on_path).resolve().parent)
    for folder in folders:
        if all((folder / program).exists() for program in _PROGRAMS):
            if os.geteuid() == 0 and not _has_user(_SERVER_USER):
                _missing(f"the user {_SERVER_USER}, as which the server runs in place of root")
            return folder
    return _missing(f"the PostgreSQL programs {', '.join(_PROGRAMS)}")


def _has_user(name: str) -> bool:
    return any(entry.pw_name == name for entry in pwd.getpwall())


def _missing(what: str) -> NoReturn:
    if os.environ.get("CI") == "true":
        pytest.fail(f"missing: {what}; {_ADVICE}")
    pytest.skip(f"missing: {what}; {_ADVICE}")
