"""What a certificate costs, from the request's octets to the stored certificate, and by part.

`python -m tests.benchmarks.issuance [COUNT]` makes a house of its own in a temporary folder and prints the figures.
"""

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from pkcs11.mechanisms import Mechanism

from hsm import softhsm
from pki.authority import signatures, tbs
from pki.authority.issue import Wanted
from pki.authority.requests import CertificateRequest, parse_csr
from pki.config import Config, DatabaseConfig, HsmConfig, HttpConfig, ServerConfig
from pki.core import Core, open_core
from pki.founding import found
from tests.benchmarks.measure import (
    Figure,
    VoidRunError,
    count_events,
    machine,
    measure,
    measure_at_once,
    settings_of,
)

_LABEL = "benchmark"
_PIN = "benchmark-pin"
_AT_ONCE = 8
"""Threads of one process of the service, by default."""


@contextmanager
def house(folder: Path, url: str = "", *, module: str = "") -> Iterator[Core]:
    """Give a founded house in `folder`, on SQLite unless `url` says otherwise; `module` stands before SoftHSM's own."""
    os.environ["SOFTHSM2_CONF"] = str(softhsm.write_config(folder))
    library = str(softhsm.find_module())
    softhsm.init_token(library, _LABEL, "officer-pin", _PIN)
    pin_file = folder / "pin"
    pin_file.touch(mode=0o600)
    pin_file.write_text(_PIN)
    config = Config(
        server=ServerConfig(names=("localhost",), tls_directory=folder / "tls"),
        http=HttpConfig(base_url="http://localhost:8080"),
        database=DatabaseConfig(url=url or f"sqlite:///{folder}/house.db"),
        hsm=HsmConfig(module=module or library, token_label=_LABEL, pin_file=pin_file),
    )
    found(config)
    core = open_core(config)
    try:
        yield core
    finally:
        core.close()


def requests(count: int) -> list[bytes]:
    """Return that many P-256 requests in DER, each for a name of its own."""
    return [request_for(f"host-{number}.bench.example") for number in range(count)]


def request_for(name: str) -> bytes:
    """Return a P-256 request for a DNS name in DER."""
    names = x509.SubjectAlternativeName([x509.DNSName(name)])
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).add_extension(names, critical=False)
    return builder.sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256()).public_bytes(Encoding.DER)


def _wanted(request: CertificateRequest) -> Wanted:
    return Wanted("default", request.public_key, request.names, "bench:issuance")


def run(core: Core, count: int) -> list[Figure]:
    """Measure the whole and its parts.

    Raises:
        VoidRunError: durability or audit was off.
    """
    settings_of(core)
    ders = requests(3 * count + _AT_ONCE)
    core.gate.issue(_wanted(parse_csr(ders[0])))  # caches, and the shape that pkilint sees once
    events = count_events(core)
    whole = measure(
        "whole: CSR to stored certificate", lambda der: core.gate.issue(_wanted(parse_csr(der))), ders[:count]
    )
    if count_events(core) != events + 2 * count:
        raise VoidRunError("a certificate left other than two audit events")
    crowded = measure_at_once(
        f"whole, {_AT_ONCE} at once",
        lambda der: core.gate.issue(_wanted(parse_csr(der))),
        ders[count : 2 * count + _AT_ONCE],
        _AT_ONCE,
    )
    return [whole, crowded, *_parts(core, ders[2 * count + _AT_ONCE :])]


def _parts(core: Core, ders: list[bytes]) -> Iterator[Figure]:
    yield measure("  parse and verify the CSR", parse_csr, ders)
    wishes = [_wanted(parse_csr(der)) for der in ders]
    profile = core.profiles.get("default")
    issuer = core.issuers.named(profile.issuer)
    yield measure("  weak-key check", lambda wish: profile.check_key(wish.public_key), wishes)
    drafter, linter = core.gate._drafter, core.gate._linter
    yield measure("  draft and encode the TBS", lambda wish: drafter.leaf(profile, issuer, wish).encode(), wishes)
    drafts = [drafter.leaf(profile, issuer, wish) for wish in wishes]
    bodies = [draft.encode() for draft in drafts]
    dummy = signatures.placeholder(issuer.certificate.public_key())
    previews = [x509.load_der_x509_certificate(tbs.assemble(body, drafts[0].scheme, dummy)) for body in bodies]
    shape = (profile.name, profile.version, issuer.id)
    yield measure("  lint", lambda item: linter.check(item, issuer.certificate, shape=shape), previews)
    key = core.issuers.key(issuer)
    yield measure("  sign in the token, and verify", lambda body: signatures.sign(key, body), bodies)
    yield measure("  the token alone (raw C_Sign)", lambda body: _raw(core, issuer.key_id, body), bodies)
    yield measure(
        "  one durable write, empty", lambda _: core.database.write(lambda tx: tx.exec_driver_sql("SELECT 1")), bodies
    )


def _raw(core: Core, key_id: bytes, body: bytes) -> bytes:
    return core.hsm.sign(key_id, Mechanism.ECDSA, body[:32])


def main() -> None:
    """Print the figures."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 500
    with tempfile.TemporaryDirectory(prefix="sealward-bench-") as folder, house(Path(folder)) as core:
        print(machine())  # noqa: T201 - this is its output
        print(settings_of(core))  # noqa: T201
        for figure in run(core, count):
            print(figure)  # noqa: T201


if __name__ == "__main__":
    main()
