"""Boot order and wiring, and nothing else: the rooms of one process, built once, in a frozen dataclass."""

import os
import secrets
import stat
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

from sqlalchemy import select

from hsm.device import Hsm
from pki.audit.trail import Trail
from pki.authority.crl import Crls
from pki.authority.drafts import Drafter
from pki.authority.extensions import Extensions
from pki.authority.hierarchy import Hierarchy
from pki.authority.issue import Gate
from pki.authority.issuers import Issuers
from pki.authority.lint import Linter
from pki.authority.locations import Locations
from pki.authority.profiles import Profiles
from pki.authority.reconcile import Reconciler
from pki.authority.revoke import Revocation
from pki.authority.server_certificate import ServerCertificate
from pki.clock import Clock, SystemClock
from pki.config import Config
from pki.errors import Misconfigured
from pki.identity.approles import Approles
from pki.identity.passwords import Passwords
from pki.identity.tokens import Tokens
from pki.identity.users import Users
from pki.ids import Ids
from pki.mounts import Mounts
from pki.policy.store import Policies
from pki.seal.kek import HsmKek
from pki.seal.keyring import Keyring, WrappedDek
from pki.service_keys import ServiceKeys
from pki.ssh.authority import SshAuthority
from pki.storage.database import Database
from pki.storage.guard import outside_write
from pki.storage.migrate import is_current
from pki.storage.tables import deks, keks, settings
from pki.vault.secrets import Secrets

CLUSTER_ID = "cluster_id"
"""The setting that names this installation; wrapped data keys are bound to it."""
_INIT = "run `sealward init`"

T = TypeVar("T")
Opened = TypeVar("Opened", Database, Hsm)


@dataclass(frozen=True, slots=True)
class Core:
    """The rooms. `worker` names this process in reservations and elections."""

    config: Config
    clock: Clock
    ids: Ids
    database: Database
    hsm: Hsm
    keyring: Keyring
    service_keys: ServiceKeys
    trail: Trail
    tokens: Tokens
    approles: Approles
    users: Users
    mounts: Mounts
    policies: Policies
    issuers: Issuers
    profiles: Profiles
    gate: Gate
    hierarchy: Hierarchy
    revocation: Revocation
    crls: Crls
    reconciler: Reconciler
    server_certificate: ServerCertificate
    ssh: SshAuthority
    secrets: Secrets
    worker: str

    def close(self) -> None:
        """Commit what waits, close the database and log out of the HSM."""
        self.database.close()
        self.hsm.close()


def database_url(config: Config) -> str:
    """Return the database's URL, from its file when it has one.

    Raises:
        Misconfigured: there is none, or the file cannot be read.
    """
    if config.database.url_file is not None:
        return read_secret(config.database.url_file, "[database] url_file")
    if not config.database.url:
        raise Misconfigured("no database is configured", advice="set [database] url, or url_file")
    return config.database.url


def read_secret(path: Path, key: str) -> str:
    """Return the one line in a file that only its owner can read; `key` names it in errors.

    Raises:
        Misconfigured: it is absent, empty, or open to others.
    """
    try:
        mode = path.stat().st_mode
        text = path.read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        raise Misconfigured(f"cannot read {path} ({key}): {reason}", advice="name a file of mode 0600") from None
    if stat.S_IMODE(mode) & 0o077:
        raise Misconfigured(f"{path} ({key}) is open to other users", advice=f"chmod 600 {path}")
    if not text:
        raise Misconfigured(f"{path} ({key}) is empty", advice="write the secret into it")
    return text


def open_database(config: Config) -> Database:
    """Open the database, which must have this version's tables.

    Raises:
        Misconfigured: it was never migrated, or by a newer version.
        DatabaseUnavailable: it does not answer.
    """
    return _or_close(Database.open(database_url(config)), _require_current)


def open_hsm(config: Config) -> Hsm:
    """Open the HSM and log in; the PIN is offered once.

    Raises:
        Misconfigured: the PIN's file, or no module is named.
        HsmError: the HSM does not serve.
    """
    if not config.hsm.module:
        raise Misconfigured("no PKCS#11 module is configured", advice="set [hsm] module to the module's shared object")
    pin = read_secret(config.hsm.pin_file, "[hsm] pin_file")
    return Hsm.open(
        config.hsm.module,
        config.hsm.token_label,
        pin,
        max_sessions=config.hsm.sessions,
        checkout_timeout=config.hsm.timeout,
    )


def open_core(config: Config, clock: Clock | None = None) -> Core:
    """Open database and HSM and build the rooms over them.

    Raises:
        Misconfigured: it was never initialised, or the configuration does not hold.
        DatabaseUnavailable, HsmError: they do not serve.
    """

    def over(database: Database) -> Core:
        return _or_close(open_hsm(config), lambda hsm: assemble(config, database, hsm, clock or SystemClock()))

    return _or_close(open_database(config), over)


def _or_close(opened: Opened, use: Callable[[Opened], T]) -> T:
    """Return what `use` makes of something open, which is closed again when that fails."""
    try:
        return use(opened)
    except BaseException:
        opened.close()
        raise


def _require_current(database: Database) -> Database:
    if not is_current(database):
        raise Misconfigured("the database lacks tables of this version", advice="run `sealward migrate`")
    return database


def read_cluster_id(database: Database) -> str:
    """Return the id of this installation, with which the labels of its keys in the HSM begin.

    Raises:
        Misconfigured: it was never initialised.
    """
    with database.read() as tx:
        row = tx.execute(select(settings.c.value).where(settings.c.name == CLUSTER_ID)).first()
    if row is None:
        raise Misconfigured("this Sealward was never initialised", advice=_INIT)
    return str(row.value)


def open_keyring(database: Database, hsm: Hsm, clock: Clock) -> Keyring:
    """Return the keyring over the rows of `keks` and `deks`.

    Raises:
        Misconfigured: there is no KEK yet.
    """
    cluster_id = read_cluster_id(database)
    with database.read() as tx:
        kek_rows = tx.execute(select(keks.c.id, keks.c.key_id_hex).where(keks.c.state == "active")).all()
        dek_rows = tx.execute(select(deks)).all()
    if not kek_rows:
        raise Misconfigured("this Sealward was never initialised", advice=_INIT)
    found = [HsmKek(hsm, row.id, bytes.fromhex(row.key_id_hex), outside_write) for row in kek_rows]
    keyring = Keyring(found, cluster_id, clock)
    keyring.add(*(WrappedDek(row.id, row.namespace_id, row.mount, row.kek_id, bytes(row.wrapped)) for row in dek_rows))
    return keyring


def assemble(config: Config, database: Database, hsm: Hsm, clock: Clock) -> Core:
    """Build the rooms over an open database and HSM, which `Core.close` closes."""
    ids = Ids()
    worker = f"{os.uname().nodename}:{os.getpid()}:{secrets.token_hex(4)}"
    keyring = open_keyring(database, hsm, clock)
    service_keys = ServiceKeys(database, keyring, ids)
    trail = Trail(clock, ids, timedelta(seconds=config.authority.clock_tolerance))
    issuers = Issuers(database, hsm)
    profiles = Profiles(database)
    gate = Gate(
        database=database,
        clock=clock,
        ids=ids,
        trail=trail,
        issuers=issuers,
        profiles=profiles,
        drafter=Drafter(clock, ids, Extensions(Locations(http_base_url(config)))),
        linter=Linter(),
        worker=worker,
    )
    cluster_id = read_cluster_id(database)
    hierarchy = Hierarchy(
        database=database, hsm=hsm, clock=clock, ids=ids, gate=gate, issuers=issuers, cluster_id=cluster_id
    )
    ssh = SshAuthority.over(
        database=database, hsm=hsm, clock=clock, ids=ids, trail=trail, cluster_id=cluster_id, worker=worker
    )
    return Core(
        config=config,
        clock=clock,
        ids=ids,
        database=database,
        hsm=hsm,
        keyring=keyring,
        service_keys=service_keys,
        trail=trail,
        tokens=Tokens(database, clock, ids, trail, service_keys.get("token digests")),
        approles=Approles(database, clock, ids, service_keys.get("secret-id digests")),
        users=Users(database, clock, Passwords(service_keys.get("passwords"), ids, waiting=_logins_waiting(config))),
        mounts=Mounts(database, clock, ids),
        policies=Policies(database, clock),
        issuers=issuers,
        profiles=profiles,
        gate=gate,
        hierarchy=hierarchy,
        revocation=Revocation(database, clock, trail),
        crls=Crls(database, clock, trail, issuers, timedelta(hours=config.authority.crl_hours)),
        reconciler=Reconciler(database, clock, gate, worker),
        server_certificate=ServerCertificate(gate, issuers, clock, server_pem(config), server_names(config)),
        ssh=ssh,
        secrets=Secrets(database, clock, ids, keyring, service_keys.get("kv paths")),
        worker=worker,
    )


def _logins_waiting(config: Config) -> int:
    """Return how many logins may wait for their password to be hashed: never so many that all threads do."""
    return max(1, config.server.threads // 2 - 1)


def server_pem(config: Config) -> Path:
    """Return the file that holds the server's key and certificate chain together."""
    return config.server.tls_directory / "server.pem"


def server_names(config: Config) -> tuple[str, ...]:
    """Return the names in the server's own certificate: those configured, else the listener's host."""
    return config.server.names or (config.server.listen.host,)


def http_base_url(config: Config) -> str:
    """Return the beginning of the URLs of CRLs and CA certificates, which stand in certificates."""
    return config.http.base_url or f"http://{config.http.listen}"


def https_base_url(config: Config) -> str:
    """Return the beginning of every ACME URL; the Host header of a request is never asked."""
    return config.server.base_url or f"https://{config.server.listen}"
