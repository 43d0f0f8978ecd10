"""CA keys: made in the HSM, one of each kind a mount, and never left over."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import select, update

from hsm.algorithms import KeyAlgorithm
from pki.core import Core, read_cluster_id
from pki.errors import Conflict, HsmFailure, Misconfigured, NotFound
from pki.mounts import Mount
from pki.ssh.authority import SshAuthority
from pki.ssh.issuers import KINDS, SshIssuer
from pki.storage.database import Tx
from pki.storage.tables import audit_events, ssh_issuers
from tests.pki.ssh.conftest import authority
from tests.pki.ssh.material import issue, set_role, user_role


def _label(core: Core, mount: Mount, kind: str) -> str:
    return f"{read_cluster_id(core.database)[:8]} ssh {kind} {mount.id}"


def _keys(core: Core, mount: Mount) -> list[bytes]:
    return [key_id for kind in KINDS for key_id in core.hsm.find_key_ids(_label(core, mount, kind))]


def _nothing(_tx: Tx, _issuer: SshIssuer) -> None:
    """Record nothing."""


def test_founding_makes_each_key_once(core: Core, ssh: SshAuthority, bare_mount: Mount) -> None:
    """CA03 H5: two keys, which stay the same when founding is run again, in another process too."""
    ssh.issuers.found(bare_mount)
    made = [ssh.issuers.get(bare_mount, kind) for kind in KINDS]
    assert [item.algorithm for item in made] == ["ed25519", "ed25519"]
    assert made[0].public_key != made[1].public_key
    ssh.issuers.found(bare_mount)
    authority(core).issuers.found(bare_mount)
    assert [authority(core).issuers.get(bare_mount, kind) for kind in KINDS] == made
    assert sorted(_keys(core, bare_mount)) == sorted(item.key_id for item in made)
    with core.database.read() as tx:
        events = tx.execute(select(audit_events.c.object).where(audit_events.c.action == "ssh.create_ca")).scalars()
        assert {item.id for item in made} <= set(events)


def test_ca_keys_cannot_leave_the_token(core: Core, ssh: SshAuthority, mount: Mount) -> None:
    """CA03 K1 F06: made there, private, sensitive, never extractable, and able to sign alone."""
    for kind in KINDS:
        attributes = core.hsm.attributes(ssh.issuers.get(mount, kind).key_id)
        assert attributes.sensitive
        assert attributes.never_extractable


def test_a_mount_without_keys_says_what_to_do(ssh: SshAuthority, bare_mount: Mount) -> None:
    """A new mount signs nothing until its keys are made."""
    set_role(ssh, bare_mount, user_role())
    with pytest.raises(NotFound, match="people/config/ca"):
        issue(ssh, bare_mount)


def test_a_second_key_of_a_kind_is_refused(core: Core, ssh: SshAuthority, mount: Mount) -> None:
    """What hosts trust stays: there is no way to replace a CA key by accident."""
    before = _keys(core, mount)
    with pytest.raises(Conflict, match="already"):
        ssh.issuers.create(mount, "user", KeyAlgorithm.EC_P256, _nothing)
    assert _keys(core, mount) == before


def test_what_an_interrupted_maker_left_is_cleared(core: Core, ssh: SshAuthority, bare_mount: Mount) -> None:
    """A crash after the token made a key leaves one that nobody knows: the next maker destroys it, and no other."""
    other = Mount(core.ids.new(), "root", "other/", "secret", "ssh")
    ssh.issuers.found(other)
    stray = core.hsm.generate_key(KeyAlgorithm.ED25519, _label(core, bare_mount, "user"))
    ssh.issuers._claim(bare_mount, "user", KeyAlgorithm.ED25519, "00" * 16)
    ssh.issuers.found(bare_mount)
    assert stray not in _keys(core, bare_mount)
    assert len(_keys(core, bare_mount)) == 2
    assert len(_keys(core, other)) == 2


def test_a_maker_that_fails_leaves_no_key(core: Core, ssh: SshAuthority, bare_mount: Mount) -> None:
    """What the last write refuses is undone in the token."""

    def refuse(_tx: Tx, _issuer: SshIssuer) -> None:
        raise Conflict("no")

    with pytest.raises(Conflict):
        ssh.issuers.create(bare_mount, "user", KeyAlgorithm.ED25519, refuse)
    assert _keys(core, bare_mount) == []
    assert ssh.issuers.find(bare_mount, "user") is None


def test_without_the_token_no_key_is_made(core: Core, ssh: SshAuthority, bare_mount: Mount) -> None:
    """K2: and when it is back, the next attempt succeeds."""
    healthy = core.hsm.sessions
    core.hsm.sessions = type(healthy)(healthy._module, "no such token", "0000", 1, 0.1)
    with pytest.raises(HsmFailure):
        ssh.issuers.found(bare_mount)
    core.hsm.sessions = healthy
    ssh.issuers.found(bare_mount)
    assert ssh.issuers.get(bare_mount, "host").line.startswith("ssh-ed25519 ")


def test_of_makers_at_once_one_prevails(core: Core, bare_mount: Mount) -> None:
    """Two replicas that make the key at once end with one key, one row and one truth."""

    def make(_: int) -> SshIssuer | None:
        try:
            return authority(core).issuers.create(bare_mount, "user", KeyAlgorithm.ED25519, _nothing)
        except Conflict:
            return None

    with ThreadPoolExecutor(4) as pool:
        made = [item for item in pool.map(make, range(4)) if item is not None]
    with core.database.read() as tx:
        rows = tx.execute(select(ssh_issuers).where(ssh_issuers.c.mount_id == bare_mount.id)).all()
    assert [row.state for row in rows] == ["active"]
    assert [item.key_id.hex() for item in made] == [rows[0].key_id_hex]
    assert _keys(core, bare_mount) == [made[0].key_id]


def test_another_key_under_the_issuer_s_id_signs_nothing(core: Core, ssh: SshAuthority, mount: Mount) -> None:
    """K1: a key in the token that is not the one that was made for this CA is never used."""
    set_role(ssh, mount, user_role())
    user, host = (ssh.issuers.get(mount, kind) for kind in KINDS)
    swap = update(ssh_issuers).where(ssh_issuers.c.id == user.id).values(key_id_hex=host.key_id.hex())
    core.database.write(lambda tx: tx.execute(swap))
    with pytest.raises(Misconfigured, match="not the one that was made for it"):
        issue(authority(core), mount)
