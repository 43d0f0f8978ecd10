"""OpenBao as the API's benchmark runs it: one node of raft on disk, TLS, and a file audit device."""

import contextlib
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from tests.benchmarks.api_client import Door
from tests.benchmarks.measure import VoidRunError
from tests.benchmarks.peers import running, tls
from tests.service import free_port

_ACTIVE_SECONDS = 30
_CONFIG = """
ui = false
api_addr = "https://127.0.0.1:{port}"
cluster_addr = "https://127.0.0.1:{cluster}"
storage "raft" {{
  path = "{folder}/raft"
  node_id = "bench"
}}
listener "tcp" {{
  address = "127.0.0.1:{port}"
  cluster_address = "127.0.0.1:{cluster}"
  tls_cert_file = "{certificate}"
  tls_key_file = "{key}"
}}
audit "file" "bench" {{
  options = {{
    file_path = "{folder}/audit.log"
  }}
}}
"""
_KV = {"type": "kv", "options": {"version": "2"}}
_PKI = {"type": "pki", "config": {"max_lease_ttl": "8760h"}}
_ROOT = {"common_name": "bench", "key_type": "ec", "key_bits": 256, "ttl": "8760h"}


def program() -> str | None:
    """Return where OpenBao's program is."""
    return shutil.which("bao", path=str(Path(sys.executable).parent)) or shutil.which("bao")


class OpenBao:
    """A server that runs, unsealed and with its engines mounted; `door` has the root token."""

    def __init__(self, door: Door, pid: int, folder: Path) -> None:
        self.door = door
        self.pid = pid
        self._audit = folder / "audit.log"
        self._raft = folder / "raft" / "raft" / "raft.db"
        self._seen = 0

    def settings(self) -> str:
        """Return what decides how much a durable operation costs.

        Raises:
            VoidRunError: it stores in something else than raft, or nothing is audited to a file.
        """
        data = self.door.ask("GET", "sys/config/state/sanitized")["data"]
        storage, audit = data["storage"]["type"], self.door.ask("GET", "sys/audit")["data"]
        if storage != "raft" or [device["type"] for device in audit.values()] != ["file"]:
            raise VoidRunError(f"OpenBao stores in {storage}, and audits to {sorted(audit)}")
        if not self._raft.is_file():
            raise VoidRunError("OpenBao's raft log is not on disk")
        version = self.door.ask("GET", "sys/seal-status")["version"]
        return f"OpenBao {version}, raft on disk (one node), file audit device, CA keys in memory, no leases"

    def responses(self, path: str) -> int:
        """Return how many answers to requests at a path the audit device has told of since the last look."""
        marks = b'"type":"response"', f'"path":"{path}'.encode()
        with self._audit.open("rb") as log:
            log.seek(self._seen)
            found = sum(all(mark in line for mark in marks) for line in log)
            self._seen = log.tell()
        return found


@contextlib.contextmanager
def openbao(folder: Path) -> Iterator[OpenBao]:
    """Run a server in `folder`, which is made."""
    folder.mkdir()
    (folder / "raft").mkdir()
    certificate, key = tls(folder)
    port, cluster = free_port(), free_port()
    config = folder / "bao.hcl"
    config.write_text(_CONFIG.format(port=port, cluster=cluster, folder=folder, certificate=certificate, key=key))
    address = f"https://127.0.0.1:{port}"
    with running([str(program()), "server", f"-config={config}"], folder, {}, f"{address}/v1/sys/seal-status") as pid:
        door = Door(address)
        _unseal(door)
        _mount(door)
        yield OpenBao(door, pid, folder)


def _unseal(door: Door) -> None:
    made = door.ask("PUT", "sys/init", {"secret_shares": 1, "secret_threshold": 1})
    door.ask("PUT", "sys/unseal", {"key": made["keys"][0]})
    door.token = made["root_token"]
    deadline = time.monotonic() + _ACTIVE_SECONDS
    while True:
        try:
            door.ask("GET", "sys/health")
        except RuntimeError:  # a standby until it has elected itself
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
        else:
            return


def _mount(door: Door) -> None:
    door.ask("POST", "sys/mounts/secret", _KV)
    door.ask("POST", "sys/mounts/pki", _PKI)
    door.ask("POST", "pki/root/generate/internal", _ROOT)
    door.ask("POST", "sys/mounts/ssh", {"type": "ssh"})
    door.ask("POST", "ssh/config/ca", {"generate_signing_key": True, "key_type": "ed25519"})
