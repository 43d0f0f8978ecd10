"""The share of a token's rate that issuance reaches: `Gate.issue` in threads beside C_Sign alone, on the same token.

`python -m tests.benchmarks.token_share [COUNT] [ROUNDS]`. The token is SoftHSM behind the fault shim, which makes each
signature take its time in one of a device's engines. All runs in one process, so on one core at most.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from pkcs11.mechanisms import Mechanism

from hsm import softhsm
from pki.authority.issue import Wanted
from pki.authority.requests import parse_csr
from pki.core import Core
from tests.benchmarks.issuance import house, requests
from tests.benchmarks.measure import VoidRunError, count_events, machine, settings_of
from tests.faults import shim as shim_module
from tests.faults.shim import Shim

RATES = (200, 500, 1000)
ENGINES = 4
THREADS = 16


@dataclass(frozen=True)
class Share:
    """What a token of `rate` signatures a second gave: raw, and as certificates; CPU is milliseconds a certificate."""

    rate: int
    raw: float
    issued: float
    cpu_ms: float

    @property
    def share(self) -> float:
        """Certificates for each signature that the token could have made."""
        return self.issued / self.raw

    def __str__(self) -> str:
        """Return one line of a report."""
        return (
            f"token of {self.rate:>5}/s: {self.raw:7.1f} signatures/s raw, {self.issued:7.1f} certificates/s, "
            f"share {self.share:.2f}, {self.cpu_ms:.2f} ms CPU/certificate"
        )


@contextmanager
def shimmed_house(folder: Path) -> Iterator[tuple[Core, Shim]]:
    """Give a house whose token is behind the shim."""
    os.environ["SOFTHSM2_CONF"] = str(softhsm.write_config(folder))
    real = folder / "softhsm.so"
    shutil.copyfile(softhsm.find_module(), real)
    shim = Shim(_compile(folder), folder, real).load()
    with house(folder, module=str(shim.module)) as core:
        yield core, shim


def _compile(folder: Path) -> Path:
    library = folder / "library.so"
    source = Path(shim_module.__file__).with_name("shim.c")
    subprocess.run(["gcc", "-O2", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    return library


def run(core: Core, shim: Shim, rate: int, count: int, rounds: int) -> Share:
    """Measure both in turns; the medians count.

    Raises:
        VoidRunError: durability or audit was off.
    """
    settings_of(core)
    profile = core.profiles.get("default")
    key_id = core.issuers.named(profile.issuer).key_id
    wishes = [Wanted(profile.name, csr.public_key, csr.names, "bench:share") for csr in map(parse_csr, requests(count))]
    core.gate.issue(wishes[0])  # caches, and the shape that pkilint sees once
    raws, issued, cpus = [], [], []
    shim.serve("C_Sign", ENGINES / rate, ENGINES)
    for _ in range(rounds):
        raws.append(_rate(lambda _: core.hsm.sign(key_id, Mechanism.ECDSA, bytes(32)), range(count)))
        events, cpu = count_events(core), time.process_time()
        issued.append(_rate(core.gate.issue, wishes))
        cpus.append((time.process_time() - cpu) * 1000 / count)
        if count_events(core) != events + 2 * count:
            raise VoidRunError("a certificate left other than two audit events")
    shim.serve("C_Sign", 0)
    return Share(rate, median(raws), median(issued), median(cpus))


def _rate(work: Callable[..., object], items: Sequence[object]) -> float:
    with ThreadPoolExecutor(THREADS) as executor:
        start = time.perf_counter()
        for _ in executor.map(work, items):
            pass
        return len(items) / (time.perf_counter() - start)


def main() -> None:
    """Print the figures."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 400
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 3
    with tempfile.TemporaryDirectory(prefix="sealward-bench-") as folder, shimmed_house(Path(folder)) as (core, shim):
        print(machine())  # noqa: T201 - this is its output
        print(f"{settings_of(core)}; {THREADS} threads, {ENGINES} engines, {core.config.hsm.sessions} sessions")  # noqa: T201
        for rate in RATES:
            print(run(core, shim, rate, count, rounds))  # noqa: T201


if __name__ == "__main__":
    main()
