"""Clients of all four kinds that go on asking a running service, and repeat what was not answered until it is."""

import base64
import contextlib
import hashlib
import json
import secrets
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from sqlalchemy import select

from cli.offline.data_directory import DataDirectory
from cli.offline.dev_config import configure, read_wishes
from pki.core import Core, open_core
from pki.founding import INTERMEDIATE, ROOT
from pki.ledger.entries import RESERVATION
from pki.storage.database import Database
from pki.storage.tables import audit_events, certificates, ssh_certificates, ssh_issuers
from tests.acme_server.client import csr_for
from tests.clocks import FrozenClock
from tests.faults.crash_checks import left_reserved, violations
from tests.faults.crash_load import CutOffError
from tests.faults.four_kinds_api import Api, Reply
from tests.faults.shim import Signature
from tests.faults.token_ledger import Signed, intents

_VERSIONS = 8
"""So many versions of a secret, and then another secret: ten are kept."""
_REVOKED_OF = 3
_PAUSE = 0.1


class EndedError(Exception):
    """The load is to end."""


@dataclass
class Heard:
    """What was acknowledged: versions of secrets, certificates (DER), those revoked, and SSH certificates.

    `lost` counts answers that never came, `refused` answers 503, both by kind; `repeated` what came of repeating a
    request that was not answered; `failures` is what should not have happened.
    """

    versions: dict[tuple[str, int], str] = field(default_factory=dict)
    certificates: list[bytes] = field(default_factory=list)
    revoked: list[bytes] = field(default_factory=list)
    ssh: list[bytes] = field(default_factory=list)
    lost: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    repeated: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Asker:
    """One client, which ends with `ended`."""

    api: Api
    heard: Heard
    ended: threading.Event
    name: str

    def insist(self, kind: str, method: str, path: str, body: object = None) -> tuple[Reply, bool]:
        """Ask until there is an answer other than 503; return it, and whether an earlier answer was lost."""
        was_lost = False
        while not self.ended.is_set():
            try:
                reply = self.api.ask(method, path, body)
            except CutOffError:
                was_lost = True
                self.heard.lost[kind] += 1
            else:
                if reply.status != 503:
                    return reply, was_lost
                self.heard.refused[kind] += 1
            self.ended.wait(_PAUSE)
        raise EndedError

    def write_secrets(self) -> Iterator[None]:
        """Write versions of secrets that nobody else writes, and read each back."""
        while True:
            path = f"secret/data/{self.name}/{secrets.token_hex(6)}"
            for version in range(1, _VERSIONS + 1):
                self._write_version(path, version)
                yield

    def _write_version(self, path: str, version: int) -> None:
        value = secrets.token_hex(16)
        body = {"data": {"value": value}, "options": {"cas": version - 1}}
        reply, was_lost = self.insist("kv", "POST", path, body)
        if was_lost:
            self.heard.repeated["kv, was there" if reply.status == 400 else "kv, was not there"] += 1
        if not (was_lost and reply.status == 400):
            assert reply.status == 200, reply.body
            assert reply.data["version"] == version
        read, _ = self.insist("kv read", "GET", path)
        assert read.status == 200, read.body
        assert (read.data["data"], read.data["metadata"]["version"]) == ({"value": value}, version)
        self.heard.versions[path.removeprefix("secret/data/"), version] = value

    def get_certificates(self) -> Iterator[None]:
        """Have certificates issued, and one in three revoked."""
        while True:
            csr = base64.encodebytes(csr_for([f"{secrets.token_hex(6)}.example.com"])).decode()
            text = f"-----BEGIN CERTIFICATE REQUEST-----\n{csr}-----END CERTIFICATE REQUEST-----\n"
            reply, was_lost = self.insist("sign", "POST", "pki/sign/default", {"csr": text})
            assert reply.status == 200, reply.body
            self.heard.repeated["sign, another certificate"] += was_lost
            der = x509.load_pem_x509_certificate(reply.data["certificate"].encode()).public_bytes(Encoding.DER)
            self.heard.certificates.append(der)
            if len(self.heard.certificates) % _REVOKED_OF == 0:
                body = {"serial_number": reply.data["serial_number"]}
                revoked, was_lost = self.insist("revoke", "POST", "pki/revoke", body)
                assert revoked.status == 200, revoked.body
                self.heard.repeated["revoke, the same answer"] += was_lost
                self.heard.revoked.append(der)
            yield

    def get_ssh_certificates(self) -> Iterator[None]:
        """Have SSH certificates signed."""
        key = ed25519.Ed25519PrivateKey.generate().public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
        while True:
            reply, was_lost = self.insist("ssh", "POST", "ssh/sign/people", {"public_key": key.decode()})
            assert reply.status == 200, reply.body
            self.heard.repeated["ssh, another certificate"] += was_lost
            self.heard.ssh.append(base64.b64decode(reply.data["signed_key"].split()[1]))
            yield


def prepare(root: Api) -> str:
    """Make a role for SSH, and a token that lives on when dev is restarted; return the token."""
    root.post("ssh/roles/people", {"allow_user_certificates": True, "allowed_users": "alice", "default_user": "alice"})
    rules = 'path "*" { capabilities = ["create", "read", "update", "delete", "list"] }'
    root.post("sys/policies/acl/load", {"policy": rules})
    made = root.post("auth/token/create-orphan", {"policies": ["load"], "ttl": "24h"})
    return str(made.document["auth"]["client_token"])


@contextlib.contextmanager
def asking(api: Api, writers: int) -> Iterator[Heard]:
    """Let so many writers of secrets and one client of each other kind ask until the block ends."""
    heard, ended = Heard(), threading.Event()
    askers = [Asker(api, heard, ended, f"writer-{number}") for number in range(writers)]
    steps = [asker.write_secrets for asker in askers]
    steps += [Asker(api, heard, ended, "others").get_certificates, Asker(api, heard, ended, "ssh").get_ssh_certificates]

    def work(begin: Callable[[], Iterator[None]]) -> None:
        while not ended.is_set():
            try:
                for _ in begin():
                    if ended.is_set():
                        return
            except EndedError:
                return
            except Exception as error:  # noqa: BLE001 - told by the test
                heard.failures.append(repr(error))
                ended.wait(0.5)

    threads = [threading.Thread(target=work, args=(step,)) for step in steps]
    for thread in threads:
        thread.start()
    try:
        yield heard
    finally:
        ended.set()
        for thread in threads:
            thread.join()


@dataclass(frozen=True)
class Settled:
    """What a stopped service has, when what it left is finished a minute later."""

    left: int
    wrong: list[str]
    unrecorded: list[Signature]
    states: Mapping[bytes, str]
    ssh: set[bytes]
    values: Mapping[tuple[str, int], str]


def settle(talk: Connection, data: Path, versions: list[tuple[str, int]], signatures: list[Signature]) -> None:
    """Finish what a stopped `sealward dev` left, and say how it stands; `versions` are those to read."""
    directory = DataDirectory(data)
    config = configure(directory, read_wishes(None, data.with_name(f"{data.name}.toml")))
    talk.send("ready")
    talk.recv()
    with closing(open_core(config, FrozenClock(datetime.now(UTC) + 2 * RESERVATION))) as core:
        core.reconciler.run()
        core.ssh.reconciler.run()
        for name in (ROOT, INTERMEDIATE):
            core.crls.publish(core.issuers.named(name))
        talk.send(_settled(core, versions, signatures))


def _settled(core: Core, versions: list[tuple[str, int]], signatures: list[Signature]) -> Settled:
    held = select(certificates.c.certificate, certificates.c.state).where(certificates.c.certificate.is_not(None))
    with core.database.read() as tx:
        states = {row.certificate: row.state for row in tx.execute(held)}
        ssh = tx.execute(select(ssh_certificates)).all()
        told = {(row.object, row.action) for row in tx.execute(select(audit_events.c.object, audit_events.c.action))}
    wrong = violations(core.database)
    wrong += [f"SSH certificate {row.id} is unaudited" for row in ssh if (row.id, "ssh.reserve") not in told]
    wrong += [f"SSH certificate {row.id} is {row.state}" for row in ssh if row.state not in {"issued", "abandoned"}]
    rows = intents(core.database) + _ssh_intents(core.database)
    mount = core.mounts.get("secret/")
    values = {}
    for path, version in versions:
        stored = None if mount is None else core.secrets.read(mount, path, version)
        values[path, version] = json.dumps(None if stored is None else stored.data)
    return Settled(
        left=left_reserved(core.database),
        wrong=wrong,
        unrecorded=[item for item in signatures if rows[(item.key_id, item.digest)] != 1],
        states=states,
        ssh={row.certificate for row in ssh if row.state == "issued"},
        values=values,
    )


def _ssh_intents(database: Database) -> Counter[Signed]:
    """Return what was committed to be signed by the SSH CAs, whose keys are Ed25519: the token is given it whole."""
    with database.read() as tx:
        keys = {row.id: row.key_id_hex for row in tx.execute(select(ssh_issuers))}
        rows = tx.execute(select(ssh_certificates.c.issuer_id, ssh_certificates.c.tbs)).all()
    return Counter((keys[row.issuer_id], hashlib.sha256(row.tbs).hexdigest()) for row in rows)
