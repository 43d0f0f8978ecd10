"""The issuance gate: what passes it, in which order, and what a failure leaves."""

import subprocess
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from sqlalchemy import func, select, update

from pki.authority.issue import Gate, Wanted
from pki.authority.names import Name
from pki.authority.profiles import Profile, document
from pki.clock import to_ms
from pki.core import Core
from pki.errors import BadClock, HsmFailure, Misconfigured, NotFound, Rejected
from pki.ids import Ids, serial_to_hex
from pki.ledger.entries import RESERVATION, Entry
from pki.storage.tables import audit_events, blocked_keys, certificates, issuers, profiles
from tests.clocks import FrozenClock

A = Name("dns", "a.example")


def _public_key() -> ec.EllipticCurvePublicKey:
    return ec.generate_private_key(ec.SECP256R1()).public_key()


def _wanted(*names: Name, profile: str = "default", **changes: object) -> Wanted:
    values = {"public_key": _public_key(), "requester": "test:me", **changes}
    return Wanted(profile=profile, names=names or (A,), **values)  # type: ignore[arg-type]


def _certificate(entry: Entry) -> x509.Certificate:
    assert entry.certificate is not None
    return x509.load_der_x509_certificate(entry.certificate)


def _states(core: Core) -> dict[str, int]:
    query = select(certificates.c.state, func.count()).where(certificates.c.kind == "leaf").group_by("state")
    with core.database.read() as tx:
        return {row[0]: row[1] for row in tx.execute(query)}


def _actions(core: Core, certificate_id: str) -> list[str]:
    query = select(audit_events.c.action).where(audit_events.c.object == certificate_id)
    with core.database.read() as tx:
        return sorted(tx.execute(query).scalars())


def _add_profile(core: Core, profile: Profile) -> None:
    values = {
        "namespace_id": "root",
        "name": profile.name,
        "version": profile.version,
        "document": document(profile),
        "created_at": 0,
    }
    core.database.write(lambda tx: tx.execute(profiles.insert(), values))


@pytest.mark.parametrize("kind", ["ec-p256", "ec-p384", "ec-p521", "rsa", "ed25519"])
def test_a_certificate_verifies_in_openssl(core: Core, tmp_path: Path, kind: str) -> None:
    """S1-S6: every kind of subject key, strictly checked by another implementation."""
    keys = {
        "ec-p256": lambda: ec.generate_private_key(ec.SECP256R1()),
        "ec-p384": lambda: ec.generate_private_key(ec.SECP384R1()),
        "ec-p521": lambda: ec.generate_private_key(ec.SECP521R1()),
        "rsa": lambda: rsa.generate_private_key(65537, 2048),
        "ed25519": ed25519.Ed25519PrivateKey.generate,
    }
    names = (A, Name("dns", "*.a.example"), Name("ip", "10.0.0.1"), Name("ip", "fd00::1"))
    entry = core.gate.issue(_wanted(*names, public_key=keys[kind]().public_key()))
    root = core.issuers.named("root").certificate
    (tmp_path / "chain.pem").write_text(core.gate.chain_pem(entry))
    (tmp_path / "root.pem").write_bytes(root.public_bytes(Encoding.PEM))
    command = ["openssl", "verify", "-x509_strict", "-purpose", "sslserver", "-CAfile", "root.pem"]
    command += ["-untrusted", "chain.pem", "-verify_hostname", "b.a.example", "chain.pem"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_what_is_signed_was_recorded_before(core: Core) -> None:
    """CA11: the ledger's TBS is the certificate's, octet for octet, and both writes stand in the audit log."""
    entry = core.gate.issue(_wanted())
    certificate = _certificate(entry)
    assert certificate.tbs_certificate_bytes == entry.tbs
    assert serial_to_hex(certificate.serial_number) == entry.serial
    assert entry.state == "issued"
    assert _actions(core, entry.id) == ["certificate.issue", "certificate.reserve"]


def test_a_certificate_lives_a_day_and_within_its_issuer(core: Core, house_clock: FrozenClock) -> None:
    """CA56 X7: both ends belong to the lifetime, and a leaf never outlives its issuer."""
    certificate = _certificate(core.gate.issue(_wanted()))
    assert certificate.not_valid_after_utc - certificate.not_valid_before_utc == timedelta(seconds=86_399)
    assert certificate.not_valid_before_utc <= house_clock.now()
    issuer = core.issuers.named("intermediate").certificate
    assert certificate.not_valid_before_utc >= issuer.not_valid_before_utc
    house_clock.moment = issuer.not_valid_after_utc - timedelta(hours=1)
    late = _certificate(core.gate.issue(_wanted()))
    assert late.not_valid_after_utc == issuer.not_valid_after_utc


def test_an_expired_issuer_signs_nothing(core: Core, house_clock: FrozenClock) -> None:
    """X7: the error says which issuer, and nothing is reserved."""
    house_clock.moment = core.issuers.named("intermediate").certificate.not_valid_after_utc + timedelta(seconds=1)
    with pytest.raises(Misconfigured, match="intermediate expired"):
        core.gate.issue(_wanted())
    assert _states(core) == {}


def test_a_clock_before_the_issuer_signs_nothing(core: Core, house_clock: FrozenClock) -> None:
    """X7: a clock that stands before the issuer's first second cannot be right."""
    house_clock.moment = core.issuers.named("intermediate").certificate.not_valid_before_utc - timedelta(days=1)
    with pytest.raises(BadClock, match="set the machine's clock"):
        core.gate.issue(_wanted())


def test_a_root_issues_no_leaf(core: Core) -> None:
    """CA04: whatever a profile says, end-entity certificates come from intermediates."""
    _add_profile(core, Profile(name="bad", issuer="root", dns=("*",), keys=("ec-p256",), lifetime=3600))
    with pytest.raises(Rejected, match="root issues no end-entity"):
        core.gate.issue(_wanted(profile="bad"))


def test_the_house_s_own_profile_serves_no_door(core: Core) -> None:
    """Only profiles of kind leaf can be asked for by name."""
    with pytest.raises(NotFound):
        core.gate.issue(_wanted(profile="server"))
    _add_profile(core, Profile(name="sub", issuer="intermediate", kind="ca", keys=("ec-p256",), lifetime=3600))
    with pytest.raises(Rejected, match="not for end entities"):
        core.gate.issue(_wanted(profile="sub"))


def test_a_profile_without_names_issues_nothing(core: Core) -> None:
    """X3: an absent rule allows nothing."""
    _add_profile(core, Profile(name="none", issuer="intermediate", keys=("ec-p256",), lifetime=3600))
    for name in (A, Name("ip", "10.0.0.1"), Name("email", "a@a.example"), Name("uri", "spiffe://a.example/x")):
        with pytest.raises(Rejected) as caught:
            core.gate.issue(_wanted(name, profile="none"))
        assert caught.value.code == "rejectedIdentifier"
        assert caught.value.subproblems[0].identifier == str(name)


def test_a_kind_of_key_that_the_profile_does_not_list_is_refused(core: Core) -> None:
    """X4: key policy is the profile's."""
    _add_profile(core, Profile(name="rsa", issuer="intermediate", dns=("*",), keys=("rsa",), lifetime=3600))
    with pytest.raises(Rejected, match="other kinds"):
        core.gate.issue(_wanted(profile="rsa"))


def test_the_key_of_a_ca_is_never_certified_for_a_leaf(core: Core) -> None:
    """X4: the CA's own key."""
    with pytest.raises(Rejected, match="key of a CA"):
        core.gate.issue(_wanted(public_key=core.issuers.named("intermediate").certificate.public_key()))


def test_a_compromised_key_is_blocked_for_ever(core: Core) -> None:
    """S16 X11: after revocation for key compromise no issuer certifies that key again."""
    key = _public_key()
    entry = core.gate.issue(_wanted(public_key=key))
    core.revocation.revoke(entry, 1, "test:me")
    with pytest.raises(Rejected, match="compromised"):
        core.gate.issue(_wanted(public_key=key))
    with core.database.read() as tx:
        assert tx.execute(select(func.count()).select_from(blocked_keys)).scalar_one() == 1


def test_serial_numbers_are_long_and_differ(core: Core) -> None:
    """S1 X6: 20 octets, positive, 158 random bits."""
    serials = {_certificate(core.gate.issue(_wanted())).serial_number for _ in range(20)}
    assert len(serials) == 20
    assert all(152 <= serial.bit_length() <= 159 for serial in serials)


def test_a_serial_that_exists_is_drawn_again(core: Core) -> None:
    """X6: a forced collision is retried with another serial; a source that only repeats itself is refused."""
    first = core.gate.issue(_wanted())
    octets = bytes.fromhex(first.serial)
    draws = [octets, bytes(range(1, 21))]
    drafter = core.gate._drafter
    drafter._ids = Ids(lambda size: draws.pop(0) if size == 20 else bytes(size))
    second = core.gate.issue(_wanted())
    assert second.serial != first.serial
    assert draws == []


def test_what_reserving_refuses_is_not_reserved(core: Core) -> None:
    """X13: the door's own check runs in the transaction that reserves, and undoes it."""

    def refuse(_tx: object, _certificate_id: str) -> None:
        raise NotFound("the order is gone")

    with pytest.raises(NotFound):
        core.gate.issue(_wanted(), reserving=refuse)
    assert _states(core) == {}


def _lose_token(core: Core) -> None:
    core.hsm.close()


def test_without_the_hsm_nothing_is_issued_and_an_unclaimed_reservation_is_abandoned(core: Core) -> None:
    """K2: the door answers that the HSM does not serve; the serial is never used again."""
    _lose_token(core)
    with pytest.raises(HsmFailure):
        core.gate.issue(_wanted())
    assert _states(core) == {"abandoned": 1}
    with core.database.read() as tx:
        abandoned = tx.execute(select(certificates.c.id).where(certificates.c.state == "abandoned")).scalar_one()
    assert _actions(core, abandoned) == ["certificate.abandon", "certificate.reserve"]


def test_a_claimed_reservation_is_finished_when_the_hsm_is_back(core: Core, house_clock: FrozenClock) -> None:
    """CA11 K2: the same TBS is signed by the reconciling worker, and the claimer finds its certificate."""
    claimed: list[str] = []
    healthy = core.hsm.sessions
    core.hsm.sessions = type(healthy)(healthy._module, "no such token", "0000", 1, 0.1)
    with pytest.raises(HsmFailure):
        core.gate.issue(_wanted(), reserving=lambda _tx, certificate_id: claimed.append(certificate_id))
    assert _states(core) == {"reserved": 1}
    core.hsm.sessions = healthy
    house_clock.advance(timedelta(seconds=1))
    assert core.reconciler.run() == 1
    entry = core.gate.find(claimed[0])
    assert entry is not None
    assert entry.state == "issued"
    assert _certificate(entry).tbs_certificate_bytes == entry.tbs
    assert core.reconciler.run() == 0


def test_a_worker_that_died_is_taken_over_after_its_deadline(core: Core, house_clock: FrozenClock) -> None:
    """CA11: not before, since it may still be signing; then once, whoever comes first."""
    entry = core.gate.issue(_wanted())
    with core.database.read() as tx:
        row = dict(tx.execute(select(certificates).where(certificates.c.id == entry.id)).one()._mapping)
    row |= {"id": "dead", "serial": "7f" * 20, "state": "reserved", "certificate": None, "fingerprint": None}
    row |= {"deadline_at": to_ms(house_clock.now() + RESERVATION), "issued_at": None}
    core.database.write(lambda tx: tx.execute(certificates.insert(), row))
    assert core.reconciler.run() == 0
    house_clock.advance(RESERVATION + timedelta(seconds=1))
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: core.reconciler.run(), range(4)))
    found = core.gate.find("dead")
    assert found is not None
    assert found.state == "issued"
    assert _actions(core, "dead") == ["certificate.issue"]


def test_a_certificate_that_expired_unsigned_is_abandoned(core: Core, house_clock: FrozenClock) -> None:
    """A certificate is not signed after its last second."""
    entry = core.gate.issue(_wanted())
    with core.database.read() as tx:
        row = dict(tx.execute(select(certificates).where(certificates.c.id == entry.id)).one()._mapping)
    row |= {"id": "late", "serial": "7f" * 20, "state": "reserved", "certificate": None, "fingerprint": None}
    core.database.write(lambda tx: tx.execute(certificates.insert(), row))
    house_clock.advance(timedelta(days=2))
    core.reconciler.run()
    found = core.gate.find("late")
    assert found is not None
    assert found.state == "abandoned"
    assert _actions(core, "late") == ["certificate.abandon"]


def test_another_key_under_the_issuer_s_id_signs_nothing(core: Core) -> None:
    """K1, facts: a key in the token that is not the one in the issuer's certificate is never used."""
    intermediate, root = core.issuers.named("intermediate"), core.issuers.named("root")
    swap = update(issuers).where(issuers.c.id == intermediate.id).values(key_id_hex=root.key_id.hex())
    core.database.write(lambda tx: tx.execute(swap))
    core.issuers._known.clear()
    with pytest.raises(Misconfigured, match="not the one in its certificate"):
        core.gate.issue(_wanted())


def test_forty_issuers_at_once_give_forty_certificates(core: Core) -> None:
    """Threads share gate, token and database without losing or doubling anything."""
    wishes = [_wanted(Name("dns", f"h{number}.example")) for number in range(40)]
    with ThreadPoolExecutor(8) as pool:
        issued = list(pool.map(core.gate.issue, wishes))
    assert len({entry.serial for entry in issued}) == 40
    assert _states(core) == {"issued": 40}
    assert isinstance(core.gate, Gate)
