"""The gate: what passes it, in which order, and what a failure leaves."""

import base64
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import SSHCertificate, load_ssh_public_identity
from sqlalchemy import func, select, update

from hsm.algorithms import KeyAlgorithm
from pki.authority.issue import Wanted
from pki.authority.names import Name
from pki.clock import to_ms
from pki.core import Core
from pki.errors import BadClock, Conflict, Denied, HsmFailure, NotFound, Rejected
from pki.ids import Ids
from pki.ledger import ssh as ledger
from pki.ledger.entries import RESERVATION
from pki.mounts import Mount
from pki.ssh.authority import SshAuthority
from pki.ssh.keys import fingerprint, read_line
from pki.ssh.role import Role
from pki.storage.tables import audit_events, ssh_certificates
from tests.clocks import FrozenClock
from tests.pki.ssh.conftest import authority
from tests.pki.ssh.material import (
    ALICE,
    fresh_line,
    host_role,
    issue,
    public_line,
    set_role,
    shown,
    user_role,
    wish,
)


def _read(text: str) -> SSHCertificate:
    read = load_ssh_public_identity(text.encode())
    assert isinstance(read, SSHCertificate)
    read.verify_cert_signature()
    return read


def _states(core: Core) -> dict[str, int]:
    query = select(ssh_certificates.c.state, func.count()).group_by("state")
    with core.database.read() as tx:
        return {row[0]: row[1] for row in tx.execute(query)}


def _events(core: Core, certificate_id: str) -> list[str]:
    query = select(audit_events.c.action).where(audit_events.c.object == certificate_id)
    with core.database.read() as tx:
        return sorted(tx.execute(query).scalars())


def _only_id(core: Core) -> str:
    with core.database.read() as tx:
        return str(tx.execute(select(ssh_certificates.c.id)).scalar_one())


@pytest.mark.parametrize(
    ("algorithm", "signature"),
    [
        (KeyAlgorithm.ED25519, "ssh-ed25519"),
        (KeyAlgorithm.EC_P256, "ecdsa-sha2-nistp256"),
        (KeyAlgorithm.EC_P384, "ecdsa-sha2-nistp384"),
        (KeyAlgorithm.RSA_2048, "rsa-sha2-512"),
    ],
)
def test_every_kind_of_ca_key_signs(
    ssh: SshAuthority, bare_mount: Mount, tmp_path: Path, algorithm: KeyAlgorithm, signature: str
) -> None:
    """CA40 S21 H8: verified by other code; an RSA CA signs with rsa-sha2-512, never ssh-rsa."""
    issuer = ssh.issuers.create(bare_mount, "user", algorithm, lambda _tx, _issuer: None)
    set_role(ssh, bare_mount, user_role())
    issued = issue(ssh, bare_mount)
    certificate = _read(issued.line)
    assert public_line(certificate.signature_key()) == issuer.line
    assert f"(using {signature})" in shown(tmp_path, issued.line)


def test_what_is_signed_was_recorded_before(core: Core, ssh: SshAuthority, mount: Mount) -> None:
    """Z-B1: the ledger's octets are the certificate's, and who, what and for whom stand in the audit log twice."""
    set_role(ssh, mount, user_role(default_extensions={"permit-pty": ""}))
    facts: list[dict[str, Any]] = []
    public_key = fresh_line("p256")
    issued = ssh.gate.issue(mount, wish(public_key=public_key), ALICE, lambda _tx, told: facts.append(dict(told)))
    with core.database.read() as tx:
        entry = ledger.get(tx, issued.id)
        reserve = tx.execute(select(audit_events).where(audit_events.c.object == issued.id)).one()
    octets = base64.b64decode(issued.line.split()[1])
    assert entry.certificate == octets
    assert octets.startswith(entry.tbs)
    assert (entry.state, entry.serial, entry.requester) == ("issued", issued.serial, ALICE.name)
    key = read_line(public_key)
    assert facts == [
        {
            "certificate": issued.id,
            "serial": f"{issued.serial:x}",
            "kind": "user",
            "role": "dev",
            "key_id": f"userpass-alice-dev-{key.sha256.hex()}",
            "valid_principals": ["alice"],
            "public_key": fingerprint(key.sha256),
            "issuer": ssh.issuers.get(mount, "user").id,
            "seconds": 3630,
        }
    ]
    assert (reserve.action, reserve.actor, orjson.loads(reserve.detail)) == ("ssh.reserve", ALICE.name, facts[0])


def test_a_certificate_says_what_role_and_asker_agreed_on(
    ssh: SshAuthority, mount: Mount, house_clock: FrozenClock
) -> None:
    """S19 CA56: names, an hour from now, options of the role."""
    set_role(
        ssh, mount, user_role(default_extensions={"permit-pty": ""}, default_critical_options={"force-command": "id"})
    )
    certificate = _read(issue(ssh, mount, valid_principals=("deploy", "alice")).line)
    now = int(house_clock.now().timestamp())
    assert certificate.valid_principals == [b"deploy", b"alice"]
    assert (certificate.valid_after, certificate.valid_before) == (now - 30, now + 3600)
    assert certificate.extensions == {b"permit-pty": b""}
    assert certificate.critical_options == {b"force-command": b"id"}
    assert len(certificate.nonce) == 32


def test_a_host_s_certificate_lives_a_week(ssh: SshAuthority, mount: Mount, house_clock: FrozenClock) -> None:
    """CA41 CA56 H5: by the hosts' CA, without options."""
    set_role(ssh, mount, host_role(), "hosts")
    issued = issue(ssh, mount, role="hosts", kind="host", valid_principals=("db1.internal.example",))
    certificate = _read(issued.line)
    assert public_line(certificate.signature_key()) == ssh.issuers.get(mount, "host").line
    assert certificate.valid_before == int(house_clock.now().timestamp()) + 7 * 86400
    assert (certificate.extensions, certificate.critical_options) == ({}, {})


def test_a_role_signs_its_own_kind_alone(core: Core, ssh: SshAuthority, mount: Mount) -> None:
    """H5: neither a host's certificate by a user role, nor the reverse; nothing is reserved."""
    set_role(ssh, mount, user_role())
    set_role(ssh, mount, host_role(), "hosts")
    for role, kind in (("dev", "host"), ("hosts", "user")):
        with pytest.raises(Rejected, match="not for"):
            issue(ssh, mount, role=role, kind=kind)
    assert _states(core) == {}


@pytest.mark.parametrize(
    "changes",
    [
        {"valid_principals": ("root",)},
        {"valid_principals": ()},
        {"extensions": {"permit-pty": ""}},
        {"critical_options": {"force-command": "id"}},
        {"lifetime": timedelta(hours=2)},
        {"key_id": "mine"},
        {"public_key": "ssh-dss AAAA"},
    ],
    ids=str,
)
def test_a_wish_outside_the_role_is_refused_and_reserves_nothing(
    core: Core, ssh: SshAuthority, mount: Mount, changes: dict[str, Any]
) -> None:
    """H1 H3 H4 H8: refused before anything is written."""
    set_role(ssh, mount, user_role())
    with pytest.raises(Rejected):
        issue(ssh, mount, **changes)
    assert _states(core) == {}


def test_a_security_key_stays_one(ssh: SshAuthority, mount: Mount, tmp_path: Path) -> None:
    """H8: with the touch that its device asks for, and verify-required where the role says so."""
    set_role(ssh, mount, user_role(default_critical_options={"verify-required": ""}))
    told = shown(tmp_path, issue(ssh, mount, public_key=fresh_line("sk-ed25519")).line)
    assert "sk-ssh-ed25519-cert-v01@openssh.com user certificate" in told
    assert "verify-required" in told


def test_a_key_revoked_as_compromised_gets_no_ssh_certificate(core: Core, ssh: SshAuthority, mount: Mount) -> None:
    """S16: blocked for ever means for SSH too; and the key of a CA is nobody's."""
    set_role(ssh, mount, user_role())
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    entry = core.gate.issue(Wanted(profile="default", public_key=key, names=(Name("dns", "a.example"),), requester="t"))
    assert issue(ssh, mount, public_key=public_line(key)).serial
    core.revocation.revoke(entry, 1, "test:me")
    with pytest.raises(Rejected, match="compromised"):
        issue(ssh, mount, public_key=public_line(key))
    ca = core.issuers.named("intermediate").certificate.public_key()
    with pytest.raises(Rejected, match="key of a CA"):
        issue(ssh, mount, public_key=public_line(ca))


def test_a_role_changed_or_deleted_holds_at_once(core: Core, ssh: SshAuthority, mount: Mount) -> None:
    """In every worker, and also when a role comes again under its old name."""
    other = authority(core)
    set_role(ssh, mount, user_role())
    assert issue(other, mount).serial
    ssh.database.write(lambda tx: ssh.roles.delete(tx, mount, "dev"))
    with pytest.raises(NotFound, match="no role 'dev'"):
        issue(other, mount)
    set_role(ssh, mount, user_role(allowed_users=("bob",)))
    with pytest.raises(Rejected):
        issue(other, mount)
    assert ssh.roles.names(mount) == ["dev"]


def test_of_two_who_make_a_role_at_once_none_breaks_it(ssh: SshAuthority, mount: Mount) -> None:
    """The role is one of theirs, and whoever was not heard is told."""
    wanted = [user_role(default_user=f"u{number}") for number in range(8)]

    def write(role: Role) -> str | None:
        try:
            set_role(ssh, mount, role)
        except Conflict:
            return None
        return role.default_user

    with ThreadPoolExecutor(8) as pool:
        heard = set(pool.map(write, wanted))
    assert ssh.roles.get(mount, "dev").default_user in heard


def test_roles_and_keys_of_another_mount_are_out_of_reach(core: Core, ssh: SshAuthority, mount: Mount) -> None:
    """A09: a role belongs to its mount."""
    set_role(ssh, mount, user_role())
    other = Mount(core.ids.new(), "root", "other/", "secret", "ssh")
    ssh.issuers.found(other)
    with pytest.raises(NotFound):
        issue(ssh, other)
    assert ssh.issuers.get(other, "user").public_key != ssh.issuers.get(mount, "user").public_key


@pytest.mark.parametrize("name", ["", "a/b", "-x", "a b", "a\0b", "x" * 129, "ä"])
def test_a_role_s_name_is_a_plain_word(ssh: SshAuthority, mount: Mount, name: str) -> None:
    """A name is part of paths and of key ids."""
    with pytest.raises(Rejected):
        set_role(ssh, mount, user_role(), name)
    assert ssh.roles.find(mount, name) is None


def test_serials_are_random_and_a_taken_one_is_drawn_again(core: Core, ssh: SshAuthority, mount: Mount) -> None:
    """X6: 63 random bits; a collision is retried with another."""
    set_role(ssh, mount, user_role())
    serials = {issue(ssh, mount).serial for _ in range(20)}
    assert len(serials) == 20
    assert max(serials).bit_length() > 55
    taken = next(iter(serials)) << 1
    draws = [taken.to_bytes(8), (12345 << 1).to_bytes(8)]
    random = core.ids.octets
    ssh.gate._ids = Ids(lambda size: draws.pop(0) if size == 8 else random(size))
    assert issue(ssh, mount).serial == 12345
    assert draws == []


def test_without_the_hsm_nothing_is_issued_and_the_reservation_is_abandoned(
    core: Core, ssh: SshAuthority, mount: Mount
) -> None:
    """K2: the asker learns that the HSM does not serve; the serial is never used again."""
    set_role(ssh, mount, user_role())
    core.hsm.close()
    with pytest.raises(HsmFailure):
        issue(ssh, mount)
    assert _states(core) == {"abandoned": 1}
    assert _events(core, _only_id(core)) == ["ssh.abandon", "ssh.reserve"]


def test_who_lost_his_right_meanwhile_gets_nothing(core: Core, ssh: SshAuthority, mount: Mount) -> None:
    """A token revoked between the two writes is refused in the second: what was signed is given up, unseen."""
    set_role(ssh, mount, user_role())

    def refuse(_tx: object, _facts: object) -> None:
        raise Denied("permission denied")

    with pytest.raises(Denied):
        ssh.gate.issue(mount, wish(), ALICE, refuse)
    assert _states(core) == {"abandoned": 1}
    assert _events(core, _only_id(core)) == ["ssh.abandon", "ssh.reserve"]


def _leave_reserved(core: Core, certificate_id: str, house_clock: FrozenClock) -> None:
    with core.database.read() as tx:
        row = dict(tx.execute(select(ssh_certificates).where(ssh_certificates.c.id == certificate_id)).one()._mapping)
    row |= {"id": "dead", "serial": 7, "state": "reserved", "certificate": None, "issued_at": None}
    row |= {"deadline_at": to_ms(house_clock.now() + RESERVATION)}
    core.database.write(lambda tx: tx.execute(ssh_certificates.insert(), row))


def test_a_worker_that_died_is_cleared_up_after_after_its_deadline(
    core: Core, ssh: SshAuthority, mount: Mount, house_clock: FrozenClock
) -> None:
    """Z-B1: not before, since it may still be signing; then once, whoever comes first; and it can issue no more."""
    set_role(ssh, mount, user_role())
    _leave_reserved(core, issue(ssh, mount).id, house_clock)
    assert ssh.reconciler.run() == 0
    house_clock.advance(RESERVATION + timedelta(seconds=1))
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: ssh.reconciler.run(), range(4)))
    assert _states(core) == {"abandoned": 1, "issued": 1}
    assert _events(core, "dead") == ["ssh.abandon"]
    with pytest.raises(Conflict, match="given up"):
        core.database.write(lambda tx: ledger.record(tx, "dead", b"late", house_clock.now()))
    assert ssh.reconciler.run() == 0


def test_a_clock_that_stepped_back_signs_nothing(
    core: Core, ssh: SshAuthority, mount: Mount, house_clock: FrozenClock
) -> None:
    """CA50: what is dated wrongly is not made, of SSH as of X.509."""
    set_role(ssh, mount, user_role())
    issue(ssh, mount)
    house_clock.advance(-timedelta(days=1))
    with pytest.raises(BadClock):
        issue(ssh, mount)
    assert _states(core) == {"issued": 1}


def test_what_was_signed_can_be_neither_deleted_nor_rewritten(core: Core, ssh: SshAuthority, mount: Mount) -> None:
    """The database itself refuses."""
    set_role(ssh, mount, user_role())
    certificate_id = issue(ssh, mount).id
    mine = ssh_certificates.c.id == certificate_id
    for statement in (
        ssh_certificates.delete().where(mine),
        update(ssh_certificates).where(mine).values(serial=1),
        update(ssh_certificates).where(mine).values(tbs=b""),
        update(ssh_certificates).where(mine).values(valid_principals='["root"]'),
    ):
        with pytest.raises(Exception, match=r"never|refus"):
            core.database.write(lambda tx, statement=statement: tx.execute(statement))  # type: ignore[misc]


def test_forty_askers_at_once_get_forty_certificates(core: Core, ssh: SshAuthority, mount: Mount) -> None:
    """Threads share gate, token and database without losing or doubling anything."""
    set_role(ssh, mount, user_role())
    keys = [fresh_line() for _ in range(40)]
    with ThreadPoolExecutor(8) as pool:
        issued = list(pool.map(lambda key: issue(ssh, mount, public_key=key), keys))
    assert len({item.serial for item in issued}) == 40
    assert _states(core) == {"issued": 40}
