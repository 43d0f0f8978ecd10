"""The CA keys of a mount: one for users and one for hosts, generated in the HSM and never anywhere else.

A key is made between two writes. The first claims the making, the second turns the claim into the issuer. Its id
follows from the mount, the kind and how many there were before, so that of two makers at once, in whatever process,
one prevails; what a crash left in the HSM has the mount's label and is cleared by the next maker.
"""

import base64
import contextlib
import hashlib
from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import func, insert, select, update
from sqlalchemy.exc import IntegrityError

from hsm.algorithms import KeyAlgorithm
from hsm.device import Hsm
from hsm.errors import HsmError
from hsm.keys import TokenKey
from pki.audit.trail import Event, Trail
from pki.clock import Clock, to_ms
from pki.errors import Conflict, HsmFailure, Misconfigured, NotFound
from pki.ids import Ids
from pki.mounts import Mount
from pki.ssh.certificates import HOST, USER
from pki.ssh.keys import encode_public_key, line
from pki.storage.database import Database, Tx
from pki.storage.guard import outside_write
from pki.storage.tables import ssh_issuers

DEFAULT_ALGORITHM = KeyAlgorithm.ED25519
KINDS = (USER, HOST)

Recording = Callable[[Tx, "SshIssuer"], None]
"""(tx, issuer): what else happens in the transaction that makes an issuer active; it may be run again."""

_ACTIVE = "SELECT id FROM ssh_issuers WHERE mount_id = ? AND kind = ? AND state = 'active'"


@dataclass(frozen=True, slots=True)
class SshIssuer:
    """A CA key: `public_key` as SSH writes it, `key_id` its CKA_ID in the HSM. `kind` is user or host."""

    id: str
    kind: str
    key_id: bytes
    algorithm: str
    public_key: bytes

    @property
    def line(self) -> str:
        """The public key as files of OpenSSH hold it."""
        return line(self.public_key)


class SshIssuers:
    """Makes and looks up CA keys. Their labels in the HSM begin with `cluster_id`, as those of all keys here."""

    def __init__(self, *, database: Database, hsm: Hsm, clock: Clock, ids: Ids, trail: Trail, cluster_id: str) -> None:
        self._database = database
        self._hsm = hsm
        self._clock = clock
        self._ids = ids
        self._trail = trail
        self._cluster_id = cluster_id
        self._known: dict[str, SshIssuer] = {}

    def find(self, mount: Mount, kind: str) -> SshIssuer | None:
        """Return the mount's CA of that kind, if it has one."""
        row = self._database.point(_ACTIVE, (mount.id, kind))
        return None if row is None else self._known.get(row[0]) or self._read(row[0])

    def get(self, mount: Mount, kind: str) -> SshIssuer:
        """Return the mount's CA of that kind.

        Raises:
            NotFound: none was made yet.
        """
        found = self.find(mount, kind)
        if found is None:
            raise NotFound(f"{mount.path} has no CA key for {kind}s yet", advice=f"write to {mount.path}config/ca")
        return found

    def _read(self, issuer_id: str) -> SshIssuer:
        with self._database.read() as tx:
            row = tx.execute(select(ssh_issuers).where(ssh_issuers.c.id == issuer_id)).one()
        blob = base64.b64decode(row.public_key.split()[1])
        issuer = SshIssuer(row.id, row.kind, bytes.fromhex(row.key_id_hex), row.key_algorithm, blob)
        return self._known.setdefault(issuer.id, issuer)

    def key(self, issuer: SshIssuer) -> TokenKey:
        """Return the issuer's key in the HSM.

        Raises:
            Misconfigured: the HSM's is not the one in the issuer's row.
            HsmError: the HSM does not serve, or has no such key.
        """
        key = self._hsm.signing_key(issuer.key_id)
        if encode_public_key(key.public_key()) != issuer.public_key:
            raise Misconfigured(
                f"the HSM's key of the SSH CA for {issuer.kind}s is not the one that was made for it",
                advice="is [hsm] token_label the token that this database belongs to?",
            )
        return key

    def found(self, mount: Mount) -> None:
        """Make whatever CA key the mount lacks; what is there stays. It can be run again after a crash.

        Raises:
            HsmFailure, DatabaseUnavailable: not now; what was made stays.
        """
        for kind in KINDS:
            if self.find(mount, kind) is None:
                self.create(mount, kind, DEFAULT_ALGORITHM, self._record_founding)

    def _record_founding(self, tx: Tx, issuer: SshIssuer) -> None:
        detail = {"kind": issuer.kind, "key": issuer.line}
        self._trail.record(tx, Event("house:founding", "ssh.create_ca", issuer.id, detail=detail))

    def create(self, mount: Mount, kind: str, algorithm: KeyAlgorithm, recording: Recording) -> SshIssuer:
        """Generate the mount's CA key of that kind.

        Raises:
            Conflict: there is one already, or another process is making it.
            HsmFailure, DatabaseUnavailable: nothing was made.
        """
        outside_write("generating a CA key")
        claim = self._ids.octets(16).hex()
        issuer_id = self._claim(mount, kind, algorithm, claim)
        label = f"{self._cluster_id[:8]} ssh {kind} {mount.id}"
        try:
            self._clear(mount, label)
            key_id = self._hsm.generate_key(algorithm, label)
        except HsmError as error:
            raise HsmFailure(f"the HSM made no key: {error.message}", advice=error.advice) from error
        try:
            public_key = encode_public_key(self._hsm.signing_key(key_id).public_key())
            issuer = SshIssuer(issuer_id, kind, key_id, algorithm.value, public_key)
            self._database.write(lambda tx: _activate(tx, issuer, claim, recording))
        except BaseException as error:
            with contextlib.suppress(HsmError):  # cleared by a second maker, or to be cleared by the next
                self._hsm.destroy_key(key_id)
            if isinstance(error, HsmError):
                raise HsmFailure(f"the HSM made no key: {error.message}", advice=error.advice) from error
            raise
        return issuer

    def _claim(self, mount: Mount, kind: str, algorithm: KeyAlgorithm, claim: str) -> str:
        """Reserve the issuer; an earlier claim, of a process that may have died, loses its hold on it."""
        now = to_ms(self._clock.now())

        def work(tx: Tx) -> str:
            of_kind = (ssh_issuers.c.mount_id == mount.id, ssh_issuers.c.kind == kind)
            states = tx.execute(select(ssh_issuers.c.state, func.count()).where(*of_kind).group_by(ssh_issuers.c.state))
            counts = {row[0]: row[1] for row in states}
            if "active" in counts:
                raise Conflict(f"{mount.path} has a CA key for {kind}s already", advice="it stays as long as its mount")
            issuer_id = _id_of(mount, kind, counts.get("retired", 0))
            values = {"key_id_hex": claim, "key_algorithm": algorithm.value, "created_at": now}
            reserved = (ssh_issuers.c.id == issuer_id, ssh_issuers.c.state == "reserved")
            if not tx.execute(update(ssh_issuers).where(*reserved).values(values)).rowcount:
                values |= {"id": issuer_id, "namespace_id": mount.namespace_id, "mount_id": mount.id}
                values |= {"kind": kind, "public_key": "", "state": "reserved"}
                tx.execute(insert(ssh_issuers).values(values))
            return issuer_id

        try:
            return self._database.write(work)
        except IntegrityError:
            raise Conflict(f"{mount.path}: the CA key for {kind}s is just being made", advice="read it") from None

    def _clear(self, mount: Mount, label: str) -> None:
        """Remove keys that an interrupted maker left under the label: no issuer has them."""
        query = select(ssh_issuers.c.key_id_hex).where(ssh_issuers.c.mount_id == mount.id)
        with self._database.read() as tx:
            used = set(tx.execute(query).scalars())
        for key_id in self._hsm.find_key_ids(label):
            if key_id.hex() not in used:
                self._hsm.destroy_key(key_id)


def _id_of(mount: Mount, kind: str, earlier: int) -> str:
    digest = hashlib.sha256(f"{mount.id} {kind} {earlier}".encode()).digest()[:16]
    return base64.b32encode(digest).decode().rstrip("=").lower()


def _activate(tx: Tx, issuer: SshIssuer, claim: str, recording: Recording) -> None:
    mine = (ssh_issuers.c.id == issuer.id, ssh_issuers.c.state == "reserved", ssh_issuers.c.key_id_hex == claim)
    values = {"state": "active", "key_id_hex": issuer.key_id.hex(), "public_key": issuer.line}
    if tx.execute(update(ssh_issuers).where(*mine).values(values)).rowcount != 1:
        raise Conflict(f"another process has made the CA key for {issuer.kind}s meanwhile", advice="read it")
    recording(tx, issuer)
