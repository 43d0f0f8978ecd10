"""What `init` makes, each step only if it is not there: tables, KEK, data key, root, intermediate, default profile.

With an external root neither root nor intermediate: a ceremony makes the one and certifies the other.
"""

from cryptography import x509
from cryptography.x509.oid import NameOID
from sqlalchemy import select

from hsm.algorithms import KeyAlgorithm
from hsm.device import Hsm
from hsm.errors import HsmError
from pki.authority.hierarchy import key_label, require_algorithm
from pki.authority.profiles import DEFAULT_PROFILE, KEY_NAMES, NAMESPACE, Profile, document
from pki.clock import Clock, SystemClock, to_ms
from pki.config import OWN_ROOT, Config
from pki.core import CLUSTER_ID, Core, assemble, database_url, open_hsm, open_keyring, read_cluster_id
from pki.errors import HsmFailure
from pki.ids import Ids
from pki.mounts import AUTH, SECRET
from pki.service_keys import MOUNT
from pki.storage.database import Database, Tx
from pki.storage.migrate import migrate
from pki.storage.tables import deks, keks, namespaces, profiles, settings

ROOT, INTERMEDIATE = "root", "intermediate"
_HANDED_OVER = "handed_over_at"
"""The setting that is written last: the operator has been shown the first credential."""
_ACCESS_FOUNDED = "access_founded_at"
"""The setting that says that the first mounts were made: what was removed since does not come back."""
_MOUNTS: tuple[tuple[str, str, str, str, dict[str, str]], ...] = (
    ("secret/", SECRET, "kv", "secrets of applications", {"version": "2"}),
    ("pki/", SECRET, "pki", "X.509 certificates", {}),
    ("ssh/", SECRET, "ssh", "OpenSSH certificates", {}),
    ("auth/approle/", AUTH, "approle", "logins of applications", {}),
    ("auth/userpass/", AUTH, "userpass", "logins of people, by password", {}),
)
_DAY = 24 * 3600


def found(config: Config, clock: Clock | None = None) -> None:
    """Make whatever of the house is absent; what is there stays as it is, so that it can be run again after a crash.

    The token itself must exist.

    Raises:
        Misconfigured, DatabaseUnavailable, HsmFailure, HsmError: something cannot be made; what was made stays.
    """
    now = clock or SystemClock()
    database = Database.open(database_url(config))
    try:
        migrate(database)
        hsm = open_hsm(config)
        try:
            _found_keys(database, hsm, now, Ids())
            _found_authority(assemble(config, database, hsm, now))
        finally:
            hsm.close()
    finally:
        database.close()


def hand_over(core: Core) -> None:
    """Note that the operator was shown the first credential: now, and not before, everything is made."""

    def work(tx: Tx) -> None:
        if tx.execute(select(settings.c.value).where(settings.c.name == _HANDED_OVER)).first() is None:
            tx.execute(settings.insert().values(name=_HANDED_OVER, value=str(to_ms(core.clock.now()))))

    core.database.write(work)


def is_handed_over(database: Database) -> bool:
    """Tell whether the operator was ever shown the first credential."""
    return database.point("SELECT value FROM settings WHERE name = ?", (_HANDED_OVER,)) is not None


def _found_keys(database: Database, hsm: Hsm, clock: Clock, ids: Ids) -> None:
    database.write(lambda tx: _found_rows(tx, clock, ids))
    with database.read() as tx:
        kek_id = tx.execute(select(keks.c.id).where(keks.c.state == "active")).scalars().first()
        has_dek = tx.execute(select(deks.c.id).where(deks.c.mount == MOUNT)).first() is not None
    if kek_id is None:
        kek_id = _make_kek(database, hsm, clock, ids)
    if not has_dek:
        dek = open_keyring(database, hsm, clock).new_dek(ids.new(), NAMESPACE, MOUNT, kek_id)
        row = dek.row(to_ms(clock.now()))
        database.write(lambda tx: tx.execute(deks.insert().values(row)))


def _found_rows(tx: Tx, clock: Clock, ids: Ids) -> None:
    if tx.execute(select(settings.c.value).where(settings.c.name == CLUSTER_ID)).first() is None:
        tx.execute(settings.insert().values(name=CLUSTER_ID, value=ids.new()))
    if tx.execute(select(namespaces.c.id).where(namespaces.c.id == NAMESPACE)).first() is None:
        tx.execute(namespaces.insert().values(id=NAMESPACE, name=NAMESPACE, created_at=to_ms(clock.now())))


def _make_kek(database: Database, hsm: Hsm, clock: Clock, ids: Ids) -> str:
    """Generate the KEK, the one key of its label: what an interrupted attempt left is removed first."""
    kek_id, label = ids.new(), key_label(read_cluster_id(database), "kek")
    try:
        for leftover in hsm.find_key_ids(label):
            hsm.destroy_key(leftover)
        key_id = hsm.generate_key(KeyAlgorithm.AES_256, label)
    except HsmError as error:
        raise HsmFailure(f"the HSM made no KEK: {error.message}", advice=error.advice) from error
    values = {
        "id": kek_id,
        "key_id_hex": key_id.hex(),
        "label": label,
        "state": "active",
        "created_at": to_ms(clock.now()),
    }
    try:
        database.write(lambda tx: tx.execute(keks.insert().values(values)))
    except BaseException:
        hsm.destroy_key(key_id)
        raise
    return kek_id


def _found_authority(core: Core) -> None:
    if core.config.authority.root == OWN_ROOT:
        _found_cas(core)
    core.database.write(lambda tx: _found_profile(tx, core.clock))
    core.crls.publish_due()
    found_access(core)


def found_access(core: Core) -> None:
    """Make the first mounts and the CA keys of SSH, once; a database of an earlier version lacks them.

    Raises:
        HsmFailure, DatabaseUnavailable: not now; what was made stays.
    """
    core.database.write(lambda tx: _found_mounts(tx, core))
    for mount in core.mounts.all():
        if mount.type == "ssh":
            core.ssh.issuers.found(mount)


def _found_mounts(tx: Tx, core: Core) -> None:
    if tx.execute(select(settings.c.value).where(settings.c.name == _ACCESS_FOUNDED)).first() is not None:
        return
    for path, kind, type_, description, options in _MOUNTS:
        core.mounts.add(tx, path=path, kind=kind, type=type_, description=description, options=options)
    tx.execute(settings.insert().values(name=_ACCESS_FOUNDED, value=str(to_ms(core.clock.now()))))


def _found_cas(core: Core) -> None:
    wanted = core.config.authority
    root, intermediate = _ca_profiles(core.config)
    if core.issuers.find(ROOT) is None:
        algorithm = require_algorithm(wanted.root_algorithm, "[authority] root_algorithm")
        core.hierarchy.create(root, None, ca_subject(core, "Root CA"), algorithm)
    if core.issuers.find(INTERMEDIATE) is None:
        algorithm = require_algorithm(wanted.intermediate_algorithm, "[authority] intermediate_algorithm")
        parent = core.issuers.named(ROOT)
        core.hierarchy.create(intermediate, parent, ca_subject(core, "Intermediate CA"), algorithm)


def _ca_profiles(config: Config) -> tuple[Profile, Profile]:
    wanted = config.authority
    root = Profile(name=ROOT, issuer=ROOT, kind="root", keys=KEY_NAMES, lifetime=wanted.root_days * _DAY)
    intermediate = Profile(
        name=INTERMEDIATE,
        issuer=ROOT,
        kind="ca",
        keys=KEY_NAMES,
        lifetime=wanted.intermediate_days * _DAY,
        path_length=0,
        permitted_dns=wanted.permitted_dns,
        permitted_ip=wanted.permitted_ip,
    )
    return root, intermediate


def ca_subject(core: Core, what: str) -> x509.Name:
    """Return a subject that no other installation has: clients look issuers up by it."""
    cluster_id = read_cluster_id(core.database)
    organization = core.config.authority.organization
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization),
            x509.NameAttribute(NameOID.COMMON_NAME, f"{organization} {what} {cluster_id[:6]}"),
        ]
    )


def _found_profile(tx: Tx, clock: Clock) -> None:
    mine = profiles.c.namespace_id == NAMESPACE, profiles.c.name == DEFAULT_PROFILE.name
    if tx.execute(select(profiles.c.name).where(*mine)).first() is not None:
        return
    values = {
        "namespace_id": NAMESPACE,
        "name": DEFAULT_PROFILE.name,
        "version": DEFAULT_PROFILE.version,
        "document": document(DEFAULT_PROFILE),
        "created_at": to_ms(clock.now()),
    }
    tx.execute(profiles.insert().values(values))
