"""ACME orders per second, and CPU per order, of `sealward dev` beside pebble and Caddy in one run.

`python -m tests.benchmarks.acme [ORDERS] [ROUNDS]`. An order is one name, proven by http-01, an ES256 account and a
P-256 request. In each round the servers take turns, so that what else the machine does hits all alike.
"""

import contextlib
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from tests.benchmarks.acme_client import Load
from tests.benchmarks.measure import cpu_of_tree, machine
from tests.benchmarks.peers import PEERS, Peer, World, caddy, missing, pebble, sealward

__all__ = ["Result", "caddy", "pebble", "run", "sealward"]

CONNECTIONS = (1, 8)


@dataclass(frozen=True)
class Result:
    """What a server reached with so many connections: one figure a round. CPU is in milliseconds an order."""

    name: str
    connections: int
    rates: tuple[float, ...]
    cpu_ms: tuple[float, ...]
    polls: tuple[float, ...]

    @property
    def rate(self) -> float:
        """The median of orders a second."""
        return median(self.rates)

    @property
    def cpu(self) -> float:
        """The median of milliseconds of CPU an order."""
        return median(self.cpu_ms)

    def beside(self, ours: "Result") -> str:
        """Return one line of the report; the ratios are ours to this one's."""
        spread = f"{min(self.cpu_ms):.2f}-{max(self.cpu_ms):.2f}"
        return (
            f"{self.name:<10} {self.connections:>2} connections {self.rate:7.1f} orders/s {self.cpu:7.2f} ms CPU/order "
            f"({spread}), {median(self.polls):.1f} polls; sealward: {ours.rate / self.rate:.2f} x its rate, "
            f"{ours.cpu / self.cpu:.2f} x its CPU"
        )


@contextlib.contextmanager
def serving(load: Load, peers: Sequence[object] = PEERS) -> Iterator[list[Peer]]:
    """Run the servers side by side."""
    with tempfile.TemporaryDirectory(prefix="sealward-bench-") as folder, contextlib.ExitStack() as stack:
        world = World(load.resolver, load.port)
        yield [stack.enter_context(start(Path(folder) / start.__name__, world)) for start in PEERS if start in peers]


def run(
    load: Load, peers: Sequence[Peer], orders: int, rounds: int, connections: Sequence[int] = CONNECTIONS
) -> list[Result]:
    """Measure each server with each number of connections, in interleaved rounds.

    Raises:
        VoidRunError: durability or audit was off.
    """
    figures: dict[tuple[int, str], list[tuple[float, float, float]]] = {}
    for _ in range(rounds):
        for count in connections:
            for peer in peers:
                figures.setdefault((count, peer.name), []).append(_measure(load, peer, orders, count))
    return [Result(name, count, *zip(*found, strict=True)) for (count, name), found in figures.items()]


def _measure(load: Load, peer: Peer, orders: int, connections: int) -> tuple[float, float, float]:
    load.prepare(peer.directory, orders, connections)
    before = cpu_of_tree(peer.pid)
    result = load.go()
    cpu = cpu_of_tree(peer.pid) - before
    peer.check(orders + connections)
    return orders / result["seconds"], cpu * 1000 / orders, result["polls"] / orders


def report(results: Sequence[Result]) -> Iterator[str]:
    """Return the lines of the table."""
    ours = {result.connections: result for result in results if result.name == "sealward"}
    return (result.beside(ours[result.connections]) for result in results)


def _versions() -> str:
    query = ["dpkg-query", "--show", "--showformat=${Version}", "pebble"]
    packaged = subprocess.run(query, capture_output=True, text=True, check=False).stdout
    return f"pebble {packaged or '(not packaged)'}"


def main() -> None:
    """Print the settings and the figures."""
    orders = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 5
    lacking = missing()
    if lacking:
        sys.exit(f"missing: {', '.join(lacking)}")
    with Load() as load, serving(load) as peers:
        print(f"{machine()}; {orders} orders a round, {rounds} rounds interleaved, medians; {_versions()}")  # noqa: T201 - its output
        for peer in peers:
            print(f"{peer.name}: {peer.settings}")  # noqa: T201
        for line in report(run(load, peers, orders, rounds)):
            print(line)  # noqa: T201
        print(machine())  # noqa: T201


if __name__ == "__main__":
    main()
