"""What is done, and killed, in processes of their own: each opens the house, says so, waits for a word, and acts.

They are forked from a server that has imported everything and loaded no PKCS#11 module.
"""

import contextlib
import hashlib
import multiprocessing
import os
import secrets
import signal
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Self

from cryptography.hazmat.primitives.asymmetric import ec
from pkcs11.constants import Attribute
from sqlalchemy import select

from cli.offline.data_directory import DataDirectory
from cli.offline.dev_config import configure, read_wishes
from cli.offline.dev_token import use_token
from hsm import softhsm
from hsm.lanes import Lane
from hsm.sessions import TokenSession
from pki.authority import signatures
from pki.authority.issue import Wanted
from pki.authority.names import Name
from pki.config import Config
from pki.core import Core, open_core
from pki.founding import INTERMEDIATE, ROOT, found
from pki.ledger.entries import RESERVATION
from pki.storage import connections
from pki.storage.tables import certificates
from tests.clocks import FrozenClock
from tests.faults.crash_checks import left_reserved, violations
from tests.tokens import SO_PIN, SoftToken, use_token_folder

Act = Callable[..., None]

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["pytest", "tests.faults.crash_acts"])


def _run(act: Act, environment: dict[str, str], *arguments: object, **options: bool) -> None:
    os.environ.update(environment)  # the server may be older than what the test has set
    act(*arguments, **options)


class Actor:
    """A process that runs an act; `with` leaves none behind."""

    def __init__(self, act: Act, *arguments: object, **options: bool) -> None:
        ours, theirs = _CONTEXT.Pipe()
        self.talk: Connection = ours
        self.process: BaseProcess = _CONTEXT.Process(
            target=_run, args=(act, dict(os.environ), theirs, *arguments), kwargs=options
        )
        self.process.start()
        theirs.close()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """End it."""
        self.process.kill()
        self.process.join()
        self.process.close()
        self.talk.close()

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self.process.pid is not None
        return self.process.pid

    def await_ready(self) -> None:
        """Return when it waits for the word."""
        assert self.talk.poll(30), "the act does not begin"
        assert self.talk.recv() == "ready"

    def go(self) -> None:
        """Give the word."""
        self.talk.send("go")

    def heard(self) -> list[Any]:
        """Return all that it has said so far, without waiting for more."""
        said = []
        with contextlib.suppress(EOFError, ConnectionResetError):
            while self.talk.poll():
                said.append(self.talk.recv())
        return said

    def end(self, seconds: float = 30) -> int:
        """Wait for its end, and return its exit code: -9 when it was killed."""
        self.process.join(seconds)
        assert self.process.exitcode is not None, "the act does not end"
        return self.process.exitcode


def _wait_for_word(talk: Connection) -> None:
    talk.send("ready")
    talk.recv()


@contextlib.contextmanager
def _signatures_noted(log: Path, *, then_die: bool = False) -> Iterator[None]:
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


@contextlib.contextmanager
def _opened(config: Config, moment: datetime, log: Path, *, then_die: bool = False) -> Iterator[Core]:
    with closing(open_core(config, FrozenClock(moment))) as core, _signatures_noted(log, then_die=then_die):
        yield core


def wanted() -> Wanted:
    """Return a wish for a certificate with a fresh name and key."""
    name = Name("dns", f"{secrets.token_hex(6)}.example.com")
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    return Wanted(profile="default", public_key=key, names=(name,), requester="test:crash")


def issue(talk: Connection, config: Config, moment: datetime, log: Path, *, then_die: bool = False) -> None:
    """Issue one certificate, and say its octets."""
    with _opened(config, moment, log, then_die=then_die) as core:
        wish = wanted()
        _wait_for_word(talk)
        talk.send(core.gate.issue(wish).certificate)


def revoke_and_publish(talk: Connection, config: Config, moment: datetime, log: Path) -> None:
    """Revoke a certificate and publish the CRL, saying the certificate and then the CRL's number."""
    with _opened(config, moment, log) as core:
        entry = core.gate.issue(wanted())
        _wait_for_word(talk)
        core.revocation.revoke(entry, 4, "test:crash")
        talk.send(entry.certificate)
        talk.send(core.crls.publish(core.issuers.named(INTERMEDIATE)))


def publish(talk: Connection, config: Config, moment: datetime, log: Path, *, then_die: bool = False) -> None:
    """Publish a CRL, and say its number."""
    with _opened(config, moment, log, then_die=then_die) as core:
        _wait_for_word(talk)
        talk.send(core.crls.publish(core.issuers.named(INTERMEDIATE)))


def reconcile(talk: Connection, config: Config, moment: datetime, log: Path) -> None:
    """Finish what others have left, and say how much it was."""
    with _opened(config, moment, log) as core:
        _wait_for_word(talk)
        talk.send(core.reconciler.run())


def issue_for_ever(talk: Connection, config: Config, moment: datetime, log: Path, synchronous: str) -> None:
    """Issue one certificate after the other, and say the octets of each; SQLite flushes as `synchronous` says."""
    settings: tuple[str, ...] = connections._SQLITE_PRAGMAS
    changed = tuple(item.replace("synchronous=FULL", f"synchronous={synchronous}") for item in settings)
    assert (changed == settings) == (synchronous == "FULL")
    connections._SQLITE_PRAGMAS = changed  # type: ignore[assignment]
    with _opened(config, moment, log) as core:
        _wait_for_word(talk)
        while True:
            talk.send(core.gate.issue(wanted()).certificate)


def make_token(talk: Connection, folder: Path, token: SoftToken) -> None:
    """Make a token in a folder of its own."""
    use_token_folder(folder)
    _wait_for_word(talk)
    softhsm.init_token(token.module, token.label, SO_PIN, token.pin)


def make_house(talk: Connection, folder: Path, config: Config) -> None:
    """Found the house, whose token is in that folder."""
    use_token_folder(folder)
    _wait_for_word(talk)
    found(config)


def look_into_house(talk: Connection, folder: Path, config: Config) -> None:
    """Say the labels of what is in the token, and what is wrong with the database; issue one certificate."""
    use_token_folder(folder)
    _wait_for_word(talk)

    def labels(session: TokenSession) -> list[str]:
        return sorted(f"{item[Attribute.LABEL]} {item[Attribute.CLASS]!s}" for item in session.search({}))

    with closing(open_core(config, FrozenClock(datetime.now(UTC) + 2 * RESERVATION))) as core:
        core.reconciler.run()
        core.gate.issue(wanted())
        talk.send((core.hsm.sessions.run(Lane.ISSUE, labels), violations(core.database)))


def settle(talk: Connection, data: Path) -> None:
    """Finish, a minute later, what a stopped `sealward dev` left; say what is wrong, and each certificate's state."""
    directory = DataDirectory(data)
    use_token(directory)
    _wait_for_word(talk)
    later = FrozenClock(datetime.now(UTC) + 2 * RESERVATION)
    with closing(
        open_core(configure(directory, read_wishes(None, data.with_name(f"{data.name}.toml"))), later)
    ) as core:
        core.reconciler.run()
        for name in (ROOT, INTERMEDIATE):
            core.crls.publish(core.issuers.named(name))
        held = select(certificates.c.certificate, certificates.c.state).where(certificates.c.certificate.is_not(None))
        with core.database.read() as tx:
            states = {row.certificate: row.state for row in tx.execute(held)}
        talk.send((left_reserved(core.database), violations(core.database), states))
